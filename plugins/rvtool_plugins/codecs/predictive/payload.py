"""The bytes of a tile.

::

    version (1 byte), kind (4 bits) and flags (4), bits below a cell (1), reach (1)
    step (float64; tiles of floats only), offset, seed, lengths of the sections (numbers of 7 bits a byte)
    sections: mask of special pixels, their bits, palette, predictors, pixels

Foreign bytes are told by the version, by settings out of bounds and by lengths that do not fit. Damage inside a section
is the container's to tell (it keeps a CRC of each tile): here it leads to wrong pixels, but to no other harm.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from rvtool.coding.raw import read_varint, varint
from rvtool.errors import DataError
from rvtool_plugins.codecs.predictive.kernel import FLOAT32, FLOAT64, GRID
from rvtool_plugins.codecs.predictive.predictor import REACHES
from rvtool_plugins.codecs.predictive.quantise import PALETTE

VERSION = 1
STORED = 7
"""The kind of a tile that nothing made smaller: zlib of its bytes."""

_FAST, _BRIGHT, _SPECIAL, _BLANK = 16, 32, 64, 128  # flags beside the kind
_MOST_OFFSET = 1 << 62
_MOST_SEED = 1 << 20


@dataclass(frozen=True)
class Payload:
    """What the bytes of a tile say.

    Attributes
    ----------
    kind
        Of `quantise`, or `STORED`.
    fast, bright
        One expert only; B is in `predictors`.
    special, blank
        Whether there are special pixels, and whether there are no others.
    below, reach, step, offset, seed
        See `kernel.code_tile` and `quantise.Cells`.
    mask, bits, palette, predictors, pixels
        The sections, coded; of a `STORED` tile only `bits`.
    """

    kind: int
    fast: bool = False
    bright: bool = False
    special: bool = False
    blank: bool = False
    below: int = 0
    reach: int = 0
    step: float = 0.0
    offset: int = 0
    seed: int = 0
    mask: bytes = b""
    bits: bytes = b""
    palette: bytes = b""
    predictors: bytes = b""
    pixels: bytes = b""


def write(payload: Payload, dtype: np.dtype) -> bytes:
    """Return a tile's bytes."""
    if payload.kind == STORED:
        return bytes([VERSION, STORED]) + payload.bits
    flags = _FAST * payload.fast | _BRIGHT * payload.bright | _SPECIAL * payload.special | _BLANK * payload.blank
    head = bytes([VERSION, payload.kind | flags, payload.below, payload.reach])
    if dtype.kind == "f":
        head += struct.pack("<d", payload.step)
    sections = [payload.mask, payload.bits, payload.palette, payload.predictors, payload.pixels]
    folded = 2 * payload.offset if payload.offset >= 0 else -2 * payload.offset - 1
    numbers = [folded, payload.seed, *map(len, sections)]
    return head + b"".join(map(varint, numbers)) + b"".join(sections)


def read(data: bytes, dtype: np.dtype) -> Payload:
    """Return what a tile's bytes say.

    Raises
    ------
    DataError
        The bytes are no tile of rvtool's, or of a newer one.
    ValueError, IndexError, struct.error
        They cannot be those of a tile of this type.
    """
    if not data or data[0] != VERSION:
        newer = bool(data) and VERSION < data[0] < 16
        raise DataError(
            "A tile was written by a newer rvtool; update rvtool." if newer else "These bytes are no tile of rvtool's."
        )
    kind, flags = data[1] & 15, data[1] & ~15
    if kind == STORED:
        return Payload(STORED, bits=data[2:])
    below, reach, at = data[2], data[3], 4
    step = 1.0
    if dtype.kind == "f":
        (step,) = struct.unpack_from("<d", data, at)
        at += 8
    numbers = []
    for _ in range(7):
        number, at = read_varint(data, at)
        numbers.append(number)
    folded, seed, *lengths = numbers
    if at + sum(lengths) != len(data):
        raise ValueError("sections of another length than the bytes")
    sections = []
    for length in lengths:
        sections.append(data[at : at + length])
        at += length
    mask, bits, palette, predictors, pixels = sections
    payload = Payload(
        kind=kind,
        fast=bool(flags & _FAST),
        bright=bool(flags & _BRIGHT),
        special=bool(flags & _SPECIAL),
        blank=bool(flags & _BLANK),
        below=below,
        reach=reach,
        step=step,
        offset=-((folded + 1) >> 1) if folded & 1 else folded >> 1,
        seed=seed,
        mask=mask,
        bits=bits,
        palette=palette,
        predictors=predictors,
        pixels=pixels,
    )
    _check(payload, dtype)
    return payload


def _check(payload: Payload, dtype: np.dtype) -> None:
    kind = payload.kind
    floats = kind in (FLOAT32, FLOAT64)
    if kind not in (GRID, PALETTE, FLOAT32, FLOAT64) or (dtype.kind != "f" and kind != GRID):
        raise ValueError("a kind that pixels of this type cannot have")
    if floats and (kind == FLOAT32) != (dtype.itemsize == 4):
        raise ValueError("floats of another size")
    if payload.reach not in REACHES and not payload.blank:
        raise ValueError("a reach that no predictor has")
    if payload.below > 60 or abs(payload.offset) >= _MOST_OFFSET or payload.seed >= _MOST_SEED:
        raise ValueError("a setting out of bounds")
    limit = most_exponent(dtype)
    if floats and not (2.0**-limit <= payload.step <= 2.0**limit and np.frexp(payload.step)[0] == 0.5):
        raise ValueError("cells of a width that is no power of two")
    if floats and abs(payload.offset) >= 1 << 50:
        raise ValueError("cells too far from zero")


def most_exponent(dtype: np.dtype) -> int:
    """Return the largest exponent, of either sign, of the width of cells of floats."""
    return 90 if dtype.itemsize == 4 else 900
