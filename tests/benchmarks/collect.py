"""How fast, how polite and how safe `rvtool collect` is, against the stand-in sky server in a process of its own.

    python tests/benchmarks/collect.py [CASE ...]        (without a case: all of them, about twenty minutes)

Latency is 100 to 300 ms, images are FITS of about 95 kB, journal and validation are on. Goals:

    rate16      no faults, 16 connections, 1,000 files: at least 90 % of connections / mean latency
    rate64      no faults, 64 connections, 3,000 files: at least 75 % of it, and 2.5 times img2dataset's rate
    astroquery  First.get_images in as many threads as we have connections, 16 and 64: at least twice its rate
    faults      12 % of first attempts faulty: every file valid, at most 1.15 requests a file and 1.5 times the time
    limit       a server that allows 10 requests a second: at most 1.05 times the ideal time, at most 1 % of 429
    kills       20 kills with SIGKILL in a run of 2,000: nothing lost, doubled or corrupt
    many        100,000 targets: under 300 MB; resume starts in under 2 s; coverage and duplicates in under 5 s

img2dataset lives in an environment of its own; name its Python in IMG2DATASET_PYTHON, or it is left out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from astropy.io import fits

from rvtool.data.dataset import open_dataset
from rvtool.kinds import Box
from rvtool.testing.sky import Sky, sky_server, targets_csv

LATENCY_S = (0.1, 0.3)
MEAN_S = sum(LATENCY_S) / 2
UNLIMITED = ["--max-rate", "100000"]

CHILD = """
import json, resource, sys, time
began = time.time()
from rich.console import Console
from rvtool.cli.app import main
sys.argv = ["rvtool", *sys.argv[1:]]
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("USED", used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, file=sys.stderr)
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", CHILD, "collect", *map(str, arguments), "--json"]


def used(told: str) -> tuple[float, float]:
    """Return the largest memory, MB, and the processor time, s, that a child has printed."""
    line = next(line for line in told.splitlines() if line.startswith("USED"))
    return float(line.split()[1]), float(line.split()[2])


