"""`rvtool simulate`: the same dataset whatever the batch size and the workers, and none where one stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError
from rvtool.plugins import component
from rvtool.verbs.simulate import Settings, run

SMALL: dict[str, Any] = {"size": 32, "las_max_arcsec": 40.0}


def simulate(out: Path | None, **settings: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"simulator": "radio-galaxy", "config": SMALL, "count": 50, "planes_per_cube": 16}
    return run(Settings(**{**defaults, "out": out, **settings}), Console(quiet=True))


def files(folder: Path) -> dict[str, bytes]:
    """Everything but `dataset.toml`, which holds the time."""
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name != "dataset.toml"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def test_writes_a_dataset_of_known_parameters(tmp_path: Path):
    result = simulate(tmp_path / "sim")
    assert result["images"] == 50
    assert sum(result["splits"].values()) == 50
    dataset = open_dataset(tmp_path / "sim")
    assert len(dataset) == 50
    assert sorted(p.name for p in (tmp_path / "sim" / "images").iterdir()) == [f"cube-0000{i}.fits" for i in range(4)]
    assert dataset.classes("label") == ("Bent", "Compact", "FRI", "FRII")
    assert dataset.column("plane").tolist() == [i % 16 for i in range(50)]
    assert len(set(dataset.column("group"))) == 50
    assert dataset.info["image"]["pixel_arcsec"] == 1.8
    assert dataset.info["image"]["unit"] == "Jy/beam"
    assert dataset.info["source"]["settings"]["size"] == 32

    made = component("simulator", "radio-galaxy")
    batch = made.load()(made.configure(SMALL)).simulate(torch.arange(50), 0, torch.device("cpu"))
    for row in (0, 17, 49):
        image = dataset.image(row)
        assert image.unit == "Jy/beam"
        assert image.beam is not None
        assert image.beam.major_arcsec == pytest.approx(5.4)
        np.testing.assert_array_equal(image.data, batch["image"][row].numpy())
        assert dataset.column("flux_jy")[row] == batch["flux_jy"][row].item()


def test_same_files_whatever_the_batch_size_and_the_workers(tmp_path: Path):
    simulate(tmp_path / "a")
    simulate(tmp_path / "b", batch_size=7)
    simulate(tmp_path / "c", workers=2, batch_size=5)
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")
    simulate(tmp_path / "d", seed=1)
    assert files(tmp_path / "a") != files(tmp_path / "d")


def test_more_images_begin_with_the_same_ones(tmp_path: Path):
    simulate(tmp_path / "few", count=20)
    simulate(tmp_path / "many", count=40)
    few, many = open_dataset(tmp_path / "few"), open_dataset(tmp_path / "many")
    np.testing.assert_array_equal(few.image(19).data, many.image(19).data)


def test_leaves_what_exists_alone(tmp_path: Path):
    simulate(tmp_path / "sim", count=4)
    before = files(tmp_path / "sim")
    with pytest.raises(DataError, match=r"exists already; choose another --out"):
        simulate(tmp_path / "sim", count=8)
    assert files(tmp_path / "sim") == before


def test_goes_to_the_data_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert simulate(None, count=2)["out"] == os.path.join("data", "radio-galaxy")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"simulator": "radio-galaxi"}, "did you mean 'radio-galaxy'"),
        ({"config": {"rms": 1}}, "No setting is named 'rms'"),
        ({"split": "70/30"}, "70/15/15"),
        ({"device": "abacus"}, "try --device cpu"),
    ],
)
def test_wrong_settings_write_nothing(tmp_path: Path, settings: dict[str, Any], what: str):
    with pytest.raises(ConfigError, match=what):
        simulate(tmp_path / "sim", **settings)
    assert not (tmp_path / "sim").exists()


def test_an_interrupted_simulation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    simulate(tmp_path / "whole")
    kind = component("simulator", "radio-galaxy").load()
    made = kind.simulate
    calls: list[int] = []

    def simulate_some(self: Any, indices: torch.Tensor, *rest: Any) -> Any:
        calls.append(int(indices[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return made(self, indices, *rest)

    monkeypatch.setattr(kind, "simulate", simulate_some)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "part")
    with pytest.raises(DataError, match="interrupted"):
        simulate(tmp_path / "part", seed=1)  # other images than those that are there
    with pytest.raises(DataError, match="interrupted"):
        open_dataset(tmp_path / "part")
    simulate(tmp_path / "part", batch_size=11)
    assert calls[3:] == [32, 43, 48]  # the first two cubes stay
    assert files(tmp_path / "part") == files(tmp_path / "whole")
