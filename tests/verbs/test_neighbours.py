"""Similarity search: the images most alike an image, by a classifier's features too."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.runs.run import load_run
from rvtool.verbs import predict


def search(world, *paths, **changes):
    settings = {"neighbours": 4, "device": "cpu", "run": str(world / "runs" / "first"), **changes}
    told = StringIO()
    return predict.run(predict.Settings(paths=paths, **settings), Console(file=told, width=160)), told.getvalue()


def test_the_nearest_come_first_and_an_image_is_nearest_to_itself(world, tmp_path, table):
    known = load_run(world / "runs" / "first").known.by_id
    own = next(name for name, split in known.items() if split == "train")
    new = next(name for name, split in known.items() if split == "test")
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"no image")
    files = [world / "data" / f"{own}.npy", world / "data" / f"{new}.npy", broken]
    found, told = search(world, *files, out=tmp_path / "n.csv")
    rows = table(tmp_path / "n.csv")
    assert list(rows[0]) == ["file", "rank", "id", "path", "label", "distance"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"] * 2
    assert {known[row["id"]] for row in rows} == {"train"}
    assert rows[0]["id"] == own
    distances = np.array([float(row["distance"]) for row in rows]).reshape(2, 4)
    assert distances[0, 0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert distances[1, 0] > 1e-6
    assert found["images"] == 2
    assert found["searched"] == sum(split == "train" for split in known.values())
    assert [failure["file"] for failure in found["failures"]] == [str(broken)]
    assert (tmp_path / "n-mosaic.png").stat().st_size > 0
    assert "4 neighbours of each of 2 images" in told


def test_a_pool_is_searched_instead(world, tmp_path, table, make_data):
    pool = make_data(tmp_path / "pool", seed=3, count=6, prefix="p")
    found, _ = search(world, world / "data" / "000.npy", pool=pool, neighbours=50, out=tmp_path / "n.csv")
    assert found["searched"] == 6
    rows = table(tmp_path / "n.csv")
    assert sorted(row["id"] for row in rows) == [f"p{number:03d}" for number in range(6)]  # no more than there are
    assert rows[0]["path"] == str(pool / f"{rows[0]['id']}.npy")


def test_refusals(world, tmp_path):
    image = world / "data" / "000.npy"
    with pytest.raises(ConfigError, match="leave --explain out"):
        search(world, image, explain=True, out=tmp_path / "n.csv")
    with pytest.raises(ConfigError, match="Name the images"):
        search(world, out=tmp_path / "n.csv")
    with pytest.raises(ConfigError, match="is a run, not an image"):
        search(world, world / "runs" / "second", out=tmp_path / "n.csv")
    (tmp_path / "n.csv").write_text("")
    with pytest.raises(DataError, match="exists already"):
        search(world, image, out=tmp_path / "n.csv")