def collect(*arguments: str) -> dict[str, Any]:
    """Run `rvtool collect`, and return its result with its largest memory, MB, and processor time, s."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise SystemExit(done.stderr)
    peak_mb, cpu_s = used(done.stderr)
    return json.loads(done.stdout) | {"peak_mb": peak_mb, "cpu_s": cpu_s}


def targets(folder: Path, count: int) -> Path:
    file = folder / f"targets-{count}.csv"
    if not file.exists():
        targets_csv(file, Sky(), count // 4, box=Box(0, 360, -20, 60) if count > 20_000 else None)
    return file


def first(folder: Path, url: str, count: int, name: str, *further: str) -> list[str]:
    """Return the arguments of a collection of FIRST cutouts of 150x150 pixels."""
    return [
        *("--source", "first", "--targets", str(targets(folder, count)), "--size-arcmin", "4.5", "--larger", "keep"),
        *("--out", str(folder / name), "--base-url", url, *further),
    ]


def valid(dataset: Path) -> int:
    """Count the files that astropy reads whole and that show what was asked."""
    found = open_dataset(dataset)
    for row in range(len(found)):
        with fits.open(found.root / found.table["path"][row].as_py()) as hdus:
            assert hdus[0].data.shape == (150, 150)
            hdus[0].verify("exception")
    return len(found)


def rate(folder: Path, connections: int, count: int) -> tuple[float, float]:
    """Measure files a second, and milliseconds of processor time a file, the start of the command among them."""
    with sky_server(latency_s=LATENCY_S) as server:
        arguments = first(folder, server.url, count, f"rate{connections}", *UNLIMITED)
        result = collect(*arguments, "--max-connections", str(connections))
    files_per_s = count / result["fetch_seconds"]
    share = files_per_s / (connections / MEAN_S)
    print(
        f"{connections:3d} connections, {count} files: {files_per_s:6.1f} files/s, {share:.1%} of connections / "
        f"latency, {result['requests']} requests, {result['peak_mb']:.0f} MB, {1000 * result['cpu_s'] / count:.1f} ms "
        "of processor time a file"
    )
    return files_per_s, 1000 * result["cpu_s"] / count


def rate16(folder: Path) -> None:
    rate(folder, 16, 1_000)


def rate64(folder: Path) -> None:
    ours, _ = rate(folder, 64, 3_000)
    python = os.environ.get("IMG2DATASET_PYTHON")
    if not python:
        print("    img2dataset is not installed (IMG2DATASET_PYTHON): left out")
        return
    with sky_server(latency_s=LATENCY_S) as server:
        links = folder / "links.txt"
        with open(links, "w") as stream:
            for thing in Sky().catalogue(None, 3_000):
                place = f"{thing.ra_deg / 15:.7f}+{thing.dec_deg:.6f}"
                kind = "Equinox=J2000&ImageSize=4.5&ImageType=FITS+File&MaxImSize=1024"
                stream.write(f"{server.url}/cgi-bin/firstcutout?RA={place}&{kind}\n")
        out = folder / "img2dataset"
        script = (
            "from img2dataset import download; import sys; "
            "download(url_list=sys.argv[1], output_folder=sys.argv[2], processes_count=1, thread_count=64, "
            "output_format='files', disable_all_reencoding=True, number_sample_per_shard=3000, retries=0)"
        )
        began = time.monotonic()
        subprocess.run([python, "-c", script, str(links), str(out)], capture_output=True, check=True)
        took_s = time.monotonic() - began
    good = sum(file.read_bytes()[:9] == b"SIMPLE  =" for file in out.rglob("*.jpg"))
    theirs = good / took_s
    print(f"    img2dataset: {good} files in {took_s:.1f} s, {theirs:.1f} files/s; ours {ours / theirs:.2f}x")


ASTROQUERY = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from threading import local
from astropy import units as u
from astropy.coordinates import SkyCoord
from astroquery import cache_conf
from astroquery.image_cutouts.first import FirstClass
cache_conf.cache_active = False
url, file, out, threads = sys.argv[1:5]
places = [line.split(",")[1:3] for line in open(file).read().splitlines()[1:]]
own = local()
def get(number):
    if not hasattr(own, "first"):
        own.first = FirstClass()
        own.first.URL = url + "/cgi-bin/firstcutout"
    ra, dec = map(float, places[number])
    hdus = own.first.get_images(SkyCoord(ra, dec, unit="deg"), image_size=4.5 * u.arcmin)
    hdus.writeto(f"{out}/{number}.fits", output_verify="silentfix")
began = time.monotonic()
with ThreadPoolExecutor(int(threads)) as pool:
    list(pool.map(get, range(len(places))))
print(time.monotonic() - began, time.process_time())
"""


def astroquery(folder: Path) -> None:
    count = 1_000
    for threads in (16, 64):
        ours, our_ms = rate(folder, threads, count)
        with sky_server(latency_s=LATENCY_S) as server:
            out = folder / f"astroquery{threads}"
            out.mkdir()
            done = subprocess.run(
                [
                    sys.executable,
                    "-W",
                    "ignore",
                    "-c",
                    ASTROQUERY,
                    server.url,
                    targets(folder, count),
                    out,
                    str(threads),
                ],
                capture_output=True,
                text=True,
                check=True,
            )
        took_s, cpu_s = map(float, done.stdout.split()[-2:])
        theirs, their_ms = count / took_s, 1000 * cpu_s / count
        print(
            f"    astroquery in {threads} threads: {theirs:.1f} files/s, {their_ms:.1f} ms of processor time a file; "
            f"ours {ours / theirs:.2f}x the rate, {their_ms / our_ms:.1f} times less processor time"
        )


def faults(folder: Path) -> None:
    count, fast = 2_000, [*UNLIMITED, "--max-connections", "16"]
    with sky_server(latency_s=LATENCY_S) as server:
        plain = collect(*first(folder, server.url, count, "plain", *fast))
    single = [name for name in FAULTS_OF_FIRST if not name.startswith("429")]
    for title, names in (("without 429", single), ("with 429", FAULTS_OF_FIRST)):
        with sky_server(latency_s=LATENCY_S, faults=0.12, names=tuple(names)) as server:
            result = collect(*first(folder, server.url, count, f"faulty {title}", *fast))
            stats = server.stats()
        good = valid(folder / f"faulty {title}")
        print(
            f"12 % faulty ({title}): {good} of {count} valid, {result['requests'] / count:.3f} requests a file, "
            f"{result['fetch_seconds'] / plain['fetch_seconds']:.2f} times the time without faults "
            f"({result['fetch_seconds']:.1f} s to {plain['fetch_seconds']:.1f} s); sent: {stats['faults']}"
        )


