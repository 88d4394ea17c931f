"""Pixels where they stand in a plain FITS file, read and written box by box, so that no image is held whole."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from math import prod
from threading import Lock
from typing import IO

import numpy as np

from rvtool.compressed.tiles import Box, size_of, whole
from rvtool.data.units import Unit, card, header_of, padded
from rvtool.errors import DataError

_SCALING = ("BSCALE", "BZERO", "BLANK")


class Pixels:
    """The data unit of an image in an open file; threads may share it, but nothing else may move in the file meanwhile.

    Parameters
    ----------
    start
        Where the first pixel stands in the file, bytes.
    header
        Of the image.
    dtype
        As the pixels are stored, big-endian.
    """

    def __init__(self, file: IO[bytes], start: int, shape: Sequence[int], dtype: np.dtype, header: bytes = b"") -> None:
        self.file, self.start, self.shape, self.dtype, self.header = file, start, tuple(shape), dtype, header
        self._lock = Lock()

    @classmethod
    def of(cls, unit: Unit) -> Pixels:
        """Return the pixels of an image's unit."""
        return cls(unit.file, unit.data_start, unit.shape, unit.dtype, unit.header)

    @property
    def nbytes(self) -> int:
        """How many bytes the pixels take in a plain file."""
        return prod(self.shape) * self.dtype.itemsize

    def read(self, box: Box, threads: int = 1) -> np.ndarray:
        """Return the pixels of a box as they are stored (BSCALE and BZERO not applied), in native byte order.

        Raises
        ------
        DataError
            The file ends before them: it was cut since it was opened.
        """
        pixels = np.empty(size_of(box), self.dtype)
        with self._lock:
            for offset, index in _runs(self.shape, box):
                run = memoryview(pixels[index].reshape(-1).view(np.uint8))
                self.file.seek(self.start + offset * self.dtype.itemsize)
                if self.file.readinto(run) != len(run):  # type: ignore[attr-defined]
                    raise DataError("the file ends before its pixels do; it was changed while it was read.")
        return pixels if self.dtype.isnative else pixels.byteswap(inplace=True).view(self.dtype.newbyteorder("="))

    def write(self, box: Box, pixels: np.ndarray) -> None:
        """Put the pixels of a box in their place."""
        with self._lock:
            for offset, index in _runs(self.shape, box):
                run = np.ascontiguousarray(pixels[index], self.dtype)
                self.file.seek(self.start + offset * self.dtype.itemsize)
                self.file.write(run.reshape(-1).view(np.uint8).data)


class HeldImage:
    """An image that can only be decoded whole, and is when its pixels are first asked for.

    Parameters
    ----------
    header
        Of the image.
    decode
        Gives the pixels as they are stored, in native byte order.
    """

    def __init__(self, header: bytes, decode: Callable[[], np.ndarray]) -> None:
        plain = Unit(io.BytesIO(), 0, 0, 0, header)
        self.header, self.shape, self.dtype, self._decode = header, plain.shape, plain.dtype, decode

    @property
    def nbytes(self) -> int:
        """How many bytes the pixels take in a plain file."""
        return prod(self.shape) * self.dtype.itemsize

    @cached_property
    def _pixels(self) -> np.ndarray:
        return self._decode()

    def read(self, box: Box, threads: int = 1) -> np.ndarray:
        """Return the pixels of a box as they are stored (BSCALE and BZERO not applied), in native byte order."""
        return self._pixels[box]

    def parts(self, box: Box, threads: int = 1) -> Iterator[tuple[Box, np.ndarray]]:
        """Give a box in one part: where it lies within the box, and its pixels."""
        yield whole(size_of(box)), self.read(box)


def _runs(shape: Sequence[int], box: Box) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Cut a box into what stands together in the file: the offset of each run, pixels, and its index in the box."""
    sizes = size_of(box)
    cut = [axis for axis, (size, length) in enumerate(zip(sizes, shape, strict=True)) if size < length]
    leading = cut[-1] if cut else 0
    steps = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    start = sum(part.start * step for part, step in zip(box, steps, strict=True))
    for index in np.ndindex(*sizes[:leading]):
        yield start + sum(i * step for i, step in zip(index, steps, strict=False)), index


def physical(pixels: np.ndarray, header: bytes) -> np.ndarray:
    """Apply BSCALE, BZERO and BLANK to pixels as they are stored, as astropy does.

    Parameters
    ----------
    pixels : (...)
        Native byte order.
    header
        Of the image.

    Returns
    -------
    numpy.ndarray : (...)
        In the unit of the image, native byte order; blank pixels of scaled integers are NaN.
    """
    from astropy.io import fits

    from rvtool.data.fits import quiet

    values = Unit(io.BytesIO(), 0, 0, 0, header).values
    scaling = [card(name, values[name]) for name in _SCALING if name in values]
    if not scaling or not pixels.size:
        return pixels
    bitpix = 8 * pixels.itemsize * (-1 if pixels.dtype.kind == "f" else 1)
    sizes = [card(f"NAXIS{i + 1}", str(length)) for i, length in enumerate(reversed(pixels.shape))]
    first = [card("SIMPLE", "T"), card("BITPIX", str(bitpix)), card("NAXIS", str(pixels.ndim))]
    alone = header_of([*first, *sizes, *scaling]) + padded(pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())
    with quiet(), fits.open(io.BytesIO(alone), memmap=False) as hdus:
        scaled = hdus[0].data
    return scaled.astype(scaled.dtype.newbyteorder("="), copy=False)
