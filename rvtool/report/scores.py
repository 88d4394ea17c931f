"""The figures of a classifier, each a pure function of labels, probabilities and the weight of each image.

One function, `scores`, gives them all: weights of one give the value, the counts of a bootstrap resample its
interval, and the training prior in place of the model's probabilities the baseline.

References
----------
Brier (1950), Monthly Weather Review 78, 1. Efron (1979), Ann. Statist. 7, 1 (bootstrap). Field & Welsh (2007),
J. R. Statist. Soc. B 69, 369 (resampling whole groups). Mann & Whitney (1947), Ann. Math. Statist. 18,
50, and Hanley & McNeil (1982), Radiology 143, 29 (area under the ROC curve from ranks). Guo et al. (2017),
arXiv:1706.04599 (calibration error), its bins of equal mass as Nixon et al. (2019), arXiv:1904.01685. El-Yaniv & Wiener
(2010), J. Mach. Learn. Res. 11, 1605 (answering only the surest).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CALIBRATION_BINS = 15
SELECTED = 0.7  # share of the images that are answered where the least sure are not
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)  # models answer in 32-bit floats
CHUNK_WEIGHTS = 2_000_000  # weights held at once: 16 MB


class Metric(NamedTuple):
    """A figure that `judge` reports: its name for people, the better direction, and what exactly it is."""

    title: str
    higher_is_better: bool
    definition: str
    is_biased: bool = False  # whether resamples sit above the value, as they do for what is never negative


METRICS = {
    "accuracy": Metric("Accuracy", True, "Share of images whose most probable class is the true one."),
    "balanced_accuracy": Metric(
        "Balanced accuracy", True, "Mean over the classes that occur of the share of their images that is found."
    ),
    "macro_f1": Metric(
        "Macro-F1",
        True,
        "Mean over classes of 2 TP / (2 TP + FP + FN); a class that neither occurs nor is answered is left out.",
    ),
    "auroc": Metric(
        "AUROC",
        True,
        "Mean over classes of the chance that an image of the class is given a higher probability of it than an image"
        " of another class, ties counting a half; a class with no image, or no other image, is left out.",
    ),
    "nll": Metric("NLL", False, "Mean of -ln(probability of the true class), probabilities clipped at 1.2e-7."),
    "brier": Metric(
        "Brier", False, "Mean over images of the sum over classes of (probability - truth)^2: 0 best, 2 worst."
    ),
    "ece": Metric(
        "ECE",
        False,
        f"Expected calibration error: |accuracy - mean top probability| in {CALIBRATION_BINS} bins of the top"
        " probability that hold equally many images, averaged with the share of images in each. Never negative, so"
        " resamples sit above it: their mean distance from it is taken off its interval.",
        is_biased=True,
    ),
    "selective_accuracy": Metric(
        f"Accuracy of the surest {SELECTED:.0%}",
        True,
        f"Accuracy of the {SELECTED:.0%} of the images whose top probability is highest.",
    ),
}


def class_scores(right: np.ndarray, answered: np.ndarray, support: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class; 0 where nothing was answered or nothing is there to find.

    Parameters
    ----------
    right : (..., K)
        Images of the class answered with it (TP).
    answered : (..., K)
        Images answered with the class (TP + FP).
    support : (..., K)
        Images of the class (TP + FN).
    """
    return {
        "precision": right / np.maximum(answered, 1),
        "recall": right / np.maximum(support, 1),
        "f1": 2 * right / np.maximum(answered + support, 1),
    }


