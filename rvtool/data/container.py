"""Compressed FITS that any FITS reader opens and that gives the original file back.

A ``.rv.fits`` file holds every HDU of its source in order: images as tile-compressed HDUs with their own cards, the
rest as it was, and the table RVTOOL (see `rvtool.data.record`). FITS allows no compressed primary HDU, so where the
source begins with an image an empty primary HDU stands before it.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from rvtool.data.files import writing
from rvtool.data.noise import noise_sigma
from rvtool.data.record import (
    Row,
    decode_tiled,
    find_record,
    pack_patches,
    read_record,
    restored,
    write_record,
)
from rvtool.data.units import EMPTY_PRIMARY, Unit, open_units, padded, tiled_header, units_of, untiled_header
from rvtool.errors import DataError, PluginError
from rvtool.kinds import FitsCodec

SUFFIX = ".rv.fits"

# Where more of the pixels than this need a patch, the bound is finer than their type resolves: exact is smaller.
_MOST_PATCHED = 1 / 64


@dataclass(frozen=True)
class ErrorBound:
    """The largest allowed error of a pixel: in the image's unit, or in units of its noise."""

    value: float
    in_sigma: bool


@dataclass(frozen=True)
class ImageReport:
    """What became of one image.

    Attributes
    ----------
    sigma, bound, max_error
        In `unit`; `sigma` is NaN where it was not measured, `bound` is 0 where the image is kept exactly.
    note
        Why an image is kept exactly although a bound was given, or ``""``.
    """

    hdu: int
    shape: tuple[int, ...]
    bitpix: int
    unit: str
    sigma: float
    bound: float
    max_error: float
    note: str


@dataclass(frozen=True)
class FileReport:
    """What became of one file: its size on disk before and after, and its images."""

    source: Path
    out: Path
    source_bytes: int
    out_bytes: int
    images: tuple[ImageReport, ...]

    @property
    def ratio(self) -> float:
        """How many times smaller the file has become."""
        return self.source_bytes / self.out_bytes

    @property
    def bits_per_pixel(self) -> float:
        """Bits on disk, headers and all, for each pixel of the images."""
        return 8 * self.out_bytes / sum(prod(image.shape) for image in self.images)


def compress_file(
    source: Path, out: Path, codec: Any, bound: ErrorBound | None, codec_name: str, *, overwrite: bool = False
) -> FileReport:
    """Compress every image of a FITS file, check every pixel of what was written, and only then give it its name.

    Parameters
    ----------
    source
        A FITS file, plain, packed by gzip or bzip2, or tile-compressed (whose images are compressed anew).
    codec
        A `FitsCodec`.
    bound
        None keeps every pixel bit by bit. Integers always are.
    codec_name
        Name and version, for the record.

    Raises
    ------
    DataError
        The source is no FITS, is broken, holds no image or is compressed already; or `out` exists or cannot be written.
    PluginError
        The codec does not keep its contract.
    """
    if not isinstance(codec, FitsCodec):
        raise PluginError(f"Codec {codec_name} has no encode_hdu and cannot write FITS; take another (--codec rice).")
    with open_units(source) as given:
        if find_record(given):
            raise DataError(f"{source} was compressed by rvtool already; decompress it first.")
        units = _untiled(given, source)
        if not any(unit.is_image for unit in units):
            raise DataError(f"{source} holds no image of two or more axes; leave it out.")
        with _written(out, source, overwrite) as file:
            if units[0].is_image:
                file.write(EMPTY_PRIMARY)
            rows, notes = [], []
            for hdu, unit in enumerate(units, start=int(units[0].is_image)):
                stored, row, note = _compressed(unit, hdu, codec, bound) if unit.is_image else _kept(unit, hdu)
                file.write(stored)
                rows.append(row)
                notes.append(note)
            file.write(write_record(rows, source.name, codec_name, version("rvtool")))
            file.flush()
            with open_units(Path(file.name)) as written:
                errors = [_largest_error(unit, written, row, out) for unit, row in zip(units, rows, strict=True)]
            images = tuple(
                ImageReport(
                    number, unit.shape, unit.bitpix, unit.values.get("BUNIT", ""), row.sigma, row.bound, error, note
                )
                for number, (unit, row, note, error) in enumerate(zip(units, rows, notes, errors, strict=True))
                if unit.is_image
            )
    return FileReport(source, out, source.stat().st_size, out.stat().st_size, images)


def decompress_file(source: Path, out: Path, *, overwrite: bool = False) -> str:
    """Write the FITS file that was compressed: its own header bytes, its data within the bound.

    Returns
    -------
    str
        The name that the file had.

    Raises
    ------
    DataError
        The source was not made by rvtool, or is damaged; or `out` exists or cannot be written.
    """
    with open_units(source) as stored:
        record = find_record(stored)
        if record is None:
            raise DataError(f"{source} was not made by 'rvtool compress' (it has no RVTOOL table).")
        rows, name = read_record(record, source)
        with _written(out, source, overwrite) as file:
            for row in rows:
                file.writelines(restored(stored, row, source))
    return name


