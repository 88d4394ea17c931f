"""What the codec knows before it sees a tile: tables of whole numbers that ship with it, the same everywhere.

They were made by ``examples/predictive_priors.py``. A later version may bring other tables, under another name; these
stay, because files that were written with them must be read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from rvtool_plugins.codecs.predictive.adaptive import EXPERTS, PROBABILITIES, SCALES, SETS

FILE = "priors_1.npz"


@dataclass(frozen=True)
class Priors:
    """Tables for `kernel.code_tile`, and B's usual weights.

    Attributes
    ----------
    chances : (PROBABILITIES,) uint32
        Probabilities (22 bits) above the number of answers that they are worth (10 bits).
    weights : (SETS, 8) int64
        Mixing weights, in 2^-20.
    stretch, squash
        From a probability (12 bits) to its log odds in 1/256, and back (16 bits).
    steps
        How far an answer moves a probability, by the answers before it, in 2^-16.
    scale_of : (65536,) uint8
        From the size of the errors about a pixel (16 times their mean, units) to a scale.
    bright : (24,) int64
    """

    chances: np.ndarray
    weights: np.ndarray
    stretch: np.ndarray
    squash: np.ndarray
    steps: np.ndarray
    scale_of: np.ndarray
    bright: np.ndarray
    sha256: str


@cache
def priors() -> Priors:
    """Load the tables."""
    data = resources.files("rvtool_plugins.codecs.predictive").joinpath(FILE).read_bytes()
    return unpacked(data)


def unpacked(data: bytes) -> Priors:
    """Return the tables of a file's bytes."""
    import io

    with np.load(io.BytesIO(data)) as stored:
        scale_of = np.searchsorted(stored["thresholds"], np.arange(1 << 16)).clip(0, SCALES - 1).astype(np.uint8)
        weights = np.zeros((SETS, 8), np.int64)
        weights[:, :EXPERTS] = stored["weights"]
        chances = (stored["chances"].astype(np.uint32) << 16) | stored["counts"].astype(np.uint32)
        assert len(chances) == PROBABILITIES
        return Priors(
            chances=chances,
            weights=weights,
            stretch=stored["stretch"].astype(np.int32),
            squash=stored["squash"].astype(np.int32),
            steps=stored["steps"].astype(np.int64),
            scale_of=scale_of,
            bright=stored["bright"].astype(np.int64),
            sha256=hashlib.sha256(data).hexdigest(),
        )
