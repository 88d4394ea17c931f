"""From physical brightness to what a network sees, and back.

The settings say what to do; `fit` measures what must be measured, on the training split only; what the stretch takes
from each single image (its background, noise and peak) travels with that image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from rvtool.config import Config
from rvtool.errors import DataError

STATISTICS = ("background", "noise", "peak")
"""Columns of an image's statistics: median, robust standard deviation, and largest value, in the image's unit."""


class Stretch(Config):
    """How brightness becomes a network's input."""

    crop: int = Field(0, ge=0, description="Central square to keep, px; smaller images are padded. 0 keeps the image.")
    resize: int = Field(0, ge=0, description="Side to which the crop is then resampled, px. 0 keeps its pixels.")
    clip_sigma: float = Field(0.0, ge=0, description="Pixels below background + this many sigma are clipped.")
    clip_to: Literal["background", "level"] = Field(
        "background",
        description="What counts as 0: the background, to which clipped pixels fall with a step, or the clip's level.",
    )
    background: Literal["image", "none"] = Field(
        "image", description="What is taken off first: each image's median, or nothing, so that 0 stays 0."
    )
    kind: Literal["linear", "sqrt", "asinh"] = Field("asinh", description="Curve from scaled brightness to input.")
    softening: float = Field(
        0.1, gt=0, description="Brightness, as a fraction of the scale, where asinh turns from linear to logarithmic."
    )
    scale: Literal["image", "train", "noise"] = Field(
        "train",
        description="What brightness becomes 1: each image's own peak, one constant of the training split, or each "
        "image's own noise.",
    )


