"""What `rvtool compress` reaches beside the other codecs, every row from one run; the gate of `compare-codecs` applied.

    python tests/benchmarks/compress.py [--only CASE ...] [--data ../shared/data] [--codec predictive]

All bytes on disk count, one thread. Without ``--only`` every case is run, which takes about half an hour:

    fields    three simulated maps (see fields.py) at 0.125 to 1 sigma: 0.77, 0.79 and 1 times JPEG-XL's bytes at 0.25
              (gauss4, uv, white), and never above the best codec that passes the gate
    atca      two ATCA maps at the same bounds: at most 1.05 bit/pixel at 0.25 sigma on the first
    lossless  the first, bit by bit: at most 21.5 bit/pixel
    maps      the pixels alone of all float maps and of 60 FIRST cutouts at 0.25 sigma: median 0.75 times JPEG-XL's,
              none above
    cutouts   all FIRST cutouts, each its own file: below Rice and JPEG-XL in files of the same kind, at most two FITS
              blocks beyond header and pixels; and as one archive: at most 75 % of the files
    speed     decode and encode at least 25 and 10 MB/s, and 60 both ways at the fast level
    memory    a cube larger than what may be held: under 3 rows of tiles

Absolute bounds on the simulated maps, whose noise is known; elsewhere the noise is measured. The ATCA map is also
compressed at the sigma for which the step that fpack takes at q = 4 is 0.079 sigma.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from fields import BEAM_PX, NAMES, SIGMA, limit
from fields import field as simulated
from rich.console import Console
from rich.table import Table

from rvtool.compressed.coder import Coder
from rvtool.compressed.files import SUFFIX, ErrorBound, compress_file
from rvtool.data.units import BLOCK, open_units
from rvtool.plugins import component
from rvtool.verbs.compare_codecs import tell
from rvtool.verbs.compare_codecs.judge import Subject, Verdict, judge, subject_of

OTHERS = ("jpegxl", "jpegls", "sz3", "sperr", "pcodec", "rice", "hcompress")
BOUNDS = (0.125, 0.25, 0.5, 1.0)
AT = 0.25  # sigma, where the issue names figures
OF_JPEGXL = {"gauss4": 0.77, "uv": 0.79, "white": 1.0}
ATCA = ("ScorpioExtendedSourceField.fits", "ScorpioFaintSNRField.fits")
FPACK_STEP = 0.079  # of the first, in the sigma that its published figures are given in
FAST = "fast=true"  # setting of the codec's fast level
CUBE_MB = 512
CONSOLE = Console(width=100)


@dataclass
class Run:
    """What was asked for, a folder to work in, and the rows that were found."""

    codec: str
    data: Path
    folder: Path
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def found(self, what: str, ours: float, goal: float, others: str = "", *, least: bool = False) -> None:
        """Add a row to the table at the end; `least` where more is better."""
        met = ours >= goal if least else ours <= goal
        row = (what, f"{'>=' if least else '<='} {goal:.4g}", f"{ours:.4g}", others, "yes" if met else "NO")
        self.rows.append(row)
        print("   ", *row, flush=True)


def built(name: str) -> Any:
    chosen = component("codec", name)
    return chosen.load()(chosen.configure())


def judged(
    run: Run, subject: Subject, asked: str, bound: ErrorBound | None, others: tuple[str, ...]
) -> dict[str, Verdict]:
    """Judge our codec and others on an image, print the table, and return the verdicts by codec, in its order."""
    verdicts = [judge(subject, name, built(name), asked, bound, repeats=1) for name in (run.codec, *others)]
    verdicts = tell.ranked(verdicts)
    tell.show(verdicts, CONSOLE)
    return {verdict.codec: verdict for verdict in verdicts}


def against_best(run: Run, what: str, verdicts: dict[str, Verdict]) -> None:
    """Our bytes must not be more than those of the best other codec that passes the gate."""
    ours = verdicts[run.codec]
    rivals = [one for one in verdicts.values() if one.codec != run.codec and not one.failures]
    best = min(rivals, key=lambda one: one.bytes)
    others = f"{best.codec} {best.bytes:,} bytes, {best.bits_per_pixel:.3f} bit/pixel; ours {ours.bytes:,}"
    run.found(f"{what}, bytes of the best that passes", gated(ours, ours.bytes) / best.bytes, 1.0, others)


def gated(verdict: Verdict, value: float) -> float:
    """What fails the gate reaches nothing."""
    return float("inf") if verdict.failures else value


def fields(run: Run) -> None:
    for name in NAMES:
        file = run.folder / f"{name}.fits"
        header = fits.Header([("CTYPE1", "RA---SIN"), ("CTYPE2", "DEC--SIN"), ("BUNIT", "Jy/beam")])
        header.update(
            {"CDELT1": -1 / 3600, "CDELT2": 1 / 3600, "BMAJ": BEAM_PX[name] / 3600, "BMIN": BEAM_PX[name] / 3600}
        )
        fits.PrimaryHDU(simulated(name), header).writeto(file)
        subject = subject_of(file)
        for eps in BOUNDS:
            verdicts = judged(run, subject, f"{eps:g}sigma", ErrorBound(eps * SIGMA, in_sigma=False), OTHERS)
            what = f"{name}, {eps:g} sigma"
            if eps == AT:
                ours, theirs = verdicts[run.codec], verdicts["jpegxl"]
                told = f"{theirs.bits_per_pixel:.3f} to {ours.bits_per_pixel:.3f} bit/pixel"
                told += f"; the noise's limit {limit(name, eps):.2f}"
                run.found(f"{what}, bytes of JPEG-XL's", gated(ours, ours.bytes) / theirs.bytes, OF_JPEGXL[name], told)
                print(f"    fpack as shipped (q = 4): {fpack(subject)[0]:.2f} bit/pixel")
            against_best(run, what, verdicts)


def fpack(subject: Subject) -> tuple[float, float]:
    """Return bits a pixel of RICE_1 as fpack is shipped (q = 4, dither, a row a tile), and the median of its steps."""
    shape = subject.pixels.shape
    tile = (*(1 for _ in shape[:-1]), shape[-1])
    hdu = fits.CompImageHDU(
        subject.pixels, tile_shape=tile, compression_type="RICE_1", quantize_level=4, quantize_method=1, dither_seed=1
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.fits.fz"
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        with fits.open(path, disable_image_compression=True) as hdus:
            return 8 * path.stat().st_size / subject.pixels.size, float(np.median(hdus[1].data["ZSCALE"]))


def atca(run: Run) -> None:
    for number, file in enumerate(ATCA):
        subject = subject_of(run.data / "radio-images" / file)
        bits, step = fpack(subject)
        theirs = step / FPACK_STEP
        print(
            f"{file}: sigma {subject.sigma:.4g}; fpack as shipped (q = 4): {bits:.2f} bit/pixel, its step is {step:.4g}"
        )
        for eps in BOUNDS:
            verdicts = judged(run, subject, f"{eps:g}sigma", ErrorBound(eps, in_sigma=True), OTHERS)
            if eps == AT and number == 0:
                atca_bits(run, "our sigma", verdicts)
            against_best(run, f"{file}, {eps:g} sigma", verdicts)
        if number == 0:
            print(f"sigma at which fpack's step is {FPACK_STEP} sigma: {theirs:.4g}")
            bound = ErrorBound(AT * theirs, in_sigma=False)
            atca_bits(run, "fpack's sigma", judged(run, subject, f"{AT * theirs:.4g}", bound, OTHERS))


def atca_bits(run: Run, whose: str, verdicts: dict[str, Verdict]) -> None:
    ours = verdicts[run.codec]
    told = [f"{name} {verdicts[name].bits_per_pixel:.3f}" for name in ("jpegxl", "rice")]
    others = f"{', '.join(told)}; {ours.payload_bits_per_pixel:.3f} without headers"
    run.found(f"ATCA, {AT} of {whose}, bit/pixel", gated(ours, ours.bits_per_pixel), 1.05, others)


def lossless(run: Run) -> None:
    verdicts = judged(run, subject_of(run.data / "radio-images" / ATCA[0]), "lossless", None, (*OTHERS, "fpzip"))
    best = next(one for one in verdicts.values() if one.codec != run.codec)
    others = f"{best.codec} {best.bits_per_pixel:.2f}"
    ours = verdicts[run.codec]
    run.found("ATCA, lossless, bit/pixel", gated(ours, ours.bits_per_pixel), 21.5, others)


def maps(run: Run) -> None:
    ratios: dict[str, float] = {}
    cutouts = sorted((run.data / "first-fits").glob("*.fits"))
    for path in [*sorted((run.data / "radio-images").glob("*fits*")), *cutouts[:: len(cutouts) // 60 + 1][:60]]:
        subject = subject_of(path)
        if subject.pixels.dtype.kind != "f":
            continue
        bound = ErrorBound(AT, in_sigma=True)
        ours, theirs = (
            judge(subject, name, built(name), f"{AT}sigma", bound, repeats=1, gate=False)
            for name in (run.codec, "jpegxl")
        )
        assert not ours.failures, (path, ours.failures)
        ratios[path.name] = ours.payload_bytes / theirs.payload_bytes
        print(
            f"    {path.name:44} {'x'.join(map(str, subject.pixels.shape)):16} {theirs.payload_bits_per_pixel:7.3f} -> "
            f"{ours.payload_bits_per_pixel:7.3f} bit/pixel  {ratios[path.name]:.3f}",
            flush=True,
        )
    worst = max(ratios, key=lambda name: ratios[name])
    run.found(f"{len(ratios)} maps, pixels alone, median of JPEG-XL's", float(np.median(list(ratios.values()))), 0.75)
    run.found("the same, the worst", ratios[worst], 1.0, worst)


def cutouts(run: Run) -> None:
    sources = sorted((run.data / "first-fits").glob("*.fits"))
    bound = ErrorBound(AT, in_sigma=True)
    totals, worst_over = {}, 0
    for name in (run.codec, "jpegxl", "rice"):
        codec, total = built(name), 0
        for source in sources:
            out = run.folder / f"{name}{SUFFIX}"
            report = compress_file(source, out, codec, bound, name, overwrite=True)
            total += report.out_bytes
            if name == run.codec:
                worst_over = max(worst_over, report.out_bytes - least_bytes(source, codec, report.images[0].bound))
        totals[name] = total
        print(f"    {name}: {total:,} bytes of {sum(source.stat().st_size for source in sources):,}", flush=True)
    ours = totals.pop(run.codec)
    for name, total in totals.items():
        run.found(f"{len(sources)} FIRST cutouts, bytes of {name}'s", ours / total, 1.0, f"{total:,} to {ours:,} bytes")
    run.found("the same, FITS blocks beyond header and pixels, at most", worst_over / BLOCK, 2)

    from rvtool.compressed.archive import write_archive

    out = run.folder / f"archive{SUFFIX}"
    names = [source.name for source in sources]
    write_archive(sources, names, out, built(run.codec), bound, run.codec)
    size = out.stat().st_size
    run.found("the same as one archive, part of the files", size / ours, 0.75, f"{size:,} of {ours:,} bytes")


def least_bytes(source: Path, codec: Any, bound: float) -> int:
    """Return the bytes of the source's headers and of its coded pixels in whole FITS blocks."""
    with open_units(source) as units:
        headers = sum(len(unit.header) for unit in units)
        image = next(unit for unit in units if unit.is_image)
        coder = Coder(codec, bound / image.scale)
        payload = coder.payload(coder.encode(image.array()))
    return headers + -(-payload // BLOCK) * BLOCK


def speed(run: Run) -> None:
    """Ask in a fresh process, which has compiled code to load and nothing else to do."""
    image = run.data / "radio-images" / ATCA[0]
    for level, settings, goals in (
        ("default", (), (10, 25)),
        ("fast", ("--set", f"codec.{run.codec}.{FAST}"), (60, 60)),
    ):
        command = ("compare-codecs", str(image), "--codec", run.codec, "--no-gate", "--json", *settings)
        done = subprocess.run([sys.executable, "-m", "rvtool", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"    {level}: {done.stderr.strip()}")
            continue
        result = json.loads(done.stdout)["results"][0]
        for way, goal in zip(("encode", "decode"), goals, strict=True):
            told = f"{result['bits_per_pixel']:.3f} bit/pixel"
            run.found(f"{way}, {level}, MB/s", result[f"{way}_mb_s"], goal, told, least=True)


MEMORY = """
import os, sys, threading, time
from pathlib import Path
from rvtool.compressed.files import ErrorBound, compress_file, decompress_file
from rvtool.plugins import component
peak = 0
def watch():
    global peak
    while True:
        resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
        peak = max(peak, resident - shared)
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
name, small, large, folder = sys.argv[1], *map(Path, sys.argv[2:])
chosen = component("codec", name)
codec = chosen.load()(chosen.configure())
def done():
    global peak
    print(peak * os.sysconf("SC_PAGE_SIZE") / 1e6)
    peak = 0
for step, source in enumerate((small, large)):
    packed, again = folder / f"{step}.rv.fits", folder / f"{step}.fits"
    compress_file(source, packed, codec, ErrorBound(0.25, in_sigma=True), name)
    done()
    decompress_file(packed, again)
    done()
"""


def memory(run: Run) -> None:
    """Compress and restore a cube in a process of its own, after a small image that loads all code.

    Pages of files that are mapped do not count: they are the system's to drop.
    """
    small, large = run.folder / "small.fits", run.folder / "large.fits"
    plane = simulated("gauss4")
    fits.PrimaryHDU(plane[:64, :64]).writeto(small)
    count = CUBE_MB * 1_000_000 // plane.nbytes
    header = fits.PrimaryHDU(np.zeros((1, 1, 1), np.float32)).header
    header["NAXIS1"], header["NAXIS2"], header["NAXIS3"] = plane.shape[1], plane.shape[0], count
    cube = fits.StreamingHDU(large, header)
    for number in range(count):
        cube.write(np.roll(plane, 37 * number, axis=number % 2))
    cube.close()
    command = [sys.executable, "-c", MEMORY, run.codec, str(small), str(large), str(run.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *before, packed, restored = map(float, done.stdout.split())
    tile = built(run.codec).tile_shape((count, *plane.shape))
    row_mb = tile[0] * tile[1] * plane.shape[1] * plane.itemsize / 1e6
    told = (
        f"a cube of {large.stat().st_size:,} bytes; a row of tiles is {row_mb:.1f} MB, the process {max(before):.0f} MB"
    )
    for way, most, least in zip(("compressing", "restoring"), (packed, restored), before, strict=True):
        run.found(f"memory that {way} adds, rows of tiles", (most - least) / row_mb, 3, told)


CASES = {case.__name__: case for case in (fields, atca, lossless, maps, cutouts, speed, memory)}
ON_DATA = (atca, lossless, maps, cutouts, speed)


def cases(only: list[str], data: Path) -> Iterator[Any]:
    for name in only or CASES:
        if CASES[name] in ON_DATA and not data.is_dir():
            print(f"{name}: left out, {data} is missing")
        else:
            yield CASES[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=[], metavar="CASE")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--codec", default="predictive")
    given = parser.parse_args()
    rows = []
    for case in cases(given.only, given.data):
        with tempfile.TemporaryDirectory() as folder:
            run = Run(given.codec, given.data, Path(folder))
            case(run)
            rows += run.rows
    table = Table(title=f"{given.codec} beside the others")
    for heading in ("", "goal", "reached", "others", "met"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)


if __name__ == "__main__":
    main()
