"""`rvtool decompress`: the FITS files that were compressed, with their own header bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError, DataError, RvtoolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from rvtool.compressed.batch import Task
    from rvtool.compressed.tiles import Region
    from rvtool.report.batch import Tally

Restored = dict[str, Any]


class Settings(Config):
    """Settings of `rvtool decompress`."""

    files: tuple[Path, ...] = Field(
        min_length=1,
        description="Files that 'rvtool compress' wrote, folders of them, or an archive; '-' reads one from stdin and "
        "writes to stdout.",
    )
    out: Path | None = Field(
        None,
        description="Where to write: a file, or a folder for several. Default: image.fits beside image.rv.fits, and a "
        "folder of the archive's name for its files.",
    )
    region: str = Field(
        "",
        description="Restore only this part of the image, x0:x1,y0:y1 or x0:x1,y0:y1,z0:z1, pixels counted from 0, the "
        "second of each pair left out. Default name: image.region.fits.",
    )
    only: tuple[str, ...] = Field((), description="File of the archive to restore, by its name in '--list'.")
    list: bool = Field(False, description="List the files of an archive, and restore none.")
    overwrite: bool = Field(False, description="Replace files that exist.")
    workers: int = Field(0, ge=0, description="Threads that decompress (0: one for each core).")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Restore files, going on after those that cannot be; the same call goes on where it was interrupted.

    Returns
    -------
    dict
        ``files``: for each its ``file``, ``out``, ``out_bytes`` and ``original_name``; ``already``: how many were done
        before; ``unfinished``: how many Ctrl-C has left; ``failures``: for each its ``file`` and ``error``, also
        written to ``failures.csv`` beside the outputs. With `list`, ``files`` holds for each file of the archive its
        ``name``, ``source_bytes`` and ``bytes``.

    Raises
    ------
    ConfigError
        A setting does not fit, a file is not named ``*.rv.fits`` and no output is named, or the archive holds no such
        file.
    RvtoolError
        The only file that is given cannot be restored.
    """
    from rvtool.compressed.members import is_archive
    from rvtool.compressed.piped import PIPE
    from rvtool.compressed.tiles import parse_region
    from rvtool.data.units import open_units

    region = parse_region(settings.region) if settings.region else None
    if PIPE in settings.files:
        if len(settings.files) > 1 or settings.only or settings.list:
            raise ConfigError("'-' is one file from stdin; leave other files, --only and --list.")
        return _restore_piped(settings, region, console)
    first = settings.files[0]
    if len(settings.files) == 1 and not first.is_dir():
        with open_units(first) as units:
            archive = is_archive(units)
        if archive and region is not None:
            raise ConfigError("--region is of a single file; restore it from the archive first, with --only.")
        if archive:
            return _list(first, console) if settings.list else _restore_archive(settings, console)
    if settings.only or settings.list:
        raise ConfigError(f"--only and --list are for one archive, and {first} is none; leave them.")
    return _restore_files(settings, region, console)


def _restore_files(settings: Settings, region: Region | None, console: Console) -> dict[str, Any]:
    from rvtool.compressed.batch import folder_of, size_of, tasks_of
    from rvtool.compressed.files import SUFFIX, decompress_file, read_compressed
    from rvtool.compressed.made import was_restored
    from rvtool.compressed.members import is_archive
    from rvtool.data.units import open_units
    from rvtool.report.batch import Tally, go_through

    def named(name: str) -> str:
        if not name.endswith(SUFFIX):
            raise ConfigError(f"{name} does not end in {SUFFIX}; say with --out which file to write.")
        return name.removesuffix(SUFFIX) + (".fits" if region is None else ".region.fits")

    def work(task: Task, threads: int, progress: Callable[[int], None]) -> Restored | None:
        with open_units(task.source) as stored:
            if is_archive(stored):
                raise DataError(f"{task.source} is an archive; decompress it alone, into a folder of its own.")
            kept = read_compressed(stored, task.source)[1]
            if not settings.overwrite and region is None and was_restored(task.out, kept, task.source):
                return None
        name = decompress_file(
            task.source, task.out, overwrite=settings.overwrite, threads=threads, region=region, progress=progress
        )
        return _restored(task.source, task.out, size_of(task.out), name)

    alone = len(settings.files) == 1 and not settings.files[0].is_dir()
    tasks = tasks_of(settings.files, settings.out, lambda file: file.name.endswith(SUFFIX), named)
    tally = Tally[Restored]()
    go_through(
        tasks,
        work,
        _workers(settings),
        tally,
        console,
        what="restoring",
        show=lambda one: _tell(one, console, alone=alone),
        alone=alone,
    )
    return _concluded(tally, folder_of(settings.files, settings.out), console, alone=alone)


