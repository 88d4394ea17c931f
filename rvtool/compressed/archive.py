"""Archives: many FITS files in one, any of them read without the others.

    primary HDU     as of a single file (see `rvtool.compressed.container`), but RVKIND = 'ARCHIVE', no RVNAME, no
                    RVRECORD
    RVARCHIVE       BINTABLE, a row for each file: NAME (quoted as in an address), BYTES (of the source), FILE (in the
                    heap: the data of its HDUs, tiles of images and all else as it was, then its record), RECORD
                    (bytes of the record), CRC32 (of the record, and the row before it)

A record is a JSON list as RVRECORD, which for images holds `tile`, `lengths` and `crc32s` (of each tile, and of its
pixels) and for all else `bytes`, and for every HDU the length of its `header`; then the headers. It is packed with the
first file's as the dictionary, since the headers of one survey are much alike.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np

from rvtool.compressed.batch import in_a_sentence
from rvtool.compressed.bounds import ErrorBound
from rvtool.compressed.files import Progress, plain_units, steps, write_units, written
from rvtool.compressed.headers import deflated, primary_header, quoted, table_header
from rvtool.compressed.members import (
    EXTNAME,
    KIND,
    Member,
    open_archive,
    read_units,
    refuse_unsafe,
    row_crc32,
    row_type,
)
from rvtool.compressed.reports import FileReport, ImageReport
from rvtool.compressed.stored import (
    Job,
    check,
    copy,
    crc32_of,
    finish_table,
    padding_facts,
    planned,
    read_through,
    with_rest,
    write_tiles,
)
from rvtool.compressed.tiles import in_order
from rvtool.data.files import FULL
from rvtool.data.units import Unit
from rvtool.errors import DataError, PluginError, RvtoolError
from rvtool.kinds import Codec

_AHEAD = 16  # files that may wait for their place in the archive
_HELD = 1 << 20  # bytes of one of these that are held in memory, not on the disk


def write_archive(  # noqa: PLR0917
    sources: Sequence[Path],
    names: Sequence[str],
    out: Path,
    codec: Any,
    bound: ErrorBound | None,
    codec_name: str,
    *,
    overwrite: bool = False,
    threads: int = 1,
    progress: Progress | None = None,
    left_out: Callable[[Path, RvtoolError], None] | None = None,
) -> list[FileReport]:
    """Compress FITS files into one archive, checking every pixel, and only then give it its name.

    Parameters
    ----------
    sources
        As for `rvtool.compressed.files.compress_file`.
    names
        Of the sources in the archive: each once, no way out of a folder; folders are divided by ``/``.
    codec, bound, codec_name
        As for `compress_file`; the codec is a `Codec`.
    threads
        That compress files side by side; the bytes are the same for any number.
    left_out
        Told of each source that cannot be compressed, which the archive then lacks; None raises the error of the first.

    Returns
    -------
    list of FileReport
        Of the sources that are in the archive; their `out_bytes` are those of the file there.

    Raises
    ------
    DataError
        No source can be compressed, a name cannot be used, or `out` exists or cannot be written.
    PluginError
        The codec makes no tiles.
    """
    if not isinstance(codec, Codec):
        raise PluginError(f"Codec {codec_name} makes no tiles, which archives are made of; take another.")
    for name in names:
        refuse_unsafe(name, out)
    if len(set(names)) < len(names) or not names:
        raise DataError(f"{out} would hold no file, or two of one name; give each its own.")
    stored = [quoted(name) for name in names]
    rows = np.zeros(len(names), row_type(max(map(len, stored))))
    rows["name"] = stored
    columns = {"NAME": f"{rows.dtype['name'].itemsize}A", "BYTES": "1K", "FILE": "1QB", "RECORD": "1J", "CRC32": "1J"}
    header = table_header(EXTNAME, columns)
    side_by_side = max(1, min(threads, len(sources)))

    def encoded(source: Path) -> _Part | RvtoolError:
        try:
            with plain_units(source) as given:
                units = with_rest(given)
                step = steps(progress, source, sum(unit.data_end - unit.data_start for unit in units))
                return _encoded(
                    source, units, Job(codec, codec_name, bound, max(1, threads // side_by_side), step), out
                )
        except Exception as error:
            if left_out is None or (isinstance(error, OSError) and error.errno in FULL):
                raise
            return in_a_sentence(error, source)

    reports, good = [], np.zeros(len(rows), bool)
    with written(out, sources[0], overwrite) as file:
        file.write(primary_header(codec_name, codec.model_sha256, RVKIND=KIND))
        start = file.tell()
        heap = start + len(header) + rows.nbytes
        file.seek(heap)
        known = b""
        for number, (source, part) in enumerate(
            zip(sources, in_order(encoded, sources, side_by_side, _AHEAD), strict=True)
        ):
            if isinstance(part, RvtoolError):
                assert left_out
                left_out(source, part)
                continue
            first, row = file.tell(), rows[number]
            with part.data:
                shutil.copyfileobj(part.data, file, 1 << 20)
            packed = deflated(part.record, known)
            file.write(packed)
            known = known or part.record
            row["bytes"], row["record"] = part.plain_bytes, len(packed)
            row["length"], row["offset"] = file.tell() - first, first - heap
            row["crc32"] = zlib.crc32(packed)
            good[number] = True
            reports.append(FileReport(source, out, part.source_bytes, file.tell() - first, part.images))
        if not reports:
            raise DataError(f"Nothing to put into {out}: none of the files can be compressed.")
        unused = rows[~good].nbytes  # their room becomes the beginning of the heap
        rows = rows[good]
        rows["offset"] += unused
        for row in rows:
            row["crc32"] = row_crc32(row, int(row["crc32"]))
        finish_table(file, start, header, rows, file.tell() - heap + unused)
        file.flush()
        with open_archive(Path(file.name), codec) as archive:
            for name in archive.members:
                read_through(archive.units(name))
    return reports


@dataclass(frozen=True)
class _Part:
    """A file as it will stand in the archive, but for its record, which is packed when the one before it is known.

    Attributes
    ----------
    source_bytes, plain_bytes
        Of the source on disk, and unpacked.
    """

    data: IO[bytes]
    record: bytes
    images: tuple[ImageReport, ...]
    source_bytes: int
    plain_bytes: int


def _encoded(source: Path, units: Sequence[Unit], job: Job, out: Path) -> _Part:
    """Encode a source, and read again what it has become."""
    data = SpooledTemporaryFile(_HELD, dir=str(out.parent))  # noqa: SIM115
    record, images = _write_units(data, units, job)
    check(read_units(data, 0, data.tell(), record, codec=job.codec, path=out), units)
    data.seek(0)
    plain_bytes = sum(len(unit.header) + unit.end - unit.data_start for unit in units)
    return _Part(data, record, images, source.stat().st_size, plain_bytes)


def _write_units(file: IO[bytes], units: Sequence[Unit], job: Job) -> tuple[bytes, tuple[ImageReport, ...]]:
    """Write the data of a source's HDUs, and return its record."""
    record, reports = [], []
    for hdu, unit in enumerate(units):
        facts = {"header": len(unit.header), **padding_facts(unit)}
        plan = planned(unit, hdu, job)
        if plan:
            table, report = write_tiles(file, unit, plan, job)
            crc32s = [table["crc32"].tolist(), table["pixels_crc32"].tolist()]
            facts |= {"crc32": zlib.crc32(unit.header), **plan.facts, "tile": plan.grid.tile}
            facts |= {"lengths": table["length"].tolist(), "crc32s": crc32s}
            reports.append(report)
        else:
            copy(unit, file, job)
            facts |= {"crc32": crc32_of(unit), "bytes": unit.data_end - unit.data_start}
        record.append(facts)
    text = json.dumps(record, separators=(",", ":")).encode("ascii")
    return text + b"\n" + b"".join(unit.header for unit in units), tuple(reports)


def list_archive(path: Path) -> list[Member]:
    """Return the files of an archive.

    Raises
    ------
    DataError
        The file is no archive, is damaged, or its codec is not here.
    """
    with open_archive(path) as archive:
        return list(archive.members.values())


def extract(
    path: Path,
    names: Sequence[str] | None,
    out_dir: Path,
    *,
    overwrite: bool = False,
    threads: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Restore files of an archive.

    Parameters
    ----------
    names
        Of the files; None for all.
    out_dir
        Folder that they are written into, by their names.
    progress
        Told of bytes of the archive.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigError
        There is no file of such a name; nothing is written.
    DataError
        The file is no archive or is damaged; or an output exists or cannot be written.
    """
    paths = []
    with open_archive(path) as archive:
        chosen = list(archive.members) if names is None else list(names)
        for name in chosen:
            if name not in archive.members:
                archive.units(name)
        for name in chosen:
            units = archive.units(name)
            with written(out_dir / name, path, overwrite) as file:
                write_units(file, units, threads, lambda count: None)
            paths.append(out_dir / name)
            if progress:
                progress(archive.members[name].bytes)
    return paths
