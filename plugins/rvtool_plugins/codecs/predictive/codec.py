"""A tile to bytes and back: cells, predictors, coded pixels.

The bytes of a tile::

    version (1 byte), kind and flags (1), bits below a cell (1), reach (1)
    step (float64; floats only), offset, seed, lengths of the sections (numbers of 7 bits a byte)
    special pixels: mask, bits; palette; predictors; pixels

Foreign bytes are told by the version and by lengths that do not fit; damage inside a section is the container's to tell
(it keeps a CRC of each tile), and can lead to wrong pixels here, but to no other harm.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from rvtool.coding.binary import readable
from rvtool.coding.mask import decode_mask, encode_mask
from rvtool.data.noise import noise_sigma
from rvtool.errors import DataError
from rvtool_plugins.codecs.predictive import PredictiveConfig
from rvtool_plugins.codecs.predictive import quantise as q
from rvtool_plugins.codecs.predictive.kernel import FLOAT32, FLOAT64, GRID, UNITS, code_tile
from rvtool_plugins.codecs.predictive.predictor import (
    BRIGHT,
    EDGE_REACH,
    REACHES,
    Predictors,
    decode_predictors,
    encode_predictors,
    fit,
)
from rvtool_plugins.codecs.predictive.priors import priors

VERSION = 1
STORED = 7  # the kind of a tile that nothing made smaller
_FAST, _BRIGHT, _SPECIAL, _BLANK = 16, 32, 64, 128  # flags beside the kind: one expert, own B, special pixels, nothing else
_WORTH = 0.9  # of the bytes of a tile: where more are needed, they may as well be packed as they are
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
        flat = np.ascontiguousarray(tile).reshape(_planes(tile.shape))
        best = b""
        if flat.dtype.kind in "iu":
            whole = q.integers(flat)
            ways = [whole] if whole else []
        elif bound == 0:
            ways = q.exact(flat)
        else:
            ways = q.within(flat, bound, noise_sigma(flat))
        for cells in ways:
            data = self._coded(cells, flat.dtype)
            if data is not None and (not best or len(data) < len(best)):
                best = data
        if len(best) > _WORTH * flat.nbytes or not best:
            best = min((data for data in (best, _stored(flat)) if data), key=len)
        return best

    def decode(self, data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Decode a tile.

        Raises
        ------
        DataError
            The bytes are not those of a tile of this shape and type, or a newer rvtool wrote them.
        """
        flat = _planes(tuple(shape))
        dtype = np.dtype(dtype).newbyteorder("=")
        if prod(flat) > _MOST_PIXELS or min(flat) < 0:
            raise DataError(f"A tile of {' x '.join(map(str, shape))} pixels is larger than any; the file is damaged.")
        try:
            return _decoded(data, flat, dtype).reshape(tuple(shape))
        except (struct.error, zlib.error, IndexError, ValueError, OverflowError) as error:
            raise DataError("A compressed tile is not what was written; fetch or make the file again.") from error

    def _coded(self, cells: q.Cells, dtype: np.dtype) -> bytes | None:
        """Return the bytes of a tile whose pixels have become numbers; None if they do not fit."""
        special = cells.special
        if special.all():
            return _packed(cells, _Layout(0, 1.0, 0), 0, _BLANK, b"", b"", dtype)
        layout, values = _cut(cells, dtype)
        fitted, variance = fit(values, special)
        layout, cells = _fitting(layout, cells, variance, dtype)
        cell, low = _inside(cells, layout, dtype)
        fast = self.config.fast
        flags = (_FAST if fast else 0) | (_BRIGHT if fitted.bright and not fast else 0)
        if fast:
            fitted = replace(fitted, bright=None)
        room = cell.size * (dtype.itemsize + 1) + 4096
        buffer = np.zeros(room, np.uint8)
        used = _run(False, buffer, cell, low, cells, layout, fitted, fast)
        if used > room:
            return None
        reach = fitted.noise[0].window.reach
        return _packed(cells, layout, reach, flags, encode_predictors(fitted), buffer[:used].tobytes(), dtype)


