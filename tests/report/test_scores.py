"""The figures against values worked out by hand, torchmetrics, scipy and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from torchmetrics.functional import classification as reference

from rvtool.report.scores import auroc, calibration_bins, interval, resamples, scores, selective_accuracy

# four images of three classes; answers 0, 1, 1, 2
LABELS = np.array([0, 1, 2, 2])
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.7, 0.2], [0.0, 0.2, 0.8]])


def once(labels, probabilities):
    return {name: value[0] for name, value in scores(labels, probabilities, np.ones((1, len(labels)))).items()}


def random_answers(images=400, classes=4, seed=0, decimals=None):
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    logits = random.normal(size=(images, classes)) + 1.2 * (labels[:, None] == np.arange(classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities if decimals is None else probabilities.round(decimals)


def test_values_by_hand():
    found = once(LABELS, PROBABILITIES)
    assert found["accuracy"] == pytest.approx(3 / 4)
    # class 0: 1; class 1: one right, two answered, one there; class 2: one right, one answered, two there
    assert found["f1"] == pytest.approx([1, 2 / 3, 2 / 3])
    assert found["precision"] == pytest.approx([1, 1 / 2, 1])
    assert found["recall"] == pytest.approx([1, 1, 1 / 2])
    assert found["macro_f1"] == pytest.approx(7 / 9)
    assert found["nll"] == pytest.approx(-np.log([0.5, 0.6, 0.2, 0.8]).mean())
    brier = [0.25 + 0.09 + 0.04, 0.04 + 0.16 + 0.04, 0.01 + 0.49 + 0.64, 0 + 0.04 + 0.04]
    assert found["brier"] == pytest.approx(np.mean(brier))
    # every image is alone in its bin
    assert found["ece"] == pytest.approx((0.5 + 0.4 + 0.7 + 0.2) / 4)
    # class 0: 0.5 beats all; class 1: 0.6 beats 0.3 and 0.2 but not 0.7; class 2: of 4 pairs 0.8 wins 2, 0.2 ties 2
    assert found["auroc"] == pytest.approx((1 + 2 / 3 + (2 + 1) / 4) / 3)


@pytest.mark.parametrize("decimals", [None, 1])
def test_agrees_with_torchmetrics(decimals):
    labels, probabilities = random_answers(decimals=decimals)
    answers, truth = torch.tensor(probabilities), torch.tensor(labels)
    found = once(labels, probabilities)
    assert found["auroc"] == pytest.approx(float(reference.multiclass_auroc(answers, truth, 4)), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(float(reference.multiclass_f1_score(answers, truth, 4)), abs=1e-6)
    recall = float(reference.multiclass_recall(answers, truth, 4, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(recall, abs=1e-6)


def test_calibration_error_of_equally_filled_bins():
    labels, probabilities = random_answers(150)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.argsort(sure).reshape(15, 10)  # fifteen bins of ten images
    by_hand = np.abs(right[bins].mean(axis=1) - sure[bins].mean(axis=1)).mean()
    assert once(labels, probabilities)["ece"] == pytest.approx(by_hand)


def test_surest_images_are_judged_alone_and_ties_in_part():
    sure = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.5, 0.4, 0.3])
    right = np.array([1, 1, 0, 1, 0, 0, 0, 1, 1, 1], bool)
    found = selective_accuracy(sure, right, np.ones((1, 10)))
    assert found == pytest.approx((2 + 4 * 0.25) / 7)
    found = selective_accuracy(sure[[0, 3, 4, 5]], right[[0, 3, 4, 5]], np.array([[1, 1, 1, 1.0]]))
    assert found == pytest.approx((1 + 1.8 / 3) / 2.8)


def test_auroc_is_the_mann_whitney_statistic_with_ties():
    random = np.random.default_rng(3)
    score, positive = random.integers(6, size=200) / 5, random.random(200) < 0.3
    expected = mannwhitneyu(score[positive], score[~positive]).statistic / (positive.sum() * (~positive).sum())
    assert auroc(score, positive, np.ones((1, 200)))[0] == pytest.approx(expected)


def test_auroc_without_one_side_is_undefined():
    assert np.isnan(auroc(np.array([0.1, 0.9]), np.array([True, True]), np.ones((1, 2)))[0])


def test_weights_mean_repeated_images():
    labels, probabilities = random_answers(50, decimals=1)
    weights = np.random.default_rng(1).integers(4, size=50)
    weighted = scores(labels, probabilities, weights[None].astype(float))
    repeated = once(np.repeat(labels, weights), np.repeat(probabilities, weights, axis=0))
    for name, value in weighted.items():
        if name == "ece":
            continue  # its bins are those of the images that were judged
        assert value[0] == pytest.approx(repeated[name]), name


def test_class_that_neither_occurs_nor_is_answered_is_left_out():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    found = once(np.array([0, 1]), probabilities)
    assert found["macro_f1"] == 1
    assert found["auroc"] == 1


def test_certain_and_wrong_costs_a_finite_surprise():
    found = once(np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert found["nll"] == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2)
    assert found["brier"] == 1


def test_equal_probabilities_share_a_bin():
    assert len(set(calibration_bins(np.full(40, 0.4)).tolist())) == 1
    bins = calibration_bins(np.repeat([0.3, 0.6, 0.9], 15))
    assert len(set(bins.tolist())) == 3
    assert (np.diff(bins) >= 0).all()


def test_resamples_draw_whole_groups_and_do_not_depend_on_the_blocks(monkeypatch):
    members = np.array([0, 0, 1, 2, 2, 2])
    whole = np.concatenate(list(resamples(members, 50, seed=4)))
    assert whole.shape == (50, 6)
    assert (whole[:, 0] == whole[:, 1]).all()
    assert (whole[:, 3] == whole[:, 5]).all()
    assert (whole[:, [0, 2, 3]].sum(axis=1) == 3).all()
    monkeypatch.setattr("rvtool.report.scores.CHUNK_WEIGHTS", 60)
    assert (np.concatenate(list(resamples(members, 50, seed=4))) == whole).all()


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Accuracy of 0.8 on 150 images, 200 times: 95 % of the intervals should hold 0.8."""
    random = np.random.default_rng(7)
    probabilities = np.array([[0.7, 0.3]])
    held = 0
    for trial in range(200):
        labels = (random.random(150) > 0.8).astype(int)
        answers = np.repeat(probabilities, 150, axis=0)
        draws = np.concatenate([scores(labels, answers, w)["accuracy"] for w in resamples(np.arange(150), 300, trial)])
        low, high = interval(draws)
        held += low <= 0.8 <= high
    assert 0.89 <= held / 200 <= 0.99


def test_interval_of_undefined_draws_is_none():
    assert interval(np.array([np.nan, np.nan])) == (None, None)
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)


def test_the_interval_of_a_biased_figure_holds_its_value():
    draws = np.random.default_rng(0).normal(0.06, 0.01, 2000)
    low, high = interval(draws, centre=0.02)
    assert 0 <= low < 0.02 < high < 0.05
    assert interval(draws)[0] > 0.02
