"""How alike two sets of images are, in the features that some network sees of them.

References
----------
Bińkowski et al. (2018), arXiv:1801.01401, eq. 4 (KID). Heusel et al. (2017), arXiv:1706.08500, eq. 6 (FID).
Jayasumana et al. (2024), arXiv:2401.09603 (CMMD). Kynkäänniemi et al. (2019), arXiv:1904.06991 (precision and recall).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist, pdist

from rvtool.errors import DataError

MMD_SIGMA, MMD_SCALE = 10.0, 1000.0
NEIGHBOURS = 3  # of the manifolds, as their authors take it


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
    return _discrepancy("KID", lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3, first, second, subsets=subsets, seed=seed)


def mmd(first: np.ndarray, second: np.ndarray, subsets: int = 100, seed: int = 0) -> dict[str, float]:
    """Distance of two sets of features by their directions alone, as CMMD has it: unbiased, 1000 times the square.

    Squared maximum mean discrepancy with the kernel ``exp(-|x - y|^2 / 2 sigma^2)`` of features of length one and the
    sigma of `MMD_SIGMA`. CMMD's own estimate is the biased one (eq. 5 of Gretton et al.), which of few images is never
    near 0.

    Parameters, returns and raises as `kid`.

    References
    ----------
    Gretton et al. (2012), JMLR 13, 723, eq. 3. Jayasumana et al. (2024), arXiv:2401.09603 (CMMD).
    """
    units = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30) for x in (first, second)]
    found = _discrepancy(
        "MMD", lambda x, y: np.exp(-cdist(x, y, "sqeuclidean") / (2 * MMD_SIGMA**2)), *units, subsets=subsets, seed=seed
    )
    return found | {name: MMD_SCALE * found[name] for name in ("value", "spread")} | {"sigma": MMD_SIGMA}


def _discrepancy(
    name: str,
    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray],
    first: np.ndarray,
    second: np.ndarray,
    *,
    subsets: int,
    seed: int,
) -> dict[str, float]:
    """Squared maximum mean discrepancy, unbiased (Gretton et al. 2012, eq. 3), and its spread over subsets."""
    if min(len(first), len(second)) < 4:
        raise DataError(f"{name} needs four images on each side, there are {len(first)} and {len(second)}; judge more.")
    one, other = first.astype(float), second.astype(float)
    a, b, cross = kernel(one, one), kernel(other, other), kernel(one, other)

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


def covered(points: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Tell which points lie in the manifold of a set, ``(N,)`` bool: within reach of one of its members.

    A member reaches as far as its own `NEIGHBOURS`-th nearest neighbour in the set. The share of made images that the
    real ones cover is precision, that of real images which the made ones cover is recall.

    Parameters
    ----------
    points, by : (N, F) and (M, F)

    Raises
    ------
    DataError
        The set has no more members than neighbours are counted.

    References
    ----------
    Kynkäänniemi et al. (2019), arXiv:1904.06991, eq. 1, whose means over the two sets are eq. 2.
    """
    if len(by) <= NEIGHBOURS:
        raise DataError(f"Precision and recall need more than {NEIGHBOURS} images on each side; judge more.")
    reach = np.partition(cdist(by, by), NEIGHBOURS, axis=1)[:, NEIGHBOURS]  # itself is the nearest
    found: np.ndarray = (cdist(points, by) <= reach).any(axis=1)
    return found


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
