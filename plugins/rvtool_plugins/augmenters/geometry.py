"""Augmenters that move images on the sky: image, target and image-like condition move together.

What a move uncovers is unknown: False in the mask and 0 in the image, like every unknown pixel. A pixel is known
where all that it was interpolated from is known. Draws come from a generator on the CPU, one an image, so that they
are the same on every device. Labels that name a direction on the sky (a position angle) do not survive a turn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from rvtool_plugins.augmenters.draws import factors

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo, Side
    from rvtool_plugins.augmenters import RotateFlipConfig, ScaleConfig, ShiftConfig


class RotateFlip:
    """Turns each image about its centre by an angle of its own, and mirrors some.

    Positive angles turn as `torch.rot90` does. Multiples of 90 degrees (``step_deg = 90``) keep every value of a
    square image.
    """

    axes: ClassVar[tuple[str, ...]] = ("sky",)

    def __init__(self, config: RotateFlipConfig, data: DataInfo) -> None:
        self.config = config
        # a turn by quarters meets pixel centres, where 'nearest' takes the value as it is
        quarters = config.step_deg > 0 and config.step_deg % 90 == 0
        self.mode = "nearest" if quarters else config.interpolation

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Move a batch."""
        size = len(batch["image"])
        angles = self._angles(torch.rand(size, generator=generator))
        flips = torch.rand(size, generator=generator) < self.config.flip_probability
        return move(batch, turns(angles, flips), centred(size), self.mode)

    def _angles(self, draws: Tensor) -> Tensor:
        """Make angles in degrees of draws from [0, 1)."""
        largest, step = self.config.max_angle_deg, self.config.step_deg
        if step == 0:
            return (2 * draws - 1) * largest
        most = math.floor(largest / step)
        # where the largest turn is half a circle, both ends of the range are one angle, which must not count twice
        choices = 2 * most if most * step == 180 else 2 * most + 1
        return (torch.floor(draws * choices) - most) * step


class Shift:
    """Shifts each image by an offset of its own, drawn evenly from a square.

    The target shifts by the same angle on the sky: by the same number of arcseconds, where both pixel scales are
    known, and else as if both showed the same field. So does the condition, which is taken to show the image's field.
    """

    axes: ClassVar[tuple[str, ...]] = ("sky",)

    def __init__(self, config: ShiftConfig, data: DataInfo) -> None:
        self.config = config
        self.target_scale = _pixels_of(data.image, data.target) if data.target else 1.0

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Move a batch."""
        image = batch["image"]
        shifts = (2 * torch.rand(len(image), 2, generator=generator) - 1) * self.config.max_shift_px  # (B, 2), x and y
        condition = batch.get("condition")
        scale = 1.0 if condition is None or condition.ndim != 4 else condition.shape[-1] / image.shape[-1]
        offsets = {"image": shifts, "target": shifts * self.target_scale, "condition": shifts * scale}
        return move(batch, torch.eye(2).expand(len(image), 2, 2), offsets, self.config.interpolation)


class Scale:
    """Zooms each image about its centre, by a factor drawn evenly in its logarithm.

    A source becomes larger or smaller as it would at another distance or of another true size. Surface brightness
    stays, so that its flux changes by the factor's square; so does the beam's size, by the factor.
    """

    axes: ClassVar[tuple[str, ...]] = ("sky",)

    def __init__(self, config: ScaleConfig, data: DataInfo) -> None:
        self.config = config

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Zoom a batch."""
        size = len(batch["image"])
        zooms = factors(self.config.max_factor, size, generator)
        return move(batch, torch.eye(2) / zooms[:, None, None], centred(size), self.config.interpolation)


GRIDS = {"image": "mask", "target": "target_mask", "condition": "condition_mask"}
"""What moves in a batch, and the mask that moves with it."""


def centred(size: int) -> dict[str, Tensor]:
    """Return the offsets of everything that stays about its centre."""
    return dict.fromkeys(GRIDS, torch.zeros(size, 2))


def _pixels_of(image: Side, target: Side) -> float:
    """Return how many pixels of the target one pixel of the image spans."""
    if image.pixel_arcsec and target.pixel_arcsec:
        return image.pixel_arcsec / target.pixel_arcsec
    return target.width / image.width


def turns(angles: Tensor, flips: Tensor) -> Tensor:
    """Return the matrices ``(B, 2, 2)`` that take (x, y) pixel offsets of the output to those of the input.

    Parameters
    ----------
    angles : (B,), degrees
        As `torch.rot90` turns.
    flips : (B,) bool
        Mirror left and right before turning.
    """
    radians = torch.deg2rad(angles.double())
    cos, sin = radians.cos(), radians.sin()
    sign = torch.where(flips, -1.0, 1.0).double()
    # y runs downwards, so turning the picture anticlockwise looks up the input clockwise
    rows = [torch.stack([sign * cos, -sign * sin], dim=1), torch.stack([sin, cos], dim=1)]
    return torch.stack(rows, dim=1).float()


def move(batch: Batch, matrices: Tensor, offsets_px: dict[str, Tensor], mode: str) -> Batch:
    """Move everything in a batch that lies on the sky.

    Parameters
    ----------
    matrices : (B, 2, 2)
        From (x, y) of the output to (x, y) of the input, about the centre.
    offsets_px : dict of (B, 2)
        By how many of its own pixels each of `GRIDS` then moves to the right and down.
    mode
        ``"bilinear"`` or ``"nearest"``.
    """
    moved = dict(batch)
    for key, mask_key in GRIDS.items():
        image = batch.get(key)
        if image is None or image.ndim != 4:  # a condition may be a vector
            continue
        mask = batch.get(mask_key)
        known = torch.ones_like(image[:, :1], dtype=torch.bool) if mask is None else mask
        moved[key], known = _resample(image, known, matrices, offsets_px[key], mode)
        if mask is not None:
            moved[mask_key] = known
    return moved


def _resample(image: Tensor, known: Tensor, matrices: Tensor, offsets_px: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """Look up each output pixel of ``(B, C, H, W)`` and its mask ``(B, 1, H, W)`` in the input."""
    height, width = image.shape[-2:]
    # grid_sample counts in half images; `half` converts pixels to that, so that turns stay turns on oblong images
    half = torch.tensor([width / 2, height / 2])
    linear = matrices * half / half[:, None]
    shift = -(matrices @ offsets_px[:, :, None])[:, :, 0] / half
    theta = torch.cat([linear, shift[:, :, None]], dim=2).to(image)  # (B, 2, 3)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    both = torch.cat([image, known.to(image)], dim=1)
    both = functional.grid_sample(both, grid, mode=mode, padding_mode="zeros", align_corners=False)
    covered = both[:, -1:] > 0.999  # less is rounding of a pixel that is wholly known
    return both[:, :-1] * covered, covered
