"""Which image trains, validates and tests: fixed once, by patches of sky, never by image."""

from __future__ import annotations

import math

import numpy as np

from rvtool.errors import ConfigError

SPLITS = ("train", "val", "test")
VALIDATION_FRACTION = 0.15  # of what a fold leaves
VALIDATION_SEED = 0  # all trainings of a fold validate on the same images, from which an ensemble takes its temperature


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Read ``"70/15/15"`` as three fractions that add to one.

    Raises
    ------
    ConfigError
        There are not three numbers, one is negative, or all are zero.
    """
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 3 or min(parts) < 0 or sum(parts) <= 0 or not np.isfinite(sum(parts)):
        raise ConfigError(f"Split '{text}' is not of the form train/val/test, for example 70/15/15.")
    total = sum(parts)
    return parts[0] / total, parts[1] / total, parts[2] / total


def sky_groups(ra_deg: np.ndarray, dec_deg: np.ndarray, radius_arcmin: float) -> np.ndarray:
    """Number the groups of positions that are linked by separations below a radius (friends of friends).

    Parameters
    ----------
    ra_deg, dec_deg
        ``(N,)``, degrees.
    radius_arcmin
        Two positions closer than this are in one group.

    Returns
    -------
    ``(N,)`` int64, one number a group, in the order of first members.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    xyz = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    chord = 2 * np.sin(np.radians(radius_arcmin / 60) / 2)
    pairs = cKDTree(xyz).query_pairs(chord, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(xyz), len(xyz)))
    return connected_components(links, directed=False)[1].astype(np.int64)


def split_by_group(
    groups: np.ndarray, labels: np.ndarray | None, fractions: tuple[float, float, float], seed: int
) -> np.ndarray:
    """Deal whole groups into train, val and test, class by class.

    Parameters
    ----------
    groups
        ``(N,)``, the group of each image.
    labels
        ``(N,)``, or None; a group is dealt within the class of its first image.
    fractions
        Of train, val and test, adding to one.
    seed
        Of the shuffle.

    Returns
    -------
    ``(N,)`` of ``"train"``, ``"val"`` or ``"test"``.
    """
    _, first, of_group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    strata = np.zeros(len(first), int) if labels is None else np.unique(labels[first], return_inverse=True)[1]
    edges = np.cumsum(fractions)[:2]
    rng = np.random.default_rng(seed)
    dealt = np.empty(len(first), int)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        middle = np.cumsum(sizes[members]) - sizes[members] / 2  # of each group, along the shuffled row of images
        dealt[members] = np.searchsorted(edges, middle / sizes[members].sum(), side="right")
    return np.array(SPLITS, dtype=object)[dealt[of_group]]


def split_as_before(
    before: np.ndarray,
    groups: np.ndarray,
    labels: np.ndarray | None,
    fractions: tuple[float, float, float],
    seed: int,
) -> np.ndarray:
    """Deal the images that have no part yet; all others keep theirs, whatever came since.

    An image whose group has a part goes there; one that links groups of several parts belongs to none (``""``).

    Parameters
    ----------
    before
        ``(N,)``, the part of each image, or None.
    """
    parts_of: dict[int, set[str]] = {}
    for group, part in zip(groups.tolist(), before.tolist(), strict=True):
        if part is not None:
            parts_of.setdefault(group, set()).add(part)
    dealt = before.copy()
    for row in np.flatnonzero(before == None):  # noqa: E711 - of every element
        parts = parts_of.get(groups[row], set())
        if parts:
            dealt[row] = next(iter(parts)) if len(parts) == 1 else ""
    rest = dealt == None  # noqa: E711
    dealt[rest] = split_by_group(groups[rest], None if labels is None else labels[rest], fractions, seed)
    return dealt


def split_by_fold(
    folds: np.ndarray, fold: int | str, groups: np.ndarray, labels: np.ndarray | None, seed: int
) -> np.ndarray:
    """Make one fold the test part, and a stratified, group-wise part of the rest the validation.

    Images without a fold (None) belong to the rest.
    Images of the rest whose group touches the fold belong to no part (``""``): they share pixels with the test.

    Raises
    ------
    ConfigError
        There is no such fold.
    """
    if fold not in folds.tolist():
        known = ", ".join(sorted({str(f) for f in folds.tolist() if f is not None}, key=lambda f: (len(f), f)))
        raise ConfigError(f"The dataset has no fold {fold}; its folds are {known}.")
    test = folds == fold
    touching = np.isin(groups, groups[test]) & ~test
    rest = ~test & ~touching
    fractions = (1 - VALIDATION_FRACTION, VALIDATION_FRACTION, 0.0)
    split = np.full(len(folds), "", dtype=object)
    split[test] = "test"
    split[rest] = split_by_group(groups[rest], None if labels is None else labels[rest], fractions, seed)
    return split


def separation_arcmin(ra_deg: float, dec_deg: float, other_ra_deg: float, other_dec_deg: float) -> float:
    """Return the angle between two places, arcmin (haversine: exact for small angles)."""
    dec, other_dec = math.radians(dec_deg), math.radians(other_dec_deg)
    across = math.sin(math.radians(other_ra_deg - ra_deg) / 2) ** 2
    square = math.sin((other_dec - dec) / 2) ** 2 + math.cos(dec) * math.cos(other_dec) * across
    return 60 * math.degrees(2 * math.asin(min(1.0, math.sqrt(square))))
