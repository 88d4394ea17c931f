"""Format 2: a FITS file whose images are tables of tiles.

    primary HDU     without data; RVFORMAT, RVNAME (of the source), RVCODEC, RVVERSIO, RVMODEL where the codec needs a
                    trained model, and RVRECORD: a JSON list with an object for each HDU of the source, in order
    an image        BINTABLE with ZIMAGE = T, ZCMPTYPE = 'RVTOOL', the cards of the image, and a row for each tile:
                    COMPRESSED_DATA (its bytes, in the heap), CRC32 (of the bytes, and of the pixels that they
                    decode to, big-endian)
    anything else   as it was; what FITS allows only at the beginning (a primary HDU, bytes after the last HDU)
                    becomes an IMAGE of bytes

The objects of RVRECORD hold `crc32` (of an image's header; of header and data of anything else), for images `bound`
and `sigma` (unit of the image), and, only where they do not follow from the rest, `header` and `padding` (what stood
between the data and the next HDU), packed (see `rvtool.compressed.headers.pack`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np

from rvtool.compressed.checksums import encoded, sum_in, sum_of
from rvtool.compressed.coding import StoredImage, codec_named
from rvtool.compressed.headers import (
    FORMAT,
    opaque_header,
    pack,
    plain_header,
    primary_header,
    quoted,
    read_long_text,
    tiled_header,
    unpack,
)
from rvtool.compressed.reports import ImageReport
from rvtool.compressed.stored import (
    TABLE,
    Job,
    Plan,
    StoredUnit,
    check,
    copy,
    crc32_of,
    damaged,
    finish_table,
    padding_facts,
    padding_of,
    planned,
    stored_image,
    write_tiles,
)
from rvtool.data.units import BLOCK, Unit, cards_of, open_units
from rvtool.errors import DataError, PluginError
from rvtool.kinds import Codec

# a row of the table of tiles; heaps beyond 2 GiB need the wider descriptor
_ROWS = {
    form: np.dtype([("length", number), ("offset", number), ("crc32", ">u4"), ("pixels_crc32", ">u4")])
    for form, number in (("1PB", ">i4"), ("1QB", ">i8"))
}
_WIDE_BYTES = 1 << 30  # of pixels


def write_tiled(file: IO[bytes], units: Sequence[Unit], name: str, job: Job) -> tuple[ImageReport, ...]:
    """Write a whole compressed file, and read it again as far as headers and bytes go.

    Parameters
    ----------
    file
        A new file, open for writing and under a name by which it can be opened.
    units, name
        Of the source; what stands after its last HDU is a unit of its own.

    Raises
    ------
    PluginError
        The codec does not keep its contract.
    """
    plans = [planned(unit, hdu, job) for hdu, unit in enumerate(units, start=1)]
    headers = [_header(unit, plan) for unit, plan in zip(units, plans, strict=True)]
    record = [_facts(*one) for one in zip(units, plans, headers, strict=True)]
    file.write(primary_header(job.codec_name, job.codec.model_sha256, RVNAME=quoted(name), RVRECORD=json.dumps(record)))
    reports = []
    for unit, plan, header in zip(units, plans, headers, strict=True):
        if plan:
            reports.append(_write_image(file, unit, plan, header, job))
        else:
            file.write(header)
            copy(unit, file, job)
            file.write(b"\0" * (-file.tell() % BLOCK))
    file.flush()
    path = Path(file.name)
    with open_units(path) as written:
        check(read_tiled(written, path, job.codec)[1], units)
    return tuple(reports)


def _header(unit: Unit, plan: Plan | None) -> bytes:
    """Return the header under which a unit is stored, that of an image without its sizes and checksums."""
    if plan:
        data_sum = sum_in(unit.file, unit.data_start, unit.data_end)
        sums = encoded(sum_of(unit.header, data_sum)), data_sum
        return tiled_header(unit.header, plan.grid.tile, _form(unit), sums)
    if unit.header.startswith(b"XTENSION"):
        return unit.header
    return opaque_header(unit.header, unit.data_end - unit.data_start)


def _facts(unit: Unit, plan: Plan | None, stored: bytes) -> dict[str, Any]:
    """Return what the record holds of a unit whose stored header is given."""
    known = plain_header(stored) if plan else stored
    header = {} if unit.header == known else {"header": pack(unit.header, known)}
    crc32 = zlib.crc32(unit.header) if plan else crc32_of(unit)
    return {"crc32": crc32, **(plan.facts if plan else {}), **header, **padding_facts(unit)}


def _form(unit: Unit) -> str:
    return "1QB" if unit.data_end - unit.data_start >= _WIDE_BYTES else "1PB"


def _write_image(file: IO[bytes], unit: Unit, plan: Plan, header: bytes, job: Job) -> ImageReport:
    """Write an image: first the tiles, then, before them, what is known only when they are written."""
    rows = np.zeros(plan.grid.count, _ROWS[_form(unit)])
    start = file.tell()
    file.seek(start + len(header) + rows.nbytes)
    table, report = write_tiles(file, unit, plan, job)
    heap = int(table["length"].sum())
    if heap > np.iinfo(rows.dtype["offset"]).max:
        raise PluginError(f"Codec {job.codec_name} makes the image larger than it is; take another.")
    for name in TABLE.names or ():
        rows[name] = table[name]
    finish_table(file, start, header, rows, heap)
    return report


def is_tiled(units: Sequence[Unit]) -> bool:
    """Tell whether a file is of this format, or of a newer one."""
    return "RVFORMAT" in units[0].values


def check_primary(primary: Unit, path: Path) -> None:
    """Check the first header of a compressed file or an archive.

    Raises
    ------
    DataError
        A newer rvtool wrote the file, or it is damaged.
    """
    values = primary.values
    if values["RVFORMAT"] != str(FORMAT):
        raise DataError(f"{path} was made by rvtool {values.get('RVVERSIO', '?')}, newer than this; update rvtool.")
    if sum_of(primary.header) != 0xFFFFFFFF:
        raise damaged(path, "its first header")


def codec_of(primary: Unit, path: Path) -> Codec:
    """Return the codec that the first header names.

    Raises
    ------
    DataError
        It is not installed, or has another trained model.
    """
    cards = cards_of(primary.header)
    return codec_named(unquote(read_long_text(cards, "RVCODEC")), read_long_text(cards, "RVMODEL"), path)


def read_tiled(units: Sequence[Unit], path: Path, codec: Codec | None = None) -> tuple[str, tuple[StoredUnit, ...]]:
    """Return the name of the source and its HDUs, reading all but their data.

    Parameters
    ----------
    codec
        The one that wrote the file, where that is at hand.

    Raises
    ------
    DataError
        A newer rvtool wrote the file, its codec is not here, or it is damaged.
    """
    check_primary(units[0], path)
    cards = cards_of(units[0].header)
    try:
        record = json.loads(read_long_text(cards, "RVRECORD"))
        if codec is None and any("bound" in facts for facts in record):
            codec = codec_of(units[0], path)
        stored = [_read_unit(unit, facts, codec, path) for unit, facts in zip(units[1:], record, strict=True)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, "its structure") from error
    return unquote(read_long_text(cards, "RVNAME")), tuple(stored)


def _read_unit(unit: Unit, facts: dict[str, Any], codec: Codec | None, path: Path) -> StoredUnit:
    """Read an HDU.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is damaged.
    """
    is_image = "bound" in facts
    header = plain_header(unit.header) if is_image else unit.header
    if "header" in facts:
        header = unpack(facts["header"], header)
    image, size = None, unit.data_end - unit.data_start
    if is_image:
        if zlib.crc32(header) != facts["crc32"]:
            raise ValueError("another header")
        assert codec
        image = _read_image(unit, header, codec, path)
        size = image.nbytes
    return StoredUnit(unit, header, padding_of(facts, size), facts["crc32"], path, image)


def _read_image(unit: Unit, header: bytes, codec: Codec, path: Path) -> StoredImage:
    """Read the table of tiles.

    Raises
    ------
    ValueError, KeyError
        It does not fit the image, or the file.
    """
    values = unit.values
    tile = [int(values[f"ZTILE{i}"]) for i in range(int(values["ZNAXIS"]), 0, -1)]
    kind = _ROWS[values["TFORM1"]]
    count, heap = int(values["NAXIS2"]), int(values["PCOUNT"])
    if int(values["NAXIS1"]) != kind.itemsize or unit.data_start + count * kind.itemsize + heap != unit.data_end:
        raise ValueError("a table of another size")
    unit.file.seek(unit.data_start)
    table = np.frombuffer(unit.file.read(count * kind.itemsize), kind)[list(TABLE.names or ())].astype(TABLE)
    lengths = table["length"]
    ends = np.cumsum(lengths)
    if lengths.min() < 0 or lengths.max() > heap or ends[-1] != heap or (table["offset"] + lengths != ends).any():
        raise ValueError("tiles that do not lie one behind the other")
    table["offset"] += unit.data_start + count * kind.itemsize
    return stored_image(unit.file, header, tile, table, codec=codec, path=path)
