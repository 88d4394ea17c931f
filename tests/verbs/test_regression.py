"""Estimating a number: training, judging, predicting, an ensemble, folds together, and what is refused."""

import csv
import json
from io import StringIO

import numpy as np
import pytest
import torch
from astropy.io import fits
from rich.console import Console

from rvtool.errors import ConfigError
from rvtool.runs.intervals import Intervals, mean_answer
from rvtool.runs.run import load_run
from rvtool.verbs import evaluate, predict, train

TINY = {"channels": "4,8", "hidden": 16, "dropout": 0.0}
ASK = {"robustness": 0, "bootstrap": 200, "device": "cpu", "within": 5.0}


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """Pairs of blobs; the label is the angle between them as a bending angle, 0 to 90 deg, their distance tells it."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    with (folder / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "fold", "angle_deg"])
        for number in range(90):
            angle, turn = rng.uniform(0, 90), rng.uniform(0, 2 * np.pi)
            reach = 2 + 6 * angle / 90
            pair = sum(
                np.exp(-((x - side * reach * np.cos(turn)) ** 2 + (y - side * reach * np.sin(turn)) ** 2) / 4)
                for side in (-1, 1)
            )
            np.save(folder / f"{number:02d}.npy", (pair + rng.normal(0, 0.01, pair.shape)).astype(np.float32))
            rows.writerow([f"{number:02d}.npy", number % 3, angle if number % 9 else ""])
    return folder


def fit(sky, out, **changes):
    told = StringIO()
    settings = {"model": "alhassan-cnn", "config": {**TINY, "learning_rate": 3e-3}, "data": sky, "out": out, "gpus": 0}
    settings |= {"task": "regress", "label_column": "angle_deg", "crop": 24, "batch_size": 8, "epochs": 12, "seed": 1}
    train.run(train.Settings(**{**settings, "augment": ("rotate-flip",), **changes}), Console(file=told, width=200))
    return told.getvalue()


@pytest.fixture(scope="module")
def runs(sky, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for fold in (0, 1):
        fit(
            sky,
            out / f"fold_{fold}",
            fold=fold,
            loss=("von-mises-nll",),
            set={"loss": {"von-mises-nll": {"largest_deg": 90}}},
        )
    fit(sky, out / "seed", fold=0, seed=2, epochs=4)
    return out


def judge(*paths, **changes):
    told = StringIO()
    settings = evaluate.Settings(runs=tuple(map(str, paths)), **{**ASK, **changes})
    return evaluate.run(settings, Console(file=told, width=200)), told.getvalue()


def test_it_learns_better_than_any_constant_and_its_intervals_hold(runs):
    found, told = judge(runs / "fold_0", runs / "fold_1")
    pooled = found["comparison"]["pooled"]
    assert pooled["images"] == 20 + 30  # every ninth row has no label, and those are all of fold 0
    assert pooled["gain"]["low"] > 0.3
    assert pooled["intervals"]["covered"] > 0.75
    assert "best constant" in told
    for name in ("metrics.json", "predictions.csv", "estimates.png", "calibration.png", "report.html"):
        assert (runs / "fold_0" / "evaluation" / name).stat().st_size > 0
        assert (runs / "fold_0" / "evaluation" / "together" / name).stat().st_size > 0
    with (runs / "fold_0" / "evaluation" / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    errors = [abs(float(row["truth"]) - float(row["estimate"])) for row in rows]
    metrics = json.loads((runs / "fold_0" / "evaluation" / "metrics.json").read_text())
    assert metrics["mean_error"]["value"] == pytest.approx(np.mean(errors), abs=1e-4)
    held = [float(row["low"]) <= float(row["truth"]) <= float(row["high"]) for row in rows]
    assert metrics["intervals"]["covered"] == pytest.approx(np.mean(held))
    assert all(0 <= float(row["low"]) <= float(row["high"]) <= 90 for row in rows)


def test_an_ensemble_is_the_mixture_of_its_members(runs):
    one = mean_answer([np.array([[1.0, 3.0]]), np.array([[5.0, 4.0]])])
    np.testing.assert_allclose(one, [[3.0, np.sqrt(12.5 + 4)]])
    found, _ = judge(runs / "fold_0", runs / "seed", ensemble=True)
    assert found["images"] == 20
    assert found["gain"]["value"] > 0
    assert (runs / "fold_0" / "evaluation-ensemble" / "report.html").exists()


def test_the_interval_that_holds_k_of_n_answers():
    truth, answers = np.arange(1.0, 10.0), np.stack([np.zeros(9), np.full(9, 2.0)], axis=1)
    kept = Intervals([b""] * 9, truth, answers, (-1.0, 100.0))
    assert kept.factor(0.5) == 5 / 2  # the fifth of nine misses, in deviations
    assert kept.factor(0.9) == 9 / 2
    assert kept.factor(0.95) == np.inf
    low, high = kept.around(np.array([[10.0, 4.0], [0.0, 4.0]]), 0.5)
    np.testing.assert_allclose([low, high], [[0.0, -1.0], [20.0, 10.0]])


def test_predict_gives_an_estimate_and_an_interval(runs, sky, tmp_path):
    image = np.load(sky / "01.npy")
    fits.writeto(tmp_path / "one.fits", image)
    settings = {"run": str(runs / "fold_1"), "paths": (tmp_path / "one.fits", sky / "01.npy"), "device": "cpu"}
    told = predict.run(predict.Settings(**settings, out=tmp_path / "p.csv"), Console(file=StringIO()))
    assert told["images"] == 2
    with (tmp_path / "p.csv").open() as stream:
        one, other = csv.DictReader(stream)
    assert {name: one[name] for name in ("estimate", "deviation", "low", "high")} == {
        name: other[name] for name in ("estimate", "deviation", "low", "high")
    }
    assert float(one["low"]) < float(one["estimate"]) < float(one["high"])
    with pytest.raises(ConfigError, match="--explain and --prototypes are for classifiers"):
        predict.run(predict.Settings(**settings, out=tmp_path / "e.csv", explain=True), Console(file=StringIO()))


def test_words_are_no_numbers_and_a_regressor_has_one_likelihood(sky, tmp_path):
    with (sky / "labels.csv").open() as stream:
        rows = list(csv.reader(stream))
    other = tmp_path / "words"
    other.mkdir()
    for path in sky.glob("*.npy"):
        (other / path.name).write_bytes(path.read_bytes())
    with (other / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "kind"]] + [[row[0], "FRI"] for row in rows[1:]])
    with pytest.raises(ConfigError, match=r"'kind' .* holds words, and numbers are needed"):
        fit(other, tmp_path / "run", label_column="kind")
    with pytest.raises(ConfigError, match="one likelihood"):
        fit(sky, tmp_path / "run", loss=("von-mises-nll", "gaussian-nll"))
    assert not (tmp_path / "run").exists()


def test_a_regressor_begins_with_another_s_head_where_the_question_is_the_same(runs, sky, tmp_path):
    still = {"epochs": 1, "from_": str(runs / "fold_0"), "config": {**TINY, "learning_rate": 1e-9}, "fold": 0}
    vm = {"loss": ("von-mises-nll",), "set": {"loss": {"von-mises-nll": {"largest_deg": 90}}}}
    fit(sky, tmp_path / "same", **still, **vm)
    fit(sky, tmp_path / "other", **still)
    head = [
        load_run(path).weights["network.head.weight"]
        for path in (runs / "fold_0", tmp_path / "same", tmp_path / "other")
    ]
    assert torch.allclose(head[0], head[1], atol=1e-5)
    assert not torch.allclose(head[0], head[2], atol=1e-2)
