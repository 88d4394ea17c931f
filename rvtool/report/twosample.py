"""Whether a classifier tells two sets of images apart, and what it learns from one set is worth on another.

What learns is given: a `Learner` fits labels to arrays of any shape, so that features and pixels are judged alike.

References
----------
.. [1] Lopez-Paz & Oquab (2017), arXiv:1610.06545 (classifier two-sample tests)
.. [2] Ravuri & Vinyals (2019), arXiv:1905.10887 (classification accuracy score: trained on made, judged on real)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rvtool.errors import DataError
from rvtool.report.scores import interval, resamples

FOLDS = 4

Learner: TypeAlias = "Callable[[np.ndarray, np.ndarray, int], Callable[[np.ndarray], np.ndarray]]"
"""``learn(values (N, ...), labels (N,), kinds K)`` gives what answers with probabilities ``(M, K)``."""


@dataclass(frozen=True)
class Labelled:
    """Some images as a learner sees them.

    Attributes
    ----------
    values
        (N, ...), features or pixels.
    labels
        (N,), integers below the number of classes.
    groups
        (N,), integers: images of one group are one sky, or one of a kind, and are never parted.
    """

    values: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def take(self, rows: np.ndarray) -> Labelled:
        """Return those of these rows, numbers or a mask."""
        return Labelled(self.values[rows], self.labels[rows], self.groups[rows])

    def beside(self, other: Labelled) -> Labelled:
        """Return these and others, none of which shares a group with these."""
        above = int(self.groups.max(initial=-1)) + 1 - int(other.groups.min(initial=0))
        return Labelled(
            np.concatenate([self.values, other.values]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.groups, other.groups + above]),
        )


def tell_apart(
    first: Labelled, second: Labelled, learn: Learner, bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Learn to tell two sets apart, and give the share of images that is told right by who never saw them.

    The sets are cut in `FOLDS` parts, whole groups at a time and classes in proportion; each part is answered by what
    learnt from the others. Each set weighs the same, however many images it has: 0.5 is what guessing gives.

    Returns
    -------
    ``value``, its 95 % interval ``low`` and ``high`` (groups resampled; what learnt stays as it is), ``images`` of each
    set and ``folds``.

    Raises
    ------
    DataError
        A set has fewer groups than there are folds.

    References
    ----------
    [1]_, eq. 2 (the statistic), here of all images by cross-validation.
    """
    both = first.beside(second)
    kinds = np.repeat([0, 1], [len(first.values), len(second.values)])
    # classes in proportion within each set
    folds = deal(both.groups, 2 * both.labels + kinds, FOLDS, seed)
    for which in (0, 1):
        if len(np.unique(both.groups[kinds == which])) < FOLDS:
            raise DataError(f"Telling sets of images apart needs {FOLDS} of each that share no sky; judge more.")
    right = np.zeros(len(kinds), bool)
    for fold in range(FOLDS):
        inside = folds != fold
        if len(np.unique(kinds[inside])) < 2 or inside.all():  # large groups may leave a fold empty
            continue
        answer = learn(both.values[inside], kinds[inside], 2)
        right[~inside] = answer(both.values[~inside]).argmax(axis=1) == kinds[~inside]
    found, _ = _recall(right, kinds, both.groups, kinds=2, bootstrap=bootstrap, seed=seed)
    return {**found, "images": [len(first.values), len(second.values)], "folds": FOLDS}


def deal(groups: np.ndarray, strata: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Deal whole groups ``(N,)`` into parts of equally many images, each stratum by itself: the part of each, ``(N,)``.

    A group is dealt within the stratum of its first image, to the part that has the fewest images of it as yet.
    """
    _, first, of_group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    random = np.random.default_rng(seed)
    dealt = np.empty(len(first), int)
    total = np.zeros(count, int)
    for stratum in np.unique(strata[first]):
        own = np.zeros(count, int)
        for group in random.permutation(np.flatnonzero(strata[first] == stratum)):
            part = dealt[group] = np.lexsort((total, own))[0]
            own[part] += sizes[group]
            total[part] += sizes[group]
    return dealt[of_group]


def transfer(
    real: Labelled,
    made: Labelled,
    held_out: Labelled,
    *,
    classes: tuple[str, ...],
    learn: Learner,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Learn classes from real and from made images, and judge what was learnt on the other.

    Parameters
    ----------
    real, made
        What is learnt from.
    held_out
        Real images that are judged on.

    Returns
    -------
    For each arm (``real``, ``made``, ``both``: learnt from these, judged on real images; ``reverse``: learnt from real
    images, judged on made ones) the balanced accuracy ``value``, ``low``, ``high``, that of each class in ``classes``,
    and ``learnt_from`` and ``judged``, images; ``gain``: ``both`` less ``real`` on the same resamples; ``chance``.

    Raises
    ------
    DataError
        Fewer than two classes are both learnt and judged.

    References
    ----------
    [2]_, section 3.
    """
    judged = np.unique(held_out.labels)
    for one in (real, made):
        if len(np.intersect1d(judged, one.labels)) < 2:
            raise DataError("What images teach of classes needs two classes that are made and held out; judge more.")
    found: dict[str, Any] = {}
    draws: dict[str, np.ndarray] = {}
    for arm, learnt in {"real": real, "made": made, "both": real.beside(made)}.items():
        answer = learn(learnt.values, learnt.labels, len(classes))
        found[arm], draws[arm] = _judge(answer, learnt, held_out, classes, bootstrap=bootstrap, seed=seed)
        if arm == "real":
            found["reverse"], _ = _judge(answer, learnt, made, classes, bootstrap=bootstrap, seed=seed)
    low, high = interval(draws["both"] - draws["real"])
    found["gain"] = {"value": found["both"]["value"] - found["real"]["value"], "low": low, "high": high}
    return found | {"chance": 1 / len(judged)}


def _judge(
    answer: Callable[[np.ndarray], np.ndarray],
    learnt: Labelled,
    asked: Labelled,
    classes: tuple[str, ...],
    *,
    bootstrap: int,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray]:
    right = answer(asked.values).argmax(axis=1) == asked.labels
    found, draws = _recall(right, asked.labels, asked.groups, kinds=len(classes), bootstrap=bootstrap, seed=seed)
    own = {name: float(right[asked.labels == kind].mean()) for kind, name in enumerate(classes) if kind in asked.labels}
    return {**found, "classes": own, "learnt_from": len(learnt.values), "judged": len(asked.values)}, draws


def _recall(
    right: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, kinds: int, bootstrap: int, seed: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Balanced accuracy with its 95 % interval, and the draws behind it."""
    truth = labels[:, None] == np.arange(kinds)  # (N, K)

    def balanced(weights: np.ndarray) -> np.ndarray:
        support = weights @ truth.astype(float)
        hit = weights @ (truth & right[:, None]).astype(float)
        found: np.ndarray = (hit / np.maximum(support, 1)).sum(axis=1) / (support > 0).sum(axis=1)
        return found

    members = np.unique(groups, return_inverse=True)[1]
    draws = np.concatenate([balanced(weights) for weights in resamples(members, bootstrap, seed)])
    low, high = interval(draws)
    return {"value": float(balanced(np.ones((1, len(labels))))[0]), "low": low, "high": high}, draws
