"""From a dataset to batches on the device: packed, in an order that a seed fixes, augmented, stretched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch

from rvtool.data.curriculum import Curriculum
from rvtool.data.dataset import Dataset, read_side
from rvtool.data.extra import is_extra
from rvtool.data.moves import Move
from rvtool.data.pack import Pack, open_pack
from rvtool.data.splits import VALIDATION_SEED, split_by_fold, split_by_group
from rvtool.data.stretch import FittedStretch
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Augmenter, Batch, DataInfo

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Material:
    """A dataset made ready for a network: packed pixels, integer labels, and each row's split.

    Attributes
    ----------
    labels
        ``(N,)`` int64 into `info.classes`, -1 where a row has no label or one of another class; or ``(N,)`` float32
        where the label is a number, NaN where a row has none; None without labels.
    split
        ``(N,)`` of ``"train"``, ``"val"``, ``"test"`` or ``""`` (belongs to no part, or cannot be read).
    conditions
        ``(N, P)`` float32, the numbers of `info.conditions`; None without any.
    """

    dataset: Dataset
    image: Pack
    target: Pack | None
    labels: np.ndarray | None
    split: np.ndarray
    info: DataInfo
    conditions: np.ndarray | None = None

    @property
    def labelled(self) -> np.ndarray:
        """``(N,)`` bool: which rows have a label."""
        if self.labels is None:
            return np.zeros(len(self.dataset), bool)
        return _labelled(self.labels)

    def rows(self, *splits: str) -> np.ndarray:
        """Return the rows of some splits, in the manifest's order."""
        return np.flatnonzero(np.isin(self.split, splits))


def prepare(
    dataset: Dataset,
    *,
    label_column: str | None = "label",
    numbers: bool = False,
    classes: Sequence[str] | None = None,
    conditions: Sequence[str] = (),
    fold: int | None = None,
    seed: int = 0,
    crop: int = 0,
    resize: int = 0,
    limit: int = 0,
    pairs: bool = True,
    progress: Progress | None = None,
) -> Material:
    """Make a dataset ready for a network.

    Parameters
    ----------
    label_column
        What is learnt; None where nothing is.
    numbers
        Whether the label is a number that is estimated, and no class.
    classes
        The classes in the order of a trained model's outputs; None takes the dataset's own, sorted.
    conditions
        Columns of numbers that images are made for; rows without one of them belong to no part.
    fold
        Make this fold the test part (see `rvtool.data.splits.split_by_fold`); None keeps the dataset's splits.
    seed
        Of the choice of images that stay where there is a limit.
    crop, resize
        Central square to keep, and the side to which it is then resampled, px; 0 keeps all, or its pixels.
    limit
        Training images to keep of the dataset's own, the classes in proportion; 0 keeps all.
    pairs
        Whether the targets of pairs are wanted.
    progress
        Called with images done and images in all while packing.

    Raises
    ------
    ConfigError
        The label column or the fold does not exist, or numbers are no numbers.
    DataError
        No image can be used.
    """
    image = open_pack(dataset, crop, progress=progress, resize=resize)
    target = None
    if pairs and "target_path" in dataset:
        target = open_pack(dataset, _target_crop(dataset, crop, resize), "target", progress)
    labels, names = None, tuple(classes or ())
    if label_column is not None and numbers:
        labels = dataset.numbers(label_column).astype(np.float32)
    elif label_column is not None:
        names = names or dataset.classes(label_column)
        numbered = {name: number for number, name in enumerate(names)}
        labels = np.array([numbered.get(word, -1) for word in dataset.words(label_column)], np.int64)
    strata = None if numbers else labels
    own = ~is_extra(dataset)
    if fold is None:
        split = dataset.column("split").astype(object)
    else:
        if "fold" not in dataset:
            raise ConfigError(f"{dataset.root} has no column 'fold'; leave --fold out.")
        split = np.full(len(dataset), "train", object)
        among = None if strata is None else strata[own]
        groups = dataset.column("group")[own]
        split[own] = split_by_fold(dataset.words("fold")[own], str(fold), groups, among, VALIDATION_SEED)
    split[~own] = "train"
    good = image.good & (target.good if target is not None else True)
    if labels is not None:
        good = good & _labelled(labels)
    given = None
    if conditions:
        given = np.stack([dataset.numbers(name) for name in conditions], axis=1).astype(np.float32)
        good = good & np.isfinite(given).all(axis=1)
    split = np.where(good, split, "").astype(object)
    rows = np.flatnonzero((split == "train") & own)
    if 0 < limit < len(rows):
        share = limit / len(rows)
        among = strata[rows] if strata is not None else None
        kept = split_by_group(np.arange(len(rows)), among, (share, 0.0, 1 - share), seed) == "train"
        split[rows[~kept]] = ""
    learnt = np.empty(0) if labels is None else labels[split == "train"]
    told: dict[str, Any] = {"label_column": label_column or "", "classes": names}
    if names and labels is not None:
        told["class_counts"] = tuple(int(n) for n in np.bincount(learnt, minlength=len(names)))
    if numbers and learnt.size:
        told |= {"label_mean": float(learnt.mean()), "label_std": float(learnt.std()) or 1.0}
    if given is not None:
        seen = given[split == "train"].astype(float)
        told |= {
            "conditions": tuple(conditions),
            "condition_means": tuple(seen.mean(axis=0).tolist()),
            "condition_stds": tuple((seen.std(axis=0) + (seen.std(axis=0) == 0)).tolist()),
        }
    sides = [read_side(dataset.info.get("image", {}), *image.pixels.shape[1:], zoom=crop / resize if resize else 1.0)]
    if target is not None:
        sides.append(read_side(dataset.info.get("target", {}), *target.pixels.shape[1:]))
    info = DataInfo(*sides, **told)  # type: ignore[arg-type]
    return Material(dataset, image, target, labels, split, info, given)


