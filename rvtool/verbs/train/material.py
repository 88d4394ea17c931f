"""What a training works on: the data in its splits, its stretch, its augmenters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rich.console import Console

from rvtool import plugins
from rvtool.data.batches import Batches, Material, Prepare, prepare
from rvtool.data.curriculum import read_curriculum
from rvtool.data.dataset import Dataset, open_dataset
from rvtool.data.extra import is_extra, with_extra
from rvtool.data.stretch import FittedStretch, Stretch, fit
from rvtool.errors import ConfigError, DataError
from rvtool.learning import Model
from rvtool.report.progress import counted
from rvtool.runs.known import contents
from rvtool.runs.run import load_run
from rvtool.verbs.train import Settings

MOST_CLASSES = 200


def make_batches(settings: Settings, kind: type[Model], console: Console) -> Batches:
    """Open, filter, split and pack the data, and fit the stretch on its training part."""
    stretch = stretch_settings(settings, kind)
    material = _material(settings, kind, stretch, console)
    train = material.rows("train")
    target = None
    if material.target is not None:  # each side has its own unit, and so its own scale
        target = _target_stretch(stretch, material)
    prepare_batch = Prepare(fit(stretch, material.image.statistics[train]), target, _augmenters(settings, material))
    curriculum = None
    if settings.curriculum:
        epochs = settings.curriculum_epochs or math.ceil(settings.epochs / 2)
        curriculum = read_curriculum(material.dataset, settings.curriculum, epochs)
    return Batches(material, prepare_batch, batch_size=settings.batch_size, seed=settings.seed, curriculum=curriculum)


def _target_stretch(stretch: Stretch, material: Material) -> FittedStretch:
    """Fit the stretch of the target; scaled by each image's peak it needs the image's unit.

    Raises
    ------
    ConfigError
        The two sides have different units, and the peak of the one says nothing of the other.
    """
    assert material.target is not None
    assert material.info.target is not None
    units = [side.unit.lower() for side in (material.info.image, material.info.target)]
    if stretch.scale != "train" and units[0] != units[1]:
        raise ConfigError(
            f"Images are in '{units[0]}' and targets in '{units[1]}', so targets cannot be scaled by their "
            "image's peak or noise; use --scale train."
        )
    own = stretch.model_copy(update={"crop": 0, "resize": 0})
    return fit(own, material.target.statistics[material.rows("train")])


def stretch_settings(settings: Settings, kind: type[Model]) -> Stretch:
    """Return the model's stretch with what the user asked for instead.

    Raises
    ------
    ConfigError
        There is a size to resample to, but no crop.
    """
    asked = {
        "crop": settings.crop,
        "resize": settings.resize,
        "background": settings.background,
        "kind": settings.stretch,
        "scale": settings.scale,
        "softening": settings.softening,
        "clip_sigma": settings.clip_sigma,
        "clip_to": settings.clip_to,
    }
    own = kind.stretch_of(plugins.component("model", settings.model).configure(settings.config))
    stretch = Stretch(**{**own, **{name: value for name, value in asked.items() if value is not None}})
    if stretch.resize and not stretch.crop:
        raise ConfigError("--resize needs a --crop, the square that is resampled; set both.")
    return stretch


def _material(settings: Settings, kind: type[Model], stretch: Stretch, console: Console) -> Material:
    assert settings.data is not None
    if settings.condition and kind.task != "generation":
        raise ConfigError(f"--condition is for generators, and '{settings.model}' is none; leave it out.")
    own = dataset = open_dataset(settings.data).where(settings.where)
    extra = None if settings.extra is None else open_dataset(settings.extra)
    if extra is not None:
        dataset = with_extra(dataset, extra)
    needed = kind.task in ("classification", "regression")
    with counted(console, "packing") as progress:
        material = prepare(
            dataset,
            label_column=settings.label_column if needed or settings.label_column in dataset else None,
            numbers=kind.task == "regression",
            conditions=settings.condition,
            fold=settings.fold,
            seed=settings.seed,
            crop=stretch.crop,
            resize=stretch.resize,
            limit=settings.limit_images,
            pairs=not needed,
            progress=progress,
        )
    for failures in (material.image.failures, material.target.failures if material.target else {}):
        if failures:
            first = next(iter(failures.values()))
            told = f"{len(failures)} images cannot be used and are left out; the first: {first}"
            console.print(told, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if settings.fold is not None:
        test = dataset.words("fold") == str(settings.fold)
        near = np.isin(dataset.column("group"), dataset.column("group")[test]) & ~test
        told = f"fold {settings.fold} is held out; {near.sum()} other images share sky with it and train nothing"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
    if material.labels is not None and not material.labelled.all():
        told = f"{(~material.labelled).sum()} images have no '{settings.label_column}' and are left out"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
    if extra is not None:
        _check_extra(extra, own, material, stretch)
        used = np.count_nonzero(is_extra(dataset) & (material.split == "train"))
        told = f"{used} further images of {extra.root} train, and neither validate nor test"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
    if kind.task == "classification":
        _check_classes(material)
    return material


def _check_extra(extra: Dataset, own: Dataset, material: Material, stretch: Stretch) -> None:
    """Refuse further images of another unit where units count, and what holds or knows images that are held out."""
    unit = extra.info.get("image", {}).get("unit", "")
    if stretch.scale == "train" and unit.lower() != material.info.image.unit.lower():
        raise ConfigError(
            f"{extra.root} is in '{unit}' and {material.dataset.root} in '{material.info.image.unit}', which"
            " --scale train compares; use --scale image."
        )
    mine = is_extra(material.dataset)
    judged = set(contents(material, np.flatnonzero(~mine & np.isin(material.split, ("val", "test")))))
    again = sum(content in judged for content in contents(material, np.flatnonzero(mine)))
    if again:
        raise DataError(f"{extra.root} holds {again} of the images that this training holds out; leave them out of it.")
    maker = extra.info.get("source", {}).get("run")
    if maker is None:
        return
    run = load_run(maker)
    known = run.known.trained_on(run.material(own))  # as that generator sees them: it may see another crop
    held_out = int(np.count_nonzero(known & (material.split[~mine] == "test")))
    if held_out:
        raise DataError(
            f"{extra.root} was generated by {maker}, which was trained on {held_out} of the images that this training "
            "holds out; train that generator with the same --fold."
        )


def _check_classes(material: Material) -> None:
    """Refuse a class that cannot be learnt or cannot be judged."""
    assert material.labels is not None
    if len(material.info.classes) > MOST_CLASSES:
        raise DataError(
            f"Column '{material.info.label_column}' of {material.dataset.root} has {len(material.info.classes)} "
            "values, which are numbers rather than classes; choose another --label-column."
        )
    for split in ("train", "val"):
        present = set(material.labels[material.rows(split)])
        missing = [name for number, name in enumerate(material.info.classes) if number not in present]
        if missing:
            column = material.info.label_column
            raise DataError(
                f"{material.dataset.root}: the {split} part has no image of class {', '.join(missing)}; add images, "
                f"make the dataset with another --split, or name the classes to keep with --where {column}=ONE,ANOTHER."
            )


def _augmenters(settings: Settings, material: Material) -> list[Any]:
    nested = settings.set.get("augmenter", {})
    names = [name for name in settings.augment if name != "none"]
    for name in nested:
        if name not in names:
            raise ConfigError(f"Settings are given for augmenter '{name}', which is not used; add '--augment {name}'.")
    built = []
    for name in names:
        component = plugins.component("augmenter", name)
        augmenter = component.load()(component.configure(nested.get(name)), material.info)
        if (
            material.info.image.axes not in augmenter.axes
            and settings.augment == Settings.model_fields["augment"].default
        ):
            continue  # nobody asked for it: the defaults are for images of the sky
        if material.info.image.axes not in augmenter.axes:
            raise ConfigError(
                f"Augmenter '{name}' is for {' or '.join(augmenter.axes)} images, and these are "
                f"{material.info.image.axes} images; leave it out (--augment none for none)."
            )
        built.append(augmenter)
    return built
