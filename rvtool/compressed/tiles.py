"""How an image is cut: boxes, the grid of tiles, and the regions that people name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias, TypeVar

import numpy as np

from rvtool.errors import ConfigError, DataError

Box: TypeAlias = tuple[slice, ...]
"""A slice, with both ends, for each axis of an image in the order of NumPy."""

MOST_TILE_BYTES = 1 << 26  # decoding takes memory for a tile before it can know whether the bytes hold one

Item = TypeVar("Item")
Result = TypeVar("Result")


def size_of(box: Box) -> tuple[int, ...]:
    """Return how many pixels a box has along each axis."""
    return tuple(part.stop - part.start for part in box)


def whole(shape: Sequence[int]) -> Box:
    """Return the box of a whole image."""
    return tuple(slice(0, length) for length in shape)


@dataclass(frozen=True)
class Grid:
    """The tiles of an image, numbered as FITS does: along the last axis first; those at the far edges may be smaller.

    Attributes
    ----------
    shape, tile
        Of the image and of a tile, in the order of NumPy.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many tiles there are along each axis."""
        return tuple(-(-length // side) for length, side in zip(self.shape, self.tile, strict=True))

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return prod(self.counts)

    def box(self, number: int) -> Box:
        """Return where a tile lies in the image."""
        index = np.unravel_index(number, self.counts)
        corners = [int(i) * side for i, side in zip(index, self.tile, strict=True)]
        return tuple(
            slice(corner, min(corner + side, length))
            for corner, side, length in zip(corners, self.tile, self.shape, strict=True)
        )

    def touching(self, box: Box) -> Iterator[int]:
        """Number the tiles that have pixels in a box, rising."""
        first = [part.start // side for part, side in zip(box, self.tile, strict=True)]
        counts = [-(-part.stop // side) - start for part, side, start in zip(box, self.tile, first, strict=True)]
        for index in np.ndindex(*counts):
            yield int(np.ravel_multi_index([i + start for i, start in zip(index, first, strict=True)], self.counts))


@dataclass(frozen=True)
class Region:
    """A part of an image as FITS counts its axes (x is the last axis of NumPy), from 0, the ends left out."""

    ranges: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return ",".join(f"{start}:{stop}" for start, stop in self.ranges)

    def box(self, shape: Sequence[int], what: str) -> Box:
        """Return the region as a box of an image; axes that it does not name are whole.

        Raises
        ------
        DataError
            It reaches beyond the image.
        """
        further = len(shape) - len(self.ranges)
        inside = further >= 0 and all(
            stop <= length for (_, stop), length in zip(self.ranges, reversed(shape), strict=False)
        )
        if not inside:
            axes = ",".join(f"0:{length}" for length in reversed(shape))
            raise DataError(f"{what} has no region {self}; its image is {axes} (x,y,...), name a part of that.")
        return whole(shape[:further]) + tuple(slice(*ends) for ends in reversed(self.ranges))


def parse_region(text: str) -> Region:
    """Read ``x0:x1,y0:y1`` or ``x0:x1,y0:y1,z0:z1``: pixels from 0, the second of each pair left out.

    Raises
    ------
    ConfigError
        The text is none.
    """
    matches = [re.fullmatch(r"\s*(\d{1,15})\s*:\s*(\d{1,15})\s*", part) for part in text.split(",")]
    ranges = tuple((int(match[1]), int(match[2])) for match in matches if match)
    if len(ranges) != len(matches) or len(ranges) not in (2, 3) or any(start >= stop for start, stop in ranges):
        raise ConfigError(f"'{text}' is no region; write x0:x1,y0:y1 or x0:x1,y0:y1,z0:z1 with x0 below x1.")
    return Region(ranges)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int = 1) -> Iterator[Result]:
    """Apply `work` in several threads and give the results in the order of the items, at most `ahead` of them waiting.

    Those that are still worked on are not among these.
    """
    if threads <= 1:
        yield from map(work, items)
        return
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= threads + ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
