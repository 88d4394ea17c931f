"""The training itself: data, model and callbacks put together under Lightning's Trainer."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from rvtool import plugins
from rvtool.data.batches import Batches
from rvtool.errors import ConfigError, DataError
from rvtool.learning import EMA, Autoencoder, Generator, Model, Randomness, Schedule, Thaw, for_task
from rvtool.runs.run import build_model, load_run
from rvtool.verbs.train import Settings, record
from rvtool.verbs.train.answers import keep_answers
from rvtool.verbs.train.callbacks import ADVICE, Diverged, EvenGroups, Journal, Keeper, Referee, StopAtStep
from rvtool.verbs.train.display import Display
from rvtool.verbs.train.material import make_batches
from rvtool.verbs.train.pictures import MAKERS, Pictures
from rvtool.verbs.train.settle import keep_settled
from rvtool.verbs.train.transfer import begin_from

TASKS = {None: "", "classify": "classification", "regress": "regression"}


def train(settings: Settings, console: Console, watching: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train a model, or go on with a run (see `rvtool.verbs.train.run`), under the eyes of further callbacks."""
    _quiet_libraries()
    notes: dict[str, Any] = {}
    path = Path()
    if settings.resume is not None:
        run = load_run(settings.resume)
        path, notes = run.path, run.record
        _refuse_changes(settings)
        settings = Settings(**notes["settings"])
        if notes["status"] == "complete":
            console.print(f"{path} is complete already; nothing is left to do.", highlight=False, soft_wrap=True)
            return record.outcome(path, notes)
    component = plugins.component("model", settings.model)
    devices = _devices(settings.gpus)
    kind = for_task(component.load(), TASKS[settings.task])
    batches = make_batches(settings, kind, console)
    if settings.show_augmentation:
        from rvtool.verbs.train.augmented import show_augmentation

        return show_augmentation(settings, batches, console)
    if notes and notes["dataset"]["digest"] != batches.material.dataset.digest:
        raise DataError(f"{settings.data} has changed since {path} began, so it cannot go on exactly; train anew.")
    new = not notes
    if new:
        notes = record.describe(settings, kind, batches.material, _device_name(devices))
    lightning.seed_everything(settings.seed, verbose=False)
    model = build_model(notes, batches.material.info)
    model.accumulate, model.clip = settings.accumulate, settings.clip
    model.backbone_rate, model.prepare = settings.backbone_rate, batches.prepare_batch
    model.losses.start()
    if new or _last_checkpoint(path) is None:
        told = [model.start()]
        if settings.from_:
            told += begin_from(load_run(settings.from_), model, batches.material)
        for line in filter(None, told):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if new:  # all that was asked for can be done: only now is anything written
        path = record.claim(settings)
        if not settings.find_learning_rate:
            record.write_start(path, notes, settings, batches)
    if settings.find_learning_rate:
        from rvtool.verbs.train.finder import find_learning_rate

        return find_learning_rate(model, batches, _arithmetic(settings, model, devices), path, console)
    if settings.compile:
        for part in model.networks:  # in place, so that weights keep their names
            part.compile()
    os.environ[record.SHARED_PATH] = str(path)
    return _Training(settings, path, notes, devices, console, watching=watching).run(model, batches)


