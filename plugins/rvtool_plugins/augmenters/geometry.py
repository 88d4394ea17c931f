"""Augmenters that move images on the sky: image, target and image-like condition move together.

Each only says how it moves them; moves that follow each other are made as one (`rvtool.data.moves`). Draws come from a
generator on the CPU, one an image, so that they are the same on every device. Labels that name a direction on the sky
(a position angle) do not survive a turn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from rvtool.data.moves import Move
from rvtool_plugins.augmenters.draws import factors

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo, Side
    from rvtool_plugins.augmenters import RotateFlipConfig, ScaleConfig, ShiftConfig


class Mover:
    """An augmenter that only moves: a subclass says how, in ``move``."""

    axes: ClassVar[tuple[str, ...]] = ("sky",)

    def move(self, batch: Batch, generator: torch.Generator) -> Move:
        """Draw how each image of a batch moves."""
        raise NotImplementedError

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Move a batch."""
        return self.move(batch, generator).apply(batch)


class RotateFlip(Mover):
    """Turns each image about its centre by an angle of its own, and mirrors some.

    Positive angles turn as `torch.rot90` does. Multiples of 90 degrees (``step_deg = 90``) keep every value of a
    square image.
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "metres")

    def __init__(self, config: RotateFlipConfig, data: DataInfo) -> None:
        self.config = config
        # a turn by quarters meets pixel centres, where 'nearest' takes the value as it is
        quarters = config.step_deg > 0 and config.step_deg % 90 == 0
        self.mode: Literal["bilinear", "nearest"] = "nearest" if quarters else config.interpolation

    def move(self, batch: Batch, generator: torch.Generator) -> Move:
        """Draw an angle and a side for each image."""
        size = len(batch["image"])
        angles = self._angles(torch.rand(size, generator=generator))
        flips = torch.rand(size, generator=generator) < self.config.flip_probability
        return Move(turns(angles, flips), {}, self.mode)

    def _angles(self, draws: Tensor) -> Tensor:
        """Make angles in degrees of draws from [0, 1)."""
        largest, step = self.config.max_angle_deg, self.config.step_deg
        if step == 0:
            return (2 * draws - 1) * largest
        most = math.floor(largest / step)
        # where the largest turn is half a circle, both ends of the range are one angle, which must not count twice
        choices = 2 * most if most * step == 180 else 2 * most + 1
        return (torch.floor(draws * choices) - most) * step


class Shift(Mover):
    """Shifts each image by an offset of its own, drawn evenly from a square.

    The target shifts by the same angle on the sky: by the same number of arcseconds, where both pixel scales are
    known, and else as if both showed the same field. So does the condition, which is taken to show the image's field.
    """

    def __init__(self, config: ShiftConfig, data: DataInfo) -> None:
        self.config = config
        self.target_scale = pixels_of(data.image, data.target) if data.target else 1.0

    def move(self, batch: Batch, generator: torch.Generator) -> Move:
        """Draw an offset for each image."""
        image = batch["image"]
        shifts = (2 * torch.rand(len(image), 2, generator=generator) - 1) * self.config.max_shift_px  # (B, 2), x and y
        condition = batch.get("condition")
        scale = 1.0 if condition is None or condition.ndim != 4 else condition.shape[-1] / image.shape[-1]
        offsets = {"image": shifts, "target": shifts * self.target_scale, "condition": shifts * scale}
        return Move(torch.eye(2).expand(len(image), 2, 2), offsets, self.config.interpolation)


class Scale(Mover):
    """Zooms each image about its centre, by a factor drawn evenly in its logarithm.

    A source becomes larger or smaller as it would at another distance or of another true size. Surface brightness
    stays, so that its flux changes by the factor's square; so does the beam's size, by the factor.
    """

    def __init__(self, config: ScaleConfig, data: DataInfo) -> None:
        self.config = config

    def move(self, batch: Batch, generator: torch.Generator) -> Move:
        """Draw a factor for each image."""
        size = len(batch["image"])
        zooms = factors(self.config.max_factor, size, generator)
        return Move(torch.eye(2) / zooms[:, None, None], {}, self.config.interpolation)


def pixels_of(image: Side, target: Side) -> float:
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
