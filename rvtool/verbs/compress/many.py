"""Many files, each to its own or all to an archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from math import prod
from pathlib import Path
from typing import Any

from rich.console import Console

from rvtool.compressed.archive import write_archive
from rvtool.compressed.batch import Task, folder_of, tasks_of, work_through
from rvtool.compressed.files import SUFFIX, plain_units
from rvtool.compressed.made import verify_units
from rvtool.compressed.members import open_archive, refuse_unsafe
from rvtool.compressed.reports import FileReport
from rvtool.compressed.stored import with_rest
from rvtool.data.fits import FITS_SUFFIXES, suffix_of
from rvtool.errors import DataError, RvtoolError
from rvtool.report.batch import Tally, go_through
from rvtool.report.throughput import Passed, Throughput, summary
from rvtool.verbs.compress.work import How, delete, line, plain, state, tell


def takes(file: Path) -> bool:
    """Tell whether a file in a folder is one to compress, by its name."""
    return suffix_of(file) in FITS_SUFFIXES and not file.name.lower().endswith(SUFFIX)


def named(name: str) -> str:
    """Return the name of the compressed file."""
    return name[: len(name) - len(suffix_of(name) or "")] + SUFFIX


def compress_files(paths: Sequence[Path], out: Path | None, how: How, console: Console) -> dict[str, Any]:
    """Compress each file to one of its own.

    Raises
    ------
    RvtoolError
        The only file that is given cannot be compressed, or no file is.
    """
    alone = len(paths) == 1 and not paths[0].is_dir()
    tally = Tally[FileReport]()

    def show(report: FileReport) -> None:
        if alone:
            tell(report, console)
        elif not console.is_terminal:  # there a bar and a table say it
            console.print(line(report), markup=False, highlight=False, soft_wrap=True)

    tasks = tasks_of(paths, out, takes, named)
    go_through(tasks, how.compress, how.workers, tally, console, what="compressing", show=show, alone=alone)
    tally.done.sort(key=lambda report: report.source)  # they ended in any order
    if tally.done and not alone:
        tabulate(tally, console)
    tally.conclude(console, folder_of(paths, out))
    return result(tally)


def compress_archive(paths: Sequence[Path], out: Path, how: How, console: Console) -> dict[str, Any]:
    """Compress all files into one archive, under their paths below the folders that are given.

    Raises
    ------
    DataError
        Not one file can be compressed, or the archive exists or cannot be written.
    PluginError
        The codec makes no tiles.
    """
    if out.exists() and not how.overwrite:
        raise DataError(f"{out} exists already; remove it, name another with --out, or allow it with --overwrite.")
    tally = Tally[FileReport]()
    members: dict[Path, str] = {}
    sources: dict[str, Path] = {}
    for task in tasks_of(paths, Path(), takes, str):
        name = task.out.as_posix()
        if task.source in members:
            continue  # in a folder and below it
        try:
            refuse_unsafe(name, out)
            if name in sources:
                raise DataError(f"{task.source} would be '{name}' in the archive, as {sources[name]} is; rename one.")
            members[task.source], sources[name] = name, task.source
        except RvtoolError as error:
            tally.fail(task.source, error, console)
    if not members:
        raise DataError(f"Nothing to put into {out}: none of the files can be compressed.")
    before = {source: state(source) for source in members}

    def work(task: Task, threads: int, progress: Callable[[int], None]) -> list[FileReport]:
        return write_archive(
            list(members),
            list(members.values()),
            task.out,
            how.codec,
            how.bound,
            how.codec_name,
            overwrite=how.overwrite,
            threads=threads,
            progress=progress,
            left_out=lambda source, error: tally.fail(source, error, console),
        )

    with Throughput(console, "compressing", len(members), sum(size for size, _ in before.values())) as bar:
        try:
            with closing(work_through([Task(paths[0], out)], work, how.workers, bar.advance)) as all_ended:
                for ended in all_ended:
                    if ended.error:
                        raise ended.error
                    tally.done = ended.result or []
        except KeyboardInterrupt:
            tally.unfinished = len(members)
        tally.seconds = bar.seconds
    if tally.done:
        if how.delete_source:
            _delete_sources(members, tally, before, out, console)
        tabulate(tally, console, out)
    tally.conclude(console, out.parent)
    return {**result(tally, out), "out": str(out)}


def tabulate(tally: Tally[FileReport], console: Console, archive: Path | None = None) -> None:
    """Print the table of all files."""
    passed = []
    for report in tally.done:
        errors = [image.max_error / image.bound for image in report.images if image.bound]
        pixels = sum(prod(image.shape) for image in report.images)
        error = max(errors, default=None)
        passed.append(Passed(report.source.name, report.source_bytes, report.out_bytes, pixels, error))
    console.print(summary(passed, _written(tally, archive), tally.seconds))


def result(tally: Tally[FileReport], archive: Path | None = None) -> dict[str, Any]:
    """Return as plain values what became of all files."""
    before, after = sum(report.source_bytes for report in tally.done), _written(tally, archive)
    return {
        "files": [plain(report) for report in tally.done],
        "already": tally.already,
        "unfinished": tally.unfinished,
        "failures": tally.failures,
        "out_bytes": after,
        "headline": f"{before / after:.2f} : 1" if after else "nothing compressed",
    }


def _written(tally: Tally[FileReport], archive: Path | None) -> int:
    """Return how many bytes all files have become: those of the archive have its table in common."""
    if archive is not None and tally.done:
        return archive.stat().st_size
    return sum(report.out_bytes for report in tally.done)


def _delete_sources(
    members: dict[Path, str],
    tally: Tally[FileReport],
    before: dict[Path, tuple[int, int]],
    out: Path,
    console: Console,
) -> None:
    """Restore each file of an archive from the disk, and delete its source where all of it comes back."""
    with open_archive(out) as archive:
        for report in tally.done:
            source = report.source
            try:
                with plain_units(source) as given:
                    units, limits = with_rest(given), iter([image.bound for image in report.images])
                    bounds = [next(limits) if unit.is_image else 0.0 for unit in units]
                    verify_units(archive.units(members[source]), units, bounds, out)
                delete(source, before[source], out)
            except RvtoolError as error:
                tally.fail(source, error, console)
