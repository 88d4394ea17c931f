"""How alike two sets of images are, in the features that some network sees of them.

References
----------
Bińkowski et al. (2018), arXiv:1801.01401, eq. 4 (KID). Heusel et al. (2017), arXiv:1706.08500, eq. 6 (FID).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from rvtool.errors import DataError


def kid(first: np.ndarray, second: np.ndarray, subsets: int = 100, seed: int = 0) -> dict[str, float]:
    """Kernel distance of two sets of features: unbiased, so it scatters about 0 where both are of one distribution.

    Squared maximum mean discrepancy with the kernel ``(x.y / F + 1)^3``.

    Parameters
    ----------
    first, second : (N, F) and (M, F)

    Returns
    -------
    ``value`` of all features; ``spread``, the standard deviation over random subsets of ``size`` features, half of the
    smaller set.

    Raises
    ------
    DataError
        A set has fewer than four images.

    References
    ----------
    Bińkowski et al. (2018), arXiv:1801.01401, eq. 4.
    """
    if min(len(first), len(second)) < 4:
        raise DataError(f"KID needs four images on each side, there are {len(first)} and {len(second)}; judge more.")
    a, b, cross = (
        (x.astype(float) @ y.astype(float).T / x.shape[1] + 1) ** 3
        for x, y in ((first, first), (second, second), (first, second))
    )

    def distance(rows: np.ndarray, columns: np.ndarray) -> float:
        own = [k[np.ix_(at, at)] for k, at in ((a, rows), (b, columns))]
        within = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in own)
        return float(within - 2 * cross[np.ix_(rows, columns)].mean())

    random = np.random.default_rng(seed)
    half = min(len(first), len(second)) // 2
    draws = [
        distance(random.permutation(len(first))[:half], random.permutation(len(second))[:half]) for _ in range(subsets)
    ]
    value = distance(np.arange(len(first)), np.arange(len(second)))
    return {"value": value, "spread": float(np.std(draws)), "size": half}


def apart(made: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distance of each image to its truth, ``(N,)``, as a part of that between two different truths (the median).

    0 where both are alike; about 1 where the output is as unlike its truth as any other image is.

    Parameters
    ----------
    made, true : (N, F)

    Raises
    ------
    DataError
        There are fewer than two truths, or all are the same.
    """
    distances = pdist(true)
    usual = float(np.median(distances)) if distances.size else 0.0
    if usual == 0:
        raise DataError("The truths do not differ in their features, so that no distance can be told; judge more.")
    found: np.ndarray = np.linalg.norm(made - true, axis=1) / usual
    return found


def fid(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Fréchet distance of two sets of features, as Gaussians: biased upwards, the more the fewer the images.

    Returns
    -------
    ``value``, and ``images`` of the smaller set, without which the value says nothing.

    References
    ----------
    Heusel et al. (2017), arXiv:1706.08500, eq. 6.
    """
    means = [features.astype(float).mean(axis=0) for features in (first, second)]
    covariances = [np.atleast_2d(np.cov(features.astype(float), rowvar=False)) for features in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()  # trace of sqrt(C1 C2)
    distance = ((means[0] - means[1]) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * shared
    return {"value": float(max(distance, 0)), "images": min(len(first), len(second))}
