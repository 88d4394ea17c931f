"""Generators are judged: honest ones, ones that repeat their training, ones whose images are none."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import SimulatorInfo
from rvtool.runs.run import load_run
from rvtool.verbs.evaluate import Settings, against_real, generation, lots, probe

MADE = 120
QUIET = Console(file=StringIO())


class Fake:
    """Serves given images, in turn, as what a run makes."""

    def __init__(self, run, images, labels):
        self.info = SimulatorInfo(run.data.image, classes=run.data.classes)
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)

    def simulate(self, indices, seed, device):
        rows = indices % len(self.images)
        return {"image": self.images[rows], "label": self.labels[rows]}


@pytest.fixture
def made(world, monkeypatch):
    """Take given images for what a run on the shared data makes; return that run."""
    run = load_run(world / "runs" / "first")
    monkeypatch.setattr(lots, "LEAST", MADE)
    monkeypatch.setattr(against_real, "TELL_STEPS", 20)
    monkeypatch.setattr(against_real, "CLASS_STEPS", 60)
    monkeypatch.setattr(probe, "DRAWS", 1)

    def made(images, labels):
        monkeypatch.setattr(lots, "Generated", lambda run: Fake(run, images, labels))
        return run

    return made


def settings(world, **changes):
    encoder = str(world / "runs" / "second")
    return Settings(**{"split": "all", "bootstrap": 100, "device": "cpu", "encoder": encoder} | changes)


def test_an_honest_generator(world, made, make_data, table, tmp_path):
    new = load_run(world / "runs" / "first").material(make_data(tmp_path / "new", seed=9, count=MADE))
    run = made(new.image.pixels.astype(np.float32), new.labels)
    told = StringIO()
    out = tmp_path / "out"
    found = generation.evaluate(settings(world, out=out), [run], Console(file=told, width=160))
    assert found["made_on_real"]["value"] > 0.8
    assert found["made_on_real"]["value"] == found["taught"]["pixels"]["made"]["value"]
    assert found["two_sample"]["value"] < 0.7
    assert found["memory"]["pixels"]["all"]["images"] == {"made": MADE, "held_out": found["in_all"]["held_out"]}
    assert set(found["memory"]["features"]) == {"all", "one", "two"}
    assert found["compared"]["made"] == found["images"]
    assert found["encoder"]["run"] == "second"
    assert found["manifolds"]["all"]["made"]["precision"]["value"] > 0.5
    pictures = {"samples.png", "distributions.png", "nearest.png", "training_curves.png"}
    assert {path.name for path in out.iterdir()} == {"metrics.json", "report.html", "nearest.csv", *pictures}
    assert json.loads((out / "metrics.json").read_text()) == found
    assert len(table(out / "nearest.csv")) == MADE
    assert f"Two-sample accuracy {found['two_sample']['value']:.3f}" in told.getvalue()
    assert "Balanced accuracy, made images, judged on real: pixels" in told.getvalue()
    assert "'second' was trained on" in told.getvalue()  # the judged images are its own


def test_a_generator_that_repeats_its_training(world, made):
    run = load_run(world / "runs" / "first")
    material = run.material()
    rows = np.flatnonzero(run.known.splits_of(material) == "train")
    turned = np.ascontiguousarray(np.rot90(material.image.pixels[rows], 1, (-2, -1))).astype(np.float32)
    gathered = lots.gather(made(turned, material.labels[rows]), settings(world, split="test"), QUIET)
    near = against_real.nearest(gathered)
    repeated = np.arange(MADE) % len(rows)
    assert gathered.training.ids[near["pixels"]["made"].row].tolist() == gathered.training.ids[repeated].tolist()
    for way in ("pixels", "features"):
        copies = against_real.memory(gathered, near[way], {"bootstrap": 100, "seed": 0})["all"]
        assert copies["near_copies"]["value"] == 1
        assert copies["p"] < 1e-3
        assert copies["medians"]["made"] < 1e-2 * copies["medians"]["held_out"]


def test_what_cannot_be_judged_is_said(world, made):
    run = made(np.full((4, 1, 12, 12), np.nan, np.float32), np.arange(4) % 2)
    with pytest.raises(DataError, match="not finite"):
        generation.evaluate(settings(world), [run], QUIET)
    with pytest.raises(ConfigError, match="leave --ensemble out"):
        generation.evaluate(settings(world, ensemble=True), [run], QUIET)


def test_as_many_as_are_asked_for(world, made):
    material = load_run(world / "runs" / "first").material()
    run = made(material.image.pixels.astype(np.float32), material.labels)
    assert len(lots.gather(run, settings(world, count=7), QUIET).made) == 7
