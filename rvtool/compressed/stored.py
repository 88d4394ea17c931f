"""An HDU of a source as it is written to, and read from, a compressed file or an archive."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from rvtool.compressed.bounds import FINE, ErrorBound, limit_of, resolves
from rvtool.compressed.checksums import sum_in
from rvtool.compressed.coding import StoredImage, encode_tiles, grid_of
from rvtool.compressed.headers import pack, sized, summed, unpack
from rvtool.compressed.pixels import Pixels
from rvtool.compressed.reports import ImageReport
from rvtool.compressed.tiles import MOST_TILE_BYTES, Grid, size_of
from rvtool.data.units import BLOCK, DTYPES, MOST_AXES, Unit
from rvtool.errors import DataError
from rvtool.kinds import Codec

TABLE = np.dtype([(name, np.int64) for name in ("offset", "length", "crc32", "pixels_crc32")])
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Job:
    """How files are compressed; `step` is told of bytes of the source that are done."""

    codec: Codec
    codec_name: str
    bound: ErrorBound | None
    threads: int
    step: Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """How an image is encoded: its tiles, the bound in the unit of the stored pixels, and what will be told of it."""

    grid: Grid
    bound: float
    report: ImageReport

    @property
    def facts(self) -> dict[str, float | None]:
        """Bound and noise in the unit of the image, for the record; None for no bound, and for no noise."""
        bound, sigma = self.report.bound, self.report.sigma
        return {"bound": bound if np.isfinite(bound) else None, "sigma": None if np.isnan(sigma) else sigma}


@dataclass(frozen=True)
class StoredUnit:
    """An HDU of the source as a compressed file holds it.

    Attributes
    ----------
    unit
        Where its data stands.
    header, padding
        As they stood in the source.
    crc32
        Of header and data, where this is no image.
    image
        The pixels, for an image.
    """

    unit: Unit
    header: bytes
    padding: bytes
    crc32: int
    path: Path
    image: StoredImage | None = None

    def data(self) -> Iterator[bytes]:
        """Read the data of what is no image piece by piece.

        Raises
        ------
        DataError
            It is damaged; told at the end.
        """
        crc32 = zlib.crc32(self.header)
        for chunk in chunks(self.unit):
            crc32 = zlib.crc32(chunk, crc32)
            yield chunk
        if crc32 != self.crc32:
            raise damaged(self.path, "an HDU that is no image")


def with_rest(units: Sequence[Unit]) -> list[Unit]:
    """Make what stands after the last HDU a unit of its own, without a header."""
    last = units[-1]
    end = last.data_end + -(last.data_end - last.data_start) % BLOCK
    if last.end <= end:
        return list(units)
    return [*units[:-1], replace(last, end=end), Unit(last.file, end, last.end, last.end, b"")]


def planned(unit: Unit, hdu: int, job: Job) -> Plan | None:
    """Measure an image; None for what is no image."""
    if not (unit.header and unit.is_image):
        return None
    seen = np.memmap(unit.file, unit.dtype, "r", unit.data_start, unit.shape)
    limit, sigma, note = limit_of(seen, unit.scale, job.bound)
    if limit and not resolves(seen, limit / unit.scale):
        limit, note = 0.0, FINE
    report = ImageReport(hdu, unit.shape, unit.bitpix, unit.values.get("BUNIT", ""), sigma, limit, 0.0, note)
    return Plan(grid_of(job.codec, unit.shape, unit.dtype, job.codec_name), limit / unit.scale, report)


def write_tiles(file: IO[bytes], unit: Unit, plan: Plan, job: Job) -> tuple[np.ndarray, ImageReport]:
    """Write the tiles of an image one behind the other.

    Returns
    -------
    table : (tiles,) of `TABLE`
        Offsets from the first tile.
    report
        That of the plan, with the largest error.
    """
    pixels = Pixels.of(unit)
    table = np.zeros(plan.grid.count, TABLE)
    offset, worst = 0, 0.0
    tiles = encode_tiles(pixels, plan.grid, job.codec, job.codec_name, plan.bound, threads=job.threads)
    for number, (box, tile) in enumerate(tiles):
        table[number] = offset, len(tile.data), tile.crc32, tile.pixels_crc32
        file.write(tile.data)
        offset += len(tile.data)
        worst = max(worst, tile.error)
        job.step(prod(size_of(box)) * pixels.dtype.itemsize)
    return table, replace(plan.report, max_error=worst * unit.scale)


def finish_table(file: IO[bytes], start: int, header: bytes, rows: np.ndarray, heap: int) -> None:
    """Write the header and the rows of a table before its heap of `heap` bytes, which was written first."""
    data_start = start + len(header)
    file.seek(data_start + rows.nbytes + heap)
    file.write(b"\0" * (-file.tell() % BLOCK))
    end = file.tell()
    file.seek(data_start)
    file.write(rows.tobytes())
    file.flush()
    with open(file.name, "rb") as written:
        data_sum = sum_in(written, data_start, end)
    file.seek(start)
    file.write(summed(sized(header, (rows.itemsize, len(rows), heap)), data_sum))
    file.seek(end)


def copy(unit: Unit, file: IO[bytes], job: Job) -> None:
    """Write the data of what is no image."""
    for chunk in chunks(unit):
        file.write(chunk)
        job.step(len(chunk))


def crc32_of(unit: Unit) -> int:
    """Return the CRC of header and data."""
    crc32 = zlib.crc32(unit.header)
    for chunk in chunks(unit):
        crc32 = zlib.crc32(chunk, crc32)
    return crc32


def chunks(unit: Unit) -> Iterator[bytes]:
    """Read a data unit piece by piece."""
    for position in range(unit.data_start, unit.data_end, _CHUNK):
        unit.file.seek(position)
        yield unit.file.read(min(_CHUNK, unit.data_end - position))


def padding_facts(unit: Unit) -> dict[str, str]:
    """Return, for the record, what stands between the data and the next HDU where that is not what FITS asks for."""
    usual = b"\0" * (-(unit.data_end - unit.data_start) % BLOCK)
    return {} if unit.padding == usual else {"padding": pack(unit.padding, b"")}


def padding_of(facts: dict[str, Any], size: int) -> bytes:
    """Return what stood behind `size` bytes of data.

    Raises
    ------
    ValueError, TypeError
        The record is damaged.
    """
    return unpack(facts["padding"], b"", BLOCK) if "padding" in facts else b"\0" * (-size % BLOCK)


def stored_image(
    file: IO[bytes], header: bytes, tile: Sequence[int], table: np.ndarray, *, codec: Codec, path: Path
) -> StoredImage:
    """Put an image together from what was read of it.

    Parameters
    ----------
    header
        Of the image, as it stood in the source.
    tile
        In the order of NumPy.
    table : (tiles,) of `TABLE`
        Offsets from the beginning of the file.

    Raises
    ------
    ValueError, KeyError, TypeError
        These do not fit each other.
    """
    plain = Unit(io.BytesIO(), 0, 0, 0, header)
    shape, dtype = plain.shape, np.dtype(DTYPES[plain.bitpix])
    if not 2 <= len(shape) <= MOST_AXES or min(shape) < 1 or min(tile) < 1:
        raise ValueError("an image without pixels")
    grid = Grid(shape, tuple(min(side, length) for side, length in zip(tile, shape, strict=True)))
    if grid.count != len(table) or prod(grid.tile) * dtype.itemsize > MOST_TILE_BYTES:
        raise ValueError("tiles that do not fit the image")
    return StoredImage(file, header, table, grid, dtype, codec, path)


def check(stored: Sequence[StoredUnit], units: Sequence[Unit]) -> None:
    """Read what was written: every header and every byte must be there (the pixels were held against their source).

    Raises
    ------
    DataError
        Something does not come back.
    """
    for one, unit in zip(stored, units, strict=True):
        if (one.header, one.padding) != (unit.header, unit.padding):
            raise DataError("A header would not come back as it is; please report the file.")
    read_through(stored)


def read_through(stored: Iterable[StoredUnit]) -> None:
    """Read every byte of what is stored.

    Raises
    ------
    DataError
        It is damaged.
    """
    for one in stored:
        if one.image:
            for number in range(one.image.grid.count):
                one.image.stored(number)
        else:
            for _ in one.data():
                pass


def damaged(path: Path, what: str) -> DataError:
    """Build the error for a file that is not what was written."""
    return DataError(f"{path} is damaged ({what} is not what was written); fetch or make it again.")