def _planes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a shape of three axes: what stands before the last two is planes."""
    shape = (1,) * (2 - len(shape)) + tuple(shape)
    return prod(shape[:-2]), shape[-2], shape[-1]


def _cut(cells: q.Cells, dtype: np.dtype) -> tuple[_Layout, np.ndarray]:
    """Choose cells by the differences of neighbours, and return the numbers in cells."""
    if cells.kind in (FLOAT32, FLOAT64):
        values = np.where(cells.special, 0.0, q.from_ordered(cells.number, dtype).astype(np.float64))
    else:
        values = cells.number.astype(np.float64)
    rough = np.abs(values[..., 1:] - values[..., :-1])[~(cells.special[..., 1:] | cells.special[..., :-1])]
    size = float(np.median(rough)) if rough.size else 1.0
    if size == 0 and rough.size:
        size = float(rough.mean())
    exponent = int(np.floor(np.log2(size))) if 0 < size < np.inf else 0
    if cells.kind in (FLOAT32, FLOAT64):
        exponent = int(np.clip(exponent, *((-90, 90) if dtype.itemsize == 4 else (-900, 900))))
        return _Layout(0, 2.0**exponent, 0), values * 2.0**-exponent
    below = max(0, exponent - 3) if not cells.seed else 0
    return _Layout(below, 1.0, 0), values * 2.0**-below


def _fitting(layout: _Layout, cells: q.Cells, variance: float, dtype: np.dtype) -> tuple[_Layout, q.Cells]:
    """Widen or narrow the cells to what the predictor leaves; the weights stay as they are."""
    more = int(np.clip(np.rint(np.log2(max(np.sqrt(variance), 1e-12) / _USUAL_CELLS)), -40, 40))
    if cells.kind not in (FLOAT32, FLOAT64):
        return (replace(layout, below=min(max(layout.below + more, 0), 40)) if not cells.seed else layout), cells
    limit = 90 if dtype.itemsize == 4 else 900
    step = 2.0 ** np.clip(np.log2(layout.step) + more, -limit, limit)
    values = q.from_ordered(cells.number, dtype).astype(np.float64)
    # the edge of the cell about zero is a float of another exponent than all others in it
    odd = ~cells.special & ((values == -step / 2) | (np.abs(values) >= step * q.MOST_CELLS))
    if odd.any():
        special = cells.special | odd
        cells = replace(cells, special=special, bits=cells.number.astype(np.int64)[special])
        cells = replace(cells, bits=q.from_ordered(cells.bits, dtype).view(q.unsigned(dtype)))
    usual = values[~cells.special]
    middle = int(np.floor(np.median(usual) / step + 0.5)) if usual.size else 0
    return replace(layout, step=step, offset=middle), cells


def _inside(cells: q.Cells, layout: _Layout, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each pixel, and where it stands inside."""
    if cells.kind in (FLOAT32, FLOAT64):
        values = np.where(cells.special, 0.0, q.from_ordered(cells.number, dtype).astype(np.float64))
        return np.floor(values / layout.step + 0.5).astype(np.int64) - layout.offset, cells.number
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


# --------------------------------------------------------------------------- bytes


def _packed(
    cells: q.Cells, layout: _Layout, reach: int, flags: int, predictors: bytes, pixels: bytes, dtype: np.dtype
) -> bytes:
    kind = cells.kind
    bits = np.ascontiguousarray(cells.bits).astype(q.unsigned(dtype))
    if cells.special.any():
        flags |= _SPECIAL
    mask = b"" if cells.special.all() or not cells.special.any() else encode_mask(cells.special)
    few = bits[:1] if bits.size and (bits == bits[0]).all() else bits  # one value stands for all
    special = _bytes_of(few)
    palette = _bytes_of(cells.palette.view(q.unsigned(dtype))) if kind == q.PALETTE else b""
    head = bytes([VERSION, kind | flags, layout.below, reach])
    if dtype.kind == "f":
        head += struct.pack("<d", layout.step if kind in (FLOAT32, FLOAT64) else cells.step)
    offset = layout.offset if kind in (FLOAT32, FLOAT64) else cells.offset
    numbers = [2 * offset if offset >= 0 else -2 * offset - 1, cells.seed, len(mask), len(special), len(palette)]
    sections = [mask, special, palette, predictors]
    return head + b"".join(_varint(n) for n in [*numbers, len(predictors)]) + b"".join(sections) + pixels


def _stored(tile: np.ndarray) -> bytes:
    return bytes([VERSION, STORED]) + _bytes_of(tile.view(q.unsigned(tile.dtype)).ravel())


def _bytes_of(bits: np.ndarray) -> bytes:
    """Return numbers as bytes: bytes of the same rank together, then zlib."""
    size = bits.dtype.itemsize
    ranked = np.ascontiguousarray(bits.astype(bits.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, size).T)
    return zlib.compress(ranked.tobytes(), 6) if bits.size else b""


