"""What makes a codec of other people's libraries: exceptional pixels kept aside, and a frame that tells damage.

The bytes of a tile: CRC32 of the rest, then how it is coded, the bound, the length of the library's own bytes, these
bytes, and pixels that they alone do not bring back (steps from index to index and the pixels' own bits, zlib).
"""

from __future__ import annotations

import importlib
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from types import ModuleType
from typing import ClassVar

import numpy as np

from rvtool.errors import DataError, PluginError
from rvtool_plugins.codecs.baselines import BaselineConfig

_HEAD = struct.Struct("<IBdI")
_DEFLATED, _EXACT, _BOUNDED = range(3)
_MOST_STEPS = 2.0**30  # from zero; brighter pixels are kept aside, so that the grid's numbers fit into 32 bits


class Unfit(Exception):
    """The library cannot take these pixels (their type or shape): they are deflated."""


class Baseline(ABC):
    """A codec made of a library that knows only finite pixels, some types and some shapes.

    Encoding decodes once, to find the pixels to keep aside; the times that are measured of it include that.

    Parameters
    ----------
    config
        The side of a tile.

    Raises
    ------
    PluginError
        The library is not installed.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    model_sha256 = ""

    def __init__(self, config: BaselineConfig) -> None:
        self.config = config
        try:
            self.library: ModuleType = importlib.import_module(self.module)
        except ImportError as error:
            raise PluginError(
                f"The codec '{self.name}' needs the library {self.module} ({error}): pip install 'rvtool[baselines]'."
            ) from error

    @abstractmethod
    def pack(self, tile: np.ndarray, bound: float) -> bytes:
        """Code a two-dimensional tile, floats finite and below 2^30 steps where there is a bound; may raise Unfit."""

    @abstractmethod
    def unpack(self, data: bytes, shape: tuple[int, int], dtype: np.dtype, bound: float) -> np.ndarray:
        """Decode what `pack` made."""

    def tile_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return tiles that lie in the last two axes of more than one pixel."""
        wide = [axis for axis, length in enumerate(shape) if length > 1][-2:]
        return tuple(min(shape[axis], self.config.tile_pixels) if axis in wide else 1 for axis in range(len(shape)))

    def encode(self, tile: np.ndarray, bound: float) -> bytes:
        """Code a tile within the bound; integers, and everything at a bound of 0, exactly."""
        bound = float(bound) if tile.dtype.kind == "f" else 0.0
        flat = np.ascontiguousarray(tile.reshape(_plane(tile.shape)))
        bits = flat.view(f"u{flat.itemsize}")
        try:
            known = _filled(flat, bound) if bound else flat
            how, body = (_BOUNDED if bound else _EXACT), self.pack(known, bound)
            back = np.ascontiguousarray(self.unpack(body, flat.shape, flat.dtype, bound))
        except Unfit:
            how, body, back = _DEFLATED, zlib.compress(flat.tobytes(), 9), flat
        aside = back.view(bits.dtype) != bits
        if bound:
            with np.errstate(invalid="ignore", over="ignore"):
                aside &= ~(np.abs(back.astype(np.float64) - flat) <= bound)  # NaN is never within
        rest = _HEAD.pack(0, how, bound, len(body))[4:] + body + _pack_aside(bits, aside)
        return struct.pack("<I", _crc(rest, tile.shape, tile.dtype)) + rest

    def decode(self, data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Decode a tile.

        Raises
        ------
        DataError
            The bytes are not this codec's, or are damaged.
        """
        dtype = np.dtype(dtype)
        damaged = f"These bytes were not made by the codec '{self.name}' of such a tile, or are damaged."
        if len(data) < _HEAD.size or _crc(data[4:], shape, dtype) != int.from_bytes(data[:4], "little"):
            raise DataError(damaged)
        _, how, bound, length = _HEAD.unpack_from(data)
        body, aside = data[_HEAD.size : _HEAD.size + length], data[_HEAD.size + length :]
        plane = _plane(shape)
        try:
            if how == _DEFLATED:
                back = np.frombuffer(_inflated(body, prod(plane) * dtype.itemsize), dtype).reshape(plane)
            else:
                back = self.unpack(body, plane, dtype, bound)
            flat = np.array(back, dtype, order="C").reshape(-1)
            _put_aside(flat.view(f"u{dtype.itemsize}"), aside)
        except Exception as error:  # a library may raise anything on bytes that only look right
            raise DataError(damaged) from error
        return flat.reshape(tuple(shape))


def _plane(shape: Sequence[int]) -> tuple[int, int]:
    """Return rows and columns of a tile without its axes of one pixel."""
    width = next((int(length) for length in reversed(shape) if length > 1), 1)
    return prod(shape) // width, width


def _crc(data: bytes, shape: Sequence[int], dtype: np.dtype) -> int:
    return zlib.crc32(data, zlib.crc32(f"{dtype.str} {[int(length) for length in shape]}".encode()))


def _inflated(data: bytes, most: int) -> bytes:
    return zlib.decompressobj().decompress(data, most)  # hostile bytes get no more memory than a tile takes


def _filled(flat: np.ndarray, bound: float) -> np.ndarray:
    """Replace what no grid holds by the last pixel before it that one does, which costs the library least."""
    with np.errstate(invalid="ignore"):
        odd = ~(np.abs(flat) < _MOST_STEPS * bound).ravel()
    if not odd.any():
        return flat
    before = np.maximum.accumulate(np.where(odd, 0, np.arange(flat.size)))
    values = flat.ravel()[before]
    values[odd[before]] = 0
    return values.reshape(flat.shape)


def _pack_aside(bits: np.ndarray, aside: np.ndarray) -> bytes:
    at = np.flatnonzero(aside)
    if not len(at):
        return b""
    kept = bits.ravel()[at].astype(bits.dtype.newbyteorder("<"))
    return zlib.compress(np.diff(at, prepend=0).astype("<i8").tobytes() + kept.tobytes(), 9)


def _put_aside(bits: np.ndarray, packed: bytes) -> None:
    if packed:
        raw = _inflated(packed, bits.size * (8 + bits.itemsize))
        count = len(raw) // (8 + bits.itemsize)
        at = np.cumsum(np.frombuffer(raw, "<i8", count))
        bits[at] = np.frombuffer(raw, bits.dtype.newbyteorder("<"), count, 8 * count)
