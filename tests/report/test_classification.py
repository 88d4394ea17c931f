"""Judging one run, comparing two, and what is warned of."""

from __future__ import annotations

import json
import time
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from rvtool.errors import DataError
from rvtool.report.classification import Answers, compare, judge, mcnemar
from rvtool.report.scores import METRICS

CLASSES = ("FRI", "FRII", "Compact")


def answers_of(labels, answered, sureness=0.8, groups=None, ids=None, classes=CLASSES):
    labels, answered = np.asarray(labels), np.asarray(answered)
    probabilities = np.full((len(labels), len(classes)), (1 - sureness) / (len(classes) - 1))
    probabilities[np.arange(len(labels)), answered] = sureness
    ids = ids or [f"image-{n}" for n in range(len(labels))]
    return Answers(ids, labels, probabilities, classes, groups)


def test_result_has_every_figure_beside_the_baseline():
    labels = [0] * 20 + [1] * 30 + [2] * 10
    answered = [0] * 15 + [1] * 5 + [1] * 24 + [0] * 6 + [2] * 10
    found = judge(answers_of(labels, answered), (100, 250, 50), bootstrap=300)
    assert json.loads(json.dumps(found)) == found
    for name in METRICS:
        row = found[name]
        assert set(row) == {"value", "low", "high", "baseline"}
        assert row["low"] <= row["value"] <= row["high"]
    assert found["accuracy"]["value"] == pytest.approx(49 / 60)
    assert found["accuracy"]["baseline"] == pytest.approx(30 / 60)
    assert found["macro_f1"]["baseline"] == pytest.approx((2 * 30 / (60 + 30)) / 3)
    assert found["auroc"]["baseline"] == 0.5
    prior = np.array([100, 250, 50]) / 400
    assert found["nll"]["baseline"] == pytest.approx(
        -(20 * np.log(prior[0]) + 30 * np.log(prior[1]) + 10 * np.log(prior[2])) / 60
    )
    brier = sum(n * ((prior - np.eye(3)[k]) ** 2).sum() for k, n in enumerate((20, 30, 10))) / 60
    assert found["brier"]["baseline"] == pytest.approx(brier)
    assert found["ece"]["baseline"] == pytest.approx(abs(0.5 - 250 / 400))
    assert found["confusion"] == [[15, 5, 0], [6, 24, 0], [0, 0, 10]]
    assert found["images"] == 60
    fri = found["classes"]["FRI"]
    assert (fri["precision"], fri["recall"], fri["support"]) == (pytest.approx(15 / 21), 0.75, 20)
    assert fri["f1_low"] < fri["f1"] < fri["f1_high"]
    assert found["warnings"] == []


def test_same_seed_same_intervals():
    answers = answers_of([0, 1, 2] * 20, [0, 1, 1] * 20)
    first, again, other = (judge(answers, (1, 1, 1), 200, seed) for seed in (1, 1, 2))
    assert first == again
    assert first["nll"] != other["nll"]


def test_groups_widen_the_interval():
    """Ten copies of each image say no more than one."""
    random = np.random.default_rng(0)
    labels, answered = np.repeat(random.integers(3, size=40), 10), np.repeat(random.integers(3, size=40), 10)
    alone = judge(answers_of(labels, answered), (1, 1, 1), 500)["accuracy"]
    grouped = judge(answers_of(labels, answered, groups=np.repeat(np.arange(40), 10)), (1, 1, 1), 500)["accuracy"]
    assert grouped["value"] == alone["value"]
    assert 2.5 < (grouped["high"] - grouped["low"]) / (alone["high"] - alone["low"]) < 4  # sqrt(10)


