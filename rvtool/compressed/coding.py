"""Tiles to bytes and back, each held against its source before it is kept, and its checksums before it is believed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast

import numpy as np

from rvtool.compressed.pixels import Pixels
from rvtool.compressed.tiles import MOST_TILE_BYTES, Box, Grid, in_order, size_of
from rvtool.errors import ConfigError, DataError, PluginError, RvtoolError
from rvtool.kinds import Codec

_PIECE = 1 << 16  # pixels


@dataclass(frozen=True)
class Encoded:
    """A tile as it is stored, checksums of its bytes and of the pixels that they decode to, and its largest error."""

    data: bytes
    crc32: int
    pixels_crc32: int
    error: float


def grid_of(codec: Codec, shape: tuple[int, ...], dtype: np.dtype, name: str) -> Grid:
    """Cut an image into the tiles that its codec wants.

    Raises
    ------
    PluginError
        They are no tiles, or too large.
    """
    tile = tuple(int(side) for side in codec.tile_shape(shape))
    if len(tile) != len(shape) or min(tile) < 1:
        raise PluginError(f"Codec {name} wants tiles of {tile} for an image of {shape}; mend its tile_shape.")
    grid = Grid(shape, tuple(min(side, length) for side, length in zip(tile, shape, strict=True)))
    if prod(grid.tile) * dtype.itemsize > MOST_TILE_BYTES:
        raise PluginError(
            f"Codec {name} wants tiles of {tile}, above {MOST_TILE_BYTES >> 20} MiB; choose smaller ones."
        )
    return grid


def encode_tiles(
    pixels: Pixels, grid: Grid, codec: Codec, name: str, bound: float, *, threads: int
) -> Iterator[tuple[Box, Encoded]]:
    """Encode an image tile by tile, in order.

    Parameters
    ----------
    bound
        In the unit of the stored pixels.

    Raises
    ------
    PluginError
        The codec fails, or does not keep the bound.
    """

    def encode(number: int) -> tuple[Box, Encoded]:
        box = grid.box(number)
        tile = pixels.read(box)
        try:
            data = codec.encode(tile, bound)
            back = _decoded(codec, data, tile.shape, tile.dtype)
        except Exception as error:  # a plugin may raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise PluginError(f"Codec {name} fails at a tile of {tile.dtype} {tile.shape} ({reason}).") from error
        largest = largest_error(tile, back, exact=not bound or tile.dtype.kind != "f")
        if not largest <= bound:  # NaN is never within
            raise PluginError(f"Codec {name} does not keep the bound {bound:.4g} (largest error {largest:.4g}).")
        return box, Encoded(data, zlib.crc32(data), pixels_crc32(back), largest)

    return in_order(encode, range(grid.count), threads)


def _decoded(codec: Codec, data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    pixels = codec.decode(data, shape, dtype)
    if (pixels.shape, pixels.dtype) != (shape, dtype):
        raise PluginError(f"decode gave {pixels.dtype} {pixels.shape} for {dtype} {shape}")
    return pixels


def largest_error(one: np.ndarray, other: np.ndarray, exact: bool) -> float:
    """Return the largest difference of pixels, in float64.

    Parameters
    ----------
    one, other
        Of one shape and type.
    exact
        Whether all bits have to be equal.

    Returns
    -------
    float
        Infinite where bits had to be equal and are not: all of NaN and infinities, also where this is not `exact`.
    """
    largest, bits = 0.0, f"u{one.itemsize}"
    for here, there in zip(_pieces(one), _pieces(other), strict=True):
        differ = here.view(bits) != there.view(bits)
        if not differ.any():
            continue
        before, after = here[differ].astype(np.float64), there[differ].astype(np.float64)
        if exact or not (np.isfinite(before).all() and np.isfinite(after).all()):
            return float("inf")
        largest = max(largest, float(np.abs(before - after).max()))
    return largest


def pixels_crc32(pixels: np.ndarray) -> int:
    """Return the CRC of pixels as FITS stores them."""
    crc32 = 0
    for piece in _pieces(pixels):
        crc32 = zlib.crc32(piece.astype(piece.dtype.newbyteorder(">")).view(np.uint8).data, crc32)
    return crc32


def _pieces(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Cut pixels into pieces, so that what is made of them takes little memory."""
    flat = pixels.reshape(-1)
    return (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))


