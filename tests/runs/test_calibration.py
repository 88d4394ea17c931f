"""Temperature, sets of classes, and what a run keeps for them."""

import numpy as np
import pytest

from rvtool.errors import DataError
from rvtool.runs.calibration import Calibration, read_calibration, soften, together, write_calibration


def calibration(labels, probabilities):
    names = [number.to_bytes(2, "big") for number in range(len(labels))]
    return Calibration(names, np.asarray(labels), np.asarray(probabilities, float))


def drawn(count, temperature, seed=0):
    """Answers that are right as often as softmax(log p / temperature) says."""
    random = np.random.default_rng(seed)
    answers = soften(random.dirichlet([0.6, 0.6, 0.6], count), 1.0)
    truth = soften(answers, temperature)
    labels = (random.random((count, 1)) > truth.cumsum(axis=1)).sum(axis=1)
    return calibration(np.minimum(labels, 2), answers)


def test_softening_by_hand():
    assert soften(np.array([[0.8, 0.2]]), 2.0)[0] == pytest.approx([2 / 3, 1 / 3])  # sqrt(0.8) : sqrt(0.2) = 2 : 1
    np.testing.assert_allclose(soften(np.array([[0.7, 0.2, 0.1]]), 1.0), [[0.7, 0.2, 0.1]])


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_temperature_of_the_answers_is_found(temperature):
    assert drawn(20000, temperature).temperature == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_where_the_surprise_is_least():
    found = drawn(300, 1.4)

    def surprise(temperature):
        answers = soften(found.probabilities, temperature)
        return -np.log(answers[np.arange(300), found.labels]).mean()

    best = surprise(found.temperature)
    assert all(best <= surprise(found.temperature * factor) for factor in (0.97, 1.03))


def test_the_prior_of_the_data_gives_each_class_its_share():
    even = drawn(20000, 1.0)
    keep = np.random.default_rng(1).uniform(size=20000) < np.array([1.0, 0.3, 0.1])[even.labels]
    rows = np.flatnonzero(keep)  # the network still answers as if all were as frequent
    one = Calibration(even.content, even.labels[rows], even.probabilities[rows], "data")
    shares = np.bincount(one.labels) / len(rows)
    told = one.apply(one.probabilities)
    np.testing.assert_allclose(told.mean(axis=0), shares, atol=0.005)
    assert one.temperature == pytest.approx(1.0, rel=0.05)
    truth = one.probabilities * [1.0, 0.3, 0.1]
    np.testing.assert_allclose(told, truth / truth.sum(axis=1, keepdims=True), atol=0.03)
    blind = Calibration(one.content, one.labels, one.probabilities)
    assert np.abs(blind.apply(one.probabilities).mean(axis=0) - shares).max() > 0.1


def test_sets_by_hand():
    truth = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    one = calibration(np.zeros(9, int), np.stack([truth, 1 - truth], axis=1))
    one.__dict__["_fitted"] = (1.0, np.zeros(2))
    assert one.least_probability(0.8) == pytest.approx(0.2)  # (9 + 1) 0.8 = the eighth largest
    assert one.least_probability(0.9) == pytest.approx(0.1)
    assert one.least_probability(0.95) == 0  # nine images cannot promise that
    inside = one.sets(np.array([[0.85, 0.15], [0.5, 0.5]]), 0.8)
    assert inside.tolist() == [[True, False], [True, True]]


def test_the_likeliest_class_is_always_in_the_set():
    one = calibration([0] * 9, [[1.0, 0.0, 0.0]] * 9)
    assert one.sets(np.array([[0.4, 0.3, 0.3]]), 0.5).tolist() == [[True, False, False]]


@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_sets_hold_the_truth_as_often_as_asked(coverage):
    held = []
    for seed in range(40):
        fitted, new = drawn(200, 1.3, seed), drawn(2000, 1.3, seed + 5000)
        inside = fitted.sets(fitted.apply(new.probabilities), coverage)
        held.append(inside[np.arange(2000), new.labels].mean())
    # the k-th of 200 scatters by 0.03 about k / 201, and the mean of forty by 0.005; k is rounded up
    assert coverage - 0.015 < np.mean(held) < coverage + 0.02


def test_an_ensemble_is_calibrated_on_its_common_images():
    first = calibration([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    second = Calibration(first.content[1:], first.labels[1:], np.array([[0.4, 0.6], [0.8, 0.2]]))
    both = together([first, second])
    assert both.content == first.content[1:]
    np.testing.assert_allclose(both.probabilities, [[0.3, 0.7], [0.7, 0.3]])
    assert together([first, Calibration([b"other"], np.array([0]), np.array([[1.0, 0.0]]))]) is None


def test_what_is_kept_comes_back(tmp_path):
    one = drawn(20, 1.0)
    write_calibration(tmp_path, one, ("FRI", "FRII", "Bent"))
    back = read_calibration(tmp_path, ("FRI", "FRII", "Bent"))
    assert back.content == one.content
    np.testing.assert_array_equal(back.labels, one.labels)
    np.testing.assert_array_equal(back.probabilities, one.probabilities)
    with pytest.raises(DataError, match="damaged or of another run"):
        read_calibration(tmp_path, ("other", "FRII", "Bent"))
    assert read_calibration(tmp_path / "elsewhere", ("FRI",)) is None
