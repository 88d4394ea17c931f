"""A bar for anything that is counted: live on a terminal, silent elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


@contextmanager
def counted(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function ``(done, total)`` that moves a bar; nothing is drawn before its first call."""
    progress = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = None

    def move(done: int, total: int) -> None:
        nonlocal task
        if task is None:
            progress.start()
            task = progress.add_task(what, total=total)
        progress.update(task, completed=done)

    try:
        yield move
    finally:
        progress.stop()


def counting(each: Iterable[tuple[int, T]], total: int, move: Callable[[int, int], None]) -> Iterator[T]:
    """Yield what comes with a count of how many are done, and move a bar (see `counted`) by it."""
    for done, one in each:
        move(done, total)
        yield one
