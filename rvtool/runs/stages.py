"""What a recipe remembers of its stages: with which settings and inputs each was run, and whether it was finished."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvtool.data.files import unused, write_bytes
from rvtool.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from rvtool.runs.recipe import Stage


class Ledger:
    """The record of one stage, in a hidden file beside its output.

    A stage is finished if its record says so for the same settings and the same inputs and its output is there.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.out = Path(stage.settings.out)
        self.path = self.out.parent / f".{self.out.name}.stage.json"
        try:
            self.record = json.loads(self.path.read_text())
        except (OSError, json.JSONDecodeError):
            self.record = {}
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

        An interrupted training goes on; another interrupted output, which this recipe began, is made again; a finished
        output of other settings is moved aside.

        Raises
        ------
        DataError
            The output exists and no recipe made it.
        """
        settings = self.stage.settings
        same = self.record.get("fingerprint") == self.fingerprint
        if self.out.exists():
            if not self.record:
                raise DataError(f"{self.out} exists and was not made by this recipe; move it or choose another 'out'.")
            if self.record["status"] == "complete":
                aside = unused(self.out.with_name(f"{self.out.name}.{datetime.datetime.now():%Y%m%d-%H%M%S}"))
                self.out.rename(aside)
                console.print(f"settings or inputs have changed; the former output is now {aside}", highlight=False)
            elif same and self.stage.verb == "train" and (self.out / "run.json").exists():
                console.print(f"going on with {self.out}", highlight=False)
                settings = type(settings)(resume=self.out)
            elif self.out.is_dir():
                shutil.rmtree(self.out)
            else:
                self.out.unlink()
        self._write("begun", {})
        return settings

    def complete(self, result: dict[str, Any]) -> None:
        """Note that the stage is finished."""
        self._write("complete", result)

    def _write(self, status: str, result: dict[str, Any]) -> None:
        self.record = {"status": status, "fingerprint": self.fingerprint, "result": result}
        write_bytes(self.path, json.dumps(self.record, indent=1, default=str).encode())


def fingerprint(stage: Stage) -> str:
    """Hash a stage's verb and settings and the content of every input that its settings name."""
    settings = stage.settings.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps([stage.verb, settings], sort_keys=True).encode())
    for name, value in sorted({**settings, **settings.get("config", {})}.items()):
        for item in value if isinstance(value, list) else [value]:
            if name != "out" and isinstance(item, str) and item and Path(item).exists():
                digest.update(content(Path(item)).encode())
    return digest.hexdigest()


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
