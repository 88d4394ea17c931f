"""Images larger than memory, part by part: tiles that overlap, and bands of finished lines without seams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes
    ----------
    side
        Of a tile, px of the input.
    margin
        How far from its edge a tile is wrong, or might be, for not seeing what lies beyond it, px of the input.
    """

    side: int
    margin: int

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Cut one axis: first pixel and the one after the last of each part; the last one ends where the axis does.

        Neighbours overlap by both margins at least.
        """
        if length <= self.side:
            return [(0, length)]
        least = min(2 * self.margin + 1, self.side // 2)
        room = length - self.side
        count = math.ceil(room / (self.side - least)) + 1
        starts = [number * room // (count - 1) for number in range(count)]
        return [(start, start + self.side) for start in starts]


def fade(first: tuple[int, int], second: tuple[int, int], factor: int, margin: int) -> np.ndarray:
    """Return the weight of the second of two neighbours over their overlap, from 0 to 1, in pixels of the output."""
    overlap = (first[1] - second[0]) * factor
    within = min(margin * factor, (overlap - 1) // 2)
    ramp = np.linspace(0, 1, overlap - 2 * within + 2)[1:-1]
    return np.concatenate([np.zeros(within), ramp, np.ones(within)]).astype(np.float32)


def bands(
    apply: Callable[[tuple[slice, slice]], np.ndarray],
    shape: Sequence[int],
    tiling: Tiling,
    factor: int = 1,
) -> Iterator[np.ndarray]:
    """Apply something to every tile, and give the finished lines of the output from the first to the last.

    No more than two rows of tiles stand in memory.

    Parameters
    ----------
    apply
        Makes ``(C, factor h, factor w)`` of the part ``(lines, columns)`` of the input.
    shape
        Lines and columns of the input.

    Yields
    ------
    ``(C, n, factor W)``, lines that follow those before.
    """
    rows, columns = tiling.spans(shape[0]), tiling.spans(shape[1])
    pending: np.ndarray | None = None
    for number, (top, bottom) in enumerate(rows):
        tiles = [apply((slice(top, bottom), slice(*column))) for column in columns]
        band = tiles[0]
        for (one, other), tile in zip(pairwise(columns), tiles[1:], strict=True):
            band = _joined(band, tile, fade(one, other, factor, tiling.margin), axis=2)
        if pending is not None:
            band = _joined(pending, band, fade(rows[number - 1], rows[number], factor, tiling.margin), axis=1)
        following = rows[number + 1][0] if number + 1 < len(rows) else bottom
        done = (following - top) * factor
        yield band[:, :done]
        pending = band[:, done:]


def _joined(first: np.ndarray, second: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """Put two parts together that overlap by as much as there are weights."""
    size = len(weight)
    weight = weight[:, None] if axis == 1 else weight
    before, ending = np.split(first, [first.shape[axis] - size], axis)
    beginning, after = np.split(second, [size], axis)
    return np.concatenate([before, ending + weight * (beginning - ending), after], axis)
