"""Many files: which there are, where each goes, and working through them side by side, whatever becomes of one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Generic, TypeVar

from rvtool.errors import ConfigError, DataError, RvtoolError

Result = TypeVar("Result")
_PARTIAL = re.compile(r"\.(.+)\.(\d+)\.partial")  # how `rvtool.data.files.writing` names what it has begun


@dataclass(frozen=True)
class Task:
    """A file that is to be made of another."""

    source: Path
    out: Path


def size_of(path: Path) -> int:
    """Return how many bytes a file has; 0 where there is none."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """What became of a task: its result, or its error."""

    task: Task
    result: Result | None = None
    error: RvtoolError | None = None


class _Stopped(BaseException):
    """The batch was interrupted: a worker leaves its file, and nothing of it behind."""


def files_in(folder: Path, takes: Callable[[Path], bool]) -> list[Path]:
    """Return the files in a folder and those below it, in the order of their names; hidden ones are left out."""
    inside = (file for file in folder.rglob("*") if takes(file) and not file.name.startswith("."))
    return sorted(file for file in inside if file.is_file())


def tasks_of(
    paths: Sequence[Path], out: Path | None, takes: Callable[[Path], bool], named: Callable[[str], str]
) -> list[Task]:
    """Return each file with the file to make of it.

    Parameters
    ----------
    paths
        Files, and folders whose files are all meant, as far as `takes` takes them.
    out
        A file for a single one, else a folder, in which files of folders keep their places below these; None puts each
        beside its source.
    named
        Gives the name of the file to make from the name of the source.

    Raises
    ------
    ConfigError
        A folder holds nothing of use, or a file stands where the folder would be.
    """
    if out is not None and len(paths) == 1 and not paths[0].is_dir() and not out.is_dir():
        return [Task(paths[0], out)]
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder for the files.")
    tasks = []
    for path in paths:
        if not path.is_dir():
            tasks.append(Task(path, (out or path.parent) / named(path.name)))
            continue
        inside = files_in(path, takes)
        if not inside:
            raise ConfigError(f"{path} holds no file of that kind; check the path.")
        tasks += [Task(file, (out or path) / file.relative_to(path).with_name(named(file.name))) for file in inside]
    return list(dict.fromkeys(tasks))


def folder_of(paths: Sequence[Path], out: Path | None) -> Path:
    """Return the folder that the outputs have in common: `out`, or where the first source lies."""
    return out or (paths[0] if paths[0].is_dir() else paths[0].parent)


def work_through(
    tasks: Sequence[Task],
    work: Callable[[Task, int, Callable[[int], None]], Result],
    workers: int,
    advance: Callable[[int], None],
) -> Generator[Ended[Result]]:
    """Do tasks side by side, each in a thread or, where they are few, in several; give each when it has ended.

    Closing the generator, as Ctrl-C does, stops the workers at their next tile.

    Parameters
    ----------
    work
        Called with the task, how many threads it may use, and what is to be told of bytes of the source that are done.
    workers
        Threads in all.
    advance
        Told of bytes of any source that are done.
    """
    clear_partials([task.out for task in tasks])
    stop = Event()
    side_by_side = max(1, min(workers, len(tasks)))
    sources: dict[Path, Path] = {}
    for task in tasks:
        sources.setdefault(task.out, task.source)

    def step(count: int) -> None:
        if stop.is_set():
            raise _Stopped
        advance(count)

    def one(task: Task) -> Ended[Result]:
        step(0)
        try:
            if sources[task.out] != task.source:
                other = sources[task.out]
                raise DataError(f"{task.source} would be written to {task.out}, as {other} is; name another --out.")
            return Ended(task, work(task, max(1, workers // side_by_side), step))
        except Exception as error:
            if len(tasks) == 1 and not isinstance(error, RvtoolError | OSError):
                raise  # a bug shows its traceback, but in a batch it must not cost the other files
            return Ended(task, error=in_a_sentence(error, task.source))

    with ThreadPoolExecutor(side_by_side) as pool:
        running = [pool.submit(one, task) for task in tasks]
        try:
            for future in as_completed(running):
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def in_a_sentence(error: Exception, source: Path) -> RvtoolError:
    """Return what has kept a file from being used as an error that people can read."""
    if isinstance(error, RvtoolError):
        return error
    if isinstance(error, OSError):
        return DataError(f"{error.filename or source} cannot be used ({error.strerror or error}); check it.")
    why = f"{type(error).__name__}: {error}".splitlines()[0]
    return DataError(f"{source} meets a bug of rvtool ({why}); please report it.")


def clear_partials(outs: Sequence[Path]) -> None:
    """Remove what a process that was killed has left of these files; what a living one is writing stays."""
    by_folder: dict[Path, set[str]] = {}
    for out in outs:
        by_folder.setdefault(out.parent, set()).add(out.name)
    for folder, names in by_folder.items():
        with suppress(OSError):
            for entry in os.scandir(folder):
                match = _PARTIAL.fullmatch(entry.name)
                if match and match[1] in names and not _is_alive(int(match[2])):
                    os.unlink(entry.path)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
