"""Bits of pixels that nothing predicts, as bytes."""

from __future__ import annotations

import zlib

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
