"""Noise as a telescope adds it, in the image's physical unit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from rvtool.data import chance

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo, Side
    from rvtool_plugins.augmenters import NoiseConfig

FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum, in standard deviations


class Noise:
    """Adds Gaussian noise to each image, of a standard deviation drawn evenly between 0 and the largest.

    Where pixel scale and beam are known the noise correlates as the beam: its power follows the weights of the
    visibilities, whose transform is the beam. Else it is white. The target stays as it is.

    The noise among ``image_statistics`` grows with the image's, as it would if the noisy image were measured: a
    stretch that clips so many sigma clips the added noise too.
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time")

    def __init__(self, config: NoiseConfig, data: DataInfo) -> None:
        self.config = config
        self.response = _response(data.image)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Add noise to a batch."""
        image, statistics = batch["image"], batch["image_statistics"]
        size = len(image)
        parts = torch.rand(size, generator=generator).to(statistics)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        background, noise, peak = statistics.unbind(1)
        largest = torch.where(
            noise > 0, self.config.max_sigma * noise, self.config.max_peak_fraction * (peak - background)
        )
        sigma = parts * largest  # (B,), unit of the image
        # so many numbers are drawn where they are needed; by address they are the same on every device
        added = chance.normal(seed, torch.arange(size, device=image.device), image.shape[1:])
        if self.response is not None:
            spectrum = torch.fft.rfft2(added) * self.response.to(image)
            added = torch.fft.irfft2(spectrum, s=image.shape[-2:])
        noisy = torch.stack([background, torch.hypot(noise, sigma), peak], dim=1)
        return {**batch, "image": image + sigma.to(image)[:, None, None, None] * added, "image_statistics": noisy}


def _response(side: Side) -> Tensor | None:
    """Return what makes noise that correlates as the beam of white noise, ``(H, W // 2 + 1)`` on its transform.

    The standard deviation stays 1. The correlation reaches around the image's edges.
    """
    if side.beam is None or not side.pixel_arcsec:
        return None
    major, minor = (width / FWHM / side.pixel_arcsec for width in (side.beam.major_arcsec, side.beam.minor_arcsec))
    angle = math.radians(side.beam.angle_deg)
    v = torch.fft.fftfreq(side.height, dtype=torch.float64)[:, None]  # cycles a pixel
    u = torch.fft.fftfreq(side.width, dtype=torch.float64)
    along, across = v * math.cos(angle) - u * math.sin(angle), u * math.cos(angle) + v * math.sin(angle)
    power = torch.exp(-2 * math.pi**2 * ((major * along) ** 2 + (minor * across) ** 2))  # the beam's transform
    return (power / power.mean()).sqrt()[:, : side.width // 2 + 1].float()
