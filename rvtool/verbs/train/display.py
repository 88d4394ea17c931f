"""What a person sees while a model trains: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_DRAWINGS = 0.2


class Display:
    """Tells how a training goes, and keeps its plain lines in ``log.txt``.

    Parameters
    ----------
    console
        Where to draw; a live bar only if it is a terminal.
    log
        File that gets one line an epoch.
    epochs, batches
        In all, and in one epoch.
    monitor
        The metric to show beside the loss.
    """

    def __init__(self, console: Console, log: Path, epochs: int, batches: int, monitor: str) -> None:
        self.console, self.log, self.epochs, self.batches, self.monitor = console, log, epochs, batches, monitor
        self._epoch = 0
        self._metric = math.nan
        self._first: tuple[float, int] | None = None
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[metric]}  {task.fields[speed]:.0f} images/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._drawn = 0.0

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, epoch: int) -> None:
        """Say at which epoch the training starts: 0, or later for a resumed one."""
        self._epoch = epoch
        self._task = self._progress.add_task(
            "train", total=self.epochs * self.batches, completed=epoch * self.batches, **self._fields(math.nan, 0.0)
        )

    def step(self, batch: int, loss: Callable[[], float], images_per_s: float) -> None:
        """Show a step: batches done in this epoch, the epoch's mean loss so far, the speed.

        The loss is asked for only when it is drawn, since asking makes a GPU wait.
        """
        now = time.monotonic()
        if self.console.is_terminal and self._task is not None and now - self._drawn > SECONDS_BETWEEN_DRAWINGS:
            self._drawn = now
            done = self._epoch * self.batches + batch
            self._progress.update(self._task, completed=done, **self._fields(loss(), images_per_s))

    def epoch(self, row: dict[str, float]) -> None:
        """Tell an epoch: a line in the log, and on the console where there is no bar."""
        now = time.monotonic()
        epoch = int(row["epoch"]) + 1
        self._metric = row.get(self.monitor, math.nan)
        if self._first is None:
            self._first = (now - row["seconds"], epoch - 1)
        begun, before = self._first
        left = (now - begun) / (epoch - before) * (self.epochs - epoch)
        line = f"epoch {epoch}/{self.epochs}  loss {row.get('train/loss', math.nan):.4f}"
        if "val/loss" in row:
            line += f"  val loss {row['val/loss']:.4f}"
        line += f"  {self.monitor} {self._metric:.4f}  {row['images_per_s']:.0f} images/s  {_clock(left)} left"
        if self._task is not None:
            fields = self._fields(row.get("train/loss", math.nan), row["images_per_s"])
            self._progress.update(self._task, completed=epoch * self.batches, **fields)
        self._epoch = epoch
        self.line(line, on_terminal=False)

    def line(self, text: str, on_terminal: bool = True) -> None:
        """Tell a sentence, and keep it in the log."""
        if on_terminal or not self.console.is_terminal:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(text + "\n")

    def _fields(self, loss: float, images_per_s: float) -> dict[str, Any]:
        metric = f"{self.monitor} {self._metric:.4f}" if not math.isnan(self._metric) else ""
        epoch = f"{min(self._epoch + 1, self.epochs)}/{self.epochs}"
        return {"epoch": epoch, "loss": loss, "metric": metric, "speed": images_per_s}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
