"""Whole collections against the stand-in sky: what comes, what is asked, and that kills and faults lose nothing."""

import csv
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rvtool.data.dataset import open_dataset
from rvtool.data.files import cache_folder
from rvtool.errors import ConfigError, DataError, SourceError
from rvtool.testing.sky import Sky, sky_server, targets_csv
from rvtool.verbs.collect import Settings, run

FAST = {"max_rate": 10_000.0, "max_connections": 16}


@pytest.fixture
def targets(tmp_path):
    def make(of_each, **further):
        path = tmp_path / f"targets-{of_each}.csv"
        targets_csv(path, Sky(), of_each, **further)
        return path

    return make


def collect(sky, **settings):
    told = StringIO()
    kept = {"base_url": (sky.url,), **({} if {"status", "verify"} & set(settings) else FAST)}
    if "resume" not in settings and not {"status", "verify", "pair"} & set(settings):
        kept["source"] = "first"
    result = run(Settings(**{**kept, **settings}), Console(file=told, width=300))
    return result, told.getvalue()


def shows_the_sky(image, ra, dec):
    """Tell whether an image shows what the simulated sky holds there, but for FIRST's noise of 0.15 mJy/beam."""
    x, y = (float(value) + 1 for value in image.wcs.world_to_pixel_values(ra, dec))
    height, width = image.data.shape[-2:]
    truth = Sky().cutout(ra, dec, height, width, 1.8, 5.4, 0.0, crpix=(x, y))
    return np.abs(image.data[0] - truth).max() < 7 * 1.5e-4 + 0.02 * truth.max()


def asked(sky):
    return sky.stats()["total"]


def test_every_target_becomes_a_valid_image_with_its_provenance(tmp_path, sky, targets):
    file = targets(8)
    result, _ = collect(sky, targets=file, out=tmp_path / "d", larger="keep")
    assert (result["images"], result["requests"], result["failures"]) == (32, 32, [])
    dataset = open_dataset(tmp_path / "d")
    assert dataset.classes("label") == ("Bent", "Compact", "FRI", "FRII")
    with open(file) as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    for number, name in enumerate(dataset.column("id")):
        ra, dec = float(rows[name]["ra_deg"]), float(rows[name]["dec_deg"])
        assert dataset.image(number).data.shape == (1, 150, 150)
        assert shows_the_sky(dataset.image(number), ra, dec)
    provenance = {"request", "fetched", "server_date", "licence", "pixels_sha256", "coadd", "epoch"}
    assert provenance <= set(dataset.table.column_names)
    assert "Becker" in (tmp_path / "d/CITATION.bib").read_text()
    assert "NRAO" in (tmp_path / "d/ACKNOWLEDGEMENTS.md").read_text().replace("National Radio Astronomy", "NRAO")
    records = json.loads((tmp_path / "d/metadata.json").read_text())
    assert sorted(record["object_type"] for record in records) == sorted(dataset.column("label"))


def test_a_finished_collection_asks_nothing_more(tmp_path, sky, targets):
    collect(sky, targets=targets(3), out=tmp_path / "d")
    before = (tmp_path / "d/manifest.parquet").read_bytes()
    sky.reset()
    result, _ = collect(sky, resume=tmp_path / "d")
    again, _ = collect(sky, targets=targets(3), out=tmp_path / "d")
    assert result["requests"] == again["requests"] == asked(sky) == 0
    assert (tmp_path / "d/manifest.parquet").read_bytes() == before


def test_faults_of_every_kind_leave_only_valid_files(tmp_path, targets):
    with sky_server(latency_s=(0.0, 0.005), faults=0.5, names=("503", "html", "truncated", "reset", "blank")) as sky:
        result, _ = collect(sky, targets=targets(10), out=tmp_path / "d", larger="keep")
        assert sum(sky.stats()["faults"].values()) > 5
    assert result["images"] == 40
    assert result["requests"] > 45
    dataset = open_dataset(tmp_path / "d")
    for number in range(len(dataset)):
        place = dataset.column("ra_deg")[number], dataset.column("dec_deg")[number]
        assert shows_the_sky(dataset.image(number), *place)


