"""The linear probe: how well classes can be told from frozen features by a multinomial logistic regression.

References
----------
.. [1] Alain & Bengio 2017, arXiv:1610.01644 (linear probes)
.. [2] Bishop 2006, Pattern Recognition and Machine Learning, section 4.3.4 (multinomial logistic regression)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from rvtool.data.splits import split_by_group
from rvtool.runs.latent import Scale

STRENGTHS = 10.0 ** np.arange(0, -5, -1)  # of the penalty, strong ones first: each begins where the one before ended
PARTS = (0.8, 0.2, 0.0)  # of the training images: to learn from, to judge a strength on
DRAWS = 5


@dataclass(frozen=True)
class Probe:
    """A linear classifier of standardised features.

    Attributes
    ----------
    weights
        (F + 1, K), the last row the offsets.
    strength
        The penalty on the squared weights that was chosen.
    """

    scale: Scale
    weights: np.ndarray
    strength: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities ``(N, K)`` of the classes, each taken to be equally frequent."""
        probabilities: np.ndarray = np.exp(_log_probabilities(self.scale(features), self.weights))
        return probabilities


def learn(features: np.ndarray, labels: np.ndarray, kinds: int, groups: np.ndarray | None = None) -> Probe:
    """Fit a probe, the strength of its penalty chosen by cross-validation on these images alone.

    Every class weighs the same, however many images it has, since balanced accuracy is what a probe is judged by. The
    strength is that of the least loss over random parts that are held out, whole groups at a time.

    Parameters
    ----------
    features : (N, F)
    labels : (N,)
        Integers below `kinds`.
    kinds
        K.
    groups : (N,)
        Images of one group share sky. None where each stands for itself.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    nothing = np.zeros((features.shape[1] + 1, kinds))
    losses = np.zeros(len(STRENGTHS))
    for draw in range(DRAWS):
        learnt = split_by_group(groups, labels, PARTS, draw) == "train"
        if learnt.all():  # too few groups to hold any out
            continue
        scale = Scale.of(features[learnt])
        inside, outside = scale(features[learnt]), scale(features[~learnt])
        weights = nothing
        for number, strength in enumerate(STRENGTHS):
            weights = _fit(inside, labels[learnt], strength, weights)
            log_probabilities = _log_probabilities(outside, weights)
            own = log_probabilities[np.arange(len(outside)), labels[~learnt]]
            losses[number] -= np.average(own, weights=_even(labels[~learnt]))
    strength = float(STRENGTHS[losses.argmin()])
    scale = Scale.of(features)
    return Probe(scale, _fit(scale(features), labels, strength, nothing), strength)


def _even(labels: np.ndarray) -> np.ndarray:
    """Return weights ``(N,)``, of sum one, with which every class that occurs weighs the same."""
    counts = np.bincount(labels)
    weights: np.ndarray = 1 / (counts[labels] * np.count_nonzero(counts))
    return weights


def _log_probabilities(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    found: np.ndarray = log_softmax(features @ weights[:-1] + weights[-1], axis=1)
    return found


def _fit(features: np.ndarray, labels: np.ndarray, strength: float, start: np.ndarray) -> np.ndarray:
    """Minimise the mean cross-entropy ([2]_, eq. 4.108) plus ``strength / 2`` times the sum of the squared weights."""
    truth = np.eye(start.shape[1])[labels]
    share = _even(labels)[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(start.shape)
        found = _log_probabilities(features, weights)
        wrong = share * (np.exp(found) - truth)  # eq. 4.109
        slope = np.vstack([features.T @ wrong + strength * weights[:-1], wrong.sum(axis=0)])
        value = -(share * truth * found).sum() + strength / 2 * (weights[:-1] ** 2).sum()
        return float(value), slope.ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weights: np.ndarray = found.x.reshape(start.shape)
    return weights
