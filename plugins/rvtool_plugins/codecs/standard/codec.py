"""Standard FITS tiled compression through astropy, told the step instead of left to measure the noise.

References
----------
Pence, White & Seaman 2010, PASP 122, 1065 (subtractive dither), https://doi.org/10.1086/656249
FITS standard 4.0, section 10.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.compressed import settings

from rvtool.data.units import EMPTY_PRIMARY, units_of
from rvtool_plugins.codecs.standard import HcompressConfig, RiceConfig

# Below twice the bound by this much, for the rounding of what is decoded to the stored float: 0.0014 bit a pixel. Only
# pixels thousands of bounds bright can then be cast beyond the bound.
_MARGIN = 1e-3

_LEAST = 4  # pixels a side of a tile that HCOMPRESS_1 takes

_MTIME = slice(4, 8)  # of the header of a gzip member, RFC 1952


class _StandardCodec:
    """One algorithm for integers and quantised floats, GZIP_2 for what it cannot keep bit by bit.

    Parameters
    ----------
    config
        The side of a tile.
    """

    algorithm: ClassVar[str]

    def __init__(self, config: RiceConfig | HcompressConfig) -> None:
        self.config = config

    def encode_hdu(self, data: np.ndarray, bound: float) -> bytes:
        """Compress an image of any number of axes to a tile-compressed HDU.

        Parameters
        ----------
        data : (..., H, W)
            Pixels as they are stored. Infinities of floats come back as NaN where a bound is given.
        bound : float, unit of `data`
            Largest allowed error; integers are always exact.
        """
        algorithm, tile = self._tiled(data.shape)
        if data.dtype.kind == "f" and bound > 0:
            finite = np.where(np.isinf(data), np.nan, data)  # one infinity would keep its whole tile unquantised
            step = 2 * bound * (1 - _MARGIN)
            hdus = [_compress(finite, algorithm, tile, -step, settings.SUBTRACTIVE_DITHER_1)]
            # Both dithers cost the same, but the second puts zeros and blanks beside the data instead of far away, and
            # so wins on padded maps; on quantised noise with many true zeros it loses.
            if np.isnan(finite).any() or (finite == 0).any():
                hdus.append(_compress(finite, algorithm, tile, -step, settings.SUBTRACTIVE_DITHER_2))
            return min(hdus, key=len)
        knows = data.dtype.kind in "iu" and data.dtype.itemsize <= 4  # neither floats nor 64-bit integers
        return _compress(data, algorithm if knows else "GZIP_2", tile, 0.0, settings.NO_DITHER)

    def _tiled(self, shape: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        """Return the algorithm for an image of this shape, and its tiles."""
        return self.algorithm, tile_shape(shape, self.config.tile_pixels)


class RiceCodec(_StandardCodec):
    """RICE_1."""

    algorithm = "RICE_1"


class HcompressCodec(_StandardCodec):
    """HCOMPRESS_1 without loss of its own, on the same quantised pixels; RICE_1 for images too narrow for it."""

    algorithm = "HCOMPRESS_1"

    def _tiled(self, shape: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        sides = []
        for length in shape[-2:]:
            side = min(length, self.config.tile_pixels)
            while 0 < length % side < _LEAST:  # what is left for the last tile
                side -= 1
            sides.append(side)
        if len(sides) < 2 or min(sides) < _LEAST:
            return RiceCodec.algorithm, tile_shape(shape, self.config.tile_pixels)
        return self.algorithm, (*(1 for _ in shape[:-2]), *sides)


def _compress(data: np.ndarray, algorithm: str, tile: tuple[int, ...], level: float, dither: int) -> bytes:
    hdu = fits.CompImageHDU(
        data,
        compression_type=algorithm,
        tile_shape=tile,
        quantize_level=level,
        quantize_method=dither,
        dither_seed=zlib.crc32(data.tobytes()) % 10000 + 1,  # the pixels' own, so the same bytes every time
        hcomp_scale=0,
    )
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return _without_time(file.getvalue()[len(EMPTY_PRIMARY) :])


def tile_shape(shape: Sequence[int], side: int) -> tuple[int, ...]:
    """Return tiles of about ``side * side`` pixels that lie in the last axes, whatever axes are degenerate.

    Parameters
    ----------
    shape
        Axes of the image.
    side
        Side of a tile, pixels; where an axis is shorter, the axes before it get what it leaves.
    """
    left = side * side
    tile = []
    for axis, length in reversed(list(enumerate(shape))):
        tile.append(min(length, left if axis == 0 else min(side, left)))
        left //= tile[-1]
    return tuple(reversed(tile))


def _without_time(hdu: bytes) -> bytes:
    """Clear the times that Python's gzip writes into the tiles it packs: GZIP_2, and what cannot be quantised."""
    unit = units_of(io.BytesIO(EMPTY_PRIMARY + hdu), Path("the compressed HDU"))[1]
    values = unit.values
    rows, width = int(values["NAXIS2"]), int(values["NAXIS1"])
    if values["ZCMPTYPE"] == "GZIP_2":
        column = 0
    elif values.get("TTYPE2") == "GZIP_COMPRESSED_DATA":
        column = 1
    else:
        return hdu
    integer = np.dtype(">i8" if "Q" in values["TFORM1"] else ">i4")  # a descriptor is a length and an offset
    table = np.frombuffer(unit.data, integer, rows * width // integer.itemsize).reshape(rows, -1)
    heap = len(unit.header) + rows * width
    clean = bytearray(hdu)
    for length, offset in table[:, 2 * column : 2 * column + 2].tolist():
        if length:
            clean[heap + offset + _MTIME.start : heap + offset + _MTIME.stop] = bytes(4)
    return bytes(clean)
