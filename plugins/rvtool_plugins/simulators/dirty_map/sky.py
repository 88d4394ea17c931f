"""Skies as their Fourier transforms: sources drawn by chance, or images that are there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rvtool.data import chance
from rvtool.data.beams import GAUSSIAN_AREA, SIGMA_PER_FWHM, area, spelled
from rvtool.data.dataset import open_dataset, read_side
from rvtool.data.pack import open_pack
from rvtool.errors import ConfigError, DataError
from rvtool_plugins.simulators.dirty_map.beam import frequencies

if TYPE_CHECKING:
    import pyarrow as pa

    from rvtool.kinds import Batch
    from rvtool_plugins.simulators.dirty_map import DirtyMapConfig

DRAWS = 16  # where the drawn sources' numbers begin
MARGIN = 1 / 8  # of the image's side, at each edge, in which no drawn source has its centre
LEAST_AXIS_RATIO = 0.3
JANSKY = {"jy": 1.0, "mjy": 1e-3, "ujy": 1e-6, "μjy": 1e-6, "kjy": 1e3}


class Drawn:
    """Point sources and elliptical Gaussians.

    Their number is uniform from 1; fluxes have the counts N(>S) ~ S^-``flux_slope`` between their bounds; the centres
    are uniform in the inner three quarters of the image; the Gaussians' longer axes are uniform in their logarithm from
    one pixel on, axis ratios uniform from 0.3 to 1, position angles uniform.

    Attributes
    ----------
    shape
        Rows and columns of an image.
    rows
        None: these skies are made of no others.
    """

    rows = None

    def __init__(self, config: DirtyMapConfig) -> None:
        self.config = config
        self.shape = (config.size, config.size)
        self.pixel_arcsec = config.pixel_arcsec
        self._widest = (config.fwhm_max_arcsec or config.size * config.pixel_arcsec / 8) / config.pixel_arcsec  # px
        if config.extended_fraction and self._widest < 1:
            raise ConfigError(
                f"--fwhm-max-arcsec is {config.fwhm_max_arcsec:g}, less than a pixel ({config.pixel_arcsec:g} arcsec); "
                "make it larger, or set --extended-fraction 0."
            )

    def transform(self, indices: Tensor, seed: int) -> tuple[Tensor, Batch]:
        """Draw skies.

        Returns
        -------
        transform : (B, 2 H, W + 1), complex64
            Of the flux in Jy, on the grid of twice the image, in the order of `torch.fft.rfft2`.
        columns
            ``flux_jy`` (of all sources) and ``sources``, (B,) each.
        """
        config, most = self.config, self.config.sources
        many = chance.uniform(seed, indices, 1, DRAWS)[:, 0]
        number = (many * most).long() + 1
        # in float64: what a vector's last places of functions differ in from a single number's, float32 does not see
        draws = chance.uniform(seed, indices, 7 * most, DRAWS + 1).unflatten(1, (7, most)).double()
        bright, x, y, extended, size, ratio, angle = draws.unbind(1)  # (B, K) each
        spread = (config.flux_max_jy / config.flux_min_jy) ** -config.flux_slope
        flux = config.flux_min_jy * (1 - bright * (1 - spread)) ** (-1 / config.flux_slope)
        flux = flux * (torch.arange(most, device=indices.device) < number[:, None])
        x, y = ((at * (1 - 2 * MARGIN) + MARGIN) * config.size - 0.5 for at in (x, y))
        major = SIGMA_PER_FWHM * self._widest**size * (extended < config.extended_fraction)
        minor = major * (LEAST_AXIS_RATIO + (1 - LEAST_AXIS_RATIO) * ratio)
        sin, cos = torch.sin(math.pi * angle), torch.cos(math.pi * angle)

        fy, fx = frequencies((2 * config.size, 2 * config.size), indices.device)
        made = torch.zeros(len(indices), len(fy), len(fx), dtype=torch.complex64, device=indices.device)
        for source in range(most):
            of = (flux, x, y, major, minor, sin, cos)
            f, x0, y0, long, short, s, c = (values[:, source, None, None].float() for values in of)
            # the major axis lies along (-sin, cos) of columns, to the west, and rows, to the north
            along, across = long * (c * fy - s * fx), short * (c * fx + s * fy)
            spectrum = f * torch.exp(-2 * math.pi**2 * (along.square() + across.square()))
            made += spectrum * _turn(fy * y0) * _turn(fx * x0)
        return made, {"flux_jy": flux.sum(1).float(), "sources": number}


def _turn(cycles: Tensor) -> Tensor:
    """Return exp(-2 pi i cycles)."""
    angle = -2 * math.pi * cycles.double()
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


class Images:
    """The images of a dataset, taken for the sky itself: their beam and their noise become part of it.

    Attributes
    ----------
    shape
        Rows and columns of an image.
    rows
        The dataset's manifest.

    Raises
    ------
    DataError
        The images do not tell pixel scale, unit of flux or beam, or have more than one channel.
    """

    def __init__(self, config: DirtyMapConfig) -> None:
        assert config.data is not None
        dataset = open_dataset(config.data)
        self.pack = open_pack(dataset, config.crop)
        self.rows: pa.Table = dataset.table
        side = read_side(dataset.info.get("image", {}), *self.pack.pixels.shape[1:])
        if side.channels != 1:
            raise DataError(f"The images of {config.data} have {side.channels} channels, and dirty-map takes one.")
        self.shape = (side.height, side.width)
        self.pixel_arcsec = side.pixel_arcsec or config.image_pixel_arcsec
        if not self.pixel_arcsec:
            raise DataError(f"The images of {config.data} do not tell their pixel scale; set --image-pixel-arcsec.")
        prefixed, _, counted = spelled(side.unit).partition("/")
        if prefixed not in JANSKY or counted not in ("beam", "pix", "pixel"):
            raise DataError(
                f"The images of {config.data} are in '{side.unit}', and dirty-map needs Jy/beam or Jy/pixel; choose "
                "calibrated images."
            )
        self.jansky = JANSKY[prefixed]  # per pixel, of a stored 1
        if counted == "beam":
            given = GAUSSIAN_AREA * config.from_beam_arcsec**2
            beam_arcsec2 = area(side.beam) if side.beam else given
            if not beam_arcsec2:
                raise DataError(f"The images of {config.data} do not tell their beam; set --from-beam-arcsec.")
            self.jansky *= self.pixel_arcsec**2 / beam_arcsec2

    def transform(self, indices: Tensor, seed: int) -> tuple[Tensor, Batch]:
        """Return the transforms of images, which begin anew at the end; what is unknown of one is empty sky.

        Returns
        -------
        transform : (B, 2 H, W + 1), complex64
            As of `Drawn.transform`.
        columns
            ``mask`` and ``target_mask``, (B, 1, H, W).
        """
        at = (indices % len(self.rows)).cpu().numpy()
        pixels = torch.from_numpy(self.pack.pixels[at][:, 0]).to(indices.device).float()
        known = torch.isfinite(pixels)
        sky = torch.where(known, pixels, 0.0) * self.jansky
        known = (known & torch.from_numpy(self.pack.good[at]).to(known.device)[:, None, None])[:, None]
        transform = torch.fft.rfft2(sky, s=(2 * self.shape[0], 2 * self.shape[1]))
        return transform, {"mask": known, "target_mask": known}
