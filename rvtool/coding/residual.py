"""What an approximation leaves of a tile, as bytes: with it, any lossy codec keeps a bound exactly.

The difference of tile and approximation is rounded to steps of twice the bound, and coded by its neighbours' size.
An approximation that a network computes differs a little from machine to machine; a `margin` that is at least as large
as that difference is taken off the bound, so that it holds there too.

Where the steps are wider than what is left to code, rounding would take the approximation's side and lose the flux of
whatever the approximation does not know. A dither, which is added before rounding and taken off again, leaves errors
that do not depend on the pixels: faint sources keep their flux in the mean, at the price of more bits.

References
----------
Bai et al. 2024, IEEE TPAMI, "Deep lossy plus residual coding for lossless and near-lossless image compression".
"""

from __future__ import annotations

import struct

import numpy as np

from rvtool.coding.binary import compiled, finish, readable, start
from rvtool.coding.dither import LEVELS, dither
from rvtool.coding.mask import decode_mask, encode_mask
from rvtool.coding.numbers import CONTEXTS, LENGTHS, code_number, folded, unfolded
from rvtool.coding.raw import pack_bits, unpack_bits, unsigned
from rvtool.errors import DataError

_MOST = 1 << 36
_HEAD = "<dHIII"


@compiled
def _code(decoding: bool, buffer: np.ndarray, numbers: np.ndarray) -> int:
    """Code folded numbers row by row; the context is how large those to the left and above are."""
    planes, height, width = numbers.shape
    chances = np.full((CONTEXTS, LENGTHS, 2), 1 << 15, np.int64)
    state = start(decoding, buffer)
    for p in range(planes):
        for y in range(height):
            for x in range(width):
                size = np.int64(0)
                if x > 0:
                    size += 2 * numbers[p, y, x - 1]
                if y > 0:
                    size += 2 * numbers[p, y - 1, x]
                    size += numbers[p, y - 1, min(x + 1, width - 1)]
                    size += numbers[p, y - 1, max(x - 1, 0)]
                context = np.int64(0)
                while size > 0 and context < CONTEXTS - 1:
                    context += 1
                    size = size * 2 // 3
                numbers[p, y, x], state = code_number(decoding, state, buffer, chances[context], numbers[p, y, x])
    return 0 if decoding else finish(state, buffer)


def encode_residual(
    tile: np.ndarray, approximation: np.ndarray, bound: float, margin: float = 0.0, *, seed: int = 0
) -> bytes:
    """Encode what brings an approximation of float pixels back within a bound.

    Parameters
    ----------
    tile : (P, H, W), native floats
    approximation : (P, H, W), unit of `tile`
        Finite.
    bound
        The largest error of a finite pixel, unit of `tile`; NaN and infinities come back bit by bit.
    margin
        How much the approximation may differ where it is decoded, unit of `tile`.
    seed
        Of a subtractive dither, 1 to 65535; 0 rounds without.

    Raises
    ------
    ValueError
        The margin leaves nothing of the bound.
    """
    if not 0 <= margin < bound:
        raise ValueError("the margin must be smaller than the bound")
    step = 2 * (bound - margin)
    base = approximation.astype(np.float64)
    known = np.isfinite(tile)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.where(known, (tile.astype(np.float64) - base) / step, 0.0)
        steps = np.where(np.abs(steps) < _MOST, steps, 0.0)
    shake = _shake(seed, tile.shape)
    number = np.floor(steps + shake + 0.5).astype(np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.abs(_added(base, number - shake, step, tile.dtype).astype(np.float64) - tile.astype(np.float64))
    # elsewhere the sum may be rounded to the stored type the other way
    slack = np.spacing(np.abs(np.where(known, tile, 0))).astype(np.float64) / 2 if margin else 0.0
    special = ~(known & (errors <= bound - margin - slack))
    number[special] = 0
    numbers = folded(number)
    buffer = np.zeros(12 * numbers.size + 16, np.uint8)
    coded = buffer[: _code(False, buffer, numbers)].tobytes()
    mask = encode_mask(special) if special.any() else b""
    bits = pack_bits(tile.view(unsigned(tile.dtype))[special])
    return struct.pack(_HEAD, step, seed, len(mask), len(bits), len(coded)) + mask + bits + coded


def decode_residual(data: bytes, approximation: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the pixels that `encode_residual` was given, within its bound.

    Parameters
    ----------
    approximation : (P, H, W)
        The same, within the margin, as in encoding.

    Raises
    ------
    DataError
        The bytes are damaged.
    """
    head = struct.calcsize(_HEAD)
    try:
        step, seed, *lengths = struct.unpack_from(_HEAD, data)
        if len(data) != head + sum(lengths) or not 0 < step < np.inf:
            raise ValueError("sections of another length than the bytes")
        mask, bits = data[head : head + lengths[0]], data[head + lengths[0] : head + lengths[0] + lengths[1]]
        shape = approximation.shape
        special = decode_mask(mask, shape) if bits else np.zeros(shape, bool)
        values = unpack_bits(bits, dtype, int(special.sum()))
        if values.size not in (1, int(special.sum())):
            raise ValueError("special pixels without bits")
    except (struct.error, ValueError) as error:
        raise DataError("The residual of a compressed tile is damaged; fetch or make the file again.") from error
    numbers = np.zeros(shape, np.int64)
    _code(True, readable(data[len(data) - lengths[2] :] if lengths[2] else b""), numbers)
    pixels = _added(approximation.astype(np.float64), unfolded(numbers) - _shake(seed, shape), step, dtype)
    if special.any():
        pixels.view(unsigned(dtype))[special] = values
    return pixels


def _shake(seed: int, shape: tuple[int, ...]) -> np.ndarray | float:
    """Return the dither, in steps; exact in binary."""
    return (dither(seed, shape).astype(np.float64) + 0.5) / LEVELS if seed else 0.0


def _added(base: np.ndarray, number: np.ndarray, step: float, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return (base + number * step).astype(dtype)
