"""How well a classifier answers, how sure one can be of that, and whether one classifier beats another.

What each figure is, stands in `rvtool.report.scores`.

References
----------
McNemar (1947), Psychometrika 12, 153. Clopper & Pearson (1934), Biometrika 26, 404.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import binomtest

from rvtool.errors import DataError
from rvtool.report.scores import METRICS, interval, resamples, scores

FEW_GROUPS = 20


@dataclass(frozen=True)
class Answers:
    """What a classifier said of some images, and what is true of them.

    Attributes
    ----------
    ids
        (N,), a name of each image, unique.
    labels
        (N,), integers in 0 .. K-1.
    probabilities
        (N, K), rows sum to one.
    classes
        K names.
    groups
        (N,), the sky group of each image: images of one group share pixels and are resampled together. None where
        every image stands for itself.

    Raises
    ------
    DataError
        There is nothing to judge, lengths differ, an id comes twice, or the numbers are no probabilities or labels.
    """

    ids: Sequence[str]
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.classes))
        if not shape[0]:
            raise DataError("There are no images to judge; check the split and the dataset.")
        if self.probabilities.shape != shape or self.labels.shape != shape[:1]:
            raise DataError(
                f"Probabilities of shape {self.probabilities.shape} and labels of shape {self.labels.shape} do not"
                f" belong to {shape[0]} images of {shape[1]} classes."
            )
        if self.groups is not None and self.groups.shape != shape[:1]:
            raise DataError(f"{len(self.groups)} sky groups were given for {shape[0]} images.")
        if len(set(self.ids)) < shape[0]:
            raise DataError("Some images have the same id; ids must be unique to compare runs by them.")
        if not np.isfinite(self.probabilities).all():
            bad = self.ids[int(np.flatnonzero(~np.isfinite(self.probabilities).all(axis=1))[0])]
            raise DataError(f"The model's answer to image {bad} is not finite; its training may have diverged.")
        if self.probabilities.min() < 0 or not np.allclose(self.probabilities.sum(axis=1), 1, atol=1e-3):
            raise DataError("The model's answers are no probabilities (each image's must be 0 or more and sum to 1).")
        if self.labels.dtype.kind not in "iu" or self.labels.min() < 0 or self.labels.max() >= shape[1]:
            raise DataError(f"Labels must be integers from 0 to {shape[1] - 1}, one for each of {shape[1]} classes.")

    @cached_property
    def members(self) -> np.ndarray:
        """(N,), the number of each image's sky group, 0 .. G-1."""
        if self.groups is None:
            return np.arange(len(self.ids))
        return np.unique(self.groups, return_inverse=True)[1]

    def take(self, rows: np.ndarray) -> Answers:
        """Return the answers of these rows, in this order."""
        groups = None if self.groups is None else self.groups[rows]
        ids = [self.ids[row] for row in rows]
        return Answers(ids, self.labels[rows], self.probabilities[rows], self.classes, groups)


# --------------------------------------------------------------------------- one run


