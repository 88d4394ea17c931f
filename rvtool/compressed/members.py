"""The files of an archive (see `rvtool.compressed.archive`), found by name."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote

import numpy as np

from rvtool.compressed.checksums import sum_of
from rvtool.compressed.container import check_primary, codec_of
from rvtool.compressed.headers import inflated
from rvtool.compressed.stored import (
    TABLE,
    StoredUnit,
    damaged,
    padding_of,
    stored_image,
)
from rvtool.data.units import Unit, open_units
from rvtool.errors import DataError, unknown
from rvtool.kinds import Codec

KIND = "ARCHIVE"
EXTNAME = "RVARCHIVE"
_MOST_RECORD = 1 << 28  # bytes, unpacked


@dataclass(frozen=True)
class Member:
    """A file of an archive: its name, its size before it was compressed and in the archive, bytes."""

    name: str
    source_bytes: int
    bytes: int


class Archive:
    """An archive in an open file.

    Attributes
    ----------
    members : dict of str to Member
        In the order in which they were written.
    """

    def __init__(self, units: Sequence[Unit], path: Path, codec: Codec | None = None) -> None:
        check_primary(units[0], path)
        self.path, self.codec = path, codec or codec_of(units[0], path)
        try:
            self._rows, self._heap = _read_rows(units[1])
            names = [unquote(name.decode("ascii")) for name in self._rows["name"]]
            for name in names:
                refuse_unsafe(name, path)
            if len(set(names)) != len(names) or _overlap(self._rows):
                raise ValueError("files that share a name or their bytes")
        except (ValueError, KeyError, IndexError) as error:
            raise damaged(path, "its table of files") from error
        self._file = units[1].file
        self._numbers = {name: number for number, name in enumerate(names)}
        self.members = {
            name: Member(name, int(row["bytes"]), int(row["length"]))
            for name, row in zip(names, self._rows, strict=True)
        }

    def units(self, name: str) -> tuple[StoredUnit, ...]:
        """Return the HDUs of a file, reading all but their data.

        Raises
        ------
        ConfigError
            There is no such file; the nearest names are told.
        DataError
            It is damaged.
        """
        if name not in self._numbers:
            raise unknown("file", name, self._numbers, hint=f"They are the files of {self.path}.")
        row = self._rows[self._numbers[name]]
        try:
            record = self._record(row, self._first_record if self._numbers[name] else b"")
            start = self._heap + int(row["offset"])
            end = start + int(row["length"] - row["record"])
            return read_units(self._file, start, end, record, codec=self.codec, path=self.path)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise damaged(self.path, name) from error

    @cached_property
    def _first_record(self) -> bytes:
        return self._record(self._rows[0], b"")

    def _record(self, row: np.void, known: bytes) -> bytes:
        self._file.seek(self._heap + int(row["offset"] + row["length"] - row["record"]))
        packed = self._file.read(int(row["record"]))
        if row_crc32(row, zlib.crc32(packed)) != row["crc32"]:
            raise ValueError("another record")
        return inflated(packed, known, _MOST_RECORD)


def is_archive(units: Sequence[Unit]) -> bool:
    """Tell whether an open FITS file is an archive."""
    return units[0].values.get("RVKIND") == KIND


@contextmanager
def open_archive(path: Path, codec: Codec | None = None) -> Iterator[Archive]:
    """Open an archive.

    Parameters
    ----------
    codec
        The one that wrote it, where that is at hand.

    Raises
    ------
    DataError
        The file is none, is damaged, or its codec is not here.
    """
    with open_units(path) as units:
        if not is_archive(units):
            raise DataError(f"{path} is no archive; decompress it without naming files in it.")
        yield Archive(units, path, codec)


def read_units(
    file: IO[bytes], position: int, end: int, record: bytes, *, codec: Codec, path: Path
) -> tuple[StoredUnit, ...]:
    """Read the HDUs of a file whose data stands from `position` to `end`.

    Raises
    ------
    ValueError, KeyError, TypeError
        The record is damaged.
    """
    text, _, headers = record.partition(b"\n")
    units = []
    for facts in json.loads(text):
        header, headers = headers[: facts["header"]], headers[facts["header"] :]
        start = position
        if "tile" in facts:
            if zlib.crc32(header) != facts["crc32"]:
                raise ValueError("another header")
            table = np.zeros(len(facts["lengths"]), TABLE)
            table["length"] = facts["lengths"]
            table["crc32"], table["pixels_crc32"] = facts["crc32s"]
            if not table.size or not 0 <= table["length"].min() <= table["length"].max() <= end - start:
                raise ValueError("tiles beyond the file")
            table["offset"] = start + np.cumsum(table["length"]) - table["length"]
            image = stored_image(file, header, facts["tile"], table, codec=codec, path=path)
            position += int(table["length"].sum())
            size = image.nbytes
        else:
            image, size = None, facts["bytes"]
            position += size
        if not start <= position <= end:
            raise ValueError("data beyond the file")
        unit = Unit(file, start, position, position, header)
        units.append(StoredUnit(unit, header, padding_of(facts, size), facts["crc32"], path, image))
    return tuple(units)


def _overlap(rows: np.ndarray) -> bool:
    """Tell whether files share bytes: a small archive could otherwise unpack to any size."""
    order = np.argsort(rows["offset"], kind="stable")
    start, end = rows["offset"][order], (rows["offset"] + rows["length"])[order]
    return bool((start[1:] < end[:-1]).any())


def row_type(name_bytes: int) -> np.dtype:
    """Return a row of the table of files, whose names take so many bytes."""
    return np.dtype(
        [
            ("name", f"S{name_bytes}"),
            ("bytes", ">i8"),
            ("length", ">i8"),
            ("offset", ">i8"),
            ("record", ">i4"),
            ("crc32", ">u4"),
        ]
    )


def row_crc32(row: np.void, record_crc32: int) -> int:
    """Return the CRC of the record that a row points to and of the row, but for the CRC itself."""
    return zlib.crc32(row.tobytes()[:-4], record_crc32)


def _read_rows(unit: Unit) -> tuple[np.ndarray, int]:
    """Return the rows of the table, and where its heap begins.

    Raises
    ------
    ValueError, KeyError
        The table is damaged.
    """
    values = unit.values
    if sum_of(unit.header, int(values["DATASUM"])) != 0xFFFFFFFF:
        raise ValueError("another header")
    kind = row_type(int(values["TFORM1"].removesuffix("A")))
    count, heap = int(values["NAXIS2"]), int(values["PCOUNT"])
    start = unit.data_start + count * kind.itemsize
    if values.get("EXTNAME") != EXTNAME or int(values["NAXIS1"]) != kind.itemsize or start + heap != unit.data_end:
        raise ValueError("another table")
    unit.file.seek(unit.data_start)
    rows = np.frombuffer(unit.file.read(count * kind.itemsize), kind)
    lengths, offsets = rows["length"], rows["offset"]
    inside = (lengths >= 0) & (lengths <= heap) & (offsets >= 0) & (offsets <= heap - lengths)
    if not (inside & (rows["record"] >= 0) & (rows["record"] <= lengths)).all():
        raise ValueError("files beyond the heap")
    return rows, start


def refuse_unsafe(name: str, path: Path) -> None:
    """Refuse what would be written outside of the folder that it is to be written into.

    Raises
    ------
    DataError
        The name is no name of a file in a folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or {"..", "."} & {*name.split("/")} or set("\\:\0") & set(name):
        raise DataError(f"{path}: '{name}' cannot be the name of a file in an archive; give it another.")
