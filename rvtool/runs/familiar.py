"""Where a classifier's training images lie in the space of its features, so that an image unlike all is noticed.

References
----------
.. [1] Lee et al. 2018, arXiv:1807.03888
.. [2] Ledoit & Wolf 2004, J. Multivar. Anal. 88, 365
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from rvtool.data.files import write_bytes
from rvtool.errors import DataError

FILE = "features.safetensors"
MOST_DIRECTIONS = 64
USUAL = 0.95  # share of the validation images whose distance is at most 1


@dataclass(frozen=True)
class Familiar:
    """Where the training images lie in the space of a network's features.

    Attributes
    ----------
    directions
        (F, D), from features to coordinates in which the classes' spread is one in every direction.
    centres
        (K, D), the mean of each class.
    reach
        The distance within which `USUAL` of the validation images lie.
    """

    directions: np.ndarray
    centres: np.ndarray
    reach: float

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return how far features ``(N, F)`` lie from the nearest class, ``(N,)``: above 1 is unusual.

        The Mahalanobis distance of eq. 2 of [1]_, in units of `reach`.
        """
        return _nearest(features @ self.directions, self.centres) / self.reach


def familiarise(features: np.ndarray, labels: np.ndarray, seen_later: np.ndarray) -> Familiar:
    """Measure where training images lie.

    Parameters
    ----------
    features : (N, F)
        Of training images.
    labels : (N,)
        Their classes, integers.
    seen_later : (M, F)
        Features of validation images, which set the scale.
    """
    kinds = np.unique(labels)
    means = np.stack([features[labels == k].mean(axis=0) for k in kinds])  # (K, F)
    spread = features - means[np.searchsorted(kinds, labels)]
    # the principal directions of what the images differ in, means included
    _, sizes, axes = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    kept = axes[:MOST_DIRECTIONS][sizes[:MOST_DIRECTIONS] > 1e-6 * sizes[0]].T  # (F, D)
    covariance = shrunk_covariance(spread @ kept)
    values, vectors = np.linalg.eigh(covariance)
    directions = kept @ (vectors / np.sqrt(values))
    centres = means @ directions
    reach = float(np.quantile(_nearest(seen_later @ directions, centres), USUAL))
    return Familiar(directions, centres, max(reach, 1e-12))


def shrunk_covariance(samples: np.ndarray) -> np.ndarray:
    """Return the covariance of centred samples ``(N, D)``, drawn to a multiple of the identity as by [2]_."""
    count, size = samples.shape
    empirical = samples.T @ samples / count
    mean = np.trace(empirical) / size
    distance = ((empirical - mean * np.eye(size)) ** 2).sum()  # d^2 times D
    noise = ((samples**2).sum(axis=1) ** 2).sum() / count**2 - (empirical**2).sum() / count  # b^2 times D
    share = min(max(noise / distance, 0.0), 1.0) if distance > 0 else 1.0
    return share * mean * np.eye(size) + (1 - share) * empirical


def _nearest(coordinates: np.ndarray, centres: np.ndarray) -> np.ndarray:
    squares = ((coordinates[:, None] - centres) ** 2).sum(axis=2)  # (N, K)
    return np.sqrt(squares.min(axis=1))


def write_familiar(folder: Path, familiar: Familiar) -> None:
    """Keep in a run's folder where its training images lie."""
    arrays = {
        "directions": np.ascontiguousarray(familiar.directions, np.float32),
        "centres": np.ascontiguousarray(familiar.centres, np.float32),
        "reach": np.array([familiar.reach]),
    }
    write_bytes(folder / FILE, save(arrays))


def read_familiar(folder: Path) -> Familiar | None:
    """Read what `write_familiar` wrote; None where the run has kept nothing.

    Raises
    ------
    DataError
        The file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        arrays = load_file(path)
        return Familiar(arrays["directions"], arrays["centres"], float(arrays["reach"][0]))
    except (SafetensorError, KeyError, IndexError) as error:
        raise DataError(f"{path} is damaged ({error}); train the run again.") from error