@contextmanager
def _written(out: Path, source: Path, overwrite: bool) -> Iterator[IO[bytes]]:
    """Open the output as `writing` does, but never over the source, nor over another file unless that is allowed."""
    if out.exists() and out.samefile(source):
        raise DataError(f"{out} is the file that is read; name another with --out.")
    if out.exists() and not overwrite:
        raise DataError(f"{out} exists already; remove it, name another with --out, or allow it with --overwrite.")
    try:
        with writing(out) as file:
            yield file
    except DataError as error:
        if isinstance(error.__cause__, OSError):
            raise DataError(f"{str(error).rstrip('.')}; {source} is untouched.") from error
        raise


def _untiled(units: list[Unit], path: Path) -> list[Unit]:
    """Return the units of the file that was tile-compressed by another program, as funpack would write it."""
    if not any(unit.is_tiled for unit in units):
        return units
    # an image that was primary before it was compressed takes the place of the empty primary before it
    first = int(len(units) > 1 and "ZSIMPLE" in units[1].values and units[0].data_start == units[0].data_end)
    file = io.BytesIO()
    for number, unit in enumerate(units[first:]):
        if unit.is_tiled:
            pixels = decode_tiled(unit, path)
            file.write(untiled_header(unit.header, primary=number == 0))
            file.write(padded(pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()))
        else:
            file.write(unit.header + unit.data + unit.padding)
    return units_of(file, path)


def _kept(unit: Unit, hdu: int) -> tuple[bytes, Row, str]:
    data = unit.data
    row = Row(hdu, zlib.crc32(data), unit.padding, sha256=hashlib.sha256(data).hexdigest())
    return unit.header + padded(data), row, ""


def _compressed(unit: Unit, hdu: int, codec: FitsCodec, bound: ErrorBound | None) -> tuple[bytes, Row, str]:
    data = unit.array()
    limit, sigma, note = _limit(data, unit.scale, bound)
    table, patches = _encode(data, codec, limit / unit.scale)
    if limit and np.isfinite(data.ravel()[patches]).sum() > _MOST_PATCHED * data.size:
        limit, note = 0.0, "the bound is finer than the pixels' type resolves"
        table, patches = _encode(data, codec, 0.0)
    packed = table.data
    row = Row(
        hdu,
        zlib.crc32(packed),
        unit.padding,
        header=unit.header,
        bound=limit,
        sigma=sigma,
        sha256="" if limit else hashlib.sha256(unit.data).hexdigest(),
        patches=pack_patches(data, patches),
    )
    return tiled_header(table.header, unit.header) + padded(packed), row, note


def _limit(data: np.ndarray, scale: float, bound: ErrorBound | None) -> tuple[float, float, str]:
    """Return bound and noise in the unit of the image, and why the bound is 0 where one was given."""
    if bound is None:
        return 0.0, float("nan"), ""
    if data.dtype.kind != "f":
        return 0.0, float("nan"), "integers are kept exactly"
    if not np.isfinite(data).any():
        return 0.0, float("nan"), "blank throughout"
    sigma = noise_sigma(data) * scale
    if not bound.in_sigma:
        return bound.value, sigma, ""
    return bound.value * sigma, sigma, "" if sigma else "no noise to measure: the background is blank, flat or clipped"


def _encode(data: np.ndarray, codec: FitsCodec, bound: float) -> tuple[Unit, np.ndarray]:
    """Encode pixels, and find those (flat indices) that decoding does not bring back within the bound."""
    here = Path("the codec's HDU")
    table = units_of(io.BytesIO(EMPTY_PRIMARY + codec.encode_hdu(data, bound)), here)[1]
    decoded = decode_tiled(table, here)
    if decoded.shape != data.shape or decoded.dtype != data.dtype:
        raise PluginError(
            f"Codec {type(codec).__name__} made {decoded.dtype} {decoded.shape} of {data.dtype} {data.shape}."
        )
    bits = f"u{data.itemsize}"
    differ = np.flatnonzero(data.view(bits) != decoded.view(bits))
    if bound:
        differ = differ[~(_errors(data.ravel()[differ], decoded.ravel()[differ]) <= bound)]  # NaN is never within
    return table, differ


def _errors(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.abs(one.astype(np.float64) - other.astype(np.float64))


def _largest_error(unit: Unit, written: Sequence[Unit], row: Row, out: Path) -> float:
    """Bring back what was written, hold it against the source, and return the largest error in the image's unit."""
    header, data, padding = restored(written, row, out)
    error = 0.0
    kept = data == unit.data
    if row.bound:
        one, other = np.frombuffer(unit.data, unit.dtype), np.frombuffer(data, unit.dtype)
        bits = f"u{unit.dtype.itemsize}"
        differ = one.view(bits) != other.view(bits)
        error = float(
            _errors(one[differ], other[differ]).max(initial=0.0)
        )  # NaN where a blank pixel is no longer blank
        kept = error <= row.bound / unit.scale
    if not kept or (header, padding) != (unit.header, unit.padding):
        raise PluginError(
            f"The codec does not keep the bound (largest error {error * unit.scale:.4g}); {out} is not written."
        )
    return error * unit.scale
