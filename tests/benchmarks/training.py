"""What the training verb adds to a step, beside a plain torch loop over the same model and preloaded tensors.

    python tests/benchmarks/training.py

Goal: at most 1.05 times the plain loop's time a step, at 150x150 pixels and batches of 64. The verb's steps include
reading from the pack, the stretch, the schedule, averaged weights, logs and progress; the plain loop has none of these.
Both are timed in turn in one process, epoch by epoch, and the median of the ratios counts.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import lightning
import numpy as np
import torch
from rich.console import Console

COUNT, SIDE, BATCH, EPOCHS = 640, 150, 64, 5


def make(folder: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(COUNT + 100):
        path = folder / "ab"[number % 2] / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, random.standard_normal((SIDE, SIDE), np.float32))


class Clock(lightning.Callback):
    """After each of the verb's epochs, runs one of the plain loop, and notes the time a step of both."""

    def __init__(self, plain: Any) -> None:
        self.plain, self.ratios, self.ours = plain, [], []

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.begun, self.steps = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ended, self.steps = time.perf_counter(), batch_idx + 1

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        ours = (self.ended - self.begun) / self.steps
        plain = self.plain()
        if trainer.current_epoch:  # the first is the warm-up
            self.ours.append(ours)
            self.ratios.append(ours / plain)


def plain_epoch(model: Any, optimizer: Any, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Run the plain loop for one epoch and return its seconds a step."""
    model.train()
    starts = range(0, len(images), BATCH)
    begun = time.perf_counter()
    for start in starts:
        logits = model.network(images[start : start + BATCH])
        loss = torch.nn.functional.cross_entropy(logits, labels[start : start + BATCH])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return (time.perf_counter() - begun) / len(starts)


def main() -> None:
    from rvtool.runs.run import build_model
    from rvtool.verbs.train import Settings, loop, material, record

    with tempfile.TemporaryDirectory() as place:
        os.environ["RVTOOL_CACHE"] = f"{place}/cache"
        make(Path(place) / "data")
        settings = Settings(
            model="alhassan-cnn", data=Path(place) / "data", out=Path(place) / "run", epochs=EPOCHS + 1,
            batch_size=BATCH, crop=0, augment=("none",), gpus=0,
        )  # fmt: skip
        from rvtool import plugins

        kind = plugins.component("model", "alhassan-cnn").load()
        batches = material.make_batches(settings, kind, Console(quiet=True))
        twin = build_model(record.describe(settings, kind, batches.material, "cpu"), batches.material.info)
        train = batches.material.rows("train")
        prepared = next(batches.prepare_batch.batches(batches.material, train, len(train), torch.device("cpu")))
        clock = Clock(partial(plain_epoch, twin, twin.configure_optimizers(), prepared["image"], prepared["label"]))
        original = lightning.Trainer
        lightning.Trainer = lambda *a, callbacks, **k: original(*a, callbacks=[*callbacks, clock], **k)  # type: ignore[misc, assignment]
        loop.train(settings, Console(file=StringIO()))
    ours, ratio = statistics.median(clock.ours), statistics.median(clock.ratios)
    print(f"a step of {BATCH} images of {SIDE}x{SIDE}: {1000 * ours:.0f} ms with the verb; torch {torch.__version__}")
    print(f"ratio to the plain loop, median of {len(clock.ratios)} epochs: {ratio:.3f} (goal: 1.05)")
    print("each:", " ".join(f"{r:.3f}" for r in clock.ratios))


if __name__ == "__main__":
    main()
