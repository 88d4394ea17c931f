"""Figures of made images against real ones: known values, and both ends of what they can say."""

from __future__ import annotations

import numpy as np
import pytest

from rvtool.errors import DataError
from rvtool.report import features, generated
from rvtool.report.distributions import cumulative
from rvtool.report.twosample import Labelled, deal, tell_apart, transfer
from rvtool.verbs.evaluate import probe

DRAWS = {"bootstrap": 200, "seed": 0}


def normal(*shape: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, shape)


def lot(values: np.ndarray, labels: np.ndarray | None = None, groups: np.ndarray | None = None) -> Labelled:
    count = len(values)
    return Labelled(
        values, np.zeros(count, int) if labels is None else labels, np.arange(count) if groups is None else groups
    )


def nearest_mean(values: np.ndarray, labels: np.ndarray, kinds: int):
    means = np.stack([values[labels == kind].mean(axis=0) for kind in range(kinds)])
    return lambda asked: -np.linalg.norm(asked[:, None] - means, axis=-1)


# --------------------------------------------------------------------------- distances in features


def test_mmd_is_unbiased_and_analytic():
    draws = [features.mmd(*normal(2, 30, 8, seed=seed), subsets=2)["value"] for seed in range(40)]
    assert min(draws) < 0 < max(draws)
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(40)
    # of point masses in two directions at right angles: 2 - 2 exp(-2 / 2 sigma^2), whatever their length
    apart = features.mmd(np.full((8, 2), [5.0, 0]), np.full((8, 2), [0, 3.0]), subsets=2)
    assert apart["value"] == pytest.approx(1000 * (2 - 2 * np.exp(-1 / 100)))
    assert apart["sigma"] == 10


def test_what_a_set_covers():
    points = normal(60, 4)
    assert features.covered(points, points).all()
    assert not features.covered(points + 1000, points).any()
    # on a line at whole numbers the third neighbour lies 2 or 3 away at the least, at the ends 3
    line = np.arange(10.0)[:, None]
    asked = np.array([[-3.0], [-3.1], [4.5], [12.0], [12.1]])
    assert features.covered(asked, line).tolist() == [True, False, True, True, False]
    with pytest.raises(DataError, match="more than 3 images"):
        features.covered(points, points[:3])


# --------------------------------------------------------------------------- telling apart, and teaching


def test_equal_distributions_cannot_be_told_apart_and_shifted_ones_can():
    same = tell_apart(lot(normal(150, 4)), lot(normal(150, 4, seed=1)), probe.learn, **DRAWS)
    assert same["value"] == pytest.approx(0.5, abs=0.08)
    assert same["images"] == [150, 150]
    # two Gaussians d apart: the best that can be told is Phi(d / 2), here Phi(1) = 0.841
    apart = tell_apart(lot(normal(400, 1)), lot(normal(400, 1, seed=1, shift=2)), nearest_mean, **DRAWS)
    assert apart["value"] == pytest.approx(0.841, abs=0.03)
    assert apart["low"] < apart["value"] < apart["high"]
    far = tell_apart(lot(normal(40, 1)), lot(normal(20, 1, seed=1, shift=50)), nearest_mean, **DRAWS)
    assert far["value"] == 1


def test_copies_of_one_group_do_not_help_to_tell_apart():
    # ten images, each of which is there ten times: who remembers them would be right on the others
    groups = np.repeat(np.arange(10), 10)
    sets = [lot(normal(10, 3, seed=seed)[groups], groups=groups) for seed in (0, 1)]

    def remember(values, labels, kinds):
        def answer(asked):
            near = np.abs(asked[:, None] - values).sum(axis=-1).argmin(axis=1)
            return np.eye(kinds)[labels[near]]

        return answer

    assert tell_apart(*sets, remember, **DRAWS)["value"] < 0.9
    alone = [lot(one.values) for one in sets]
    assert tell_apart(*alone, remember, **DRAWS)["value"] == 1
    with pytest.raises(DataError, match="share no sky"):
        tell_apart(sets[0], lot(sets[1].values, groups=groups % 3), remember, **DRAWS)


def test_parts_hold_whole_groups_and_all_classes():
    groups, labels = np.repeat(np.arange(60), 2), np.repeat([0, 1, 2], (80, 30, 10))
    parts = deal(groups, labels, 4, seed=3)
    assert (parts[::2] == parts[1::2]).all()
    counts = np.array([[np.sum((parts == part) & (labels == kind)) for part in range(4)] for kind in range(3)])
    assert (np.ptp(counts, axis=1) <= 2).all()
    assert counts.sum(axis=0).tolist() == [30] * 4


def test_what_is_learnt_from_made_images():
    labels = np.arange(200) % 2

    def images(seed, told=labels):
        return lot(normal(200, 3, seed=seed) + 4 * labels[:, None], told)

    good = transfer(images(0), images(1), images(2), classes=("a", "b"), learn=nearest_mean, **DRAWS)
    assert min(good[arm]["value"] for arm in ("real", "made", "both", "reverse")) > 0.95
    assert good["gain"]["low"] <= 0 <= good["gain"]["high"]
    assert good["both"]["learnt_from"] == 400
    assert good["chance"] == 0.5
    # made images whose classes are exchanged teach the wrong thing, and are wrong themselves
    bad = transfer(images(0), images(1, 1 - labels), images(2), classes=("a", "b"), learn=nearest_mean, **DRAWS)
    assert bad["made"]["value"] < 0.05
    assert bad["reverse"]["value"] < 0.05
    assert bad["made"]["classes"]["a"] < 0.05
    with pytest.raises(DataError, match="two classes"):
        transfer(images(0), images(1, 0 * labels), images(2), classes=("a", "b"), learn=nearest_mean, **DRAWS)


