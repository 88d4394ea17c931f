"""Lossless codecs of integers, given the numbers of a fixed grid: 0, +-1, +-2 ... steps of twice the bound.

Bit by bit, floats are their bits, flipped so that their order stays: neighbours in value are neighbours in number.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from typing import Any

import numpy as np

from rvtool.errors import DataError
from rvtool_plugins.codecs.baselines.wrapper import Baseline

EFFORTS = (7, 9)  # of JPEG-XL; neither is always the smaller


class _Planes(Baseline):
    """A codec of pictures: the numbers from the smallest on, as 16-bit planes."""

    module = "imagecodecs"

    @abstractmethod
    def code(self, plane: np.ndarray) -> bytes:
        """Code a plane of uint16."""

    @abstractmethod
    def uncode(self, data: bytes) -> np.ndarray:
        """Decode a plane."""

    def pack(self, tile: np.ndarray, bound: float) -> bytes:
        """Write the offset and the planes, the lowest bits first, each after its length."""
        numbers = _ordered(_grid(tile, bound) if bound else tile)
        least = numbers.min()
        numbers = numbers - least
        parts = [struct.pack("<Q", int(least))]
        while True:
            coded = self.code((numbers & np.uint64(0xFFFF)).astype(np.uint16))
            parts += [struct.pack("<I", len(coded)), coded]
            numbers = numbers >> np.uint64(16)
            if not numbers.any():
                return b"".join(parts)

    def unpack(self, data: bytes, shape: tuple[int, int], dtype: np.dtype, bound: float) -> np.ndarray:
        """Add the planes up."""
        (least,) = struct.unpack_from("<Q", data)
        numbers, at, shift = np.full(shape, least, np.uint64), 8, 0
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            plane = self.uncode(data[at + 4 : at + 4 + length])
            if plane.shape != shape:
                raise DataError(f"A plane is {plane.shape}, its tile {shape}; the bytes are damaged.")
            numbers += plane.astype(np.uint64) << np.uint64(shift)
            at, shift = at + 4 + length, shift + 16
        return _off_grid(_unordered(numbers, np.dtype(np.int64)), dtype, bound) if bound else _unordered(numbers, dtype)


class JpegXl(_Planes):
    """JPEG-XL."""

    name = "jpegxl"

    def code(self, plane: np.ndarray) -> bytes:  # noqa: D102
        coded = [self.library.jpegxl_encode(plane, lossless=True, effort=e, numthreads=1) for e in EFFORTS]
        return min(map(bytes, coded), key=len)

    def uncode(self, data: bytes) -> np.ndarray:  # noqa: D102
        return self.library.jpegxl_decode(data, numthreads=1)


class JpegLs(_Planes):
    """JPEG-LS."""

    name = "jpegls"

    def code(self, plane: np.ndarray) -> bytes:  # noqa: D102
        return bytes(self.library.jpegls_encode(plane, out=2 * plane.nbytes + 1024))  # it swells where nothing repeats

    def uncode(self, data: bytes) -> np.ndarray:  # noqa: D102
        return self.library.jpegls_decode(data)


class Pcodec(Baseline):
    """pcodec, which knows numbers and no picture: all numbers of a tile in one row."""

    name = "pcodec"
    module = "pcodec"

    def pack(self, tile: np.ndarray, bound: float) -> bytes:  # noqa: D102
        numbers = _grid(tile, bound).astype(np.int32) if bound else tile
        if numbers.itemsize == 1:
            numbers = numbers.astype(np.int16)
        return self._standalone.simple_compress(numbers.ravel(), self.library.ChunkConfig())

    def unpack(self, data: bytes, shape: tuple[int, int], dtype: np.dtype, bound: float) -> np.ndarray:  # noqa: D102
        numbers = self._standalone.simple_decompress(data).reshape(shape)
        return _off_grid(numbers, dtype, bound) if bound else numbers.astype(dtype)

    @property
    def _standalone(self) -> Any:
        return self.library.standalone


def _grid(tile: np.ndarray, bound: float) -> np.ndarray:
    return np.rint(tile.astype(np.float64) / (2 * bound)).astype(np.int64)


def _off_grid(numbers: np.ndarray, dtype: np.dtype, bound: float) -> np.ndarray:
    return (numbers * (2 * bound)).astype(dtype)


def _ordered(tile: np.ndarray) -> np.ndarray:
    """Turn pixels into uint64 of the same order."""
    width = 8 * tile.itemsize
    bits = tile.view(f"u{tile.itemsize}").astype(np.uint64)
    top = np.uint64(1 << (width - 1))
    if tile.dtype.kind == "u":
        return bits
    if tile.dtype.kind == "i":
        return bits ^ top
    return np.where(bits & top, bits ^ np.uint64((1 << width) - 1), bits | top)


def _unordered(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    width = 8 * dtype.itemsize
    top = np.uint64(1 << (width - 1))
    if dtype.kind == "f":
        numbers = np.where(numbers & top, numbers ^ top, numbers ^ np.uint64((1 << width) - 1))
    elif dtype.kind == "i":
        numbers = numbers ^ top
    return numbers.astype(f"u{dtype.itemsize}").view(dtype)
