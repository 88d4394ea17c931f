"""How far an image lies from those of the training."""

import numpy as np
import pytest

from rvtool.errors import DataError
from rvtool.runs.familiar import familiarise, read_familiar, shrunk_covariance, write_familiar


def features(count, seed, size=6):
    """Two classes at (3, 0, ...) and (-3, 0, ...), ten times wider along the last axis."""
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=count)
    points = random.normal(size=(count, size))
    points[:, -1] *= 10
    points[:, 0] += np.where(labels == 0, 3, -3)
    return points, labels


def test_distance_is_counted_in_spreads_from_the_nearest_class():
    points, labels = features(4000, 0)
    known = familiarise(points, labels, features(2000, 1)[0])
    assert (known.distance(features(4000, 2)[0]) <= 1).mean() == pytest.approx(0.95, abs=0.02)
    centre = np.eye(6)[0] * 3
    narrow, wide = np.eye(6)[1], np.eye(6)[5]
    steps = known.distance(np.stack([centre, centre + 4 * narrow, centre + 40 * wide, -centre]))
    assert steps[0] == pytest.approx(0, abs=0.05)
    assert steps[1] == pytest.approx(steps[2], rel=0.1)
    assert steps[3] == pytest.approx(0, abs=0.05)
    assert known.distance(np.stack([centre + 30 * narrow]))[0] > 5


def test_more_directions_than_images_and_constant_ones_are_no_problem():
    random = np.random.default_rng(0)
    points = np.concatenate([random.normal(size=(20, 100)), np.ones((20, 3))], axis=1)
    known = familiarise(points, np.arange(20) % 2, points)
    assert np.isfinite(known.distance(random.normal(size=(5, 103)))).all()


def test_shrinking_draws_to_the_identity_and_less_with_more_samples():
    random = np.random.default_rng(0)
    truth = np.diag([1.0, 4.0, 9.0])
    few, many = (random.normal(size=(n, 3)) * [1, 2, 3] for n in (5, 20000))
    np.testing.assert_allclose(shrunk_covariance(many), truth, atol=0.3)
    few = few - few.mean(axis=0)
    plain = few.T @ few / len(few)
    shrunk = shrunk_covariance(few)
    assert np.trace(shrunk) == pytest.approx(np.trace(plain))
    assert np.linalg.cond(shrunk) < np.linalg.cond(plain)


def test_what_is_kept_comes_back(tmp_path):
    points, labels = features(100, 0)
    known = familiarise(points, labels, points)
    write_familiar(tmp_path, known)
    np.testing.assert_allclose(read_familiar(tmp_path).distance(points), known.distance(points), rtol=1e-4)
    assert read_familiar(tmp_path / "elsewhere") is None
    (tmp_path / "features.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(DataError, match="is damaged"):
        read_familiar(tmp_path)
