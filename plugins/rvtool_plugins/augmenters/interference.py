"""What is added to an image that does not come from its source: interference, spikes, a drifting baseline.

All of these are sums of a few products of a profile down the image and one across it. Amplitudes are in units of each
image's peak above background. The target stays as it is. Rows of a dynamic spectrum are its channels, columns its
times.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from rvtool_plugins.augmenters.draws import some, windows
from rvtool_plugins.augmenters.fields import centres
from rvtool_plugins.augmenters.levels import heights, replaced

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool_plugins.augmenters import BaselineDriftConfig, RfiConfig, SpikesConfig

FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum, in standard deviations
SHORTEST_PERIOD_PX = 4.0  # of a fringe: the longest baselines, of a beam that spans three pixels or more


class Interference:
    """An augmenter that only adds: a subclass says what, in ``profiles``."""

    def profiles(self, size: int, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw K profiles down ``(size, K, H)``, in units of the peak above background, and across ``(size, K, W)``."""
        raise NotImplementedError

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Add to a batch."""
        image = batch["image"]
        down, across = self.profiles(len(image), (image.shape[-2], image.shape[-1]), generator)
        added = down.to(image).mT @ across.to(image)  # (B, H, W)
        return replaced(batch, image + (heights(batch)[:, None, None] * added)[:, None])


class Rfi(Interference):
    """Adds radio-frequency interference: 1 to `max_lines` straight lines, of brightness drawn evenly up to the largest.

    - On *dynamic spectra* a line is either narrowband (a transmitter: a few neighbouring channels at all times) or a
      broadband burst (lightning, sparks: all channels for a few neighbouring samples). Power only adds up.
    - On *sky images* of an interferometer no such lines can be: an image is a sum of fringes, one for each place where
      the visibility was measured, and interference in one of them adds its fringe a cos(2 pi (u x + v y) + phase) to
      the whole image, straight stripes in any direction (chapter 16 of [1]_). Their period is drawn evenly in its
      logarithm from 4 pixels up.

    References
    ----------
    .. [1] Thompson, Moran & Swenson 2017, Interferometry and Synthesis in Radio Astronomy, 3rd edition,
       doi:10.1007/978-3-319-44431-4
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time")

    def __init__(self, config: RfiConfig, data: DataInfo) -> None:
        self.config, self.on_sky = config, data.image.axes == "sky"

    def profiles(self, size: int, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw lines or fringes."""
        config = self.config
        brightest = config.max_fringe_fraction if self.on_sky else config.max_peak_fraction
        brightness = _brightness(brightest, config.max_lines, size, generator)
        return (self._fringes if self.on_sky else self._lines)(brightness, shape, generator)

    def _lines(self, brightness: Tensor, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        lines = (brightness.shape[0], brightness.shape[1])
        channels, samples = (windows(length, self.config.max_width_px, lines, generator) for length in shape)
        broad = torch.rand(*lines, 1, generator=generator) < self.config.broadband_probability
        return brightness * (channels | broad), (samples | ~broad).float()

    def _fringes(self, brightness: Tensor, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        periods, directions, phases = torch.rand(3, *brightness.shape, generator=generator)
        rate = 2 * math.pi / SHORTEST_PERIOD_PX * (SHORTEST_PERIOD_PX / self.config.max_period_px) ** periods  # per px
        directions, phases = 2 * math.pi * directions, 2 * math.pi * phases
        down = rate * directions.sin() * centres(shape[0])
        across = rate * directions.cos() * centres(shape[1]) + phases
        # cos(a + b) = cos a cos b - sin a sin b
        return (
            torch.cat([brightness * down.cos(), -brightness * down.sin()], dim=1),
            torch.cat([across.cos(), across.sin()], dim=1),
        )


def _brightness(brightest: float, most: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw the brightness of 1 to `most` things an image, ``(size, most, 1)``; it is 0 for those that are not there."""
    even = torch.rand(size, most, generator=generator)
    return (brightest * even * some(most, size, generator))[:, :, None]


class Spikes(Interference):
    """Adds 1 to `max_spikes` round spots anywhere, of peak brightness drawn evenly up to the largest.

    On dynamic spectra they are short bursts in few channels. On sky images they are unrelated compact sources, as wide
    as the beam where it is known (of an oblong one: as the round one of its area).
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time")

    def __init__(self, config: SpikesConfig, data: DataInfo) -> None:
        side = data.image
        self.config, width = config, config.width_px
        if side.beam is not None and side.pixel_arcsec:
            width = math.sqrt(side.beam.major_arcsec * side.beam.minor_arcsec) / side.pixel_arcsec
        self.sigma = width / FWHM

    def profiles(self, size: int, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw spots."""
        most = self.config.max_spikes
        brightness = _brightness(self.config.max_peak_fraction, most, size, generator)
        places = torch.rand(2, size, most, 1, generator=generator) - 0.5
        down, across = (
            torch.exp(-(((centres(length) - place * length) / self.sigma) ** 2) / 2)
            for length, place in zip(shape, places, strict=True)
        )
        return brightness * down, across


class BaselineDrift(Interference):
    """Lets the level of all channels rise and fall with time: a sin(2 pi n t + phase), its mean taken off.

    t runs from 0 to 1 over the spectrum; n, the number of cycles, is drawn evenly up to the largest, and need not be
    whole. Receivers drift so with their temperature. An image of the sky has no time along it, and its level is set by
    the spacings that were not measured.
    """

    axes: ClassVar[tuple[str, ...]] = ("frequency-time",)

    def __init__(self, config: BaselineDriftConfig, data: DataInfo) -> None:
        self.config = config

    def profiles(self, size: int, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a slow wave."""
        height, width = shape
        brightness, cycles, phases = torch.rand(3, size, 1, 1, generator=generator)
        time = (torch.arange(width) + 0.5) / width
        wave = torch.sin(2 * math.pi * (self.config.max_cycles * cycles * time + phases))
        wave = wave - wave.mean(dim=2, keepdim=True)
        return (self.config.max_peak_fraction * brightness).expand(size, 1, height), wave