def _bits_of(data: bytes, dtype: np.dtype, most: int) -> np.ndarray:
    """Return the numbers that `_bytes_of` wrote, at most so many."""
    size = dtype.itemsize
    unpack = zlib.decompressobj()
    ranked = unpack.decompress(data, most * size) if data else b""
    if data and (not unpack.eof or unpack.unconsumed_tail or len(ranked) % size):
        raise ValueError("more numbers than pixels")
    columns = np.frombuffer(ranked, np.uint8).reshape(size, -1)
    return np.ascontiguousarray(columns.T).view(q.unsigned(dtype).newbyteorder("<")).ravel().astype(q.unsigned(dtype))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError("a number of too many bytes")


def _decoded(data: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    if not data or data[0] != VERSION:
        newer = bool(data) and VERSION < data[0] < 16
        raise DataError(
            "A tile was written by a newer rvtool; update rvtool." if newer else "These bytes are no tile of rvtool's."
        )
    kind, flags = data[1] & 15, data[1] & ~15
    if kind == STORED:
        return _stored_pixels(data[2:], shape, dtype)
    floats = kind in (FLOAT32, FLOAT64)
    if kind not in (GRID, q.PALETTE, FLOAT32, FLOAT64) or (dtype.kind != "f" and kind != GRID):
        raise ValueError("a kind that the type of the pixels cannot have")
    if floats and (kind == FLOAT32) != (dtype.itemsize == 4):
        raise ValueError("floats of another size")
    below, reach, at = data[2], data[3], 4
    step = 1.0
    if dtype.kind == "f":
        (step,) = struct.unpack_from("<d", data, at)
        at += 8
    numbers = []
    for _ in range(6):
        number, at = _read_varint(data, at)
        numbers.append(number)
    folded, seed, *lengths = numbers
    offset = -((folded + 1) >> 1) if folded & 1 else folded >> 1
    blank = bool(flags & _BLANK)
    if below > 60 or (reach not in REACHES and not blank) or abs(offset) >= 1 << 62 or seed >= 1 << 20:
        raise ValueError("a setting out of bounds")
    limit = 90 if dtype.itemsize == 4 else 900
    if floats and not (2.0**-limit <= step <= 2.0**limit and np.frexp(step)[0] == 0.5 and abs(offset) < 1 << 50):
        raise ValueError("cells of a width that is no power of two")
    if at + sum(lengths) > len(data):
        raise ValueError("sections longer than the bytes")
    sections = []
    for length in lengths:
        sections.append(data[at : at + length])
        at += length
    mask, special_bits, palette, weights = sections
    special = _special_mask(mask, shape, flags)
    bits = _bits_of(special_bits, dtype, int(special.sum()))
    if bits.size == 1:
        bits = np.repeat(bits, int(special.sum()))
    if bits.size != special.sum():
        raise ValueError("special pixels without bits")
    colours = _bits_of(palette, dtype, q.MOST_COLOURS).view(dtype) if kind == q.PALETTE else np.zeros(0, dtype)
    if kind == q.PALETTE and not colours.size:
        raise ValueError("a palette without colours")
    number = np.zeros(shape, np.int64)
    low = np.zeros(shape, np.int64) if floats or below else _NONE
    cells = q.Cells(kind, number, special, bits, step, 0 if floats else offset, seed, colours)
    if not blank:
        layout = _Layout(below, step if floats else 1.0, offset if floats else 0)
        fitted = decode_predictors(weights, reach, shape[0], bool(flags & _BRIGHT))
        _run(True, readable(data[at:]), number, low, cells, layout, fitted, bool(flags & _FAST))
    if floats:
        cells = replace(cells, number=low)
    elif below:
        cells = replace(cells, number=(number << below) - ((1 << below) >> 1) + low)
    return q.restore(cells, dtype)


def _special_mask(mask: bytes, shape: tuple[int, int, int], flags: int) -> np.ndarray:
    if flags & _BLANK:
        return np.ones(shape, bool)
    return decode_mask(mask, shape) if flags & _SPECIAL else np.zeros(shape, bool)


def _stored_pixels(data: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    bits = _bits_of(data, dtype, prod(shape))
    if bits.size != prod(shape):
        raise ValueError("fewer pixels than the tile has")
    return bits.view(dtype).reshape(shape)