def test_what_stays_faulty_is_listed_and_a_later_try_gets_it(tmp_path, targets, sky):
    file = targets(3)
    with sky_server(faults=0.5, names=("html",), every=True) as broken:
        result, told = collect(broken, targets=file, out=tmp_path / "d", attempts=2)
    assert 0 < len(result["failures"]) < 12
    assert "could not be had" in told
    with open(tmp_path / "d/failures.csv") as stream:
        assert {row["id"] for row in csv.DictReader(stream)} == {row["id"] for row in result["failures"]}
    result, told = collect(sky, resume=tmp_path / "d")
    assert (result["images"], result["failures"]) == (12, [])
    assert "that failed are asked for again" in told
    assert not (tmp_path / "d/failures.csv").exists()


def test_a_class_is_filled_to_its_quota_in_turn_and_a_shortfall_is_told(tmp_path, sky):
    settings = {"class_": ("quasar", "pulsar"), "count": 3, "source": "nvss"}
    collect(sky, **settings, out=tmp_path / "d")
    labels = open_dataset(tmp_path / "d").column("label").tolist()
    assert (labels.count("quasar"), labels.count("pulsar")) == (3, 3)
    assert "Manchester" in (tmp_path / "d/CITATION.bib").read_text()
    dry, told = collect(sky, **settings | {"count": 100_000}, out=tmp_path / "e", dry_run=True)
    assert "too few candidates of 'pulsar'" in told
    assert dry["images"] == sum(min(100_000, row["pending"]) for row in dry["classes"].values())
    assert not (tmp_path / "e").exists()


