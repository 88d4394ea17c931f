"""Runs that were judged on different images, judged together."""

import numpy as np
import pytest

from rvtool.report.classification import Answers
from rvtool.report.pooling import disjoint, judge_pooled, pool_answers


def answers(first, count, group=True):
    random = np.random.default_rng(first)
    labels = np.arange(count) % 2
    probabilities = random.dirichlet((1, 1), count) * 0.5 + 0.5 * np.eye(2)[labels]
    groups = np.arange(first, first + count) // 2 if group else None
    return Answers([str(first + n) for n in range(count)], labels, probabilities, ("a", "b"), groups)


def test_folds_are_disjoint_and_repetitions_are_not():
    assert disjoint([answers(0, 10), answers(10, 10)])
    assert not disjoint([answers(0, 10), answers(8, 10)])
    assert not disjoint([answers(0, 10)])
    other = answers(10, 10)
    assert not disjoint([answers(0, 10), Answers(other.ids, other.labels, other.probabilities, ("a", "c"))])


def test_pooled_figures_are_those_of_all_images():
    parts = [answers(0, 40), answers(40, 20)]
    both = pool_answers(parts)
    assert len(both.ids) == 60
    assert both.members.max() == 29
    assert pool_answers([answers(0, 4), answers(4, 4, group=False)]).groups is None
    sets = {"asked": 0.9, "mean_classes": 1.0, "single": 1.0, "validation_images": 50}
    judged = [{"sets": {**sets, "covered": 0.9}}, {"sets": {**sets, "covered": 0.75, "mean_classes": 2.5}}]
    found = judge_pooled(parts, [(30, 10), (10, 10)], judged, 100, 0)
    right = (both.probabilities.argmax(axis=1) == both.labels).mean()
    assert found["accuracy"]["value"] == pytest.approx(right)
    assert found["accuracy"]["baseline"] == 0.5
    assert found["sets"]["covered"] == pytest.approx((36 + 15) / 60)
    assert found["sets"]["mean_classes"] == pytest.approx((40 + 2.5 * 20) / 60)
    assert found["sets"]["low"] < 0.85 < found["sets"]["high"]
    assert "robustness" not in found
    row = {"kind": "shifted", "balanced_accuracy": 0.8, "difference": -0.02, "low": -0.05, "high": 0.01, "changed": 0.1}
    other = {**row, "balanced_accuracy": 0.7, "difference": 0.0, "low": -0.04, "high": 0.04}
    for one, kind in zip(judged, (row, other), strict=True):
        one["robustness"] = {"images": 30, "kinds": [kind]}
    (pooled,) = judge_pooled(parts, [(30, 10), (10, 10)], judged, 100, 0)["robustness"]["kinds"]
    assert (pooled["balanced_accuracy"], pooled["difference"]) == (pytest.approx(0.75), pytest.approx(-0.01))
    assert pooled["high"] == pytest.approx(
        -0.01 + 0.025
    )  # halves of 0.03 and 0.04 are 0.05 together, 0.025 of the mean
    judged[0]["sets"] = None
    assert judge_pooled(parts, [(30, 10), (10, 10)], judged, 100, 0)["sets"] is None
