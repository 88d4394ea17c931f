"""Real and made images side by side: gathered, stretched alike, and seen by the same encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console

from rvtool.data.batches import Material, stack
from rvtool.data.fits import Image
from rvtool.data.stretch import measure, resample
from rvtool.errors import DataError
from rvtool.kinds import Batch, Side, Simulator
from rvtool.report.generated import shrunk
from rvtool.report.progress import counted
from rvtool.report.twosample import Labelled
from rvtool.runs.apply import choose_device
from rvtool.runs.generated import Generated
from rvtool.runs.latent import check_shows_features, features_of
from rvtool.runs.run import Run, load_run
from rvtool.runs.unlike import unlike
from rvtool.verbs.evaluate import Settings
from rvtool.verbs.evaluate.seen import choose_rows

SIDE = 64  # px, of the pictures that networks learn from and distances are taken of
LEAST, MOST = 300, 2000  # images to make, where it is not said how many; MOST also of those that are judged
MOST_TRAINING = 5000  # among which the nearest is looked for
BATCH = 64  # images that the encoder sees at once
SAME_SCALE = 0.02  # relative difference of pixels up to which images need not be resampled for the encoder


@dataclass(frozen=True)
class Lot:
    """Images of one kind, real or made.

    Attributes
    ----------
    pixels
        (N, C, H, W), in the image's physical unit, NaN where not known.
    pictures
        (N, C, h, w), in the stretch of the run's training, `SIDE` px at most.
    features
        (N, F), as the encoder sees them; (N, 0) where it cannot.
    labels
        (N,), int; zeros where classes do not matter.
    groups
        (N,), int.
    ids
        (N,), str.
    """

    pixels: np.ndarray
    pictures: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: np.ndarray) -> Lot:
        """Return these rows, numbers or a mask."""
        rest = self.labels[rows], self.groups[rows], self.ids[rows]
        return Lot(self.pixels[rows], self.pictures[rows], self.features[rows], *rest)

    def like(self, other: Lot, seed: int) -> Lot:
        """Draw as many of each class as another lot has, or as many as there are."""
        random = np.random.default_rng(seed)
        drawn = [
            random.permutation(np.flatnonzero(self.labels == kind))[: np.count_nonzero(other.labels == kind)]
            for kind in np.unique(other.labels)
        ]
        return self.take(np.sort(np.concatenate(drawn)))

    def seen(self, way: str) -> Labelled:
        """Return what a learner sees: ``"features"``, or pictures."""
        return Labelled(self.features if way == "features" else self.pictures, self.labels, self.groups)


@dataclass(frozen=True)
class Lots:
    """What a run was trained on, real images that it never saw, and what it makes.

    Attributes
    ----------
    classes
        That images are made of; empty where classes do not matter.
    encoder
        Whose features the lots have; None where it cannot see such images.
    seen_by_encoder
        How many of the held-out images the encoder was trained on.
    """

    run: Run
    training: Lot
    held_out: Lot
    made: Lot
    classes: tuple[str, ...]
    encoder: Run | None
    seen_by_encoder: int
    where: str
    warnings: list[str]

    @property
    def named(self) -> dict[str, Lot]:
        """The lots by their names."""
        return {"training": self.training, "held_out": self.held_out, "made": self.made}


def gather(run: Run, settings: Settings, console: Console) -> Lots:
    """Bring together what a run was trained on, what it held out, and as many images as it is to make.

    Raises
    ------
    DataError
        The images that it was trained on are not here, there are none to judge on, or what it makes is not finite.
    """
    material = run.material(settings.data)
    rows, where, warnings = choose_rows(run, material, settings.split)
    random = np.random.default_rng(settings.seed)
    if len(rows) > MOST:
        warnings.append(f"{MOST} of {len(rows)} real images are judged, drawn by the seed.")
        rows = np.sort(random.choice(rows, MOST, replace=False))
    source, trained_on = _trained_on(run, material, settings)
    if len(trained_on) > MOST_TRAINING:
        warnings.append(f"Of {len(trained_on)} training images {MOST_TRAINING} are looked at, drawn by the seed.")
        trained_on = np.sort(random.choice(trained_on, MOST_TRAINING, replace=False))
    simulator = Generated(run)
    device = choose_device(settings.device)
    encoder, said = _encoder(run.data.image, settings.encoder)
    seen = int(encoder.known.trained_on(material)[rows].sum()) if encoder else 0
    count = settings.count or min(max(len(trained_on), len(rows), LEAST), MOST)
    classes = simulator.info.classes

    def lot(name: str, pixels: np.ndarray, labels: np.ndarray, groups: np.ndarray, ids: np.ndarray) -> Lot:
        features = np.empty((len(pixels), 0))
        if encoder is not None:
            with counted(console, f"looking at {name} images") as move:
                features = encode(encoder, pixels, _factor(run, encoder), device, move)
        return Lot(pixels, shrunk(_stretched(run, pixels), SIDE), features, labels, groups, ids)

    return Lots(
        run,
        training=lot("training", *_real(source, trained_on, bool(classes))),
        held_out=lot("real", *_real(material, rows, bool(classes))),
        made=lot("made", *_make(simulator, count, settings, device, console)),
        classes=classes,
        encoder=encoder,
        seen_by_encoder=seen,
        where=where,
        warnings=warnings + said,
    )


def _trained_on(run: Run, material: Material, settings: Settings) -> tuple[Material, np.ndarray]:
    """Return the material that holds the training images, and their rows."""
    for one in (material, run.material()) if settings.data is not None else (material,):
        rows = np.flatnonzero((run.known.splits_of(one) == "train") & one.image.good)
        if rows.size:
            return one, rows
    raise DataError(
        f"{material.dataset.root} has none of the images that {run.name} was trained on, beside which those that it "
        "makes are judged; put them back."
    )


def _real(
    material: Material, rows: np.ndarray, by_class: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels, labels, groups and names of rows."""
    dataset = material.dataset
    labels = np.zeros(len(rows), int) if material.labels is None or not by_class else material.labels[rows].astype(int)
    groups = dataset.column("group") if "group" in dataset else np.arange(len(dataset))
    members = np.unique(groups, return_inverse=True)[1][rows]
    return material.image.pixels[rows].astype(np.float32), labels, members, dataset.column("id")[rows].astype(str)


