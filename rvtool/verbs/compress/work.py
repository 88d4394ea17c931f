"""Compressing one file: skipped where it is done, its source deleted only where that is safe."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, isnan
from pathlib import Path
from typing import Any

from rich.console import Console

from rvtool.compressed.batch import Task, clear_partials, size_of
from rvtool.compressed.bounds import ErrorBound
from rvtool.compressed.files import compress_file
from rvtool.compressed.made import verify, was_compressed
from rvtool.compressed.piped import PIPE, refuse_stdout, standing_in
from rvtool.compressed.reports import FileReport
from rvtool.errors import DataError

COARSE_SIGMA = 3  # a bound above this many times the noise is told


@dataclass(frozen=True)
class How:
    """How each file is compressed; a `bound` of None keeps every pixel."""

    codec: Any
    codec_name: str
    bound: ErrorBound | None
    overwrite: bool
    workers: int
    delete_source: bool

    def compress(self, task: Task, threads: int, progress: Callable[[int], None]) -> FileReport | None:
        """Compress a file; None where that was done already.

        Raises
        ------
        RvtoolError
            It cannot be compressed.
        """
        before = state(task.source)
        report = None
        if not self.overwrite and was_compressed(
            task.out, task.source, self.codec_name, getattr(self.codec, "model_sha256", ""), self.bound
        ):
            progress(size_of(task.source))
        else:
            report = compress_file(
                task.source,
                task.out,
                self.codec,
                self.bound,
                self.codec_name,
                overwrite=self.overwrite,
                threads=threads,
                progress=progress,
            )
        if self.delete_source:
            verify(task.out, task.source)
            delete(task.source, before, task.out)
        return report


def delete(source: Path, before: tuple[int, int], out: Path) -> None:
    """Delete a source that was verified, once the new file's name is on the disk as well.

    Parameters
    ----------
    before
        State of the source (see `state`) when it was read first.

    Raises
    ------
    DataError
        The source has changed since, or may not be deleted.
    """
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    if state(source) != before:
        raise DataError(f"{source} has changed while it was compressed and is kept; compress it again.")
    try:
        source.unlink()
    except OSError as error:
        raise DataError(f"{source} cannot be deleted ({error.strerror}); {out} is complete.") from error


def state(path: Path) -> tuple[int, int]:
    """Return size and time of the last change of a file, by which a change is told; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def compress_piped(out: Path | None, how: How, console: Console) -> dict[str, Any]:
    """Compress what comes by stdin, to stdout unless a file is named; what is told goes to stderr."""
    if out is None:
        refuse_stdout(taken=console.stderr)
        console = Console(stderr=True, quiet=console.quiet)
    else:
        clear_partials([out])
    with standing_in() as (source, piped):
        report = compress_file(
            source, out or piped, how.codec, how.bound, how.codec_name, overwrite=how.overwrite, threads=how.workers
        )
    report = replace(report, source=PIPE, out=out or PIPE)
    tell(report, console)
    return {
        "files": [plain(report)],
        "already": 0,
        "unfinished": 0,
        "failures": [],
        "headline": f"{report.ratio:.2f} : 1",
    }


def tell(report: FileReport, console: Console) -> None:
    """Print what became of a file and its images."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(line(report))
    for image in report.images:
        noise, bound, error = (f"{v:.4g} {image.unit}".rstrip() for v in (image.sigma, image.bound, image.max_error))
        facts = [] if isnan(image.sigma) else [f"noise {noise}"]
        if image.bound:
            facts += [f"bound {bound}" if isfinite(image.bound) else "no bound", f"largest error {error}"]
            if inf > image.bound > COARSE_SIGMA * image.sigma > 0:
                times = f"{image.bound / image.sigma:.3g} times the noise"
                say(f"Mind: the bound is {times}; was '--max-error Nsigma' meant?")
        else:
            facts += ["every pixel exact" + (f" ({image.note})" if image.note else "")]
        say(f"  HDU {image.hdu}, {' x '.join(map(str, image.shape))}, BITPIX {image.bitpix}: {', '.join(facts)}")


def line(report: FileReport) -> str:
    """Return what became of a file, in a line."""
    return (
        f"{report.source} -> {report.out}: {report.source_bytes:,} -> {report.out_bytes:,} bytes, "
        f"ratio {report.ratio:.2f}, {report.bits_per_pixel:.2f} bits/pixel"
    )


def plain(report: FileReport) -> dict[str, Any]:
    """Return a report as plain values."""
    images = [
        {
            **asdict(image),
            "shape": list(image.shape),
            "sigma": None if isnan(image.sigma) else image.sigma,
            "bound": image.bound if isfinite(image.bound) else None,
        }
        for image in report.images
    ]
    return {
        "file": str(report.source),
        "out": str(report.out),
        "source_bytes": report.source_bytes,
        "out_bytes": report.out_bytes,
        "ratio": report.ratio,
        "bits_per_pixel": report.bits_per_pixel,
        "images": images,
    }
