"""Which pixels of a tile are marked, as bytes: regions cost little more than their outlines."""

from __future__ import annotations

import numpy as np

from rvtool.coding.binary import bit, compiled, finish, readable, start


@compiled
def _code(decoding: bool, buffer: np.ndarray, marks: np.ndarray) -> int:
    """Code marks row by row; the context is the ten pixels around that are known (as in JBIG, ITU-T T.82, figure 4)."""
    planes, height, width = marks.shape
    chances = np.full(1 << 11, 1 << 15, np.int64)
    counts = np.full(1 << 11, 1, np.int64)
    state = start(decoding, buffer)
    for p in range(planes):
        for y in range(height):
            for x in range(width):
                context = 0
                for k in range(1, 5):
                    context = context * 2 + (marks[p, y, x - k] if x >= k else 0)
                for k in range(-1, 2):
                    context = context * 2 + (marks[p, y - 2, x + k] if y >= 2 and 0 <= x + k < width else 0)
                for k in range(-1, 3):
                    context = context * 2 + (marks[p, y - 1, x + k] if y >= 1 and 0 <= x + k < width else 0)
                chance = chances[context]
                asked = 0 if decoding else marks[p, y, x]
                mark, state = bit(decoding, state, buffer, min(max(chance, 24), 65512), asked)
                chances[context] += ((65536 if mark else 0) - chance) // (counts[context] + 1)
                counts[context] = min(counts[context] + 1, 255)
                if decoding:
                    marks[p, y, x] = mark
    return 0 if decoding else finish(state, buffer)


def encode_mask(marks: np.ndarray) -> bytes:
    """Encode marks.

    Parameters
    ----------
    marks : (P, H, W) bool
    """
    buffer = np.zeros(2 * marks.size + 16, np.uint8)
    return buffer[: _code(False, buffer, marks.astype(np.int64))].tobytes()


def decode_mask(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Decode what `encode_mask` made.

    Returns
    -------
    numpy.ndarray : (P, H, W) bool
    """
    marks = np.zeros(shape, np.int64)
    _code(True, readable(data), marks)
    return marks.astype(bool)
