"""Pictures of what a model makes of the same validation images while it trains, and a film of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

SECONDS_A_FRAME = 0.4
FEW = 6  # rows of four images
ACROSS = 10  # samples of a generator in a row
MOST_CLASSES = 10
MAKERS = ("translation", "autoencoding")
"""Tasks of models that make images, and offer them in their physical units (`physical`)."""


class Pictures(Callback):
    """Every few epochs draws what the model answers or makes, into ``samples/``; at the end ``training.gif`` of all."""

    def __init__(self, folder: Path, every: int, classes: tuple[str, ...], count: int = 16) -> None:
        self.folder, self.every, self.classes, self.count = folder, every, classes, count

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *place: int) -> None:
        """Draw the first validation batch."""
        if any(place) or (trainer.current_epoch + 1) % self.every or not trainer.is_global_zero:
            return  # place: batch and data loader
        path = self.folder / f"epoch-{trainer.current_epoch:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if pl_module.task in MAKERS:
            from rvtool.report import restored

            image, truth, output = _in_units(pl_module, {name: value[:FEW] for name, value in batch.items()})
            restored.grid(list(image), list(truth), list(output), path)
        elif pl_module.task == "generation":
            from rvtool.report import samples

            samples.sheet(_made(pl_module, batch, self.classes), path)
        elif self.classes:
            from rvtool.report import figures

            first = {name: value[: self.count] for name, value in batch.items()}
            answers = pl_module.predict(first).float().cpu().numpy()
            images = first["image"].float().cpu().numpy()
            figures.predictions_grid(images[:, 0], first["label"].cpu().numpy(), answers, self.classes, path)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the pictures together."""
        from PIL import Image

        frames = [Image.open(path).convert("RGB") for path in sorted(self.folder.glob("epoch-*.png"))]
        if len(frames) > 1 and trainer.is_global_zero:
            first, *further = (frame.resize(frames[0].size).quantize(128) for frame in frames)
            first.save(
                self.folder / "training.gif",
                save_all=True,
                append_images=further,
                duration=int(1000 * SECONDS_A_FRAME),
                loop=0,
            )


def _made(model: Any, batch: dict[str, torch.Tensor], classes: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    """Return rows of stretched images that a generator makes: of each class, or for the first images of a batch."""
    count = int(model.classes)

    def make(first: int, condition: dict[str, torch.Tensor] | None) -> np.ndarray:
        made: np.ndarray = model.sample(torch.arange(first, first + ACROSS), 0, model.device, condition).cpu().numpy()
        return made

    if model.data.target is not None:
        some = {name: value[:ACROSS] for name, value in batch.items()}
        indices = torch.arange(len(some["image"]))
        made = model.sample(indices, 0, model.device, some).cpu().numpy()
        sides = [("asked", some["image"].mean(1, keepdim=True)), ("truth", some["target"])]
        return [*((name, side.float().cpu().numpy()) for name, side in sides), ("made", made)]
    if not count:
        return [("", make(row * ACROSS, None)) for row in range(FEW)]
    rows = []
    for number in range(min(count, MOST_CLASSES)):
        asked = model.asked(torch.arange(ACROSS), 0)
        rows.append((classes[number], make(number * ACROSS, {**asked, "label": torch.full((ACROSS,), number)})))
    return rows


def _in_units(model: Any, batch: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return input, truth and output, in physical units where the stretch can be undone; NaN where not known."""
    made = model.predict(batch)
    truth = batch.get("target", batch["image"])
    units = model.physical(batch, made) or {"image": batch["image"], "target": truth, "prediction": made}
    image = torch.where(batch["mask"], units["image"], torch.nan)
    target = torch.where(batch.get("target_mask", batch["mask"]), units["target"], torch.nan)
    input_, true, output = (side.float().cpu().numpy() for side in (image, target, units["prediction"]))
    return input_, true, output
