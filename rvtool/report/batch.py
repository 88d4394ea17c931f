"""Working through many files before people's eyes: a bar, what failed, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from rich.console import Console

from rvtool.compressed.batch import Task, size_of, work_through
from rvtool.errors import RvtoolError
from rvtool.report.tables import write_csv
from rvtool.report.throughput import Throughput

Result = TypeVar("Result")


@dataclass
class Tally(Generic[Result]):
    """What has become of the files so far.

    Attributes
    ----------
    already, unfinished
        How many were done before, and how many an interruption has left.
    seconds
        That the work took.
    """

    done: list[Result] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    already: int = 0
    unfinished: int = 0
    seconds: float = 0.0

    def fail(self, file: Path | str, error: RvtoolError, console: Console) -> None:
        """Note and print what is wrong with a file."""
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        self.failures.append({"file": str(file), "error": str(error)})

    def conclude(self, console: Console, folder: Path) -> None:
        """Print what people must know of the files that were not done, and list what failed in `folder`."""
        if self.already:
            _say(console, f"done already: {self.already}; --overwrite makes them anew")
        if self.failures:
            listed = folder / "failures.csv"
            write_csv(listed, ("file", "error"), (failure.values() for failure in self.failures))
            _say(console, f"Failed: {len(self.failures)}, see {listed}")
        if self.unfinished:
            _say(console, f"stopped, {self.unfinished} left to do; the same command goes on with them", "yellow")


def go_through(
    tasks: Sequence[Task],
    work: Callable[[Task, int, Callable[[int], None]], Result | None],
    workers: int,
    tally: Tally[Result],
    console: Console,
    *,
    what: str,
    show: Callable[[Result], None] = lambda result: None,
    alone: bool = False,
) -> bool:
    """Do tasks side by side (see `work_through`), and tally what becomes of each.

    Parameters
    ----------
    work
        Gives None for what was done already.
    what
        Is being done.
    show
        Told of each result.
    alone
        The error of the only task is raised.

    Returns
    -------
    bool
        Whether it came to the end; False if Ctrl-C stopped it.
    """
    sizes = {task: size_of(task.source) for task in tasks}
    left = len(tasks)
    with Throughput(console, what, len(tasks), sum(sizes.values())) as bar:
        try:
            with closing(work_through(tasks, work, workers, bar.advance)) as all_ended:
                for ended in all_ended:
                    left -= 1
                    if ended.error:
                        if alone:
                            raise ended.error
                        tally.fail(ended.task.source, ended.error, console)
                        bar.ended()
                    elif ended.result is None:
                        tally.already += 1
                        bar.ended()
                    else:
                        tally.done.append(ended.result)
                        show(ended.result)
                        bar.ended(sizes[ended.task], size_of(ended.task.out))
        except KeyboardInterrupt:
            tally.unfinished += left
            return False
        finally:
            tally.seconds += bar.seconds
    return True


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
