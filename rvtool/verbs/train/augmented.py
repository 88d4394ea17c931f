"""What a network would see of its training images: some as they are, and as they are augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from rvtool.data.batches import Batches, Loader, Material
from rvtool.data.fits import PICTURE_SUFFIXES
from rvtool.errors import ConfigError
from rvtool.kinds import Batch
from rvtool.report.figures import save
from rvtool.verbs.train import Settings

IMAGES, VERSIONS = 8, 5
NAME = "augmentation.png"


def show_augmentation(settings: Settings, batches: Batches, console: Console) -> dict[str, Any]:
    """Draw a grid of training images: as they are in the first row, augmented in the others. Nothing is trained.

    The picture goes where the run's folder would be made, or into the working folder.

    Raises
    ------
    ConfigError
        Nothing is augmented.
    """
    if not batches.prepare_batch.augmenters:
        raise ConfigError("Nothing augments these images, so there is nothing to show; name an augmenter (--augment).")
    shown = versions(batches)
    rows, material = shown[0]["index"].numpy(), batches.material
    is_picture = str(material.dataset.table["path"][int(rows[0])]).lower().endswith(PICTURE_SUFFIXES)
    path = (settings.out.parent if settings.out else Path()) / NAME
    _draw([_visible(batch) for batch in shown], _names(material, rows), path, "upper" if is_picture else "lower")
    told = f"{len(rows)} training images as they are and in {VERSIONS} augmented versions: {path}; nothing was trained"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    return {"picture": str(path), "images": len(rows), "versions": VERSIONS}


def versions(batches: Batches) -> list[Batch]:
    """Prepare the first images of the first batch of a training: as they are, and then augmented several times.

    The first augmented ones are what the training's first step sees; the others have draws of their own. Always the
    whole batch is augmented, since images may be mixed with any other of it.
    """
    rows, curriculum = batches.material.rows("train"), batches.curriculum
    raw = next(iter(Loader(batches.material, rows, batches.batch_size, seed=batches.seed, curriculum=curriculum)))
    prepared = [batches.prepare_batch(raw)]
    for number in range(VERSIONS):
        prepared.append(batches.prepare_batch({**raw, "draw": raw["draw"] + number}, augment=True))
    return [{name: value[:IMAGES] for name, value in batch.items()} for batch in prepared]


def _names(material: Material, rows: np.ndarray) -> list[str]:
    """Return what is learnt of each row: its class, a number, or nothing."""
    if material.labels is None:
        return [""] * len(rows)
    classes = material.info.classes
    return [classes[label] if classes else f"{label:.3g}" for label in material.labels[rows]]


def _visible(batch: Batch) -> np.ndarray:
    """Return images for the eye, ``(B, H, W)``, or ``(B, H, W, 3)`` of three channels; unknown pixels are NaN."""
    image, mask = batch["image"].numpy(), batch["mask"].numpy()
    image = np.where(mask, image, np.nan)
    return image.transpose(0, 2, 3, 1) if image.shape[1] == 3 else image.mean(axis=1)


def _draw(versions: list[np.ndarray], names: list[str], path: Path, origin: Any) -> None:
    """Draw a row a version, a column an image; one scale a column, so that brightness can be compared."""
    count = len(names)
    width, height = 1.1 * count + 0.3, 1.1 * len(versions) + 0.3  # inches; 0.3 of them for words
    figure = Figure(figsize=(width, height))
    edges = {"left": 0.3 / width, "right": 1, "bottom": 0, "top": 1 - 0.3 / height, "wspace": 0.05, "hspace": 0.05}
    panels = figure.subplots(len(versions), count, squeeze=False, gridspec_kw=edges)
    colours = matplotlib.colormaps["inferno"].with_extremes(bad="#9a9a9a")
    for column in range(count):
        images = np.stack([version[column] for version in versions])
        low, high = np.nanmin(images), np.nanmax(images)
        scaled = (images - low) / (high - low or 1.0)
        long = max(images.shape[1:3]) > 2 * min(images.shape[1:3])  # a spectrum would be a hairline
        for panel, image in zip(panels[:, column], scaled, strict=True):
            panel.imshow(image, cmap=colours, vmin=0, vmax=1, origin=origin, interpolation="nearest")
            if long:
                panel.set(aspect="auto", box_aspect=1)
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
        panels[0, column].set_title(names[column], fontsize=8)
    for number, panel in enumerate(panels[:, 0]):
        panel.set_ylabel(f"augmented {number}" if number else "as it is", fontsize=7)
    save(figure, path)
