"""A tile to bytes and back: pixels become numbers, these become cells, predictors are fitted, the cells are coded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from rvtool.coding.binary import readable
from rvtool.coding.mask import decode_mask, encode_mask
from rvtool.coding.raw import pack_bits, planes, unpack_bits, unsigned
from rvtool.data.noise import BLOCK_PIXELS, noise_sigma
from rvtool.errors import DataError
from rvtool_plugins.codecs.predictive import PredictiveConfig
from rvtool_plugins.codecs.predictive import quantise as q
from rvtool_plugins.codecs.predictive.kernel import FLOAT32, FLOAT64, GRID, code_tile
from rvtool_plugins.codecs.predictive.payload import STORED, Payload, most_exponent, read, write
from rvtool_plugins.codecs.predictive.predictor import (
    BRIGHT,
    EDGE_REACH,
    Predictors,
    decode_predictors,
    encode_predictors,
    fit,
)
from rvtool_plugins.codecs.predictive.priors import priors

_WORTH = 0.9  # of the bytes of a tile: where more are needed, they may as well be packed as they are
_ENOUGH = 1 << 15  # pixels that tell how rough a tile is
_USUAL_CELLS = 2.0  # cells that the error of the prediction spans where the cells may be chosen
_NONE = np.zeros((0, 0, 0), np.int64)
_MOST_PIXELS = 1 << 31


@dataclass(frozen=True)
class _Layout:
    """How numbers are cut into cells: `below` bits of each lie inside its cell; of floats, cells are `step` wide."""

    below: int
    step: float
    offset: int


class PredictiveCodec:
    """Lossless and error-bounded coding of float and integer images.

    Parameters
    ----------
    config
        The size of tiles, and whether speed counts more than size.
    """

    def __init__(self, config: PredictiveConfig) -> None:
        self.config = config

    @property
    def model_sha256(self) -> str:
        """Hash of the tables that ship with the codec."""
        return priors().sha256

    def tile_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Cut the last two axes into even tiles of at most `tile_pixels`, and the axis before them into `planes`."""
        sides = [1] * max(len(shape) - 3, 0)
        if len(shape) > 2:
            sides.append(min(shape[-3], self.config.planes))
        # where one of the axes is short (spectra, rows of numbers) the other may be longer
        area = self.config.tile_pixels**2
        for length, other in zip(shape[-2:], reversed(shape[-2:]), strict=True) if len(shape) > 1 else [(shape[0], 1)]:
            most = max(self.config.tile_pixels, min(area // max(other, 1), 64 * self.config.tile_pixels))
            sides.append(-(-length // -(-length // most)))
        return tuple(sides)

    def encode(self, tile: np.ndarray, bound: float) -> bytes:
        """Encode a tile.

        Parameters
        ----------
        tile : (..., H, W), native byte order
            One plane, or planes that follow each other.
        bound : float, unit of `tile`
            Largest error of a finite pixel; 0 keeps every bit. Integers are always kept.
        """
        flat = np.ascontiguousarray(tile).reshape(planes(tile.shape))
        best = b""
        if flat.dtype.kind in "iu":
            whole = q.integers(flat)
            ways = [whole] if whole else []
        elif bound == 0:
            ways = q.exact(flat)
        else:
            ways = q.within(flat, bound, noise_sigma(_some_blocks(flat)), self.config.dither_from)
        for cells in ways:
            data = self._coded(cells, flat.dtype)
            if data is not None and (not best or len(data) < len(best)):
                best = data
        if len(best) > _WORTH * flat.nbytes or not best:
            stored = write(Payload(STORED, bits=pack_bits(flat.view(unsigned(flat.dtype)).ravel())), flat.dtype)
            best = min((data for data in (best, stored) if data), key=len)
        return best

    def decode(self, data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Decode a tile.

        Raises
        ------
        DataError
            The bytes are not those of a tile of this shape and type, or a newer rvtool wrote them.
        """
        flat = planes(tuple(shape))
        dtype = np.dtype(dtype).newbyteorder("=")
        if prod(flat) > _MOST_PIXELS or min(flat) < 0:
            raise DataError(f"A tile of {' x '.join(map(str, shape))} pixels is larger than any; the file is damaged.")
        try:
            return _decoded(read(data, dtype), flat, dtype).reshape(tuple(shape))
        except (struct.error, zlib.error, IndexError, ValueError, OverflowError) as error:
            raise DataError("A compressed tile is not what was written; fetch or make the file again.") from error

    def _coded(self, cells: q.Cells, dtype: np.dtype) -> bytes | None:
        """Return the bytes of a tile whose pixels have become numbers; None if they do not fit."""
        special = cells.special
        if special.all():
            return write(_payload(cells, _Layout(0, 1.0, 0), dtype, blank=True), dtype)
        with np.errstate(invalid="ignore", over="ignore"):  # floats that are special stand where numbers would
            return self._smallest(cells, dtype)

    def _smallest(self, cells: q.Cells, dtype: np.dtype) -> bytes | None:
        first, values = _cut(cells, dtype)
        tried = [self._with(cells, first, *fitted, dtype) for fitted in fit(values, cells.special, self.config.fast)]
        return min((data for data in tried if data is not None), key=len, default=None)

    def _with(
        self, cells: q.Cells, layout: _Layout, predictors: Predictors, variance: float, dtype: np.dtype
    ) -> bytes | None:
        layout, cells = _fitting(layout, cells, variance, dtype)
        cell, low = _inside(cells, layout, dtype)
        fast = self.config.fast
        if fast:
            predictors = replace(predictors, bright=None)
        room = cell.size * (dtype.itemsize + 1) + 4096
        buffer = np.zeros(room, np.uint8)
        used = _run(False, buffer, cell, low, cells, layout, predictors, fast)
        if used > room:
            return None
        payload = _payload(
            cells,
            layout,
            dtype,
            fast=fast,
            bright=predictors.bright is not None,
            reach=predictors.noise[0].window.reach,
            predictors=encode_predictors(predictors),
            pixels=buffer[:used].tobytes(),
        )
        return write(payload, dtype)


def _some_blocks(tile: np.ndarray) -> np.ndarray:
    """Return the parts of a large tile that tell how large its noise is: in the corners and the middle."""
    side = BLOCK_PIXELS[0]
    height, width = tile.shape[1:]
    if min(height, width) < 2 * side:
        return tile
    rows, columns = (0, (height - side) // 2, height - side), (0, (width - side) // 2, width - side)
    return np.stack([tile[0, y : y + side, x : x + side] for y, x in zip(rows, columns, strict=True)])


def _cut(cells: q.Cells, dtype: np.dtype) -> tuple[_Layout, np.ndarray]:
    """Choose cells by the differences of neighbours, and return the numbers in cells."""
    values = _floats(cells, dtype) if cells.kind in (FLOAT32, FLOAT64) else cells.number.astype(np.float64)
    rows = slice(None, None, max(1, values.size // _ENOUGH))  # of all planes: no more tell more
    some = values.reshape(-1, values.shape[-1])[rows]
    known = ~cells.special.reshape(-1, values.shape[-1])[rows]
    rough = np.abs(np.diff(some, axis=1))[known[:, 1:] & known[:, :-1]]
    size = float(np.median(rough)) if rough.size else 1.0
    if size == 0 and rough.size:
        size = float(rough.mean())
    exponent = int(np.floor(np.log2(size))) if 0 < size < np.inf else 0
    if cells.kind in (FLOAT32, FLOAT64):
        exponent = int(np.clip(exponent, -most_exponent(dtype), most_exponent(dtype)))
        return _Layout(0, 2.0**exponent, 0), values * 2.0**-exponent
    below = max(0, exponent - 3) if not cells.seed else 0
    return _Layout(below, 1.0, 0), values * 2.0**-below


def _floats(cells: q.Cells, dtype: np.dtype) -> np.ndarray:
    """Return the pixels that floats' places stand for, 0 where they are special."""
    return np.where(cells.special, 0.0, q.from_ordered(cells.number, dtype).astype(np.float64))


def _fitting(layout: _Layout, cells: q.Cells, variance: float, dtype: np.dtype) -> tuple[_Layout, q.Cells]:
    """Widen or narrow the cells to what the predictor leaves; the weights stay as they are."""
    more = int(np.clip(np.rint(np.log2(max(np.sqrt(variance), 1e-12) / _USUAL_CELLS)), -40, 40))
    if cells.kind not in (FLOAT32, FLOAT64):
        return (replace(layout, below=min(max(layout.below + more, 0), 40)) if not cells.seed else layout), cells
    limit = most_exponent(dtype)
    step = 2.0 ** np.clip(np.log2(layout.step) + more, -limit, limit)
    values = q.from_ordered(cells.number, dtype).astype(np.float64)
    # the edge of the cell about zero is a float of another exponent than all others in it
    odd = ~cells.special & ((values == -step / 2) | (np.abs(values) >= step * q.MOST_CELLS))
    if odd.any():
        special = cells.special | odd
        cells = replace(cells, special=special, bits=cells.number.astype(np.int64)[special])
        cells = replace(cells, bits=q.from_ordered(cells.bits, dtype).view(unsigned(dtype)))
    usual = values[~cells.special]
    middle = int(np.floor(np.median(usual) / step + 0.5)) if usual.size else 0
    return replace(layout, step=step, offset=middle), cells


def _inside(cells: q.Cells, layout: _Layout, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each pixel, and where it stands inside."""
    if cells.kind in (FLOAT32, FLOAT64):
        return np.floor(_floats(cells, dtype) / layout.step + 0.5).astype(np.int64) - layout.offset, cells.number
    if not layout.below:
        return cells.number, _NONE
    shifted = cells.number + ((1 << layout.below) >> 1)
    return shifted >> layout.below, shifted & ((1 << layout.below) - 1)


def _run(
    decoding: bool,
    buffer: np.ndarray,
    cell: np.ndarray,
    low: np.ndarray,
    cells: q.Cells,
    layout: _Layout,
    predictors: Predictors,
    fast: bool,
) -> int:
    tables = priors()
    parts = [one.parts() for one in predictors.noise]
    main, first, second = parts[::3], parts[1::3], parts[2::3]
    edges = np.zeros((len(main), 2, 1, 2 * EDGE_REACH + 1))
    edges[:, 1] = [one[0] for one in second]
    if predictors.bright:
        bright, bright_left, _ = predictors.bright.parts()
    else:
        usual = tables.bright.astype(np.float64)
        bright, bright_left = usual[: BRIGHT.west].reshape(BRIGHT.rows, -1), usual[BRIGHT.west :]
    before = len(main) - 1  # the first plane has none before it: its weights are not looked at
    return int(
        code_tile(
            decoding,
            buffer,
            cell,
            low,
            cells.special if cells.special.any() else np.zeros((0, 0, 0), bool),
            cells.shake() if cells.seed else np.zeros((0, 0, 0), np.int8),
            cells.kind if cells.kind in (FLOAT32, FLOAT64) else GRID,
            layout.step,
            layout.below,
            layout.offset,
            np.stack([one[0] for one in main]),
            np.stack([one[1] for one in main]),
            np.stack([main[before][2]] * len(main)),
            edges,
            np.stack([np.stack([a[1], b[1]]) for a, b in zip(first, second, strict=True)]),
            np.stack([np.stack([first[before][2], second[before][2]])] * len(main)),
            np.ascontiguousarray(bright),
            np.ascontiguousarray(bright_left),
            fast,
            tables.chances.copy(),
            tables.weights.copy(),
            tables.stretch,
            tables.squash,
            tables.steps,
            tables.scale_of,
        )
    )


def _payload(cells: q.Cells, layout: _Layout, dtype: np.dtype, **given: Any) -> Payload:
    """Return what is to be written of a tile."""
    floats = cells.kind in (FLOAT32, FLOAT64)
    special = bool(cells.special.any())
    return Payload(
        kind=cells.kind,
        special=special,
        below=layout.below,
        step=float(layout.step if floats else cells.step),
        offset=layout.offset if floats else cells.offset,
        seed=cells.seed,
        mask=encode_mask(cells.special) if special and not cells.special.all() else b"",
        bits=pack_bits(cells.bits.astype(unsigned(dtype))),
        palette=pack_bits(cells.palette.view(unsigned(dtype))) if cells.kind == q.PALETTE else b"",
        **given,
    )


def _decoded(payload: Payload, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    if payload.kind == STORED:
        return _all_of(payload.bits, dtype, prod(shape)).view(dtype).reshape(shape)
    if payload.blank:
        special = np.ones(shape, bool)
    else:
        special = decode_mask(payload.mask, shape) if payload.special else np.zeros(shape, bool)
    bits = _all_of(payload.bits, dtype, int(special.sum()))
    colours = np.zeros(0, dtype)
    if payload.kind == q.PALETTE:
        colours = unpack_bits(payload.palette, dtype, q.MOST_COLOURS).view(dtype)
        if not colours.size and not payload.blank:
            raise ValueError("a palette without colours")
    floats = payload.kind in (FLOAT32, FLOAT64)
    number = np.zeros(shape, np.int64)
    low = np.zeros(shape, np.int64) if floats or payload.below else _NONE
    offset = 0 if floats else payload.offset
    cells = q.Cells(payload.kind, number, special, bits, payload.step, offset, payload.seed, colours)
    if not payload.blank:
        layout = _Layout(payload.below, payload.step if floats else 1.0, payload.offset if floats else 0)
        fitted = decode_predictors(payload.predictors, payload.reach, shape[0], payload.bright)
        _run(True, readable(payload.pixels), number, low, cells, layout, fitted, payload.fast)
    if floats:
        cells = replace(cells, number=low)
    elif payload.below:
        cells = replace(cells, number=(number << payload.below) - ((1 << payload.below) >> 1) + low)
    return q.restore(cells, dtype)


def _all_of(data: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    """Return the bits of so many pixels: as many as there are, or one for all."""
    bits = unpack_bits(data, dtype, count)
    if bits.size not in (1, count) or (bits.size == 0) != (count == 0):
        raise ValueError("other numbers of pixels and of bits")
    return np.repeat(bits, count) if bits.size == 1 else bits
