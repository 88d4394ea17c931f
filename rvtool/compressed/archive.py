"""Archives: many FITS files in one, any of them read without the others.

    primary HDU     as of a single file (see `rvtool.compressed.container`), but RVKIND = 'ARCHIVE', no RVNAME, no
                    RVRECORD
    RVARCHIVE       BINTABLE, a row for each file: NAME (quoted as in an address), BYTES (of the source), FILE (in the
                    heap: the data of its HDUs, tiles of images and all else as it was, then its record), RECORD
                    (bytes of the record), CRC32 (of the row before it, and the record)

A record is a JSON list as RVRECORD, which for images holds `tile`, `lengths` and `crc32s` (of each tile, and of its
pixels) and for all else `bytes`, and for every HDU the length of its `header`; then the headers. It is packed with the
first file's as the dictionary, since the headers of one survey are much alike.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

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
    with_rest,
    write_tiles,
)
from rvtool.data.units import Unit
from rvtool.errors import DataError, PluginError
from rvtool.kinds import Codec


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
) -> list[FileReport]:
    """Compress FITS files into one archive, checking every pixel, and only then give it its name.

    Parameters
    ----------
    sources
        As for `rvtool.compressed.files.compress_file`.
    names
        Of the sources in the archive: each once, no way out of a folder; folders are divided by ``/``.
    codec, bound, codec_name, threads
        As for `compress_file`; the codec is a `Codec`.

    Returns
    -------
    list of FileReport
        Their `out_bytes` are those of the file in the archive.

    Raises
    ------
    DataError
        A source cannot be compressed, a name cannot be used, or `out` exists or cannot be written.
    PluginError
        The codec does not keep its contract, or makes no tiles.
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
    reports = []
    with written(out, sources[0], overwrite) as file:
        file.write(primary_header(codec_name, codec.model_sha256, RVKIND=KIND))
        start = file.tell()
        heap = start + len(header) + rows.nbytes
        file.seek(heap)
        known = b""
        for row, source in zip(rows, sources, strict=True):
            first = file.tell()
            with plain_units(source) as given:
                units = with_rest(given)
                step = steps(progress, source, sum(unit.data_end - unit.data_start for unit in units))
                record, images = _write_units(file, units, Job(codec, codec_name, bound, threads, step))
                packed = deflated(record, known)
                file.write(packed)
                file.flush()
                with open(file.name, "rb") as again:
                    check(read_units(again, first, file.tell() - len(packed), record, codec=codec, path=out), units)
            known = known or record
            row["bytes"] = sum(len(unit.header) + unit.end - unit.data_start for unit in units)
            row["length"], row["offset"], row["record"] = file.tell() - first, first - heap, len(packed)
            row["crc32"] = row_crc32(row, packed)
            reports.append(FileReport(source, out, source.stat().st_size, file.tell() - first, images))
        finish_table(file, start, header, rows, file.tell() - heap)
    return reports


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
