"""`rvtool evaluate --figures` and `--log`: from the journal alone, while a training goes on, and what is refused."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.verbs.evaluate import Settings, run

ROWS = ["epoch,step,train/loss,val/loss,lr,seconds,train/critic-takes-part,train/critic-loss"]
ROWS += [f"{n},{10 * n + 10},{5 - n},{6 - n},0.001,30,{int(n > 1)},{2 - n / 4 if n > 1 else ''}" for n in range(4)]
RECORD = {"status": "running", "model": "vae-gan", "settings": {"epochs": 8, "steps": 0}, "started": "2026-01-01T10:00"}


def evaluate(*runs, **settings):
    told = StringIO()
    return run(Settings(runs=tuple(map(str, runs)), **settings), Console(file=told, width=200)), told.getvalue()


@pytest.fixture
def going(tmp_path):
    """A run that is still going, with pictures, and without any weights."""
    path = tmp_path / "going"
    (path / "samples").mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(RECORD))
    (path / "metrics.csv").write_text("\n".join(ROWS) + "\n")
    for epoch in range(5):  # the last of them is not in the journal yet
        Image.fromarray(np.full((20, 16), 40 * epoch, np.uint8)).save(path / "samples" / f"epoch-{epoch:04d}.png")
    (path / "samples" / "training.gif").write_bytes(b"GIF89a")
    return path


def test_a_run_that_is_still_going(going):
    found, told = evaluate(going, figures=True)
    out = going / "evaluation" / "training"
    assert {path.name for path in out.iterdir()} == {
        *("losses.png", "comparison.png", "learning_rate.png", "dashboard.png", "samples_by_phase.png"),
        *("training.gif", "training_analysis.json", "training_summary.txt"),
    }
    kept = json.loads((out / "training_analysis.json").read_text())
    assert found == {**kept, "out": str(out)}
    assert (kept["status"], kept["last_step"], kept["total_steps"], kept["seconds"]) == ("running", 40, 80, 120)
    assert kept["boundaries"] == [{"step": 20, "begins": ["critic-takes-part = 1", "critic-loss"]}]
    summary = (out / "training_summary.txt").read_text()
    assert summary in told
    assert "progress: step 40 of 80 (50.0%), 2 min 00 s" in summary
    assert "phase 2: step 20 to 40, 1 min 00 s; from here on: critic-takes-part = 1, critic-loss" in summary


def test_several_runs_each_have_a_folder_and_a_journal_needs_no_record(going, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.csv").write_text("step,train/loss\n1,inf\n2,nan\n")  # JSON has no word for these
    found, told = evaluate(going, tmp_path / "other", figures=True, out=tmp_path / "out")
    assert set(found["runs"]) == {str(going), str(tmp_path / "other")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"going", "other"}
    assert not (going / "evaluation").exists()
    other = json.loads((tmp_path / "out" / "other" / "training_analysis.json").read_text())
    assert other["quantities"]["train/loss"] == {"values": 2, "not_finite": 2}
    assert "Mind: train/loss is no number in 2 of 2 rows" in told


def test_a_log_of_another_program(tmp_path):
    (tmp_path / "train.log").write_text("step 1/4: loss: 3\nstep 2/4: loss: 2\n")
    found, _ = evaluate(log=tmp_path / "train.log")
    assert (found["last_step"], found["total_steps"]) == (2, 4)
    assert (tmp_path / "train-training" / "dashboard.png").exists()


def test_what_is_refused(going, tmp_path):
    with pytest.raises(ConfigError, match="No run is named"):
        evaluate(figures=True)
    with pytest.raises(ConfigError, match="leave out the runs"):
        evaluate(going, log=tmp_path / "train.log")
    with pytest.raises(DataError, match="no run"):
        evaluate(tmp_path / "nowhere", figures=True)
    (going / "metrics.csv").unlink()
    with pytest.raises(DataError, match="has logged nothing"):
        evaluate(going, figures=True)
