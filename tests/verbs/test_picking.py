"""Which images to label next: by entropy, by disagreement, unlike each other; none that a run has learnt from."""

import csv
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.runs.run import load_run
from rvtool.verbs import predict
from rvtool.verbs.predict.picking import disagreement, spread_out


def test_what_is_ambiguous_to_all_is_no_disagreement():
    ambiguous, contested = np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    found = disagreement(np.stack([ambiguous, contested], axis=1))
    np.testing.assert_allclose(found, [0.0, np.log(2)], atol=1e-12)


def test_the_farthest_of_the_worthy_comes_next():
    features = np.array([[0.0], [0.1], [10.0], [5.0]])
    order, told = spread_out(np.array([1.0, 0.99, 0.5, 0.01]), features, 3)
    assert order.tolist() == [0, 2, 1]
    unit = features.std()
    np.testing.assert_allclose(told, [1.0, 0.99 * 0.1 / unit, 0.5 * 10 / unit, 0.01 * 4.9 / unit])


def pick(world, tmp_path, *runs, **changes):
    settings = {"pool": world / "data", "pick": 5, "out": tmp_path / "p.csv", "device": "cpu", "overwrite": True}
    run, *more = runs or (world / "runs/first",)
    asked = predict.Settings(run=str(run), paths=tuple(more), ensemble=bool(more), **{**settings, **changes})
    told = predict.run(asked, Console(file=StringIO()))
    with (tmp_path / "p.csv").open() as stream:
        return told, list(csv.DictReader(stream))


@pytest.mark.parametrize("how", ["entropy", "bald", "diverse"])
def test_only_new_images_are_ranked(world, tmp_path, how):
    told, rows = pick(world, tmp_path, pick_by=how)
    splits = load_run(world / "runs/first").known.by_id
    assert told["pool"] == sum(split == "test" for split in splits.values())
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert all(splits[row["id"]] == "test" for row in rows)
    assert (tmp_path / "p-mosaic.png").stat().st_size > 0
    if how == "entropy":
        scores = [float(row["score"]) for row in rows]
        p = np.array([[float(row["one"]), float(row["two"])] for row in rows])
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose(scores, -(p * np.log(p)).sum(axis=1), rtol=1e-4)


def test_members_of_an_ensemble_are_the_opinions(world, tmp_path):
    told, rows = pick(world, tmp_path, world / "runs/first", world / "runs/second", pick_by="bald")
    assert all(float(row["score"]) >= 0 for row in rows)
    assert told["images"] == 5


def test_refusals(world, tmp_path, make_data):
    with pytest.raises(ConfigError, match="--pool stands alone"):
        pick(world, tmp_path, explain=True)
    known = make_data(tmp_path / "again", count=1)  # the first image, which the runs have learnt from or not
    run = load_run(world / "runs/first")
    if run.known.by_id["000"] in ("train", "val"):
        with pytest.raises(DataError, match="has no image that is new"):
            pick(world, tmp_path, pool=known)
