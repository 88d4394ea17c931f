"""The runs that are kept beside their figures are runs: they open, answer, and answer what their tables say."""

import csv
import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import tomli
from rich.console import Console

from rvtool.runs.run import load_run
from rvtool.verbs import predict

KEPT = Path(__file__).parents[1] / "docs/results/first_4class"
FOLDS = [KEPT / f"fold_{k}" for k in range(5)]


def ask(run, paths, out):
    settings = predict.Settings(run=str(run), paths=tuple(paths), out=out, device="cpu")
    predict.run(settings, Console(file=StringIO()))
    with out.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("path", FOLDS, ids=lambda path: path.name)
def test_a_kept_run_is_whole(path):
    run = load_run(path)
    assert (path / "model.safetensors").stat().st_size < 2e6
    assert run.record["settings"]["fold"] == int(path.name[-1])
    assert tomli.loads((path / "recipe.toml").read_text())["stage"][0]["model"] == run.record["model"]
    assert run.calibration is not None
    assert run.familiar is not None
    metrics = json.loads((path / "metrics.json").read_text())
    with (path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == metrics["images"] == sum(split == "test" for split in run.known.by_id.values())
    p = np.array([[float(row[name]) for name in run.data.classes] for row in rows])
    labels = np.array([run.data.classes.index(row["label"]) for row in rows])
    recalls = [(p.argmax(axis=1) == k)[labels == k].mean() for k in range(4)]
    assert metrics["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))


@pytest.mark.shared
def test_a_kept_run_answers_what_its_table_says(shared, tmp_path):
    path = FOLDS[2]
    with (path / "predictions.csv").open(newline="") as stream:
        told = list(csv.DictReader(stream))[::60]
    files = {next((shared / "first-4class").glob(f"*/{row['id'].rsplit('/', 1)[-1]}*")): row for row in told}
    answers = ask(path, files, tmp_path / "p.csv")
    for answer, row in zip(answers, files.values(), strict=True):
        for name in ("Bent", "Compact", "FRI", "FRII"):
            assert float(answer[name]) == pytest.approx(float(row[name]), abs=2e-3)
        assert answer["set"] == row["set"]
