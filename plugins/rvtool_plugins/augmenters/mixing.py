"""Augmenters that mix pairs of images, and their labels in the same proportion.

They act after the stretch, where images of all brightnesses have one range. Each image has a partner of its own in the
batch. Labels become probabilities ``(B, K)``. A pixel is known where all that it was mixed from is. Statistics and
index stay those of the image itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from rvtool.data.moves import GRIDS
from rvtool_plugins.augmenters.draws import partners, shares

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool_plugins.augmenters import CutMixConfig, MixUpConfig


class MixUp:
    """Blends each image with another: lambda x + (1 - lambda) x', and the labels alike (section 1 of [1]_).

    Lambda comes from Beta(alpha, alpha), one for each image.

    References
    ----------
    .. [1] Zhang et al. 2018, arXiv:1710.09412
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time", "metres")
    after_stretch: ClassVar[bool] = True

    def __init__(self, config: MixUpConfig, data: DataInfo) -> None:
        self.config, self.classes = config, len(data.classes)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Mix a batch."""
        size = len(batch["image"])
        partner = partners(size, generator)
        kept = shares(self.config.alpha, self.config.probability, size, generator)
        return mix(batch, partner, kept[:, None, None, None], self.classes)


class CutMix:
    """Replaces a rectangle of each image by the same part of another, and mixes the labels by area (eqs. 1, 2 of [1]_).

    1 - lambda, the rectangle's area, comes from Beta(alpha, alpha); its sides are in the image's proportion and its
    centre lies anywhere. What reaches beyond the edges is cut off, and lambda is that of the area really pasted.

    The area says what a label is worth only where sources fill their images: of small sources on empty sky most
    rectangles paste nothing. Crop close (``--crop``) or use ``mixup`` there.

    References
    ----------
    .. [1] Yun et al. 2019, arXiv:1905.04899
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time", "metres")
    after_stretch: ClassVar[bool] = True

    def __init__(self, config: CutMixConfig, data: DataInfo) -> None:
        self.config, self.classes = config, len(data.classes)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Mix a batch."""
        size, (height, width) = len(batch["image"]), batch["image"].shape[-2:]
        partner = partners(size, generator)
        side = (1 - shares(self.config.alpha, self.config.probability, size, generator)).sqrt()  # of the image's sides
        centre = torch.rand(size, 2, generator=generator)
        rows = _within(height, centre[:, 0], side)[:, None, :, None]
        columns = _within(width, centre[:, 1], side)[:, None, None, :]
        return mix(batch, partner, 1 - (rows & columns).float(), self.classes)


def _within(length: int, centre: Tensor, side: Tensor) -> Tensor:
    """Return which pixels ``(B, length)`` lie in an interval of this centre and length, both in image sides."""
    pixels = torch.arange(length)
    low, high = (((centre + sign * side / 2) * length).round()[:, None] for sign in (-1, 1))
    return (low <= pixels) & (pixels < high)


def mix(batch: Batch, partner: Tensor, kept: Tensor, classes: int) -> Batch:
    """Mix images, targets, image-like conditions, labels and weights with those of each image's partner.

    Parameters
    ----------
    partner : (B,)
        Row of each image's partner.
    kept : (B, 1, H, W) or (B, 1, 1, 1)
        The part of each pixel that stays the image's own; its mean is the share of the image's own label.
    classes
        Of the labels, where there are any.
    """
    mixed = dict(batch)
    partner, kept = partner.to(batch["image"].device), kept.to(batch["image"])
    for key, mask_key in GRIDS.items():
        image = batch.get(key)
        if image is None or image.ndim != 4:  # a condition may be a vector
            continue
        own = functional.interpolate(kept, image.shape[-2:])  # nearest: a target may have pixels of its own
        mixed[key] = own * image + (1 - own) * image[partner]
        if mask_key in batch:
            mask = batch[mask_key]
            mixed[mask_key] = (mask | (own == 0)) & (mask[partner] | (own == 1))
            mixed[key] = mixed[key] * mixed[mask_key]
    share = kept.mean(dim=(1, 2, 3))
    if "label" in batch:
        label = batch["label"]
        soft = (label if label.ndim == 2 else functional.one_hot(label, classes)).to(kept)
        mixed["label"] = share[:, None] * soft + (1 - share[:, None]) * soft[partner]
    if "weight" in batch:
        mixed["weight"] = share * batch["weight"] + (1 - share) * batch["weight"][partner]
    return mixed