def test_places_and_names_are_fetched(tmp_path, sky):
    collect(sky, source="nvss", position=("M87", "10 50 07.27 +30 40 37.5"), out=tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    assert dataset.column("id").tolist() == ["M87", "J105007.27+304037.5"]
    assert dataset.column("ra_deg")[1] == pytest.approx(162.5302917)
    with pytest.raises(ConfigError, match="No position is known of 'Nobody'"):
        collect(sky, source="nvss", position=("Nobody",), out=tmp_path / "e")
    with pytest.raises(ConfigError, match="right ascension 400 is not within"):
        collect(sky, source="nvss", position=("400 20",), out=tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_what_is_outside_or_twice_is_not_asked_for(tmp_path, sky):
    (tmp_path / "t.csv").write_text(
        "name,ra,dec,class\na,180,30,FRI\nb,180.0001,30,FRI\nsouth,180,-60,FRI\nc,190,30,FRI\nd,190.0001,30,FRII\n"
    )
    _, told = collect(sky, targets=tmp_path / "t.csv", out=tmp_path / "d")
    assert open_dataset(tmp_path / "d").column("id").tolist() == ["a"]
    assert asked(sky) == 1
    assert "1 of 5 targets lie outside" in told
    assert "conflict: c is FRI, d at the same place is FRII" in told
    assert "c,FRI,d,FRII" in (tmp_path / "d/conflicts.csv").read_text()


def test_a_source_larger_than_its_cutout_is_fetched_again_at_twice_the_field(tmp_path, sky):
    (tmp_path / "t.csv").write_text("name,ra,dec,las_arcsec\nbig,180,30,250\nsmall,190,30,20\nhuge,200,30,2000\n")
    result, _ = collect(sky, targets=tmp_path / "t.csv", out=tmp_path / "d", max_blank=0.9)
    dataset = open_dataset(tmp_path / "d")
    assert dict(zip(dataset.column("id"), dataset.words("field_factor"), strict=True)) == {"big": "2", "small": None}
    assert [dataset.image(row).data.shape for row in (0, 1)] == [(1, 300, 300), (1, 150, 150)]
    assert result["failures"][0]["reason"] == "larger than the cutout at twice the field too"
    result, _ = collect(sky, targets=tmp_path / "t.csv", out=tmp_path / "e", larger="aside")
    assert {row["id"] for row in result["failures"]} == {"big", "huge"}


def test_a_pair_is_brought_onto_one_grid_and_counts_when_both_halves_are_there(tmp_path, sky):
    (tmp_path / "t.csv").write_text("name,ra,dec\nboth,150.3,30.2\nsouth,150.3,-35\n")
    collect(sky, pair=("first", "nvss"), targets=tmp_path / "t.csv", out=tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    assert dataset.column("id").tolist() == ["both"]
    image, target = dataset.image(0), dataset.target(0)
    assert image.data.shape == target.data.shape
    assert image.wcs.wcs.compare(target.wcs.wcs)
    assert dataset.info["target"]["beam_major_arcsec"] == 45
    assert {"request", "target_request"} <= set(dataset.table.column_names)


def test_excluded_images_stay_in_the_manifest_with_their_reasons(tmp_path, sky, targets):
    collect(sky, targets=targets(3), out=tmp_path / "d", mosaic=True)
    assert (tmp_path / "d/mosaic/mosaic-001.png").exists()
    (tmp_path / "no.csv").write_text("2,two sources\n")
    result, _ = collect(sky, resume=tmp_path / "d", exclude=tmp_path / "no.csv")
    every, kept = open_dataset(tmp_path / "d", excluded=True), open_dataset(tmp_path / "d")
    assert (len(every), len(kept), result["images"]) == (12, 11, 11)
    assert every.words("excluded").tolist() == [None, "two sources", *[None] * 10]
    assert every.column("id")[1] not in kept.column("id").tolist()


def test_a_damaged_file_is_found_and_fetched_again(tmp_path, sky, targets):
    collect(sky, targets=targets(2), out=tmp_path / "d")
    file = next((tmp_path / "d/images").iterdir())
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    result, told = collect(sky, verify=tmp_path / "d")
    assert len(result["failures"]) == 1
    assert "has changed since it was fetched" in told
    sky.reset()
    collect(sky, resume=tmp_path / "d")
    assert asked(sky) == 1
    assert len(file.read_bytes()) == len(whole)
    result, told = collect(sky, status=tmp_path / "d")
    assert result["states"] == {"had": 8}


def test_a_kill_at_any_moment_loses_and_repeats_nothing_that_was_finished(tmp_path, targets):
    out, rng = tmp_path / "d", random.Random(1)
    with sky_server(latency_s=(0.02, 0.06)) as sky:
        command = [sys.executable, "-m", "rvtool", "collect", "--source", "first", "--targets", targets(60)]
        command += ["--out", out, "--base-url", sky.url, "--max-rate", 10_000, "--max-connections", 8]
        command += ["--larger", "keep"]
        for _ in range(3):
            child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
            enough = asked(sky) + rng.randint(20, 50)
            while asked(sky) < enough:
                assert child.poll() is None
                time.sleep(0.005)
            child.send_signal(signal.SIGKILL)
            child.wait()
            with sqlite3.connect(out / "journal.sqlite") as db:
                had = db.execute("SELECT path, sha256 FROM image").fetchall()
        assert 0 < len(had) < 240
        result, _ = collect(sky, resume=out)
        assert result["images"] == 240
        assert asked(sky) <= 240 + 3 * 8
    dataset = open_dataset(out)
    assert len(set(dataset.column("sha256"))) == len(list((out / "images").iterdir())) == 240
    kept = dict(zip(dataset.column("path"), dataset.column("sha256"), strict=True))
    assert all(kept[path] == sha256 for path, sha256 in had)  # not fetched again: FIRST writes the time into its files


def test_ctrl_c_lets_come_what_is_in_flight_and_tells_how_to_go_on(tmp_path, targets):
    with sky_server(latency_s=(0.1, 0.2)) as sky:
        command = [sys.executable, "-m", "rvtool", "collect", "--source", "first", "--targets", targets(60)]
        command += ["--out", tmp_path / "d", "--base-url", sky.url, "--max-rate", 100, "--max-connections", 8]
        child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        while asked(sky) < 10:
            assert child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        told, _ = child.communicate()
        assert child.returncode == 3
        assert f"go on with: rvtool collect --resume {tmp_path / 'd'}" in told
        assert len(open_dataset(tmp_path / "d")) == asked(sky)  # what was asked for came, and is usable at once


def test_shared_replies_are_fetched_once_and_bad_ones_never_kept(tmp_path, sky):
    (tmp_path / "t.csv").write_text("name,ra,dec\na,150.3,30.2\nb,150.31,30.21\n")
    settings = {"source": "sdss", "config": {"form": "fits", "size_arcmin": 0.5}, "targets": tmp_path / "t.csv"}
    collect(sky, **settings, out=tmp_path / "d")
    first = asked(sky)
    collect(sky, **settings, out=tmp_path / "e")
    assert asked(sky) - first < first
    assert len(list((cache_folder() / "replies").iterdir())) >= 1


def test_an_unreachable_service_is_told_at_once_and_nothing_stays(tmp_path, targets):
    nowhere = type("Nowhere", (), {"url": "http://127.0.0.1:9"})
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9 cannot be reached.*Connection refused"):
        collect(nowhere, targets=targets(3), out=tmp_path / "d", attempts=2)
    result, _ = collect(nowhere, status=tmp_path / "d")
    assert result["states"]["pending"] + result["states"].get("failed", 0) == 12


def test_another_collection_is_not_mixed_in(tmp_path, sky, targets):
    collect(sky, targets=targets(1), out=tmp_path / "d")
    with pytest.raises(DataError, match="was begun with source = 'first', not 'nvss'; choose another --out"):
        collect(sky, source="nvss", targets=targets(1), out=tmp_path / "d")
    with pytest.raises(ConfigError, match="--seed cannot be changed by --resume"):
        collect(sky, resume=tmp_path / "d", seed=3)
    with pytest.raises(DataError, match="has no journal"):
        collect(sky, resume=tmp_path)


def test_what_to_fetch_must_be_said_in_one_way(tmp_path, sky, targets):
    with pytest.raises(ConfigError, match="Say what to fetch from 'first'"):
        collect(sky, out=tmp_path / "d")
    with pytest.raises(ConfigError, match="in one way"):
        collect(sky, position=("1 2",), class_=("FRI",), out=tmp_path / "d")
    with pytest.raises(ConfigError, match="No class is named 'quasr': did you mean 'quasar'"):
        collect(sky, class_=("quasr",), out=tmp_path / "d")
    with pytest.raises(ConfigError, match="--pair takes two sources"):
        collect(sky, pair=("first",), out=tmp_path / "d")
    with pytest.raises(ConfigError, match="no address for source 'first'"):
        collect(sky, targets=targets(1), base_url=("ftp://x",), out=tmp_path / "d")
    with pytest.raises(ConfigError, match="No source is named 'frist'"):
        collect(sky, targets=targets(1), set={"source": {"frist": {}}}, out=tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_password_in_an_address_is_written_nowhere(tmp_path, sky, targets):
    url = sky.url.replace("//", "//me:secret@")
    collect(sky, targets=targets(1), base_url=(url,), out=tmp_path / "d")
    for file in Path(tmp_path / "d").rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes(), file


def test_a_catalogue_without_images_gives_a_table_of_targets(tmp_path, sky):
    result, told = collect(sky, source="atnf", out=tmp_path / "psr")
    assert result["count"] > 100
    with open(tmp_path / "psr.csv") as stream:
        assert {"id", "ra_deg", "dec_deg", "label"} <= set(next(csv.DictReader(stream)))
    assert "--targets" in told
    with pytest.raises(ConfigError, match="Source 'atnf' does not list 'quasar'; 'sdss' does"):
        collect(sky, source="atnf", class_=("quasar",), out=tmp_path / "qso")
    result, _ = collect(sky, source="nvss", targets=tmp_path / "psr.csv", count=4, out=tmp_path / "d")
    assert result["images"] == 4