def test_warnings():
    never = judge(answers_of([0] * 30 + [1] * 20, [0] * 50), (3, 2, 0), 100)["warnings"]
    assert any("FRII was never answered" in warning for warning in never)
    assert any("No image of class Compact" in warning for warning in never)
    assert any("not clearly above" in warning for warning in never)
    perfect = judge(answers_of([0, 1, 2] * 10, [0, 1, 2] * 10), (1, 1, 1), 100)
    low = binomtest(30, 30).proportion_ci(0.95, "exact").low
    assert any(f"{low:.3f} to 1.000" in warning for warning in perfect["warnings"])
    few = judge(answers_of([0, 1, 2] * 10, [0, 1, 1] * 10, groups=np.arange(30) // 3), (1, 1, 1), 100)["warnings"]
    assert any("Only 10 independent sky groups" in warning for warning in few)


def test_one_class_alone_has_no_auroc():
    found = judge(answers_of([1] * 25, [1] * 20 + [0] * 5), (1, 1, 1), 100)
    assert found["auroc"] == {"value": None, "low": None, "high": None, "baseline": None}


def test_ten_thousand_images_take_seconds():
    random = np.random.default_rng(0)
    answers = answers_of(random.integers(3, size=10_000), random.integers(3, size=10_000))
    start = time.perf_counter()
    judge(answers, (1, 1, 1), bootstrap=500)
    assert time.perf_counter() - start < 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probabilities": np.array([[0.5, 0.5, 0.5]])}, "no probabilities"),
        ({"probabilities": np.array([[np.nan, 0.5, 0.5]])}, "image a is not finite"),
        ({"probabilities": np.ones((2, 3))}, "do not belong to 1 images of 3 classes"),
        ({"labels": np.array([3])}, "integers from 0 to 2"),
        ({"labels": np.array([0.0])}, "integers from 0 to 2"),
        ({"ids": ["a", "a"], "labels": np.array([0, 0]), "probabilities": np.eye(3)[:2]}, "same id"),
        ({"ids": [], "labels": np.zeros(0, int), "probabilities": np.zeros((0, 3))}, "no images to judge"),
        ({"groups": np.array([1, 2])}, "2 sky groups were given for 1"),
    ],
)
def test_what_is_no_answer_is_refused(change, words):
    good = {"ids": ["a"], "labels": np.array([0]), "probabilities": np.array([[1.0, 0, 0]]), "classes": CLASSES}
    Answers(**good)
    with pytest.raises(DataError, match=words):
        Answers(**{**good, **change})


@pytest.mark.parametrize("counts", [(1, 2), (0, 0, 0)])
def test_baseline_needs_training_counts(counts):
    with pytest.raises(DataError, match="baseline needs"):
        judge(answers_of([0, 1], [0, 1]), counts)


def test_comparison_pairs_images_by_id():
    labels = [0, 1, 2] * 20
    good = [0, 1, 2] * 18 + [1, 1, 1] * 2
    bad = [0, 1, 1] * 20
    first = answers_of(labels, bad)
    second = answers_of(labels, good)
    order = np.random.default_rng(0).permutation(60)
    found = compare(first, second.take(order), bootstrap=300)
    assert json.loads(json.dumps(found)) == found
    row = found["metrics"]["accuracy"]
    assert (row["first"], row["second"]) == (pytest.approx(40 / 60), pytest.approx(56 / 60))
    assert row["difference"] == pytest.approx(16 / 60)
    assert 0 < row["low"] < row["difference"] < row["high"]
    test = found["mcnemar"]
    assert (test["only_first_right"], test["only_second_right"]) == (2, 18)
    assert test["p"] == pytest.approx(2 * sum(comb(20, k) for k in range(3)) / 2**20)
    assert found["warnings"] == []


def test_pairing_cancels_what_is_common():
    """Two models of equal errors but one: the paired interval is far narrower than each model's own."""
    labels, answered = np.arange(300) % 3, np.arange(300) % 3
    answered[:100] = (answered[:100] + 1) % 3
    other = answered.copy()
    other[0] = labels[0]
    first, second = answers_of(labels, answered), answers_of(labels, other)
    paired = compare(first, second, 400)["metrics"]["accuracy"]
    own = judge(first, (1, 1, 1), 400)["accuracy"]
    assert paired["high"] - paired["low"] < 0.2 * (own["high"] - own["low"])


def test_comparison_leaves_out_what_only_one_answered():
    first, second = answers_of([0, 1, 2] * 5, [0, 1, 2] * 5), answers_of([0, 1, 2] * 3, [0, 1, 1] * 3)
    found = compare(first, second, 100)
    assert found["images"] == 9
    assert found["warnings"] == ["6 images that only one of the runs was judged on are left out."]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (answers_of([0], [0], ids=["elsewhere"]), "no common image"),
        (answers_of([1], [0]), "different labels"),
        (answers_of([0], [0], classes=("FRI", "FRII", "Bent")), "different classes"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, words):
    with pytest.raises(DataError, match=words):
        compare(answers_of([0], [0]), other)


def test_mcnemar_by_hand():
    assert mcnemar(0, 0) == 1
    assert mcnemar(1, 1) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