def judge(answers: Answers, training_counts: Sequence[int], bootstrap: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Judge a classifier: every figure with its 95 % interval and the majority-class baseline.

    The baseline answers every image with the shares of the classes in the training split, so its answer is the
    most frequent class there. A resample that lacks a class leaves it out of macro-F1 and AUROC.

    Parameters
    ----------
    training_counts
        Images of each class in the training split, K.
    bootstrap
        Resamples, by sky group where the answers have groups.

    Returns
    -------
    What stands in ``metrics.json``: for each name of `METRICS` ``value``, ``low``, ``high`` and ``baseline`` (None
    where not defined); ``classes``, ``confusion`` (rows are the truth), ``warnings``, ``images`` and ``groups``.

    Raises
    ------
    DataError
        There is not one count for each class, or all are zero.
    """
    counts = np.asarray(training_counts, dtype=float)
    if counts.shape != (len(answers.classes),) or not counts.sum() > 0:
        raise DataError(
            f"The baseline needs the number of training images of each of {len(answers.classes)} classes,"
            f" but was given {list(training_counts)}."
        )
    everything = np.ones((1, len(answers.ids)))
    value = scores(answers.labels, answers.probabilities, everything)
    prior = np.broadcast_to(counts / counts.sum(), answers.probabilities.shape)
    baseline = scores(answers.labels, prior, everything)
    draws = _bootstrap(answers, bootstrap, seed)

    metrics: dict[str, Any] = {}
    for name in METRICS:
        centre = float(value[name][0]) if METRICS[name].is_biased else None
        low, high = interval(draws[name], centre)
        metrics[name] = {
            "value": _plain(value[name][0]),
            "low": low,
            "high": high,
            "baseline": _plain(baseline[name][0]),
        }
    confusion = np.zeros((len(counts), len(counts)), dtype=int)
    np.add.at(confusion, (answers.labels, answers.probabilities.argmax(axis=1)), 1)
    metrics["classes"] = {}
    for k, kind in enumerate(answers.classes):
        row: dict[str, Any] = {"support": int(confusion[k].sum())}
        for name in ("precision", "recall", "f1"):
            row[name] = float(value[name][0, k])
            row[f"{name}_low"], row[f"{name}_high"] = interval(draws[name][:, k])
        metrics["classes"][kind] = row
    groups = int(answers.members.max()) + 1
    metrics["confusion"] = confusion.tolist()
    metrics["images"] = len(answers.ids)
    metrics["groups"] = groups
    metrics["warnings"] = _warnings(metrics, confusion, groups)
    return metrics


def _bootstrap(answers: Answers, count: int, seed: int) -> dict[str, np.ndarray]:
    parts = [scores(answers.labels, answers.probabilities, w) for w in resamples(answers.members, count, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _warnings(metrics: dict[str, Any], confusion: np.ndarray, groups: int) -> list[str]:
    said = []
    for k, (kind, row) in enumerate(metrics["classes"].items()):
        if not row["support"]:
            said.append(f"No image of class {kind} was judged: its AUROC is left out, its precision and recall are 0.")
        elif not confusion[:, k].any():
            said.append(f"Class {kind} was never answered: its precision and F1 are 0.")
    if groups < FEW_GROUPS:
        said.append(f"Only {groups} independent sky groups were judged: the intervals are rough and too narrow.")
    accuracy = metrics["accuracy"]
    if accuracy["value"] in (0, 1):
        low, high = binomtest(round(accuracy["value"]) * groups, groups).proportion_ci(0.95, "exact")
        said.append(
            f"Every answer is {'right' if accuracy['value'] else 'wrong'}, so the bootstrap gives no interval; the"
            f" exact one (Clopper-Pearson, {groups} independent groups) is {low:.3f} to {high:.3f}."
        )
    elif accuracy["low"] <= accuracy["baseline"]:
        said.append(
            f"The accuracy ({accuracy['value']:.3f}, 95 % interval {accuracy['low']:.3f} to {accuracy['high']:.3f}) is"
            f" not clearly above that of always answering the most frequent class ({accuracy['baseline']:.3f})."
        )
    return said


# --------------------------------------------------------------------------- two runs


def compare(first: Answers, second: Answers, bootstrap: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Compare two classifiers on the images that both answered: second minus first, with paired intervals.

    Both are resampled with the same draws, so what an easy or a hard image does to both cancels. McNemar's exact
    test asks whether the images that only one got right (b, c) are split evenly: two-sided binomial p of min(b, c)
    in b + c at 1/2. It takes images as independent; the intervals do not where there are sky groups.

    Returns
    -------
    ``images``; ``metrics``: for each of `METRICS` ``first``, ``second``, ``difference``, ``low``, ``high``;
    ``mcnemar``: ``only_first_right``, ``only_second_right``, ``p``; ``warnings``.

    Raises
    ------
    DataError
        Classes or labels differ, or there is no common image.
    """
    if first.classes != second.classes:
        raise DataError(f"Runs of different classes cannot be compared: {first.classes} and {second.classes}.")
    where = {name: row for row, name in enumerate(second.ids)}
    rows = np.array([row for row, name in enumerate(first.ids) if name in where], dtype=int)
    if not rows.size:
        raise DataError("The two runs were judged on no common image; choose one --split that both can be judged on.")
    one = first.take(rows)
    two = second.take(np.array([where[name] for name in one.ids]))
    if (one.labels != two.labels).any():
        raise DataError("The two runs were judged against different labels of the same images.")

    everything = np.ones((1, len(rows)))
    values = [scores(a.labels, a.probabilities, everything) for a in (one, two)]
    draws = [_bootstrap(a, bootstrap, seed) for a in (one, replace(two, groups=one.groups))]
    table = {}
    for name in METRICS:
        low, high = interval(draws[1][name] - draws[0][name])
        pair = [value[name][0] for value in values]
        table[name] = {
            "first": _plain(pair[0]),
            "second": _plain(pair[1]),
            "difference": _plain(pair[1] - pair[0]),
            "low": low,
            "high": high,
        }
    right = [a.probabilities.argmax(axis=1) == a.labels for a in (one, two)]
    only = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    left_out = len(first.ids) + len(second.ids) - 2 * len(rows)
    return {
        "images": len(rows),
        "metrics": table,
        "mcnemar": {"only_first_right": only[0], "only_second_right": only[1], "p": mcnemar(*only)},
        "warnings": [f"{left_out} images that only one of the runs was judged on are left out."] if left_out else [],
    }


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two classifiers err equally often, from the images that only one got right."""
    differing = only_first + only_second
    return float(binomtest(min(only_first, only_second), differing).pvalue) if differing else 1.0
