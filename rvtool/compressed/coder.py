"""A codec at work on an image in memory, whichever of the two contracts it keeps, with the clock running."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rvtool.compressed.record import decode_tiled
from rvtool.compressed.tiles import Grid, size_of
from rvtool.data.units import EMPTY_PRIMARY, units_of
from rvtool.kinds import FitsCodec

ENOUGH_S = 10.0  # no further repeats of one measurement after this


@dataclass(frozen=True)
class Coder:
    """Codes images of one shape and type within one bound, in one thread.

    Attributes
    ----------
    codec
        A `Codec` or a `FitsCodec`.
    bound
        In the unit of the stored pixels; 0 is bit by bit.
    """

    codec: Any
    bound: float

    def encode(self, pixels: np.ndarray) -> list[bytes]:
        """Return the bytes of each tile, or of the one HDU."""
        if isinstance(self.codec, FitsCodec):
            return [self.codec.encode_hdu(pixels, self.bound)]
        grid = self._grid(pixels.shape)
        return [
            self.codec.encode(np.ascontiguousarray(pixels[grid.box(number)]), self.bound)
            for number in range(grid.count)
        ]

    def decode(self, parts: list[bytes], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return the image again."""
        if isinstance(self.codec, FitsCodec):
            return decode_tiled(_unit(parts[0]), Path("the codec's HDU"))
        grid, pixels = self._grid(shape), np.empty(shape, dtype)
        for number, data in enumerate(parts):
            box = grid.box(number)
            pixels[box] = self.codec.decode(data, size_of(box), dtype)
        return pixels

    def restore(self, pixels: np.ndarray) -> np.ndarray:
        """Code an image and decode it."""
        return self.decode(self.encode(pixels), pixels.shape, pixels.dtype)

    def payload(self, parts: list[bytes]) -> int:
        """Return the bytes without any header: the tiles, or the data of the HDU without its padding."""
        if isinstance(self.codec, FitsCodec):
            return len(_unit(parts[0]).data)
        return sum(map(len, parts))

    def _grid(self, shape: tuple[int, ...]) -> Grid:
        tile = self.codec.tile_shape(shape)
        return Grid(shape, tuple(min(side, length) for side, length in zip(tile, shape, strict=True)))


def _unit(hdu: bytes) -> Any:
    return units_of(io.BytesIO(EMPTY_PRIMARY + hdu), Path("the codec's HDU"))[1]


def median_s(work: Callable[[], Any], repeats: int) -> float:
    """Return the median time of some work that has been done before, s; slow work is repeated less often."""
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < ENOUGH_S):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
