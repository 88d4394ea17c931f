"""What the telescope makes of a sky of round Gaussians: convolution with its beam, and noise of its correlation.

Both are cheap because Gaussians factor into rows and columns. The beam is elliptical in general; a
rotated ellipse does not factor, so it is written as a row of round beams of its minor axis, set along its major axis
and weighted by a Gaussian (the trapezoidal rule, cut at 4 standard deviations: good to 3e-4 of the peak).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rvtool.data import chance
from rvtool.kinds import Beam

FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum, in standard deviations
REACH = 4.0  # where a Gaussian ends, in standard deviations: 3e-4 of its peak
FAINTEST = -30.0  # exponent at which a profile stops falling: denormal numbers would take ten times as long
NODE_STEP = 1.2  # of the trapezoidal rule, in standard deviations of what is summed
NOISE_STEP = 1.2  # of the white noise, in the beam's standard deviations: the correlation ripples by 2e-3, not the rms


@dataclass(frozen=True)
class Blobs:
    """Round Gaussians: centre and standard deviation in pixels, flux in Jy; each (B, K)."""

    x: torch.Tensor
    y: torch.Tensor
    sigma: torch.Tensor
    flux: torch.Tensor

    def __getitem__(self, part: slice) -> Blobs:
        """Return the blobs of some images."""
        return Blobs(self.x[part], self.y[part], self.sigma[part], self.flux[part])


class Sky:
    """An image of ``size`` pixels through a beam.

    Parameters
    ----------
    size
        Side of the image, pixels.
    pixel_arcsec
        Side of a pixel, arcsec.
    beam
        The restoring beam; its angle counts from north (up) to east (left).
    noise_fwhm_beams
        What white noise is convolved with, as a multiple of the beam. At 1 the noise correlates like the beam's
        autocorrelation. In real images it correlates like the beam itself (the noise's power follows the weights of
        the visibilities, whose transform is the beam), which is 1 / sqrt(2): in FIRST the correlation at 1 and 2
        pixels is 0.76 and 0.37, the beam has 0.74 and 0.29, its autocorrelation 0.86 and 0.54.
    """

    def __init__(
        self, size: int, pixel_arcsec: float, beam: Beam, noise_fwhm_beams: float, device: torch.device
    ) -> None:
        self.size = size
        major, minor = (fwhm / FWHM / pixel_arcsec for fwhm in (beam.major_arcsec, beam.minor_arcsec))
        self.beam_area_px = 2 * math.pi * major * minor
        self.sigma, nodes, weights = _as_round_beams(major, minor, math.radians(beam.angle_deg))
        wide = noise_fwhm_beams
        rows = [_spread(size, wide * self.sigma[1], wide * nodes[:, 1], at) for at in range(len(nodes))]
        columns = [_spread(size, wide * self.sigma[0], wide * nodes[:, 0], at) for at in range(len(nodes))]
        self.white_shape = (rows[0].shape[1], columns[0].shape[1])
        # variance (H, W) of the spread white noise: sum over pairs of nodes of (rows . rows') (columns . columns')
        across = np.einsum("qim,pim->qpi", rows, rows)
        along = np.einsum("qjm,pjm->qpj", columns, columns)
        variance = np.einsum("q,p,qpi,qpj->ij", weights, weights, across, along)
        self._to_unit_rms = torch.tensor(1 / np.sqrt(variance), dtype=torch.float32, device=device)  # (H, W)
        self._rows = torch.tensor(np.stack(rows) * weights[:, None, None], dtype=torch.float32, device=device)
        self._columns = torch.tensor(np.stack(columns).swapaxes(1, 2), dtype=torch.float32, device=device).contiguous()
        self._nodes = torch.tensor(nodes, dtype=torch.float32, device=device)  # (Q, 2)
        self._weights = torch.tensor(weights, dtype=torch.float32, device=device)  # (Q,)
        self._pixels = torch.arange(size, dtype=torch.float32, device=device)

    def render(self, blobs: Blobs, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the surface brightness at the pixels' centres.

        A Gaussian convolved with a Gaussian is one whose variances are the sums, so nothing is sampled before the
        convolution, and the sum over the pixels, divided by the beam's area, is the flux.

        Returns
        -------
        image : (B, H, W), Jy/beam
        """
        x = (blobs.x[..., None] + self._nodes[:, 0]).flatten(1)  # (B, K, Q) -> (B, K Q)
        y = (blobs.y[..., None] + self._nodes[:, 1]).flatten(1)
        flux = (blobs.flux[..., None] * self._weights).flatten(1)
        variance = (blobs.sigma**2)[..., None].expand(-1, -1, len(self._weights)).flatten(1)
        variance_x, variance_y = variance + self.sigma[0] ** 2, variance + self.sigma[1] ** 2
        peak = flux * self.beam_area_px / (2 * math.pi) / (variance_x * variance_y).sqrt()
        rows = self._profile(y, variance_y).mul_(peak[..., None])  # (B, K Q, H)
        return torch.bmm(rows.transpose(1, 2), self._profile(x, variance_x), out=out)  # (B, H, W)

    def _profile(self, centre: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        distance = self._pixels - centre[..., None]  # (B, K Q, size)
        return distance.square_().mul_((-0.5 / variance)[..., None]).clamp_(min=FAINTEST).exp_()

    def noise(self, rms: float, seed: int, indices: torch.Tensor, start: int) -> torch.Tensor:
        """Return white noise convolved with the beam (times `noise_fwhm_beams`), of the given rms in every pixel.

        The white noise lives on a grid of its own, a little coarser than the pixels but finer than the beam, that
        reaches past the edges: nothing wraps around, and every pixel's variance is the same.

        Parameters
        ----------
        start
            The first draw to use (see `rvtool.data.chance`).

        Returns
        -------
        noise : (B, H, W), in the unit of `rms`
        """
        white = chance.normal(seed, indices, self.white_shape, start)  # (B, M, N)
        noise = torch.matmul(self._rows[0], torch.matmul(white, self._columns[0]))  # (H, M) (B, M, N) (N, W)
        for row, column in zip(self._rows[1:], self._columns[1:], strict=True):
            noise += torch.matmul(row, torch.matmul(white, column))
        return noise.mul_(rms * self._to_unit_rms)


def _as_round_beams(major: float, minor: float, angle: float) -> tuple[tuple[float, float], np.ndarray, np.ndarray]:
    """Split a beam (standard deviations in pixels, radians) into Gaussians that factor into rows and columns.

    Returns
    -------
    Their standard deviations along x and y, their centres (Q, 2), and their weights (Q,), which add to one.
    """
    one = np.zeros((1, 2)), np.ones(1)
    if math.isclose(major, minor) or abs(math.sin(angle)) < 1e-9:
        return (minor, major), *one
    if abs(math.cos(angle)) < 1e-9:
        return (major, minor), *one
    extra = math.sqrt(major**2 - minor**2)
    step = NODE_STEP * extra * minor / major
    reach = math.ceil(REACH * extra / step)
    along = np.arange(-reach, reach + 1) * step
    weights = np.exp(-0.5 * (along / extra) ** 2)
    nodes = along[:, None] * np.array([-math.sin(angle), math.cos(angle)])  # north is +y, east is -x
    return (minor, minor), nodes, weights / weights.sum()


def _spread(size: int, sigma: float, shifts: np.ndarray, node: int) -> np.ndarray:
    """Return the matrix (pixels, grid points) that spreads white noise by a Gaussian, displaced as one of `shifts`."""
    margin = REACH * sigma + np.abs(shifts).max()
    count = math.ceil((size - 1 + 2 * margin) / (NOISE_STEP * sigma)) + 1
    grid = np.linspace(-margin, size - 1 + margin, count)
    exponent = -0.5 * ((np.arange(size)[:, None] - grid - shifts[node]) / sigma) ** 2
    return np.where(exponent > FAINTEST, np.exp(exponent), 0)
