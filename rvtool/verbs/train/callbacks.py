"""What watches a training: the journal of its metrics, its checkpoints, its stops, its pictures."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from rvtool.data.files import write_bytes, write_error
from rvtool.errors import DataError
from rvtool.learning.schedule import steps_taken
from rvtool.verbs.train.display import Display

ADVICE = "try a lower --learning-rate, a smaller --clip, a longer --warmup or --precision 32"
EPOCHS_ON_END = 3
WON = 0.98  # part of the pairs that a critic judges rightly
COLLAPSED = 1e-3  # bits a pixel of all latents together
COLLAPSE_ADVICE = "Try a lower --beta or --sigma, a --scale that leaves the images brighter, or a longer --warmup"
CRITIC_ADVICE = "Try a lower --critic-rate, --set loss.NAME.gradient_penalty=1, or fewer --critic-width"
GPU_STEPS_BETWEEN_LOOKS = 20  # each look makes the GPU wait
SECONDS_BETWEEN_WRITES = 30.0  # of the steps' rows; an epoch's row is written at once
TIMINGS = ("seconds", "images_per_s")


class Diverged(DataError):
    """The loss or a weight became NaN or infinite."""


class Journal(Callback):
    """Keeps means of what a model logs in ``metrics.csv``: a row an epoch, and one every `log_every` steps.

    The sums travel in checkpoints, so that a resumed run writes the same rows.
    """

    def __init__(self, path: Path, display: Display, log_every: int) -> None:
        self.path, self.display, self.log_every = path, display, log_every
        self.rows: list[dict[str, float]] = []
        self.sums: dict[str, Any] = {}
        self.images: dict[str, int] = {}  # behind each sum: what begins within an epoch counts from then on
        self._begun = time.perf_counter()
        self._timed_images = 0
        self._written = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return rows and running sums, as plain numbers."""
        return {"rows": self.rows, "sums": {k: float(v) for k, v in self.sums.items()}, "images": dict(self.images)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take rows and running sums back."""
        self.rows, self.sums, self.images = list(state["rows"]), dict(state["sums"]), dict(state["images"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self._begun, self._timed_images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the step's values, weighted by its images; stop where one is no number."""
        size = len(batch["image"])
        self._timed_images += size
        step = steps_taken(trainer, pl_module, batch_idx) + 1
        look = pl_module.device.type == "cpu" or step % GPU_STEPS_BETWEEN_LOOKS == 0
        for name, value in trainer.callback_metrics.items():
            if not name.startswith("train/"):
                continue
            # sums stay on the device, in double precision, so that no step waits for the GPU
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().double() * size
            self.images[name] = self.images.get(name, 0) + size
            if look and _is_loss(name, pl_module) and not bool(torch.isfinite(value)):
                raise Diverged(f"{name} became {float(value)} at step {step}")
        if self.log_every and (batch_idx + 1) % self.log_every == 0:
            self._add_row(trainer, step, {})
        self.display.step(batch_idx + 1, lambda: self._means().get("train/loss", math.nan), self._speed())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's row."""
        validation = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        last = trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        self._add_row(trainer, steps_taken(trainer, pl_module, last) + 1, validation)
        self.sums, self.images = {}, {}
        self.display.epoch(self.rows[-1])

    def _means(self) -> dict[str, float]:
        return {name: float(total) / self.images[name] for name, total in self.sums.items()}

    def _speed(self) -> float:
        return self._timed_images / max(time.perf_counter() - self._begun, 1e-9)

    def _add_row(self, trainer: Trainer, step: int, validation: dict[str, float]) -> None:
        rates = {f"lr{n or ''}": group.param_groups[0]["lr"] for n, group in enumerate(trainer.optimizers)}
        timings = dict(zip(TIMINGS, (time.perf_counter() - self._begun, self._speed()), strict=True))
        self.rows.append(
            {"epoch": trainer.current_epoch, "step": step, **self._means(), **validation, **rates, **timings}
        )
        if trainer.is_global_zero and (validation or time.monotonic() - self._written > SECONDS_BETWEEN_WRITES):
            write_bytes(self.path, as_csv(self.rows).encode())
            self._written = time.monotonic()


def _is_loss(name: str, module: LightningModule) -> bool:
    """Tell a loss, which must stay a number, from a metric, which may be undefined."""
    parts = {part.name for part in getattr(module.losses, "parts", ())} if hasattr(module, "losses") else set()
    return "loss" in name or name.removeprefix("train/") in parts


def as_csv(rows: list[dict[str, float]]) -> str:
    """Write rows with the union of their columns, blank where a row lacks one."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


class Keeper(Checkpoint):
    """Keeps ``last.ckpt`` (each epoch, and every `save_every` steps) and ``best.ckpt``, each replaced in one move.

    Weights that are no numbers are never kept.
    """

    def __init__(self, folder: Path, monitor: tuple[str, str], shown: str, save_every: int, patience: int) -> None:
        self.folder, self.shown, self.save_every, self.patience = folder, shown, save_every, patience
        self.name, self.mode = monitor
        self.best: float | None = None
        self.best_epoch = -1
        self.best_shown: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {"best": self.best, "best_epoch": self.best_epoch, "best_shown": self.best_shown}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the best value so far back."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_shown = state.get("best_shown", {})

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep a checkpoint every `save_every` steps."""
        done = steps_taken(trainer, pl_module, batch_idx + 1)
        if self.save_every and done % self.save_every == 0 and done != steps_taken(trainer, pl_module, batch_idx):
            self._save(trainer, pl_module, "last.ckpt")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the epoch's checkpoint, and the best; stop where nothing improves any more."""
        if self.name not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise DataError(f"The model monitors '{self.name}', which it never logged (it logs: {known}).")
        value = float(trainer.callback_metrics[self.name])
        begun: Any = getattr(pl_module, "judged_from_epoch", 0)
        better = (
            self.best is None
            or self.best_epoch < begun <= trainer.current_epoch
            or (value > self.best if self.mode == "max" else value < self.best)
        )
        if better and not math.isnan(value):
            self.best, self.best_epoch = value, trainer.current_epoch
            self.best_shown = {n: float(v) for n, v in trainer.callback_metrics.items() if n == self.shown}
            self._save(trainer, pl_module, "best.ckpt")
        waited = trainer.current_epoch - max(self.best_epoch, begun)
        if self.patience and waited >= self.patience:
            trainer.should_stop = True
        self._save(trainer, pl_module, "last.ckpt")

    def _save(self, trainer: Trainer, module: LightningModule, name: str) -> None:
        for parameter_name, parameter in module.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise Diverged(f"The weights '{parameter_name}' became NaN in epoch {trainer.current_epoch}")
        path, partial = self.folder / name, self.folder / f".{name}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                with open(partial, "rb") as stream:
                    os.fsync(stream.fileno())
                os.replace(partial, path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            raise (
                write_error(path, error)
                if isinstance(error, OSError)
                else DataError(f"{path} cannot be written ({str(error).splitlines()[0]}); is the disk full?")
            ) from error


class EvenGroups(Callback):
    """Gives the last, smaller group of accumulated batches of an epoch its full weight.

    Lightning divides the loss of every batch by the group's usual size; `rvtool.learning.Model.descend`, for models
    with several optimisers, by its real one.
    """

    def __init__(self, accumulate: int) -> None:
        self.accumulate = accumulate

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Scale the gradients up, before they are clipped."""
        rest = (trainer.fit_loop.epoch_loop.batch_idx + 1) % self.accumulate
        if rest and pl_module.automatic_optimization:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.mul_(self.accumulate / rest)


class StopAtStep(Callback):
    """Ends the training after a number of optimiser steps, with a last validation."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop once the steps are taken."""
        if steps_taken(trainer, pl_module, batch_idx + 1) >= self.steps:
            trainer.should_stop = True


class Referee(Callback):
    """Tells, once each, what goes wrong in a training for epochs on end.

    A critic has won where it hardly ever takes what is made for true: it has nothing left to teach, since its answers
    hardly change with what the generator does. A posterior has collapsed where latents hold next to nothing of the
    images: the decoder has learnt to do without them.
    """

    def __init__(self, journal: Journal, display: Display) -> None:
        self.journal, self.display = journal, display
        self.told: set[str] = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last epochs, once the journal has written this one down."""
        won = self._last("train/critic-accuracy")
        if won and min(won) >= WON:
            self._tell(
                "critic",
                f"the critic told true from made in {won[-1]:.0%} of all cases for {EPOCHS_ON_END} epochs; it has won, "
                f"and the generator learns little from it. {CRITIC_ADVICE}.",
            )
        held = self._last("train/kl")
        if held and max(held) < COLLAPSED:
            self._tell(
                "posterior",
                f"the latents held less than {COLLAPSED:g} bits a pixel for {EPOCHS_ON_END} epochs; the posterior has "
                f"collapsed, and every image comes out alike. {COLLAPSE_ADVICE}.",
            )

    def _last(self, name: str) -> list[float]:
        """Return what the last epochs logged of a value; nothing where one did not."""
        rows = [row for row in self.journal.rows if "val/loss" in row][-EPOCHS_ON_END:]
        values = [row[name] for row in rows if name in row]
        return values if len(values) == EPOCHS_ON_END else []

    def _tell(self, of: str, what: str) -> None:
        if of not in self.told:
            self.told.add(of)
            self.display.line(f"Mind: {what}")
