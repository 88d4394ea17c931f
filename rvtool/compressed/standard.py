"""Format 1: files of a `FitsCodec`, whose images any FITS reader decodes.

Such a file holds every HDU of its source in order: images as tile-compressed HDUs with their own cards, the rest as it
was, and the table RVTOOL (see `rvtool.compressed.record`). FITS allows no compressed primary HDU, so where the source
begins with an image an empty primary HDU stands before it. Images are held whole while they are coded.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np

from rvtool.compressed.bounds import FINE, ErrorBound, limit_of
from rvtool.compressed.pixels import HeldImage
from rvtool.compressed.record import Row, decode_tiled, pack_patches, read_record, restored, write_record
from rvtool.compressed.reports import ImageReport
from rvtool.data.units import EMPTY_PRIMARY, Unit, open_units, padded, tiled_header, units_of
from rvtool.errors import DataError, PluginError
from rvtool.kinds import FitsCodec

# Where more of the pixels than this need a patch, the bound is finer than their type resolves: exact is smaller.
_MOST_PATCHED = 1 / 64


def write_standard(
    file: IO[bytes],
    units: Sequence[Unit],
    name: str,
    *,
    codec: FitsCodec,
    codec_name: str,
    bound: ErrorBound | None,
    step: Callable[[int], None],
) -> tuple[ImageReport, ...]:
    """Write a whole compressed file, read it again, and check every pixel.

    Parameters
    ----------
    file
        A new file, open for writing and under a name by which it can be opened.
    name
        Of the source.
    step
        Told of bytes of the source that are done.

    Raises
    ------
    PluginError
        The codec does not keep its contract.
    """
    if units[0].is_image:
        file.write(EMPTY_PRIMARY)
    rows, notes = [], []
    for hdu, unit in enumerate(units, start=int(units[0].is_image)):
        stored, row, note = _compressed(unit, hdu, codec, bound) if unit.is_image else _kept(unit, hdu)
        file.write(stored)
        rows.append(row)
        notes.append(note)
        step(unit.data_end - unit.data_start)
    file.write(write_record(rows, name, codec_name, version("rvtool")))
    file.flush()
    path = Path(file.name)
    with open_units(path) as written:
        errors = [_largest_error(unit, written, row, path) for unit, row in zip(units, rows, strict=True)]
    return tuple(
        ImageReport(number, unit.shape, unit.bitpix, unit.values.get("BUNIT", ""), row.sigma, row.bound, error, note)
        for number, (unit, row, note, error) in enumerate(zip(units, rows, notes, errors, strict=True))
        if unit.is_image
    )


@dataclass(frozen=True)
class StandardUnit:
    """An HDU of the source as a file of this format holds it (see `rvtool.compressed.container.StoredUnit`)."""

    stored: Sequence[Unit]
    row: Row
    path: Path

    @property
    def header(self) -> bytes:
        """As it stood in the source."""
        return self.row.header or self.stored[self.row.hdu].header

    @property
    def padding(self) -> bytes:
        """What stood between the data and the next HDU."""
        return self.row.padding

    @cached_property
    def image(self) -> HeldImage | None:
        """The pixels, for an image."""
        if not self.row.header:
            return None
        header, kind = self.header, Unit(io.BytesIO(), 0, 0, 0, self.header)
        return HeldImage(
            header,
            lambda: (
                np.frombuffer(self._restored(), kind.dtype).astype(kind.dtype.newbyteorder("=")).reshape(kind.shape)
            ),
        )

    def data(self) -> Iterator[bytes]:
        """Give the data of what is no image."""
        yield self._restored()

    def _restored(self) -> bytes:
        return restored(self.stored, self.row, self.path)[1]


def read_standard(units: Sequence[Unit], record: Unit, path: Path) -> tuple[str, tuple[StandardUnit, ...]]:
    """Return the name of the source and its HDUs; `record` is the file's table RVTOOL.

    Raises
    ------
    DataError
        A newer rvtool wrote the file, or it is damaged.
    """
    rows, name = read_record(record, path)
    if any(not 0 <= row.hdu < len(units) for row in rows):
        raise DataError(f"{path} is damaged (it has lost HDUs); fetch or make it again.")
    return name, tuple(StandardUnit(units, row, path) for row in rows)


def _kept(unit: Unit, hdu: int) -> tuple[bytes, Row, str]:
    data = unit.data
    row = Row(hdu, zlib.crc32(data), unit.padding, sha256=hashlib.sha256(data).hexdigest())
    return unit.header + padded(data), row, ""


def _compressed(unit: Unit, hdu: int, codec: FitsCodec, bound: ErrorBound | None) -> tuple[bytes, Row, str]:
    data = unit.array()
    limit, sigma, note = limit_of(data, unit.scale, bound)
    table, patches = _encode(data, codec, limit / unit.scale)
    if limit and np.isfinite(data.ravel()[patches]).sum() > _MOST_PATCHED * data.size:
        limit, note = 0.0, FINE
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
            f"The codec does not keep the bound (largest error {error * unit.scale:.4g}); nothing is written."
        )
    return error * unit.scale