def _target_crop(dataset: Dataset, crop: int, resize: int) -> int:
    """Return the central square of a target that shows the same sky as that of the image.

    Raises
    ------
    ConfigError
        The two sides' pixels do not nest, or are to be resampled, which changes one of them only.
    """
    if resize:
        raise ConfigError("--resize would change the images of a pair and not their targets; leave it out.")
    if not crop:
        return 0
    (height, width), (fine_height, fine_width) = (
        [dataset.info.get(side, {}).get(length, 0) for length in ("height", "width")] for side in ("image", "target")
    )
    nests = height and width and fine_height % height == 0 and fine_height * width == fine_width * height
    if not nests:
        raise ConfigError(
            f"The targets of {dataset.root} are no whole multiple of the images' size, so no --crop of both shows the "
            "same sky; leave it out."
        )
    factor = int(fine_height // height)
    if factor > 1 and ((height - crop) % 2 or (width - crop) % 2):
        raise ConfigError(
            f"--crop {crop} of images of {width}x{height} px leaves margins of half a pixel, so that their targets, "
            f"{factor} times as fine, would show another sky; take --crop {crop + 1}."
        )
    return crop * factor


def _labelled(labels: np.ndarray) -> np.ndarray:
    known: np.ndarray = np.isfinite(labels) if labels.dtype.kind == "f" else labels >= 0
    return known


class Loader:
    """Batches of some rows in an order that (seed, epoch) fixes, so that a resumed run sees what it would have seen.

    Parameters
    ----------
    material, rows
        What to serve.
    batch_size
        Images a batch; the last one of an epoch may be smaller, or one larger.
    seed
        None serves the rows in their order.
    curriculum
        Which of the rows each epoch sees, each as often as fills the epoch; None shows all.
    epoch, start
        Asked when an iteration begins: the epoch, and the number of its first batch.
    rank, world
        This process among those that share the epoch.
    """

    def __init__(
        self,
        material: Material,
        rows: np.ndarray,
        batch_size: int,
        *,
        seed: int | None = None,
        curriculum: Curriculum | None = None,
        epoch: Callable[[], int] = lambda: 0,
        start: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.material, self.rows, self.batch_size, self.seed = material, rows, batch_size, seed
        self.curriculum = curriculum
        self._epoch, self._start, self._rank, self._world = epoch, start, rank, world

    def __len__(self) -> int:
        if self.seed is None:
            return math.ceil(math.ceil(len(self.rows) / self._world) / self.batch_size)
        # a last batch of one image joins the one before: batch normalisation cannot train on it
        full, rest = divmod(len(self.rows) // self._world, self.batch_size)
        return full + (rest > 1 or (rest == 1 and full == 0))

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch()
        rows = self.rows
        if self.seed is not None:
            shown = rows if self.curriculum is None else self.curriculum.rows(rows, epoch)
            draw = np.random.default_rng((self.seed, epoch))
            rounds = [draw.permutation(shown) for _ in range(math.ceil(len(rows) / len(shown)))]
            rows = np.concatenate(rounds)[: len(rows)]
            rows = rows[: len(rows) // self._world * self._world]  # every process steps equally often
        else:
            rows = np.resize(rows, math.ceil(len(rows) / self._world) * self._world)  # the first serve twice
        rows = rows[self._rank :: self._world]
        count = len(self)
        for number in range(self._start(), count):
            end = (number + 1) * self.batch_size if number + 1 < count else len(rows)
            batch = self.read(rows[number * self.batch_size : end])
            if self.seed is not None:
                words = np.random.SeedSequence((self.seed, epoch, number, self._rank)).generate_state(1, np.uint64)
                batch["draw"] = torch.tensor([int(words[0] >> 1)])  # seeds this batch's augmentation
            yield batch

    def read(self, rows: np.ndarray) -> Batch:
        """Read rows as they are packed: raw pixels and what belongs to them."""
        pack = self.material.image
        batch = {
            "image": torch.from_numpy(pack.pixels[rows]),
            "image_statistics": torch.from_numpy(pack.statistics[rows]),
            "index": torch.from_numpy(rows.astype(np.int64)),
        }
        if self.material.labels is not None:
            batch["label"] = torch.from_numpy(self.material.labels[rows])
        if self.material.conditions is not None:
            batch["condition"] = torch.from_numpy(self.material.conditions[rows])
        if self.material.target is not None:
            batch["target"] = torch.from_numpy(self.material.target.pixels[rows])
            batch["target_statistics"] = torch.from_numpy(self.material.target.statistics[rows])
        return batch


def stack(images: Sequence[Batch], device: torch.device) -> Batch:
    """Make a raw batch of raw images (`rvtool.runs.run.Run.raw`)."""
    return {name: torch.stack([image[name] for image in images]).to(device) for name in images[0]}


@dataclass(frozen=True)
class Prepare:
    """Turns a raw batch on the device into what a model sees: mask, augmentation in physical units, stretch.

    What the stretch of a target takes from each image is taken from the image beside it, for where a model is asked
    later there is no target: with ``scale="image"`` the height of its peak above what counts as 0, with ``"noise"`` its
    noise, else nothing. A target's background is never taken off, so that 0 stays 0: that of the image is one of
    another beam.
    """

    image: FittedStretch
    target: FittedStretch | None = None
    augmenters: Sequence[Augmenter] = ()

    def __call__(self, raw: Batch, augment: bool = False) -> Batch:
        """Prepare a batch; unknown pixels become 0 after the stretch, and False in the mask.

        Augmenters act in their order, but those that want what the model sees (``after_stretch``) after the stretch.
        Those that only move images say how (``move``), and moves that follow each other are made as one, so that pixels
        are interpolated once.
        """
        batch = dict(raw)
        draw = batch.pop("draw", None)
        for side, mask in (("image", "mask"), ("target", "target_mask")):
            if side in batch:
                pixels = batch[side].float()
                batch[mask] = torch.isfinite(pixels).all(dim=1, keepdim=True)  # (B, 1, H, W)
                batch[side] = torch.where(batch[mask], pixels, torch.zeros_like(pixels))
        augmenters = self.augmenters if augment and draw is not None else ()
        late = [augmenter for augmenter in augmenters if getattr(augmenter, "after_stretch", False)]
        generator = torch.Generator().manual_seed(0 if draw is None else int(draw))
        pending: Move | None = None
        for augmenter in augmenters:
            if augmenter in late:
                continue
            if hasattr(augmenter, "move"):
                move = augmenter.move(batch, generator)
                pending = move if pending is None else pending.then(move)
                continue
            if pending is not None:
                batch, pending = pending.apply(batch), None
            batch = augmenter(batch, generator)
        if pending is not None:
            batch = pending.apply(batch)
        if self.target is not None:
            noise, height = batch["image_statistics"][:, 1], self.image.height(batch["image_statistics"])
            taken = torch.stack([0 * noise, noise, height], dim=1)
            batch["target_statistics"] = 0 * taken if self.target.settings.scale == "train" else taken
        for side, mask, stretch in (("image", "mask", self.image), ("target", "target_mask", self.target)):
            if side in batch and stretch is not None:
                stretched = stretch.apply(batch[side], batch[f"{side}_statistics"])
                batch[side] = torch.where(batch[mask], stretched, torch.zeros_like(stretched))
        for augmenter in late:
            batch = augmenter(batch, generator)
        return batch

    def restore(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return what a model made of a prepared batch ``(B, C, H, W)`` in its physical unit.

        That is the target's, or the image's own where nothing else is made.

        Raises
        ------
        DataError
            The stretch cannot be inverted.
        """
        stretch, side = (self.image, "image") if self.target is None else (self.target, "target")
        return stretch.invert(output.float(), batch[f"{side}_statistics"])

    def batches(self, material: Material, rows: np.ndarray, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """Serve rows in their order, never augmented: for judging and predicting."""
        for raw in Loader(material, rows, batch_size):
            yield self({name: value.to(device) for name, value in raw.items()})


class Batches(lightning.LightningDataModule):
    """What the trainer asks for batches: the training rows shuffled and augmented, the validation rows as they are."""

    def __init__(
        self,
        material: Material,
        prepare: Prepare,
        *,
        batch_size: int,
        seed: int,
        curriculum: Curriculum | None = None,
    ) -> None:
        super().__init__()
        self.curriculum = curriculum
        self.material, self.prepare_batch, self.batch_size, self.seed = material, prepare, batch_size, seed
        for split in ("train", "val"):
            if len(material.rows(split)) == 0:
                raise DataError(f"{material.dataset.root} has no {split} images; make it again with another --split.")

    def _loader(self, split: str, seed: int | None) -> Loader:
        trainer: Any = self.trainer
        return Loader(
            self.material,
            self.material.rows(split),
            self.batch_size,
            seed=seed,
            curriculum=self.curriculum,
            epoch=lambda: trainer.current_epoch,
            start=(lambda: trainer.fit_loop.epoch_loop.batch_progress.current.ready) if seed is not None else lambda: 0,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )

    def count_steps(self) -> int:
        """Return the training batches of an epoch, for one process."""
        return len(Loader(self.material, self.material.rows("train"), self.batch_size, seed=self.seed))

    def train_dataloader(self) -> Loader:
        """Serve the training rows in the order of (seed, epoch)."""
        return self._loader("train", self.seed)

    def val_dataloader(self) -> Loader:
        """Serve the validation rows in their order."""
        return self._loader("val", None)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment (in training, and where a model compares views) and stretch on the device."""
        trainer: Any = self.trainer
        if getattr(trainer and trainer.lightning_module, "views", 1) == 1:
            return self.prepare_batch(batch, augment=bool(trainer and trainer.training))
        draw = batch.get("draw", batch["index"][:1])
        one, other = (self.prepare_batch({**batch, "draw": draw + number}, augment=True) for number in (0, 1))
        return {**one, "view": other["image"], "view_mask": other["mask"]}