def _restore_archive(settings: Settings, console: Console) -> dict[str, Any]:
    """Restore the files of an archive into a folder, one after the other."""
    from rvtool.compressed.batch import clear_partials
    from rvtool.compressed.files import SUFFIX, write_units, written
    from rvtool.compressed.made import was_restored
    from rvtool.compressed.members import open_archive
    from rvtool.errors import unknown
    from rvtool.report.batch import Tally
    from rvtool.report.throughput import Throughput

    path = settings.files[0]
    if settings.out is None and not path.name.endswith(SUFFIX):
        raise ConfigError(f"{path} does not end in {SUFFIX}; say with --out which folder to write into.")
    folder = settings.out or path.with_name(path.name.removesuffix(SUFFIX))
    tally = Tally[Restored]()
    with open_archive(path) as archive:
        names = dict.fromkeys(settings.only or archive.members)
        for name in names:
            if name not in archive.members:
                raise unknown("file", name, archive.members, f"'rvtool decompress {path} --list' shows all.")
        clear_partials([folder / name for name in names])
        total = sum(archive.members[name].source_bytes for name in names)
        with Throughput(console, "restoring", len(names), total) as bar:
            try:
                for number, name in enumerate(names):
                    tally.unfinished = len(names) - number
                    out, size = folder / name, archive.members[name].source_bytes
                    try:
                        units = archive.units(name)
                        if not settings.overwrite and was_restored(out, units, path):
                            tally.already += 1
                        else:
                            with written(out, path, settings.overwrite) as file:
                                write_units(file, units, _workers(settings), lambda count: None)
                            tally.done.append(_restored(path, out, size, name))
                            _tell(tally.done[-1], console, alone=len(names) == 1)
                    except RvtoolError as error:
                        tally.fail(name, error, console)
                    bar.advance(size)
                    bar.ended(archive.members[name].bytes, size)
                tally.unfinished = 0
            except KeyboardInterrupt:
                pass  # the tally says what is left
        tally.seconds = bar.seconds
    return _concluded(tally, folder, console, alone=len(names) == 1)


def _list(path: Path, console: Console) -> dict[str, Any]:
    """Tabulate the files of an archive."""
    from dataclasses import asdict

    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    from rvtool.compressed.archive import list_archive

    members = list_archive(path)
    table = Table(title=Text(f"{path}: {len(members)} files"), title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("before", "in the archive"):
        table.add_column(heading, justify="right")
    for member in members:
        table.add_row(Text(member.name), decimal(member.source_bytes), decimal(member.bytes))
    console.print(table)
    return {"files": [asdict(member) for member in members], "failures": []}


def _restore_piped(settings: Settings, region: Region | None, console: Console) -> dict[str, Any]:
    """Restore what comes by stdin, to stdout unless a file is named; what is told goes to stderr."""
    from rich.console import Console as Messages

    from rvtool.compressed.batch import size_of
    from rvtool.compressed.files import decompress_file
    from rvtool.compressed.piped import refuse_stdout, standing_in

    if settings.out is None:
        refuse_stdout(taken=console.stderr)
        console = Messages(stderr=True, quiet=console.quiet)
    with standing_in() as (source, piped):
        out = settings.out or piped
        name = decompress_file(source, out, overwrite=settings.overwrite, threads=_workers(settings), region=region)
        one = _restored(Path("-"), settings.out or Path("-"), size_of(out), name)
    _tell(one, console, alone=True)
    return {"files": [one], "already": 0, "unfinished": 0, "failures": []}


def _workers(settings: Settings) -> int:
    from rvtool.compressed.batch import cores

    return settings.workers or cores()


def _restored(file: Path, out: Path, size: int, name: str) -> Restored:
    return {"file": str(file), "out": str(out), "out_bytes": size, "original_name": name}


def _tell(one: Restored, console: Console, *, alone: bool) -> None:
    if alone or not console.is_terminal:  # there a bar says it of many
        told = f"{one['file']} -> {one['out']}: {one['out_bytes']:,} bytes, of {one['original_name']}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def _concluded(tally: Tally[Restored], folder: Path, console: Console, *, alone: bool) -> dict[str, Any]:
    """Tell of all files together, and return it as plain values."""
    from rich.filesize import decimal

    from rvtool.report.throughput import speed

    restored = sum(one["out_bytes"] for one in tally.done)
    if tally.done and not alone:
        told = f"{len(tally.done)} files restored: {decimal(restored)}, {speed(restored, tally.seconds)}"
        console.print(told, highlight=False)
    tally.conclude(console, folder)
    return {
        "files": tally.done,
        "already": tally.already,
        "unfinished": tally.unfinished,
        "failures": tally.failures,
    }
