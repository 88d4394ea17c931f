"""Bits of pixels that nothing predicts, and single numbers, as bytes; and shapes as planes."""

from __future__ import annotations

import zlib
from math import prod

import numpy as np


def unsigned(dtype: np.dtype) -> np.dtype:
    """Return the unsigned type of the same size."""
    return np.dtype(f"u{dtype.itemsize}")


def pack_bits(bits: np.ndarray) -> bytes:
    """Return unsigned numbers as bytes: those of the same rank together, then zlib. One number may stand for many."""
    if not bits.size:
        return b""
    few = bits[:1] if (bits == bits[0]).all() else bits
    ranked = few.astype(few.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, few.dtype.itemsize).T
    return zlib.compress(np.ascontiguousarray(ranked).tobytes(), 6)


def unpack_bits(data: bytes, dtype: np.dtype, most: int) -> np.ndarray:
    """Return the numbers that `pack_bits` wrote, at most `most`.

    Raises
    ------
    ValueError, zlib.error
        There are more, or the bytes are damaged.
    """
    size = dtype.itemsize
    unpack = zlib.decompressobj()
    ranked = unpack.decompress(data, most * size + 1) if data else b""
    if data and (not unpack.eof or len(ranked) > most * size or len(ranked) % size):
        raise ValueError("more numbers than pixels")
    columns = np.ascontiguousarray(np.frombuffer(ranked, np.uint8).reshape(size, -1).T)
    return columns.view(unsigned(dtype).newbyteorder("<")).ravel().astype(unsigned(dtype))


def varint(number: int) -> bytes:
    """Return a number from 0 on, seven bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that stands at a place, and the place after it.

    Raises
    ------
    ValueError, IndexError
        It is none, or cut off.
    """
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError("a number of too many bytes")


def planes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a shape of three axes: what stands before the last two is planes."""
    shape = (1,) * (2 - len(shape)) + tuple(shape)
    return prod(shape[:-2]), shape[-2], shape[-1]
