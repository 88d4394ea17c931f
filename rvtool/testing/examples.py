"""Data that the checks are made with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from rvtool.data.stretch import measure
from rvtool.kinds import Batch, DataInfo, Side

CLASSES = ("a", "b", "c")


def example_data(side: int = 32, channels: int = 1) -> DataInfo:
    """Describe small images of three classes, with a target of the same shape."""
    sky = Side(channels, side, side, unit="Jy/beam", pixel_arcsec=1.8)
    return DataInfo(image=sky, target=sky, classes=CLASSES, class_counts=(20, 30, 10))


def example_batch(data: DataInfo, size: int = 6, seed: int = 0) -> Batch:
    """Make a stretched batch: a Gaussian source an image, whose shape tells its class, and the target's sharper view.

    Every pixel is known. Labels go through the classes in turn.
    """
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(size) % max(1, len(data.classes))
    batch = {"image": _sources(data.image, label, generator), "index": torch.arange(size)}
    batch["mask"] = torch.ones_like(batch["image"][:, :1], dtype=torch.bool)
    measured = [measure(image, np.ones(image.shape[1:], bool)) for image in batch["image"].numpy()]
    batch["image_statistics"] = torch.from_numpy(np.stack(measured))
    if data.target is not None:
        batch["target"] = batch["image"] if data.target == data.image else _sources(data.target, label, generator)
        batch["target"] = batch["target"].square()
        batch["target_mask"] = torch.ones_like(batch["target"][:, :1], dtype=torch.bool)
    if data.classes:
        batch["label"] = label
    return batch


def _sources(side: Side, label: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    y = torch.linspace(-1, 1, side.height)[None, :, None]
    x = torch.linspace(-1, 1, side.width)[None, None, :]
    long = 0.15 + 0.2 * label[:, None, None]  # the classes differ by their length
    source = torch.exp(-((x / long) ** 2 + (y / 0.15) ** 2))[:, None]  # (B, 1, H, W)
    noise = torch.randn(len(label), side.channels, side.height, side.width, generator=generator)
    return source + 0.02 * noise


@contextmanager
def own_randomness(who: str) -> Iterator[None]:
    """Fail if torch's global generator is drawn from: `who` was given a seed or a generator to draw from."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state()), (
        f"{who} drew from torch's global generator; draw from the seed or generator that it is given, so that "
        "the same call gives the same answer."
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Work on one core: on tiny images more of them only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