def auroc(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, from ranks: sum over pairs of [s+ > s-] + [s+ = s-] / 2.

    Parameters
    ----------
    score : (N,)
    positive : (N,) bool
    weights : (R, N)

    Returns
    -------
    (R,); NaN where the weights leave no positive or no negative.
    """
    order = np.argsort(score, kind="stable")
    ties = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])  # where each run of equal scores begins
    ordered = weights[:, order]  # (R, N)
    ups = np.add.reduceat(ordered * positive[order], ties, axis=1)  # (R, T)
    downs = np.add.reduceat(ordered, ties, axis=1) - ups  # (R, T)
    below = np.cumsum(downs, axis=1) - downs
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    wins = np.einsum("rt,rt->r", ups, below + downs / 2)
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def calibration_bins(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each top probability: bins of equally many images, where equal probabilities share one."""
    edges = np.quantile(confidence, np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS, method="inverted_cdf")
    return np.searchsorted(edges, confidence, side="left")


def selective_accuracy(confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Accuracy of the surest images that together hold `SELECTED` of the weight, ``(R,)``.

    Of images that are equally sure, where not all fit, each counts in part.
    """
    order = np.argsort(-confidence, kind="stable")
    ties = np.flatnonzero(np.r_[True, np.diff(confidence[order]) != 0])
    ordered = weights[:, order]  # (R, N)
    mass = np.add.reduceat(ordered, ties, axis=1)  # (R, T)
    right = np.add.reduceat(ordered * correct[order], ties, axis=1)
    wanted = SELECTED * mass.sum(axis=1)
    room = np.clip(wanted[:, None] - (np.cumsum(mass, axis=1) - mass), 0, mass)
    return np.divide(room * right, mass, out=np.zeros_like(mass), where=mass > 0).sum(axis=1) / wanted


def scores(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every figure of `METRICS`, and precision, recall and F1 of each class, for each row of weights.

    Parameters
    ----------
    labels : (N,)
    probabilities : (N, K)
    weights : (R, N)
        How often each image counts.

    Returns
    -------
    (R,) for each name of `METRICS`, NaN where a figure is not defined; (R, K) for precision, recall and f1.
    """
    kinds = np.arange(probabilities.shape[1])
    truth = labels[:, None] == kinds  # (N, K)
    answer = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    correct = answer == labels
    total = weights.sum(axis=1)

    answered = weights @ (answer[:, None] == kinds).astype(float)  # (R, K)
    support = weights @ truth.astype(float)
    by_class = class_scores(weights @ (truth & correct[:, None]).astype(float), answered, support)
    occurs = answered + support > 0
    there = support > 0

    areas = np.stack([auroc(probabilities[:, k], truth[:, k], weights) for k in kinds], axis=1)  # (R, K)
    defined = np.isfinite(areas)
    surprise = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], SMALLEST_PROBABILITY, 1))
    gap = (calibration_bins(confidence)[:, None] == np.arange(CALIBRATION_BINS)) * (correct - confidence)[:, None]

    count = defined.sum(axis=1)
    area = np.divide(np.where(defined, areas, 0).sum(axis=1), count, out=np.full(len(total), np.nan), where=count > 0)
    return {
        "accuracy": weights @ correct / total,
        "balanced_accuracy": (by_class["recall"] * there).sum(axis=1) / there.sum(axis=1),
        "macro_f1": (by_class["f1"] * occurs).sum(axis=1) / occurs.sum(axis=1),
        "auroc": area,
        "nll": weights @ surprise / total,
        "brier": weights @ ((probabilities - truth) ** 2).sum(axis=1) / total,
        "ece": np.abs(weights @ gap).sum(axis=1) / total,  # sum over bins of n_b/N |acc_b - conf_b|
        "selective_accuracy": selective_accuracy(confidence, correct, weights),
        **by_class,
    }


def resamples(members: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Draw whole groups with replacement, as many as there are, `count` times.

    Parameters
    ----------
    members : (N,)
        The number of each image's group, 0 .. G-1.

    Yields
    ------
    (r, N), how often each image was drawn; the r of all blocks add up to `count`.
    """
    random = np.random.default_rng(seed)
    groups = int(members.max()) + 1
    block = max(1, CHUNK_WEIGHTS // len(members))
    for start in range(0, count, block):
        rows = min(block, count - start)
        drawn = random.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)
        yield counts[:, members].astype(float)


def interval(draws: np.ndarray, centre: float | None = None) -> tuple[float | None, float | None]:
    """Return the 2.5 and 97.5 percentiles of bootstrap draws, leaving undefined ones out (Efron 1979).

    Parameters
    ----------
    centre
        For a figure that is biased in resamples: its value, to which the draws' mean is moved; no end falls below 0.
    """
    known = draws[np.isfinite(draws)]
    if not known.size:
        return None, None
    low, high = np.percentile(known, (2.5, 97.5))
    if centre is not None:
        shift = known.mean() - centre
        low, high = max(low - shift, 0.0), high - shift
    return float(low), float(high)
