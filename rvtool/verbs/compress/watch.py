"""Folders that a telescope writes into: each file is compressed when it is whole."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rvtool.compressed.batch import Task, files_in
from rvtool.compressed.files import plain_units
from rvtool.compressed.reports import FileReport
from rvtool.errors import DataError, RvtoolError
from rvtool.report.batch import Tally, go_through
from rvtool.verbs.compress.many import named, result, tabulate, takes
from rvtool.verbs.compress.work import How, line, state

EVERY_S = 1.0  # looks at the folders


@dataclass
class _Seen:
    """A file as it was when it last changed; `tried` once it was taken, or found to be no whole FITS file."""

    state: tuple[int, int]
    since_s: float
    tried: bool = False
    error: RvtoolError | None = None


def watch(folders: Sequence[Path], out: Path | None, settle_s: float, how: How, console: Console) -> dict[str, Any]:
    """Compress files as they are written, until Ctrl-C or SIGTERM.

    What cannot be opened as FITS is taken for unfinished and tried again when it has changed; what is unfinished in the
    end is told with the failures.
    """

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(report: FileReport) -> None:
        say(line(report))

    say(f"watching {', '.join(map(str, folders))} (Ctrl-C ends it)")
    tally = Tally[FileReport]()
    seen: dict[Path, _Seen] = {}
    with suppress(ValueError):  # outside of the main thread nothing is caught
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as a service is ended
    with suppress(KeyboardInterrupt):
        while True:
            ready = [task for folder in folders for task in _ready(folder, out, settle_s, seen)]
            if ready and not go_through(
                ready, how.compress, how.workers, tally, console, what="compressing", show=show
            ):
                break
            if not ready:
                time.sleep(min(EVERY_S, settle_s / 2) or 0.1)
    for file, one in seen.items():
        if one.error and file.exists():
            tally.fail(file, one.error, console)
    if tally.done:
        tabulate(tally, console)
    tally.unfinished = 0  # to be stopped is how watching ends
    tally.conclude(console, out or folders[0])
    return result(tally)


def _ready(folder: Path, out: Path | None, settle_s: float, seen: dict[Path, _Seen]) -> list[Task]:
    """Return the files that have come to rest since, and are whole."""
    tasks, now = [], time.monotonic()
    for file in files_in(folder, takes):
        at_present = state(file)
        one = seen.get(file)
        if one is None or one.state != at_present:
            one = seen[file] = _Seen(at_present, now)
        if one.tried or now - one.since_s < settle_s or at_present == (0, 0):
            continue
        one.tried = True
        try:
            with plain_units(file):
                pass
        except DataError as error:
            one.error = error
            continue
        place = (out or folder) / file.relative_to(folder).with_name(named(file.name))
        tasks.append(Task(file, place))
    return tasks