FAULTS_OF_FIRST = (
    *("429-seconds", "429-date", "503", "html", "votable-error", "pre", "truncated", "truncated-chunked", "reset"),
    *("slow", "wrong-size", "blank", "elsewhere"),
)


LIMITS = (("told", ["--max-rate", "10"]), ("told 100", ["--max-rate", "100"]), ("not told", UNLIMITED))


def limit(folder: Path) -> None:
    count = 1_000
    for title, told in LIMITS:
        with sky_server(latency_s=LATENCY_S, limit_per_s=10) as server:
            arguments = first(folder, server.url, count, f"limit {title}", *told, "--max-connections", "16")
            result = collect(*arguments)
            stats = server.stats()
        refused = stats["statuses"].get("429", 0)
        print(
            f"10 requests/s allowed, {title}: {result['fetch_seconds'] / (count / 10):.3f} of the ideal time, "
            f"{refused} answers of 429 ({refused / stats['total']:.2%}), "
            f"{stats['too_soon']} requests inside a Retry-After window"
        )


def kills(folder: Path) -> None:
    count, connections, rng = 2_000, 32, random.Random(0)
    out, repeated = folder / "killed", []
    with sky_server(latency_s=LATENCY_S) as server:
        arguments = first(folder, server.url, count, "killed", *UNLIMITED, "--max-connections", str(connections))
        for _ in range(20):
            child = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            enough = server.stats()["total"] + rng.randint(1, 200)
            while server.stats()["total"] < enough and child.poll() is None:
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
            child.wait()
            time.sleep(0.5)  # what was on its way still reaches the server
            with sqlite3.connect(out / "journal.sqlite") as db:
                had = db.execute("SELECT COUNT(*) FROM image").fetchone()[0]
            repeated.append(server.stats()["total"] - had - sum(repeated))
        result = collect(*arguments)
        total = server.stats()["total"]
    good, dataset = valid(out), open_dataset(out)
    files = sum(1 for path in (out / "images").iterdir())
    assert len(set(dataset.column("id"))) == result["images"] == good == files == count, (good, files)
    print(
        f"20 kills, the last at {had} images: {good} of {count} valid, {files} files; of {total} requests "
        f"{total - count} were repeated, {max(repeated)} after one kill at most, of {connections} connections"
    )


MANY = """
import resource, sys, time
from pathlib import Path
import numpy as np
from rvtool.kinds import Box
from rvtool.verbs.collect.sky import covered, deduplicate
rng = np.random.default_rng(0)
ra = rng.uniform(120, 250, 100_000)
dec = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-8)), np.sin(np.radians(58)), 100_000)))
began = time.monotonic()
inside = covered(ra, dec, (Box(120, 255, -8, 58), Box(320, 50, -2.5, 1.6)))
twice = deduplicate(ra[inside], dec[inside], ["a"] * int(inside.sum()), 2.7)
print(time.monotonic() - began)
"""


def many(folder: Path) -> None:
    count = 100_000
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True)
    print(f"{count} targets: coverage and duplicates {float(done.stdout):.2f} s")
    with sky_server(latency_s=(0.0, 0.0)) as server:
        arguments = first(folder, server.url, count, "many", *UNLIMITED, "--max-connections", "16")
        arguments[arguments.index("4.5")] = "0.5"
        child = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while server.stats()["total"] < 2_000:
            time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        child.wait()
        time.sleep(0.5)
        before = server.stats()["total"]
        for again in (["--resume", str(folder / "many")], arguments):
            began = time.monotonic()
            child = subprocess.Popen(command(*again), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            while server.stats()["total"] == before:
                time.sleep(0.01)
            print(f"    {again[0]} ...: first request {time.monotonic() - began:.2f} s after the start of the command")
            if again is not arguments:
                child.send_signal(signal.SIGKILL)
                child.wait()
                time.sleep(0.5)
                before = server.stats()["total"]
        _, told = child.communicate()
        print(f"    all fetched and written, {used(told)[0]:.0f} MB at most")


CASES = {case.__name__: case for case in (rate16, rate64, astroquery, faults, limit, kills, many)}


def main() -> None:
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["RVTOOL_CACHE"] = f"{folder}/cache"
            CASES[name](Path(folder))


if __name__ == "__main__":
    main()