class _Training:
    """One call of the trainer, and how it ends."""

    def __init__(
        self,
        settings: Settings,
        path: Path,
        notes: dict[str, Any],
        devices: dict[str, Any],
        console: Console,
        *,
        watching: Sequence[Callback],
    ) -> None:
        self.settings, self.path, self.notes, self.devices, self.console = settings, path, notes, devices, console
        self.watching = watching

    def run(self, model: Model, batches: Batches) -> dict[str, Any]:
        """Fit to the end, or to where it must stop; every end leaves a usable run."""
        settings, path = self.settings, self.path
        each = batches.count_steps()
        steps_each = math.ceil(each / settings.accumulate)
        epochs = math.ceil(settings.steps / steps_each) if settings.steps else settings.epochs
        steps = settings.steps or epochs * steps_each
        shown = model.shown or model.monitor[0]
        self.keeper = Keeper(path / "checkpoints", model.monitor, shown, settings.save_every, settings.patience)
        with Display(self.console, path / "log.txt", epochs, each, shown) as display:
            trainer = self._trainer(model, epochs, steps, display)
            self._introduce(model, batches, display)
            resumed = _last_checkpoint(path)
            display.begin(_epoch_of(resumed))
            try:
                trainer.fit(model, datamodule=batches, ckpt_path=resumed, weights_only=False)
            except Diverged as error:
                self._finish("stopped")
                raise DataError(f"{error}; {self._kept()}; {ADVICE}.") from None
            except SystemExit:  # what Lightning makes of Ctrl-C, once all is put down
                self._finish("interrupted")
                how = f"{'go on' if self.keeper.best is not None else 'begin again'} with: rvtool train --resume {path}"
                raise DataError(f"Interrupted; {self._kept()}; {how}") from None
            except Exception:
                with suppress(DataError):  # a full disk must not hide what went wrong
                    self._finish("failed")
                raise
        if trainer.is_global_zero:
            self._finish("running")  # a kill from here on loses nothing that resuming does not bring
            if model.task in ("classification", "regression"):
                keep_answers(path, batches.material, model.device, settings.batch_size, settings.seed)
            elif isinstance(model, Autoencoder) or (isinstance(model, Generator) and model.data.conditions):
                keep_settled(path, batches.material, model.device, settings.batch_size, settings.seed)
            self._finish("complete", weights=False)  # those that have been settled stay
        told = record.outcome(path, self.notes)
        self.console.print(f"best {told['headline']}", highlight=False)
        self.console.print(str(path), highlight=False, soft_wrap=True)
        return told

    def _trainer(self, model: Model, epochs: int, steps: int, display: Display) -> lightning.Trainer:
        settings, path = self.settings, self.path
        makes = model.task in (*MAKERS, "generation")
        draws = settings.sample_every and (makes or (model.data.classes and hasattr(model, "predict")))
        journal = Journal(path / "metrics.csv", display, settings.log_every)
        callbacks: list[Any] = [
            Randomness(settings.seed),
            Schedule(settings.schedule, steps, round(settings.warmup * steps)),
            *([EMA(settings.ema)] if settings.ema else []),
            *([Thaw(settings.unfreeze_epoch, settings.unfreeze_every)] if settings.unfreeze_epoch else []),
            *([StopAtStep(settings.steps)] if settings.steps else []),
            *([EvenGroups(settings.accumulate)] if settings.accumulate > 1 else []),
            *([Pictures(path / "samples", settings.sample_every, model.data.classes)] if draws else []),
            journal,
            *([Referee(journal, display)] if makes else []),
            self.keeper,
            *self.watching,
        ]
        return lightning.Trainer(
            **_arithmetic(settings, model, self.devices),
            max_epochs=epochs,
            callbacks=callbacks,
            logger=TensorBoardLogger(path, name="", version="tensorboard"),
            log_every_n_steps=10,
            num_sanity_val_steps=0,
        )

    def _introduce(self, model: Model, batches: Batches, display: Display) -> None:
        counts = ", ".join(f"{len(batches.material.rows(split))} {split}" for split in ("train", "val", "test"))
        parameters = sum(p.numel() for p in model.parameters())
        name, device = self.settings.model, self.notes["device"]
        display.line(f"{name}: {parameters:,} parameters; images: {counts}; {device}; into {self.path}")

    def _finish(self, status: str, *, weights: bool = True) -> None:
        keeper = self.keeper
        if weights:
            record.keep_weights(self.path)
        best = None
        if keeper.best is not None:
            best = {"metric": keeper.name, "value": keeper.best, "epoch": keeper.best_epoch, "shown": keeper.best_shown}
        record.finish(self.path, self.notes, status, best)

    def _kept(self) -> str:
        if self.keeper.best is None:
            return "there is no checkpoint yet"
        return f"{self.path} keeps the best checkpoint, of epoch {self.keeper.best_epoch + 1}"


def _arithmetic(settings: Settings, model: Model, devices: dict[str, Any]) -> dict[str, Any]:
    """Return how the trainer computes; models with several optimisers accumulate and clip themselves."""
    automatic = model.automatic_optimization
    return {
        **devices,
        "precision": {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[settings.precision],
        "accumulate_grad_batches": settings.accumulate if automatic else 1,
        "gradient_clip_val": (settings.clip or None) if automatic else None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def _refuse_changes(settings: Settings) -> None:
    """Refuse settings beside ``--resume``: a run goes on with its own."""
    own = {name: getattr(settings, name) for name in Settings.model_fields if name not in ("resume", "model")}
    changed = [name for name, value in own.items() if value != Settings.model_fields[name].default]
    if changed:
        names = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise ConfigError(f"--resume goes on with the run's own settings; leave out {names}, or train anew.")


def _devices(gpus: int | None) -> dict[str, Any]:
    """Choose accelerator and devices; several GPUs share each step."""
    have = torch.cuda.device_count()
    if gpus is not None and gpus > have:
        there = "none" if have == 0 else f"only {have}"
        raise ConfigError(f"--gpus {gpus} asks for more GPUs than this machine has ({there}); leave --gpus out.")
    count = have if gpus is None else gpus
    if count == 0:
        mps = gpus is None and torch.backends.mps.is_available()
        return {"accelerator": "mps" if mps else "cpu", "devices": 1}
    return {
        "accelerator": "gpu",
        "devices": count,
        "strategy": "auto" if count == 1 else "ddp_find_unused_parameters_true",
    }


def _device_name(devices: dict[str, Any]) -> str:
    if devices["accelerator"] == "gpu":
        return f"{devices['devices']} x {torch.cuda.get_device_name(0)}"
    return f"{devices['accelerator']} ({os.cpu_count()} cores)"


def _last_checkpoint(path: Path) -> Path | None:
    """Return what a run goes on from; None where it begins."""
    last = path / "checkpoints" / "last.ckpt"
    return last if last.exists() else None


def _epoch_of(checkpoint: Path | None) -> int:
    if checkpoint is None:
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=False)["epoch"])


def _quiet_libraries() -> None:
    """Keep from the terminal what Lightning says to programmers."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
