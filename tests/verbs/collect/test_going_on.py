"""Going on with a collection, stopped ones among them: nothing moves, nothing is forgotten, nothing else is touched."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError, WriteError
from rvtool.testing.sky import Sky, sky_server, targets_csv
from rvtool.verbs.collect import Settings, run
from rvtool.verbs.collect.journal import PENDING, Journal


@pytest.fixture
def targets(tmp_path):
    file = tmp_path / "targets.csv"
    targets_csv(file, Sky(), 10)
    return file


def collect(**settings):
    told = StringIO()
    result = run(Settings(**settings), Console(file=told, width=300))
    return result, told.getvalue()


def first(sky, **settings):
    return collect(source="first", base_url=(sky.url,), max_rate=1e4, max_connections=8, **settings)


def forget(out, count):
    """Make a collection as it was when `count` of its images were still missing."""
    with sqlite3.connect(out / "journal.sqlite") as db:
        db.execute("DELETE FROM image WHERE number IN (SELECT number FROM target ORDER BY number LIMIT ?)", (count,))
        db.execute(
            "UPDATE target SET state = ? WHERE number IN (SELECT number FROM target ORDER BY number LIMIT ?)",
            (PENDING, count),
        )


def test_no_image_moves_from_one_split_to_another(tmp_path, sky, targets):
    out = tmp_path / "d"
    first(sky, targets=targets, out=out)
    forget(out, 20)
    (out / "manifest.parquet").unlink()
    first(sky, targets=targets, out=out)
    before = dict(zip(open_dataset(out).column("id"), open_dataset(out).column("split"), strict=True))
    forget(out, 7)
    result, _ = collect(resume=out)
    after = open_dataset(out)
    assert result["images"] == 40
    assert dict(zip(after.column("id"), after.column("split"), strict=True)) == before


def test_images_that_come_later_keep_their_group_together(tmp_path, sky):
    (tmp_path / "t.csv").write_text("name,ra,dec\n" + "".join(f"t{n},{150 + n},30\n" for n in range(12)))
    near = "".join(f"near{n},{150 + n},30.03\n" for n in range(12))  # shares pixels with its neighbour
    (tmp_path / "all.csv").write_text((tmp_path / "t.csv").read_text() + near)
    out = tmp_path / "d"
    first(sky, targets=tmp_path / "all.csv", out=out, split="50/25/25")
    with sqlite3.connect(out / "journal.sqlite") as db:
        db.execute("UPDATE target SET state = 'absent' WHERE id LIKE 'near%'")
    (out / "manifest.parquet").unlink()
    collect(resume=out)
    with sqlite3.connect(out / "journal.sqlite") as db:
        db.execute("UPDATE target SET state = 'pending' WHERE id LIKE 'near%'")
    collect(resume=out)
    dataset = open_dataset(out)
    splits = dict(zip(dataset.column("id"), dataset.column("split"), strict=True))
    assert len(splits) == 24
    assert all(splits[f"t{n}"] == splits[f"near{n}"] for n in range(12))
    assert len(set(splits.values())) == 3


def test_what_it_was_begun_with_holds_until_it_is_given_anew(tmp_path, sky, targets):
    out = tmp_path / "d"
    first(sky, targets=targets, out=out, attempts=2)
    forget(out, 3)
    result, _ = collect(resume=out)  # at the address of the stand-in, and not at the service's own
    assert (result["images"], result["requests"]) == (40, 3)
    with sky_server() as other:
        forget(out, 2)
        collect(resume=out, base_url=(other.url,))
        forget(out, 2)
        collect(resume=out)
        assert other.stats()["total"] == 4
    assert collect(resume=out, seed=0)[0]["images"] == 40
    with pytest.raises(ConfigError, match="--max-blank cannot be changed by --resume"):
        collect(resume=out, max_blank=0.0)


def test_targets_that_have_changed_are_not_passed_over(tmp_path, sky, targets, blobs):
    out = tmp_path / "d"
    first(sky, targets=targets, out=out)
    targets.write_text(targets.read_text() + "new,180,30,FRI\n")
    with pytest.raises(DataError, match=r"targets\.csv has changed since .* was begun with it; choose another --out"):
        first(sky, targets=targets, out=out)
    folder = blobs(4)
    collect(source="folder", config={"path": folder}, out=tmp_path / "e")
    np.save(folder / "one/new.npy", np.eye(4))
    with pytest.raises(DataError, match="has changed since"):
        collect(source="folder", config={"path": folder}, out=tmp_path / "e")


def test_a_kill_before_the_first_target_leaves_the_folder_usable(tmp_path, sky, targets):
    for left in ("nothing", "empty"):
        out = tmp_path / left
        out.mkdir()
        if left == "empty":
            (out / "journal.sqlite").touch()
        else:
            Journal(out, fresh=True).close()
        assert first(sky, targets=targets, out=out)[0]["images"] == 40
    (tmp_path / "new").mkdir()
    Journal(tmp_path / "new", fresh=True).close()
    with pytest.raises(DataError, match="was stopped while its targets were listed; give its first command again"):
        collect(resume=tmp_path / "new")


def test_the_folder_of_a_process_that_is_at_work_is_left_alone(tmp_path, sky, targets):
    out = tmp_path / "d"
    out.mkdir()
    journal = Journal(out, fresh=True)
    with pytest.raises(DataError, match="Another rvtool is collecting"):
        first(sky, targets=targets, out=out)
    assert (out / "journal.sqlite").exists()
    assert "at this moment" in collect(status=out)[1]
    journal.close()


def test_a_place_that_cannot_be_written_to_is_told(sky, targets):
    for out in ("/dev/null/x", "/proc/nowhere/x", "d" * 300):
        with pytest.raises(WriteError, match="cannot be written"):
            first(sky, targets=targets, out=out)


def test_a_damaged_journal_is_told(tmp_path, sky, targets):
    out = tmp_path / "d"
    first(sky, targets=targets, out=out)
    file = out / "journal.sqlite"
    whole = bytearray(file.read_bytes())
    whole[4096:] = os.urandom(len(whole) - 4096)
    file.write_bytes(whole)
    for settings in ({"resume": out}, {"verify": out}, {"status": out}):
        with pytest.raises(DataError, match=r"damaged|cannot be used"):
            collect(**settings)


def test_a_larger_first_source_does_not_decide_for_the_dataset(tmp_path, sky):
    rows = "".join(f"t{n},{150 + n},30,20\n" for n in range(5))
    (tmp_path / "t.csv").write_text(f"name,ra,dec,las_arcsec\nbig,145,30,250\n{rows}")
    result, _ = first(sky, targets=tmp_path / "t.csv", out=tmp_path / "d", max_blank=0.9, export=("npy",))
    side = open_dataset(tmp_path / "d").info["image"]
    assert (side["height"], side["width"], side["largest_px"]) == (150, 150, 300)
    assert result["images"] == 6
    with open(tmp_path / "d/export/npy/left-out.csv") as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == ["big"]


def test_columns_of_a_person_never_stand_for_the_manifests_own(tmp_path, sky, blobs):
    folder = blobs(4)
    rows = "".join(f"{kind}/{number:03d}.png,dead,mine,x\n" for kind, number in (("one", 0), ("two", 1)))
    (folder / "labels.csv").write_text(f"file,sha256,pixels_sha256,source\n{rows}")
    collect(source="folder", config={"path": folder}, out=tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    assert set(dataset.column("sha256_given")) == {"dead"}
    assert "dead" not in dataset.column("sha256")
    assert set(dataset.column("source")) == {"x"}  # a folder says nothing of its own there


def test_coverage_that_cannot_be_had_stops_nothing(tmp_path, sky):
    (tmp_path / "t.csv").write_text("name,ra,dec\na,180,45\n")
    with sky_server(down=("/MocServer",)) as broken:
        result, told = collect(
            source="hips", targets=tmp_path / "t.csv", out=tmp_path / "d", base_url=(broken.url,), max_rate=1e4
        )
    assert "cannot be had now" in told
    assert result["images"] == 1


def test_stopping_before_the_first_image_says_how_to_go_on(tmp_path, targets):
    with sky_server(faults=1.0, names=("html",), every=True) as broken:
        command = [sys.executable, "-m", "rvtool", "collect", "--source", "first", "--targets", targets]
        command += ["--out", tmp_path / "d", "--base-url", broken.url, "--attempts", 100]
        child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        while broken.stats()["total"] == 0:
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        told, _ = child.communicate()
    assert child.returncode == 3
    assert f"stopped, 40 images are left; go on with: rvtool collect --resume {tmp_path / 'd'}" in told
    assert collect(status=tmp_path / "d")[0]["states"] == {"pending": 40}
