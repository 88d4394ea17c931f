"""The journal: what was committed stays, what was not is asked for again, and no two write at once."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from rvtool.errors import DataError, WriteError
from rvtool.kinds import Target
from rvtool.verbs.collect.journal import ABSENT, FAILED, HAD, PENDING, SPARE, Journal

ROW = {"path": "images/a.fits", "bytes": 5, "sha256": "s", "pixels_sha256": "p"}
ROW |= {"seen": {}, "columns": {}, "provenance": {}}


def targets(count, label=None):
    extra = {"label": label} if label else {}
    return [
        (Target(f"{label or 't'}{n}", 10.0 + n, 5.0, {**extra, "z": n}), f"{label or 't'}{n}") for n in range(count)
    ]


def test_targets_come_back_as_they_were(tmp_path):
    journal = Journal(tmp_path, fresh=True)
    assert journal.add(targets(3, "FRI")) == 3
    journal.rank((n, 10 - n) for n in (1, 2, 3))
    found = journal.pending("FRI", -1, 10)
    assert [number for _, number, *_ in found] == [3, 2, 1]
    assert found[2][3] == Target("FRI0", 10.0, 5.0, {"label": "FRI", "z": 0})
    assert journal.pending("FRI", found[0][0], 1)[0][1] == 2
    assert journal.pending(None, -1, 10) == []


def test_equal_ids_and_equal_file_names_are_numbered(tmp_path):
    journal = Journal(tmp_path, fresh=True)
    journal.add((Target(name), name.replace(" ", "_")) for name in ("a", "a", "A", "a b", "a_b"))
    rows = [(target.id, stem) for *_, stem, target in journal.pending(None, -1, 9)]
    assert sorted(rows) == [("A", "A-3"), ("a", "a"), ("a b", "a_b"), ("a-2", "a-2"), ("a_b", "a_b-2")]


def test_an_image_counts_once_all_sides_are_there(tmp_path):
    journal = Journal(tmp_path, fresh=True)
    journal.add(targets(2))
    journal.keep(1, {"image": ROW}, complete=False)
    assert journal.counts() == {(None, PENDING): 2}
    assert journal.rows(1) == {"image": ROW | {"number": 1}}
    journal.keep(1, {"target": ROW | {"path": "targets/a.fits"}}, complete=True)
    assert journal.counts() == {(None, PENDING): 1, (None, HAD): 1}
    [(target, sides)] = journal.images()
    assert (target.id, sides["target"]["path"]) == ("t0", "targets/a.fits")
    assert journal.same_pixels(2, "image", "p") == "t0"
    assert journal.same_pixels(1, "image", "p") is None
    journal.lose(1)
    assert journal.counts() == {(None, PENDING): 2}


def test_failed_and_spare_are_open_again_and_absent_is_not(tmp_path):
    journal = Journal(tmp_path, fresh=True)
    journal.add(targets(4))
    journal.settle(1, FAILED, "busy")
    journal.settle(2, ABSENT, "not there")
    journal.settle(3, SPARE)
    assert list(journal.outcomes((FAILED, ABSENT))) == [("t0", None, FAILED, "busy"), ("t1", None, ABSENT, "not there")]
    assert journal.reopen() == 1
    assert journal.counts() == {(None, PENDING): 3, (None, ABSENT): 1}


def test_only_one_may_write_and_all_may_look(tmp_path):
    journal = Journal(tmp_path, fresh=True)
    with pytest.raises(DataError, match="Another rvtool is collecting"):
        Journal(tmp_path)
    looking = Journal(tmp_path, write=False)
    assert looking.counts() == {}
    journal.close()
    Journal(tmp_path).close()


def test_what_cannot_be_used_is_told(tmp_path):
    with pytest.raises(DataError, match="has no journal of a collection"):
        Journal(tmp_path)
    journal = Journal(tmp_path, fresh=True)
    journal.note("format", 99)
    journal.close()
    with pytest.raises(DataError, match="journal format 99, newer than this rvtool; update rvtool"):
        Journal(tmp_path)
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="is damaged"):
        Journal(tmp_path)


def test_a_full_disk_is_told_as_such_and_loses_nothing(tmp_path):
    journal = Journal(tmp_path, fresh=True)
    journal.add(targets(5000))
    journal._db.run("PRAGMA max_page_count = 1")  # SQLite raises it to the present size: nothing more fits
    with pytest.raises(WriteError, match="the disk is full"):
        journal.add(targets(5000, "FRI"))
    assert journal.counts() == {(None, PENDING): 5000}


def test_what_was_committed_survives_a_kill(tmp_path):
    writes = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from rvtool.kinds import Target\n"
        "from rvtool.verbs.collect.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), fresh=True)\n"
        "journal.add((Target(str(n)), str(n)) for n in range(1000))\n"
        f"row = {ROW!r}\n"
        "for n in range(1, 1001):\n"
        "    journal.keep(n, {'image': row}, complete=True)\n"
        "    print(n, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", writes, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    last = 0
    for line in child.stdout:
        last = int(line)
        if last == 137:
            os.kill(child.pid, signal.SIGKILL)
            break
    last = max([last, *map(int, child.stdout.read().split())])
    child.wait()
    journal = Journal(tmp_path)
    assert journal.counts()[None, HAD] in (last, last + 1)
    with sqlite3.connect(journal.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
