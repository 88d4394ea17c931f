"""Scintillation: what turbulent plasma on the way does to the intensity of a compact source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from rvtool.data import chance
from rvtool_plugins.augmenters.fields import SmoothFields, centres
from rvtool_plugins.augmenters.levels import replaced

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool_plugins.augmenters import ScintillationConfig

SIDES: tuple[Literal["image", "target"], ...] = ("image", "target")


class Scintillation:
    """Multiplies the brightness above background by a random gain of mean 1 that is smooth in frequency and time.

    The gain is |sqrt(1 - s) + sqrt(s) z|^2: a direct wave, and scattered ones that sum up to a complex Gaussian field z
    of variance 1. So the gain follows Rice's distribution, with the modulation index (its standard deviation)
    m = sqrt(s (2 - s)): nearly Gaussian where scattering is weak, and exponential where it is strong (m = 1) [1]_.
    m is drawn evenly up to the largest. As is customary [2]_, the decorrelation bandwidth is where the gain's
    autocovariance has fallen to half, the timescale where it has fallen to 1/e, both for m = 1.

    Noise does not scintillate, but is multiplied with the source. So white noise is added wherever the gain is less
    than its largest in the image (or than 1, if that is more), until noise is as strong everywhere as it is there. A
    target scintillates as its image does, for it shows the same source; nothing is added to it. Over an image of the
    sky the gain of one source is one number, which is what ``brightness-contrast`` varies.

    References
    ----------
    .. [1] Rickett 1990, ARA&A 28, 561, doi:10.1146/annurev.aa.28.090190.003021
    .. [2] Cordes 1986, ApJ 311, 183, doi:10.1086/164764
    """

    axes: ClassVar[tuple[str, ...]] = ("frequency-time",)

    def __init__(self, config: ScintillationConfig, data: DataInfo) -> None:
        self.config = config
        # the intensity of z correlates as the square of z itself, exp(-2 (d / length)^2)
        self.lengths_px = (
            config.bandwidth_channels * math.sqrt(2 / math.log(2)),
            config.timescale_samples * math.sqrt(2),
        )

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Let a batch scintillate."""
        image = batch["image"]
        size, (height, width) = len(image), image.shape[-2:]
        index = self.config.max_modulation * torch.rand(size, 1, 1, 1, generator=generator).to(image)
        scattered = 1 - (1 - index**2).sqrt()
        waves = SmoothFields((size, 2), (height, width), self.lengths_px, generator, image.device)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        for side in SIDES:
            if side in batch:
                pixels = batch[side]
                rows, columns = pixels.shape[-2:]
                # a target shows the same band and time, if perhaps in other steps
                wave = waves.at(centres(rows) * height / rows, centres(columns) * width / columns)
                real, imaginary = ((scattered / 2).sqrt() * wave).split(1, dim=1)  # (B, 1, H, W) each
                gain = ((1 - scattered).sqrt() + real) ** 2 + imaginary**2
                background, noise, _ = batch[f"{side}_statistics"][:, :, None, None, None].unbind(1)
                scintillating = background + gain * (pixels - background)
                if side == "image":
                    largest = gain.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
                    fresh = chance.normal(seed, torch.arange(size, device=image.device), image.shape[1:])
                    scintillating += (largest**2 - gain**2).clamp(min=0).sqrt() * noise * fresh
                batch = replaced(batch, scintillating, side=side)
        return batch