# --------------------------------------------------------------------------- what sources measure


def test_sources_measure_what_was_drawn():
    y, x = np.mgrid[:64, :64]

    def blob(row, column, wide, high, peak=1.0):
        return peak * np.exp(-((y - row) ** 2 / high**2 + (x - column) ** 2 / wide**2) / 2)

    noise = 1e-3 * normal(4, 64, 64)
    round_, long, double = blob(32, 32, 3, 3), blob(30, 34, 8, 4, 2), blob(32, 20, 2, 2) + blob(32, 44, 2, 2, 0.5)
    found = generated.shapes((np.stack([round_, long, double, 0 * double]) + noise)[:, None])
    assert found["flux"][:2] == pytest.approx(2 * np.pi * np.array([9, 2 * 32]), rel=0.01)
    # where exp(-r^2 / 2 s^2) is above 3 sigma: r^2 = -2 ln(0.003) s^2
    assert found["area"][0] == pytest.approx(np.pi * -2 * np.log(3e-3) * 9, rel=0.03)
    assert found["axis_ratio"][:2] == pytest.approx([1, 0.5], abs=0.03)
    assert found["peaks"].tolist() == [1, 1, 2, 0]
    assert [found[name][3] for name in generated.SHAPES] == [0, 0, 0, 0]


def test_wasserstein_of_a_shift_is_the_shift():
    real = normal(300)
    assert generated.wasserstein(real, real, **DRAWS)["value"] == 0
    moved = generated.wasserstein(3 * real, 3 * real + 1.5, **DRAWS)
    assert moved["value"] == pytest.approx(0.5 / real.std())
    assert moved["low"] < moved["value"] < moved["high"]
    assert generated.wasserstein(np.ones(5), real, **DRAWS)["value"] is None


# --------------------------------------------------------------------------- learnt by heart


def test_training_images_are_found_however_they_are_turned():
    training, new = normal(40, 2, 8, 8), normal(30, 2, 8, 8, seed=1)
    training[:, :, 4, 4] += 30
    new[:, :, 4, 4] += 30
    for turn in range(8):
        found = generated.nearest_pictures(generated.turned(training, turn), training)
        assert (found.row == np.arange(40)).all()
        assert found.distance == pytest.approx(np.zeros(40), abs=1e-6)
        alike = np.stack([generated.turned(training[row], k) for row, k in zip(found.row, found.turn, strict=True)])
        assert alike == pytest.approx(generated.turned(training, turn))
    still = generated.nearest_pictures(np.rot90(training, 1, (-2, -1)), training, symmetric=False)
    assert still.distance.min() > 0.5
    # rms of independent pixels of unit variance: about sqrt 2
    assert 1 < np.median(generated.nearest_pictures(new, training).distance) < np.sqrt(2)

    far = generated.nearest_pictures(new, training).distance
    copies = generated.nearest_pictures(np.rot90(training, 1, (-2, -1)), training).distance
    told = generated.memorised(copies, far, np.arange(30), **DRAWS)
    assert told["near_copies"] == {"value": 1, "low": 1, "high": 1}
    assert told["p"] < 1e-9
    assert told["medians"]["made"] < 1e-6 < told["medians"]["held_out"]


def test_where_a_source_lies_does_not_count():
    y, x = np.mgrid[:40, :40]
    blobs = np.stack([np.exp(-((y - 15) ** 2 / 4 + (x - 19) ** 2) / width) for width in (2, 4)])[:, None]
    assert generated.centred(blobs)[0, 0].argmax() == 20 * 40 + 20
    for turn in range(8):
        moved = np.roll(generated.turned(blobs, turn), (3, -4), (-2, -1))
        found = generated.nearest_pictures(moved, blobs)
        assert found.row.tolist() == [0, 1]
        assert found.distance == pytest.approx([0, 0], abs=1e-7)
    assert generated.nearest_pictures(np.roll(blobs, 3, -1), blobs, symmetric=False).distance.min() > 1e-3
    flat = np.ones((1, 1, 4, 4))
    assert (generated.centred(flat) == flat).all()
    assert generated.shrunk(np.arange(16.0).reshape(1, 1, 2, 8), 4).tolist() == [[[[4.5, 6.5, 8.5, 10.5]]]]


def test_new_images_are_no_copies():
    near = [np.abs(normal(400, seed=seed)) for seed in (2, 3)]
    told = generated.memorised(*near, np.arange(400), **DRAWS)
    assert told["p"] > 0.05
    assert told["near_copies"]["value"] < 0.03
    assert told["near_copies"]["low"] <= told["near_copies"]["value"] <= told["near_copies"]["high"]


def test_the_nearest_of_features_is_euclids():
    found = generated.nearest(np.array([[0.0, 0], [9, 9]]), np.array([[3.0, 4], [10, 9], [-60, 0]]))
    assert found.row.tolist() == [0, 1]
    assert found.distance.tolist() == [5, 1]


def test_curves_of_two_sets(tmp_path):
    values = {"real": normal(50), "made": normal(40, seed=1)}
    decades = {name: 10 ** (2 * one) for name, one in values.items()}
    same = {"real": np.ones(5), "made": np.ones(5)}
    figure = cumulative([("a", values), ("b", decades), ("c", same), ("d", values)], tmp_path / "a.png")
    assert [panel.get_xscale() for panel in figure.axes[:3]] == ["linear", "log", "linear"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real", "made"]
    assert (tmp_path / "a.png").stat().st_size > 0
