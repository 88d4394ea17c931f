"""What a recipe remembers of its stages: with which settings and inputs each was run, and whether it was finished."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rvtool import plugins
from rvtool.data.files import unused, write_bytes, write_error
from rvtool.errors import DataError
from rvtool.runs.run import is_run, load_run
from rvtool.runs.verbs import verb

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from rvtool.runs.recipe import Stage


GOES_ON = {"train": "run.json", "collect": "journal.sqlite", "compress": ".", "decompress": "."}
"""The verbs that go on where they were interrupted, and what must be in an output of theirs, a folder, for that."""


class Ledger:
    """The record of one stage, in a hidden file beside its output.

    A stage is finished if its record says so for the same settings and the same inputs and its output is there.
    Nothing that lies at the output's place is ever deleted.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.out = Path(stage.settings.out)
        self.path = self.out.parent / f".{self.out.name}.stage.json"
        try:
            record = json.loads(self.path.read_text())
        except (OSError, ValueError):
            record = {}
        self.record: dict[str, Any] = record if isinstance(record, dict) else {}
        self.fingerprint = fingerprint(stage)

    @property
    def result(self) -> dict[str, Any]:
        """What the stage returned when it was finished."""
        return dict(self.record.get("result", {}))

    def finished(self) -> bool:
        """Tell whether nothing is left to do."""
        known = self.record.get("status") == "complete" and self.record.get("fingerprint") == self.fingerprint
        return known and self.out.exists()

    def begin(self, console: Console) -> Any:
        """Make way for the output, note that the stage began, and return the settings to run it with.

        What was interrupted goes on with the same settings if its verb can; any other output that this recipe made is
        moved aside.

        Raises
        ------
        DataError
            The output exists and no recipe made it.
        """
        settings = self.stage.settings
        if self.out.exists():
            if not self.record:
                raise DataError(f"{self.out} exists and was not made by this recipe; move it or choose another 'out'.")
            begun = self.record.get("status") == "begun"
            same = self.record.get("fingerprint") == self.fingerprint
            searches = bool(getattr(settings, "search", 0))  # a search goes on by its own settings, as the others do
            telling = self.out / ("search.sqlite" if searches else GOES_ON.get(self.stage.verb, "nothing"))
            if begun and same and self.out.is_dir() and telling.exists():
                console.print(f"going on with {self.out}", markup=False, highlight=False, soft_wrap=True)
                if self.stage.verb == "train" and not searches:
                    settings = type(settings)(resume=self.out)
            else:
                self._move_aside("it was interrupted" if begun and same else "settings or inputs have changed", console)
        self._write("begun", {})
        return settings

    def abandon(self) -> None:
        """Note that the stage failed: an output that it did not make is not the recipe's, whoever makes it later."""
        if not self.out.exists():
            self.path.unlink(missing_ok=True)

    def complete(self, result: dict[str, Any]) -> None:
        """Note that the stage is finished."""
        self._write("complete", result)

    def _move_aside(self, why: str, console: Console) -> None:
        aside = unused(self.out.with_name(f"{self.out.name}.{datetime.datetime.now():%Y%m%d-%H%M%S}"))
        try:
            self.out.rename(aside)
        except OSError as error:
            raise write_error(aside, error) from error
        console.print(f"{why}; the former output is now {aside}", markup=False, highlight=False, soft_wrap=True)

    def _write(self, status: str, result: dict[str, Any]) -> None:
        self.record = {"status": status, "fingerprint": self.fingerprint, "result": result}
        write_bytes(self.path, json.dumps(self.record, indent=1, default=str).encode())


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep every other `rvtool run` from an output.

    Raises
    ------
    DataError
        Another one is working on it, or its place may not be written to.
    """
    lock = out.parent / f".{out.name}.stage.lock"
    mine = f"{os.getpid()} {socket.gethostname()}"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(lock, "x") as stream:
                stream.write(mine)
        except FileExistsError:
            _take_over(lock, mine, out)
    except OSError as error:
        raise write_error(out, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _take_over(lock: Path, mine: str, out: Path) -> None:
    """Make the lock of a process that has died on this host one's own; only one process at a time may try."""
    import fcntl

    owner = "of an unknown process"
    try:
        with open(lock, "r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            pid, _, host = stream.read().partition(" ")
            owner = f"of process {pid} on {host}" if host else owner
            dead = host == socket.gethostname() and pid.isdigit() and not _lives(int(pid))
            if dead and os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                stream.seek(0)
                stream.truncate()
                stream.write(mine)
                stream.flush()
                return
    except FileNotFoundError:
        pass  # the other one has finished in this very moment
    raise DataError(f"Another rvtool run is working on {out}; wait for it, or delete {lock} ({owner}) if it has died.")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def fingerprint(stage: Stage) -> str:
    """Hash a stage's verb and settings and the content of every input: its paths, its component's paths, its runs.

    Raises
    ------
    DataError
        A run that it names does not exist.
    """
    settings = stage.settings
    digest = hashlib.sha256(
        json.dumps([stage.verb, settings.model_dump(mode="json")], sort_keys=True, default=str).encode()
    )
    inputs = _paths(settings)
    named = verb(stage.verb)
    chosen = str(getattr(settings, named.field) or "") if named.kind and named.field else ""
    made = "/" in chosen or is_run(chosen)  # a run in the place of a component
    if named.kind and chosen and not made:
        inputs += _paths(plugins.component(named.kind, chosen).configure(settings.config))
    runs = [chosen if made else None, getattr(settings, "from_", None), getattr(settings, "run", None)]
    for name in [*runs, *getattr(settings, "runs", ())]:
        if name:
            run = load_run(name)
            inputs.append(run.path)
            if getattr(settings, "data", "") is None:  # it takes what the run was trained on
                inputs.append(Path(run.record["dataset"]["path"]))
    for path in inputs:
        if path.exists():
            digest.update(content(path).encode())
    return digest.hexdigest()


def _paths(settings: BaseModel) -> list[Path]:
    """Return the values of the fields that are paths, or tuples of paths, but for the output."""
    fields = {name for name, field in type(settings).model_fields.items() if _is_path(field.annotation)} - {"out"}
    found = []
    for name in sorted(fields):
        value = getattr(settings, name)
        found += [Path(item) for item in (value if isinstance(value, tuple | list) else [value]) if item]
    return found


def _is_path(annotation: Any) -> bool:
    return annotation is Path or any(_is_path(part) for part in get_args(annotation))


def content(path: Path) -> str:
    """Hash what an input holds: a dataset's manifest, a run's weights, a file's bytes, a folder's sizes and times."""
    for telling in ("manifest.parquet", "model.safetensors"):
        if (path / telling).exists():
            path = path / telling
            break
    if path.is_file():
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    files = sorted(p for p in path.rglob("*") if p.is_file())
    lines = [f"{p.relative_to(path)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