def installed_codec(name: str) -> Any:
    """Return an installed codec with its own defaults.

    Raises
    ------
    ConfigError
        There is none of this name.
    """
    from rvtool.plugins import component

    chosen = component("codec", name)
    return chosen.load()(chosen.configure({}))


def codec_named(name: str, model_sha256: str, path: Path) -> Codec:
    """Return the codec that decodes a file.

    Raises
    ------
    DataError
        It is not installed, or has another trained model.
    """
    from rvtool.plugins import component

    try:
        kind = component("codec", name).load()
    except ConfigError as error:
        raise DataError(f"{path} needs the codec '{name}', which no plugin here offers; install it. {error}") from None
    if model_sha256 and hasattr(kind, "for_model"):
        try:
            return cast("Codec", kind.for_model(model_sha256))
        except RvtoolError as error:
            raise DataError(f"{path} was compressed with a trained model. {error}") from None
    codec = installed_codec(name)
    if not isinstance(codec, Codec):
        raise DataError(f"{path} needs the codec '{name}', and the one of this name here decodes no tiles.")
    if codec.model_sha256 != model_sha256:
        raise DataError(
            f"{path} needs codec '{name}' with the trained model {model_sha256[:12] or '(none)'}, and "
            f"{codec.model_sha256[:12] or 'none'} is here; install the version that wrote the file."
        )
    return codec


@dataclass(frozen=True)
class StoredImage:
    """A compressed image in an open file: any part of it is read by decoding no more than the tiles that it touches.

    Attributes
    ----------
    header
        Of the image, as it stood in the source.
    table
        A row for each tile: `offset` in the file, `length`, `crc32` and `pixels_crc32`.
    dtype
        Of the pixels as they are stored, big-endian.
    """

    file: IO[bytes]
    header: bytes
    table: np.ndarray
    grid: Grid
    dtype: np.dtype
    codec: Codec
    path: Path
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The axes in the order of NumPy."""
        return self.grid.shape

    @property
    def nbytes(self) -> int:
        """How many bytes the pixels take in a plain file."""
        return prod(self.shape) * self.dtype.itemsize

    def stored(self, number: int) -> bytes:
        """Return the bytes of a tile, checked.

        Raises
        ------
        DataError
            They are damaged.
        """
        row = self.table[number]
        with self._lock:
            self.file.seek(int(row["offset"]))
            data = self.file.read(int(row["length"]))
        if len(data) != row["length"] or zlib.crc32(data) != row["crc32"]:
            raise self._damaged(number)
        return data

    def tile(self, number: int) -> np.ndarray:
        """Decode a tile.

        Raises
        ------
        DataError
            It is damaged, or decodes to other pixels than it did when it was written.
        """
        data, shape, dtype = self.stored(number), size_of(self.grid.box(number)), self.dtype.newbyteorder("=")
        try:
            pixels = _decoded(self.codec, data, shape, dtype)
        except RvtoolError as error:
            raise DataError(f"{self.path}: tile {number} cannot be decoded ({error}); fetch the file again.") from error
        except Exception as error:  # hostile bytes may lead a plugin anywhere
            raise self._damaged(number) from error
        exact = getattr(self.codec, "exact", True)
        if exact and pixels_crc32(pixels) != self.table[number]["pixels_crc32"]:
            raise DataError(
                f"{self.path}: tile {number} decodes to other pixels than it was written from; the file is damaged, "
                "or this version of the codec is not the one that wrote it."
            )
        return pixels

    def parts(self, box: Box, threads: int = 1) -> Iterator[tuple[Box, np.ndarray]]:
        """Decode a box tile by tile: where each part lies within the box, and its pixels."""

        def part(number: int) -> tuple[Box, np.ndarray]:
            tile = self.grid.box(number)
            common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(tile, box, strict=True)]
            pixels = self.tile(number)[_shifted(common, tile)]
            return _shifted(common, box), pixels

        return in_order(part, self.grid.touching(box), threads)

    def read(self, box: Box, threads: int = 1) -> np.ndarray:
        """Return the pixels of a box as they are stored (BSCALE and BZERO not applied), in native byte order."""
        pixels = np.empty(size_of(box), self.dtype.newbyteorder("="))
        for place, part in self.parts(box, threads):
            pixels[place] = part
        return pixels

    def _damaged(self, number: int) -> DataError:
        return DataError(f"{self.path} is damaged (tile {number} is not what was written); fetch or make it again.")


def _shifted(box: Sequence[slice], origin: Box) -> Box:
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, origin, strict=True))
