"""A sky of round Gaussians on two grids: through a radio beam, and through the seeing into pixels that count light.

Everything that shines is a sum of round Gaussians, in arcsec from the middle of the field. A Gaussian factors into rows
and columns, so a batch is one product of matrices, and both surveys see the very same sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rvtool.data import chance

FWHM = math.sqrt(8 * math.log(2))  # full width at half maximum, in standard deviations
FAINTEST = -30.0  # exponent at which a profile stops falling: denormal numbers would take ten times as long
NOISE_WIDTH = math.sqrt(0.5)  # beams: white noise convolved with this correlates as the beam, which it does in maps
NOISE_STEP, NOISE_REACH = 1.2, 4.0  # of the white noise's grid and of its kernel, standard deviations


@dataclass(frozen=True)
class Blobs:
    """Round Gaussians.

    Attributes
    ----------
    x, y : (B, K)
        Towards increasing columns (west) and rows (north), arcsec.
    sigma : (B, K)
        Standard deviation, arcsec.
    flux : (B, K, C)
        Of each channel.
    """

    x: torch.Tensor
    y: torch.Tensor
    sigma: torch.Tensor
    flux: torch.Tensor

    @staticmethod
    def join(*parts: Blobs) -> Blobs:
        """Return the blobs of all `parts` as one sky."""
        names = ("x", "y", "sigma", "flux")
        return Blobs(*(torch.cat([getattr(part, name) for part in parts], 1) for name in names))

    def __getitem__(self, part: slice) -> Blobs:
        """Return the blobs of some images."""
        return Blobs(self.x[part], self.y[part], self.sigma[part], self.flux[part])

    def lit(self, flux: torch.Tensor) -> Blobs:
        """Return blobs of one channel and flux 1 with the fluxes ``(B, C)``."""
        return Blobs(self.x, self.y, self.sigma, self.flux * flux[:, None])

    def moved(self, x: torch.Tensor, y: torch.Tensor) -> Blobs:
        """Return all blobs displaced by ``x (B,)`` and ``y (B,)``, arcsec."""
        return Blobs(self.x + x[:, None], self.y + y[:, None], self.sigma, self.flux)


class Grid:
    """Square pixels about the middle of the field.

    Parameters
    ----------
    size
        Side of the image, pixels.
    pixel_arcsec
        Side of a pixel, arcsec.
    """

    def __init__(self, size: int, pixel_arcsec: float, device: torch.device) -> None:
        self.size, self.pixel_arcsec = size, pixel_arcsec
        self._edges = (torch.arange(size + 1, device=device) - size / 2) * pixel_arcsec  # arcsec
        self._centres = self._edges[:-1] + pixel_arcsec / 2

    def per_beam(self, blobs: Blobs, fwhm_arcsec: float) -> torch.Tensor:
        """Return the surface brightness at the pixels' centres: a point's peak is its flux.

        Returns
        -------
        image : (B, C, H, W), unit of flux per beam
        """
        beam = (fwhm_arcsec / FWHM) ** 2
        variance = blobs.sigma**2 + beam
        rows, columns = (
            (self._centres - at[..., None]).square_().mul_((-0.5 / variance)[..., None]).clamp_(min=FAINTEST).exp_()
            for at in (blobs.y, blobs.x)
        )
        peak = blobs.flux * (beam / variance)[..., None]
        return torch.stack([_product(rows, columns, peak[..., c]) for c in range(peak.shape[2])], 1)

    def per_pixel(self, blobs: Blobs, fwhm_arcsec: tuple[float, ...]) -> torch.Tensor:
        """Return the flux that falls into each pixel, with a seeing for each channel.

        Returns
        -------
        image : (B, C, H, W), unit of flux
        """
        channels = []
        for channel, fwhm in enumerate(fwhm_arcsec):
            narrow = (2 * (blobs.sigma**2 + (fwhm / FWHM) ** 2)).rsqrt()[..., None]
            rows, columns = (
                torch.erf((self._edges - at[..., None]).mul_(narrow)).diff(dim=2).mul_(0.5) for at in (blobs.y, blobs.x)
            )
            channels.append(_product(rows, columns, blobs.flux[..., channel]))
        return torch.stack(channels, 1)


class BeamNoise:
    """Noise of a map: it correlates as the beam, with one rms in every pixel.

    In images made from visibilities the noise's power follows their weights, whose transform is the beam; so the white
    noise is convolved with a Gaussian 1 / sqrt(2) as wide.
    """

    def __init__(self, grid: Grid, fwhm_arcsec: float, device: torch.device) -> None:
        sigma = NOISE_WIDTH * fwhm_arcsec / FWHM / grid.pixel_arcsec  # pixels
        end = (grid.size - 1) / 2 + NOISE_REACH * sigma
        nodes = torch.linspace(-end, end, math.ceil(2 * end / (NOISE_STEP * sigma)) + 1)
        pixels = torch.arange(grid.size) - (grid.size - 1) / 2
        kernel = torch.exp(-0.5 * ((pixels[:, None] - nodes) / sigma) ** 2)
        self._kernel = (kernel / kernel.square().sum(1, keepdim=True).sqrt()).to(device)  # (H, M), rows of length 1

    def __call__(self, rms: float, seed: int, indices: torch.Tensor, start: int) -> torch.Tensor:
        """Draw noise, from the draw `start` on (see `rvtool.data.chance`).

        Returns
        -------
        noise : (B, 1, H, W), in the unit of `rms`
        """
        count = self._kernel.shape[1]
        white = chance.normal(seed, indices, (1, count, count), start)
        return torch.matmul(self._kernel, torch.matmul(white, self._kernel.T)).mul_(rms)


def _product(rows: torch.Tensor, columns: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Sum the outer products of ``rows (B, K, H)`` and ``columns (B, K, W)`` with ``weight (B, K)``: (B, H, W)."""
    return torch.bmm((rows * weight[..., None]).transpose(1, 2), columns)