def _make(
    simulator: Simulator, count: int, settings: Settings, device: torch.device, console: Console
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make images; return pixels, labels, groups and names."""
    pixels, labels = [], []
    with counted(console, "making images") as move:
        for start in range(0, count, settings.batch_size):
            indices = torch.arange(start, min(start + settings.batch_size, count))
            batch = simulator.simulate(indices, settings.seed, device)
            image = batch["image"].float()
            if not torch.isfinite(image).all():
                raise DataError("The run makes images that are not finite; its training may have diverged.")
            image = torch.where(batch["mask"], image, torch.nan) if "mask" in batch else image
            pixels.append(image.cpu().numpy())
            labels.append(batch.get("label", torch.zeros(len(indices))).long().cpu().numpy())
            move(int(indices[-1]) + 1, count)
    numbers = np.arange(count)
    return np.concatenate(pixels), np.concatenate(labels), numbers, numbers.astype(str)


def _stretched(run: Run, pixels: np.ndarray) -> np.ndarray:
    """Return images as the run sees those of its training, each by its own background, noise and peak."""
    statistics = np.stack([measure(image, np.isfinite(image).all(axis=0)) for image in pixels])
    raw = {"image": torch.from_numpy(pixels), "image_statistics": torch.from_numpy(statistics)}
    prepared: np.ndarray = run.prepare(raw)["image"].numpy()
    return prepared


# --------------------------------------------------------------------------- the encoder


def _encoder(side: Side, name: str) -> tuple[Run | None, list[str]]:
    """Return the run whose features images are compared in, and what must be said of it."""
    encoder = load_run(name)
    check_shows_features(encoder)
    if side.channels != 1 or side.axes != "sky" or side.height != side.width:
        return None, [f"The encoder '{name}' knows square images of the sky of one channel: figures are of pixels."]
    known = encoder.data.image
    resampled = replace(side, pixel_arcsec=known.pixel_arcsec)
    return encoder, [one.told("The images", name) for one in unlike(resampled, known, encoder.stretch.settings)]


def _factor(run: Run, encoder: Run) -> float:
    """Return how many of the encoder's pixels one of the run's is wide; without a scale those before its --resize."""
    have, want = run.data.image.pixel_arcsec, encoder.data.image.pixel_arcsec
    if have and want:
        return have / want
    stretch = run.stretch.settings
    return stretch.crop / stretch.resize if stretch.resize and stretch.crop else 1.0


def encode(
    encoder: Run, pixels: np.ndarray, factor: float, device: torch.device, moved: Callable[[int, int], None]
) -> np.ndarray:
    """Return the features ``(N, F)`` that a run sees in square images ``(N, 1, H, H)``, brought to its pixels.

    Parameters
    ----------
    factor
        How many of the encoder's pixels one of the images' is wide.
    """
    side = round(pixels.shape[-1] * factor)
    other = abs(factor - 1) > SAME_SCALE
    encoder.model.to(device)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(pixels), BATCH):
            part = [resample(image, side) if other else image for image in pixels[start : start + BATCH]]
            yield encoder.prepare(stack([encoder.raw(Image(image)) for image in part], device))

    return features_of(encoder, batches(), moved=lambda done: moved(done, len(pixels)))
