"""What is told of each answered image besides its probabilities: the set of classes, the entropy, the distance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from rvtool.runs.apply import Verdict

SEPARATOR = "|"  # between the classes of a set


def columns(verdict: Verdict, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of an answer's columns: a probability a class, and what else the runs can tell."""
    sets = () if verdict.calibration is None else ("set",)
    far = () if verdict.distance is None else ("distance",)
    return (*classes, "entropy", *sets, *far)


def rows(verdict: Verdict, classes: Sequence[str], coverage: float) -> Iterator[tuple[str, ...]]:
    """Give the cells of `columns` for each answer.

    Parameters
    ----------
    coverage
        How often a set of classes is to hold the true one.
    """
    names = np.array(classes, dtype=object)
    entropy = verdict.entropy
    inside = None if verdict.calibration is None else verdict.calibration.sets(verdict.probabilities, coverage)
    for number, answer in enumerate(verdict.probabilities):
        cells = [f"{p:.6g}" for p in answer]
        cells.append(f"{entropy[number]:.4g}")
        if inside is not None:
            cells.append(SEPARATOR.join(names[inside[number]]))
        if verdict.distance is not None:
            cells.append(f"{verdict.distance[number]:.4g}")
        yield tuple(cells)


def judge_sets(verdict: Verdict, labels: np.ndarray, classes: Sequence[str], coverage: float) -> dict[str, Any] | None:
    """Count how often the sets of classes hold the true one, and how large they are; None where there are none.

    Returns
    -------
    ``asked``, ``covered`` with its exact 95 % interval ``low`` and ``high`` (Clopper-Pearson), ``mean_classes``,
    ``single``, the share of the images whose set names one class, ``classes``, the coverage of each class's images, of
    which nothing is promised, and ``validation_images``, on which the sets rest.
    """
    if verdict.calibration is None:
        return None
    inside = verdict.calibration.sets(verdict.probabilities, coverage)
    held = inside[np.arange(len(labels)), labels]
    hits = int(held.sum())
    interval = binomtest(hits, len(labels)).proportion_ci(0.95, "exact")
    sizes = inside.sum(axis=1)
    return {
        "asked": coverage,
        "covered": hits / len(labels),
        "low": interval.low,
        "high": interval.high,
        "mean_classes": float(sizes.mean()),
        "single": float((sizes == 1).mean()),
        "classes": {name: float(held[labels == k].mean()) for k, name in enumerate(classes) if (labels == k).any()},
        "validation_images": len(verdict.calibration.labels),
    }
