"""Subtractive dither from integers: the same on every machine.

References
----------
Schuchman 1964, IEEE Trans. Commun. Tech. 12, 162 (dither that leaves an error that does not depend on the signal).
Steele, Lea & Flood 2014, OOPSLA (the mixing of SplitMix64).
"""

from __future__ import annotations

import numpy as np

LEVELS = 64


def dither(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return what is added to pixels before they are rounded.

    Returns
    -------
    numpy.ndarray : `shape`, int8, 1 / `LEVELS` of a step
        Evenly spread over -32 to 31.
    """
    count = int(np.prod(shape))
    number = np.arange(1, count + 1, dtype=np.uint64) + (np.uint64(seed) << np.uint64(40))
    number *= np.uint64(0x9E3779B97F4A7C15)
    number ^= number >> np.uint64(30)
    number *= np.uint64(0xBF58476D1CE4E5B9)
    number ^= number >> np.uint64(27)
    number *= np.uint64(0x94D049BB133111EB)
    number ^= number >> np.uint64(31)
    return ((number >> np.uint64(58)).astype(np.int64) - LEVELS // 2).astype(np.int8).reshape(shape)