@dataclass(frozen=True)
class FittedStretch:
    """A stretch with what was measured on the training split.

    Attributes
    ----------
    constant
        The brightness that becomes 1 where `settings.scale` is ``"train"``: the median of the training images' peaks
        above background, in the image's unit. Where it is ``"noise"``, their median noise, for images that have none.
    """

    settings: Stretch
    constant: float

    @property
    def invertible(self) -> bool:
        """Whether fluxes can be had back: a clipped background cannot."""
        return self.settings.clip_sigma == 0

    def apply(self, image: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        """Stretch a batch.

        Parameters
        ----------
        image
            ``(B, C, H, W)``, physical unit, unknown pixels anything finite.
        statistics
            ``(B, 3)``, as `STATISTICS`, of each image after the crop.
        """
        background, noise, scale = self._terms(statistics)
        value = image - background
        if self.settings.clip_sigma > 0:
            level = self.settings.clip_sigma * noise
            if self.settings.clip_to == "level":
                value = value - level
                level = torch.zeros_like(level)
            value = torch.where(value < level, torch.zeros_like(value), value)
        value = value / scale
        soft = self.settings.softening
        if self.settings.kind == "sqrt":
            return value.sign() * value.abs().sqrt()
        if self.settings.kind == "asinh":
            return torch.asinh(value / soft) / float(np.arcsinh(1 / soft))
        return value

    def invert(self, stretched: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        """Return to the physical unit.

        Raises
        ------
        DataError
            The stretch clips the background away, so fluxes cannot be had back.
        """
        if not self.invertible:
            raise DataError(
                "This stretch clips the background (clip_sigma), so fluxes cannot be restored; train without it."
            )
        background, _, scale = self._terms(statistics)
        soft = self.settings.softening
        value = stretched
        if self.settings.kind == "sqrt":
            value = stretched.sign() * stretched.square()
        elif self.settings.kind == "asinh":
            value = soft * torch.sinh(stretched * float(np.arcsinh(1 / soft)))
        return value * scale + background

    def height(self, statistics: torch.Tensor) -> torch.Tensor:
        """Return how far the peaks of images ``(B, 3)`` rise above what counts as 0, ``(B,)``."""
        return statistics[:, 2] - self._zero(statistics)

    def _zero(self, statistics: torch.Tensor) -> torch.Tensor:
        return statistics[:, 0] if self.settings.background == "image" else 0 * statistics[:, 0]

    def _terms(self, statistics: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        statistics = statistics.to(torch.float32)
        background, noise, height = (
            value[:, None, None, None] for value in (self._zero(statistics), statistics[:, 1], self.height(statistics))
        )
        scale = torch.full_like(height, self.constant)
        if self.settings.scale == "image":
            scale = height - self.settings.clip_sigma * noise if self.settings.clip_to == "level" else height
        elif self.settings.scale == "noise":
            scale = torch.where(noise > 0, noise, scale)
        return background, noise, torch.where(scale > 0, scale, torch.ones_like(scale))

    def save(self, path: Path) -> None:
        """Write the stretch as JSON."""
        from rvtool.data.files import write_bytes

        write_bytes(path, json.dumps({"settings": self.settings.model_dump(), "constant": self.constant}).encode())

    @classmethod
    def load(cls, path: Path) -> FittedStretch:
        """Read what `save` wrote."""
        stored = json.loads(path.read_text())
        return cls(Stretch(**stored["settings"]), stored["constant"])


def fit(settings: Stretch, statistics: np.ndarray) -> FittedStretch:
    """Measure a stretch on the training images' statistics, ``(N, 3)``.

    Raises
    ------
    DataError
        The noise is to be the scale, and most images have none.
    """
    if settings.scale == "noise":
        noise = np.asarray(statistics)[:, 1]
        if np.median(noise) <= 0:
            raise DataError(
                "Most of these images have no noise to measure (their background is clipped or flat), so it cannot be "
                "their scale; use --scale image."
            )
        return FittedStretch(settings, float(np.median(noise)))
    heights = FittedStretch(settings, 1.0).height(torch.from_numpy(np.asarray(statistics))).numpy()
    positive = heights[heights > 0]
    return FittedStretch(settings, float(np.median(positive)) if positive.size else 1.0)


def cut(image: np.ndarray, height: int, width: int, resize: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bring one image to a shape, and measure it there: the same for training and for predicting.

    Parameters
    ----------
    image
        ``(C, H, W)``, physical unit.
    resize
        Side to which the square is then resampled, px; 0 keeps its pixels.

    Returns
    -------
    pixels : (C, height, width), or (C, resize, resize) float32
        As `fit_to` and `resample` give.
    statistics : (3,)
        As `STATISTICS`.

    Raises
    ------
    DataError
        No pixel is known.
    """
    pixels = fit_to(image, height, width)
    if resize:
        pixels = resample(pixels, resize)
    known = np.isfinite(pixels).all(axis=0)  # (height, width)
    if not known.any():
        raise DataError("has not one known pixel (all NaN); leave it out.")
    return pixels, measure(pixels, known)


def measure(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return background, noise and peak of one image.

    Parameters
    ----------
    image
        ``(C, H, W)``, physical unit.
    mask
        ``(H, W)``, True where known.

    Returns
    -------
    ``(3,)`` float32, as `STATISTICS`: median, 1.4826 times the median absolute deviation, maximum.
    """
    known = image[:, mask]
    if known.size == 0:
        return np.zeros(3, np.float32)
    median = np.median(known)
    return np.array([median, 1.4826 * np.median(np.abs(known - median)), known.max()], np.float32)


def fit_to(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut the centre of ``(C, H, W)`` to a shape, or pad it with NaN (zeros for integers) to that shape."""
    blank = np.nan if image.dtype.kind == "f" else 0
    out = np.full((image.shape[0], height, width), blank, image.dtype)
    target, source = [], []
    for have, want in zip(image.shape[1:], (height, width), strict=True):
        size = min(have, want)
        target.append(slice((want - size) // 2, (want - size) // 2 + size))
        source.append(slice((have - size) // 2, (have - size) // 2 + size))
    out[:, target[0], target[1]] = image[:, source[0], source[1]]
    return out


def resample(image: np.ndarray, side: int) -> np.ndarray:
    """Resample ``(C, H, W)`` to a square, keeping brightness; a pixel is NaN where less than half of it is known."""
    pixels = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
    known = torch.isfinite(pixels).float()

    def shrink(values: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(values, (side, side), mode="bilinear", antialias=True)

    share = shrink(known)
    mean = shrink(torch.where(known > 0, pixels, 0.0)) / share
    return torch.where(share < 0.5, torch.nan, mean)[0].numpy()
