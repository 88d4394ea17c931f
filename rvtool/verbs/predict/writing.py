"""The table of what was answered: beside the columns of the targets, and however the work ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from rvtool.errors import DataError
from rvtool.report.tables import write_csv
from rvtool.runs.unlike import Difference
from rvtool.verbs.predict.reading import Targets


@dataclass
class Answered:
    """What was answered so far.

    Attributes
    ----------
    columns, rows
        The names of our columns; of each image its row in the table of targets, its name, and our cells.
    failures
        ``file`` and ``error`` of each image that cannot be used.
    differences
        Of the images from those of the training.
    empty
        How many images show the network nothing.
    """

    columns: tuple[str, ...] = ()
    rows: list[tuple[int, str, tuple[str, ...]]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    empty: int = 0

    def fail(self, name: str, error: str) -> None:
        """Note an image that cannot be used."""
        self.failures.append({"file": name, "error": error})


@contextmanager
def kept(out: Path, targets: Targets | None, answered: Answered, console: Console) -> Iterator[None]:
    """Write what was answered so far beside `out` where Ctrl-C, SIGTERM or something unforeseen ends the work."""
    main = threading.current_thread() is threading.main_thread()  # no other may say what a signal does
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        yield
    except BaseException:
        if answered.rows:
            partial = out.with_name(f"{out.stem}-partial{out.suffix}")
            write(partial, targets, answered, console)
            _say(console, f"Cut short: {len(answered.rows)} images were answered, see {partial}")
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def write(out: Path, targets: Targets | None, answered: Answered, console: Console) -> None:
    """Write the table and the failures, and tell of them.

    Raises
    ------
    DataError
        Not one image could be answered.
    """
    failures = answered.failures
    listed = out.with_name(f"{out.stem}-failures.csv")
    if failures:
        if not answered.rows and len(failures) == 1:
            raise DataError(failures[0]["error"])
        write_csv(listed, ("file", "error"), (failure.values() for failure in failures))
        told = f"{len(failures)} images could not be used, see {listed}"
        if not answered.rows:
            raise DataError(f"{told}; the first: {failures[0]['error']}")
        _say(console, told)
    if targets is None:
        write_csv(out, ("file", *answered.columns), ((name, *row) for _, name, row in answered.rows))
    else:
        _write_beside(out, targets, answered, console)
    if not failures:
        listed.unlink(missing_ok=True)  # of a table that was replaced


def _write_beside(out: Path, targets: Targets, answered: Answered, console: Console) -> None:
    """Write the rows of the targets as they stand, and our columns beside theirs."""
    theirs = targets.columns
    ours = tuple(_free(name, theirs) for name in answered.columns)
    if ours != answered.columns:
        renamed = [name for name in ours if name not in answered.columns]
        _say(
            console, f"{targets.path} has columns of the same names as the answers, which are {', '.join(renamed)} here"
        )
    by_row = {number: row for number, _, row in answered.rows}
    blank = ("",) * len(ours)
    rows = ((*(row[name] for name in theirs), *by_row.get(n, blank)) for n, row in enumerate(targets.rows))
    write_csv(out, (*theirs, *ours), rows)


def _free(name: str, taken: Sequence[str]) -> str:
    return _free(f"rvtool_{name}", taken) if name in taken else name


def _say(console: Console, text: str) -> None:
    console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
