"""Train a model on a dataset, into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


class Settings(Config):
    """What `rvtool train` may be told."""

    model: str = Field("", description="Model to train ('rvtool plugins --kind model').")
    config: dict[str, Any] = Field({}, description="The model's own settings.")
    data: Path | None = Field(None, description="Dataset, or any folder of images (class sub-folders or labels.csv).")
    out: Path | None = Field(None, description="Run folder to make. Default: runs/TIME-MODEL.")
    resume: Path | None = Field(None, description="Go on with this run, exactly as it would have gone on.")

    epochs: int = Field(30, ge=1, description="Passes over the training images.")
    steps: int = Field(0, ge=0, description="Optimiser steps, instead of epochs (0: epochs count).")
    batch_size: int = Field(32, ge=1, description="Images a batch.")
    accumulate: int = Field(1, ge=1, description="Batches whose gradients make one step.")
    gpus: int | None = Field(None, ge=0, description="GPUs to use; 0 for the CPU. Default: what there is.")
    precision: Literal["32", "bf16", "16"] = Field("32", description="Arithmetic: 32-bit, or mixed with 16 bits.")
    compile: bool = Field(False, description="Compile the networks (torch.compile): minutes at first, then faster.")
    schedule: Literal["constant", "cosine", "cosine-restarts", "polynomial"] = Field(
        "cosine", description="How the learning rate goes on after the warm-up."
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="Part of the steps in which the learning rate climbs.")
    clip: float = Field(1.0, ge=0, description="Largest norm of the gradients (0: any).")
    ema: float = Field(
        0.998, ge=0, lt=1, description="Decay of the averaged weights that are judged and kept (0: none)."
    )
    patience: int = Field(0, ge=0, description="Epochs without improvement after which to stop (0: never).")

    from_: str = Field("", description="Run whose weights to begin with, where they fit. Default: none.")
    backbone_rate: float = Field(
        1.0, gt=0, le=1, description="Learning rate of the layers before the head, as a part of the head's."
    )
    unfreeze_epoch: int = Field(
        0, ge=0, description="Epochs during which the layers before the head stay as they began (0: none)."
    )
    unfreeze_every: int = Field(
        0, ge=0, description="Epochs between the thawing of one layer and the one before it (0: all at once)."
    )

    extra: Path | None = Field(None, description="Dataset of further images, simulated or generated, that train only.")
    fold: int | None = Field(None, ge=0, description="Hold this fold of the dataset out as the test part.")
    label_column: str = Field("label", description="Column of the manifest that is learnt.")
    condition: tuple[str, ...] = Field(
        (), description="Columns of numbers that a generator makes images for, beside their class."
    )
    task: Literal["classify", "regress"] | None = Field(
        None, description="Take the label for a class, or for a number to estimate. Default: what the model is for."
    )
    where: tuple[str, ...] = Field((), description="Keep the rows with COLUMN=VALUE[,VALUE].")
    limit_images: int = Field(0, ge=0, description="Train on this many images at most (0: all).")
    curriculum: str = Field(
        "", description="Column by which to go from easy to hard: large values first, or COLUMN:ascending."
    )
    curriculum_epochs: int = Field(0, ge=0, description="Epochs until all images are seen (0: half of all epochs).")
    loss: tuple[str, ...] = Field((), description="Loss as NAME[:WEIGHT]. Default: the model's own.")
    augment: tuple[str, ...] = Field(
        ("rotate-flip", "shift"), description="Augmenter of the training images; 'none' for none."
    )
    set: dict[str, Any] = Field({}, description="Settings of losses and augmenters, as loss.focal.gamma=1.5.")

    crop: int | None = Field(
        None, ge=0, le=16384, description="Central square that the model sees, px (0: all). Default: the model's."
    )
    resize: int | None = Field(
        None, ge=0, le=16384, description="Side to which the crop is resampled, px (0: not). Default: the model's."
    )
    background: Literal["image", "none"] | None = Field(
        None, description="What is taken off first: each image's median, or nothing. Default: the model's."
    )
    stretch: Literal["linear", "sqrt", "asinh"] | None = Field(
        None, description="Curve from brightness to the model's input. Default: the model's."
    )
    scale: Literal["image", "train", "noise"] | None = Field(
        None, description="What becomes 1: each image's peak or noise, or the training split's. Default: the model's."
    )
    softening: float | None = Field(
        None, gt=0, description="Part of the scale where asinh turns logarithmic. Default: the model's."
    )
    clip_sigma: float | None = Field(
        None, ge=0, description="Clip pixels below this many sigma above background (0: none). Default: the model's."
    )
    clip_to: Literal["background", "level"] | None = Field(
        None, description="What counts as 0 after a clip: the background, or the clip's level. Default: the model's."
    )

    seed: int = Field(0, ge=0, description="Seed of everything that chance decides.")
    save_every: int = Field(0, ge=0, description="Steps between checkpoints, besides one an epoch (0: none).")
    sample_every: int = Field(0, ge=0, description="Epochs between pictures of what the model answers (0: none).")
    log_every: int = Field(0, ge=0, description="Steps between rows of metrics.csv, besides one an epoch (0: none).")
    search: int = Field(
        0, ge=0, description="Train this often, looking for the best settings of the model (0: once, as told)."
    )
    find_learning_rate: bool = Field(False, description="Only try learning rates, plot the losses and suggest one.")
    show_augmentation: bool = Field(False, description="Only draw training images, as they are and augmented.")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Train, and return the run's folder with its best metrics.

    Raises
    ------
    ConfigError
        A name or setting is wrong, or something needed is not given.
    DataError
        The data cannot be used, the run exists already, or the loss became NaN.
    """
    if settings.resume is None:
        _check(settings)  # before the seconds that loading torch takes
        if settings.search:
            from rvtool.verbs.train.search import search

            return search(settings, console)
    from rvtool.verbs.train.loop import train

    return train(settings, console)


def _check(settings: Settings) -> None:
    from rvtool.plugins import component, components
    from rvtool.runs.run import load_run

    example = f"rvtool train {settings.model or 'alhassan-cnn'} --data data/first"
    if not settings.model:
        raise ConfigError(f"Name the model to train ({', '.join(components('model'))}), for example: {example}")
    component("model", settings.model).configure(settings.config)
    if settings.from_:
        load_run(settings.from_)
    elif settings.unfreeze_epoch and settings.config.get("weights", "none") == "none":
        raise ConfigError("--unfreeze-epoch keeps layers as they begin; name what they begin with: --from RUN.")
    if settings.data is None:
        raise ConfigError(
            f"'{settings.model}' needs images to learn from: --data DATASET_OR_FOLDER, for example: {example}"
        )
    for name in settings.loss:
        component("loss", name.partition(":")[0].strip())
    for name in settings.augment:
        if name != "none":
            component("augmenter", name)
