"""Files that go through: a live bar with MB/s on a terminal, and a table of what has become of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rvtool.report.tables import UNDEFINED

MOST_ROWS = 30  # files that are tabled one by one


@dataclass(frozen=True)
class Passed:
    """A file that went through: bytes before and after, pixels, and its largest error in units of the bound.

    Attributes
    ----------
    error
        None where every pixel is exact.
    """

    name: str
    before: int
    after: int
    pixels: int
    error: float | None


class Throughput:
    """A bar with files, MB/s and ratio; silent where there is no terminal.

    Parameters
    ----------
    total
        Bytes of all sources.
    """

    def __init__(self, console: Console, what: str, files: int, total: int) -> None:
        self.files, self.done, self.before, self.after = files, 0, 0, 0
        self._progress = Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal or console.quiet,
        )
        self._bar = self._progress.add_task(what, total=total, told="")
        self._began = time.monotonic()

    def __enter__(self) -> Throughput:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._began

    def advance(self, count: int) -> None:
        """Tell of bytes that are done; from any thread."""
        bar = self._progress.tasks[0]
        self._progress.update(self._bar, advance=count, told=self._told(bar.completed + count))

    def ended(self, before: int = 0, after: int = 0) -> None:
        """Tell of a file that has ended, and of its bytes on both sides if it went through."""
        self.done += 1
        self.before += before
        self.after += after
        self.advance(0)

    def _told(self, count: float) -> str:
        small, large = sorted((self.before, self.after))
        ratio = f", {large / small:.2f} : 1" if small else ""
        return f"{self.done}/{self.files} files, {speed(count, self.seconds)}{ratio}"


def speed(count: float, seconds: float) -> str:
    """Write how many bytes went through a second."""
    return f"{count / 1e6 / max(seconds, 1e-3):.1f} MB/s"


def summary(passed: Sequence[Passed], after: int, seconds: float) -> Table:
    """Tabulate files that went through, one by one where they are few, and all of them.

    Parameters
    ----------
    after
        Bytes of all that was written.
    """
    table = Table(title="Compressed", title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("before", "after", "ratio", "bits/pixel", "error/bound"):
        table.add_column(heading, justify="right")
    if 1 < len(passed) <= MOST_ROWS:
        for one in passed:
            table.add_row(Text(one.name), *_cells(one))
        table.add_section()
    errors = [one.error for one in passed if one.error is not None]
    before, pixels = sum(one.before for one in passed), sum(one.pixels for one in passed)
    total = Passed("", before, after, pixels, max(errors, default=None))
    table.add_row(f"{len(passed)} in all, {speed(before, seconds)}", *_cells(total), style="bold")
    return table


def _cells(one: Passed) -> tuple[str, ...]:
    error = "exact" if one.error is None else f"{one.error:.3f}"
    ratio, bits = (
        (f"{one.before / one.after:.2f}", f"{8 * one.after / one.pixels:.2f}") if one.after else (UNDEFINED,) * 2
    )
    return decimal(one.before), decimal(one.after), ratio, bits, error
