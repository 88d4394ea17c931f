"""Two small trained runs, shared by the tests of the verbs that apply them."""

from __future__ import annotations

import csv
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rvtool.verbs import predict, train

SIZE, COUNT = 16, 90


def _make_data(folder, seed=0, count=COUNT, first_ra=100.0, prefix=""):
    """One blob or two, of noise, as .npy; positions 1 degree apart; images 0 and 1 are 0.01 degrees apart."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    lines = ["file,label,ra_deg,dec_deg"]
    for number in range(count):
        offset = 0 if number % 2 else 4
        sky = sum(np.exp(-((x - side * offset) ** 2 + y**2) / 3) for side in (-1, 1))
        name = f"{prefix}{number:03d}.npy"
        np.save(folder / name, (sky + random.normal(0, 0.3, sky.shape)).astype(np.float32))
        ra = first_ra + 0.01 if number == 1 else first_ra + number
        lines.append(f"{name},{('two', 'one')[number % 2]},{ra},0.0")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def make_data():
    """Write a dataset of one blob or two."""
    return _make_data


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A dataset and two runs on it."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVTOOL_CACHE", str(root / "cache"))
        _make_data(root / "data")
        for name, seed in (("first", 0), ("second", 1)):
            patch.delenv("RVTOOL_RUN_PATH", raising=False)
            settings = train.Settings(
                model="alhassan-cnn",
                config={"channels": "4,8", "hidden": 32, "learning_rate": 3e-3},
                data=root / "data",
                out=root / "runs" / name,
                epochs=3,
                batch_size=16,
                crop=12,
                gpus=0,
                seed=seed,
                augment=("none",),
            )
            train.run(settings, Console(file=StringIO()))
    return root


@pytest.fixture
def world(trained, monkeypatch):
    """A dataset and two runs on it, the only ones that can be found by name."""
    monkeypatch.setenv("RVTOOL_CACHE", str(trained / "cache"))
    monkeypatch.setenv("RVTOOL_RUNS", str(trained / "runs"))
    return trained


@pytest.fixture
def table():
    """Read a CSV table as a list of rows by column."""

    def read(path):
        with open(path, newline="") as stream:
            return list(csv.DictReader(stream))

    return read


@pytest.fixture
def ask():
    """Run `rvtool predict`; return what it returns, and what it printed."""

    def ask(run, *paths, out, **changes):
        told = StringIO()
        settings = predict.Settings(run=str(run), paths=paths, out=out, device="cpu", **changes)
        return predict.run(settings, Console(file=told, width=200)), told.getvalue()

    return ask
