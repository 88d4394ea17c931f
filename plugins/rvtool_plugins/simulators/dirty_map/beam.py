"""From visibilities' places to weights on a Fourier grid, to the dirty beam, and to the clean beam.

The grid is that of a field of twice the image's side, so that a source in one corner reaches the opposite one through
the beam, and nothing wraps about. Each visibility counts in the cell that it falls into. With weights W of the cells,
the dirty image of a sky of transform V is sum W V exp(2 pi i (u l + v m)) / sum W, and the dirty beam is that of V = 1,
with a peak of 1.

References
----------
Thompson, Moran & Swenson 2017, "Interferometry and Synthesis in Radio Astronomy", 3rd ed., section 10.2 (weights, dirty
beam). Briggs 1995, "High fidelity deconvolution of moderately resolved sources", PhD thesis, New Mexico Tech, chapter 3
(robust weights).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rvtool.data.beams import SIGMA_PER_FWHM

CUT = 0.35  # where the main lobe ends, of its peak: as CASA fits it
LAGS = 65  # at which the dirty beam is looked at for that, along each axis


def count(u: Tensor, v: Tensor, seen: Tensor, shape: tuple[int, int]) -> Tensor:
    """Count the visibilities in each cell of the Fourier grid, each with its conjugate.

    Parameters
    ----------
    u, v : (B, T, P)
        To the east and to the north, in cells: cycles in a field of `shape` pixels.
    seen : (B, T)
        False where nothing was observed.
    shape
        Rows and columns of the field, even; columns go to the west, as images' do.

    Returns
    -------
    counts : (B, rows, columns / 2 + 1), float32, in the order of `torch.fft.rfft2`
    """
    rows, columns = shape
    row, column = v.round().long() % rows, (-u).round().long() % columns
    image = torch.arange(len(u), device=u.device)[:, None, None]
    cell = ((image * rows + row) * columns + column)[seen].flatten()
    once = torch.bincount(cell, minlength=len(u) * rows * columns).view(len(u), rows, columns)
    conjugate = once.flip(1, 2).roll((1, 1), (1, 2))  # cell -k of k
    return (once + conjugate)[..., : columns // 2 + 1].float()


def weights(counts: Tensor, weighting: str, robust: float) -> Tensor:
    """Return the weight of one visibility in each cell.

    Natural: 1. Uniform: 1 / n for n visibilities in the cell. Briggs: 1 / (1 + n f^2) with
    f^2 = (5 10^-robust)^2 / (sum n^2 / sum n), sums over all cells.

    Parameters
    ----------
    counts : (B, M, N / 2 + 1)
        Of `count`.

    Returns
    -------
    weights : (B, M, N / 2 + 1); 0 where there is no visibility
    """
    there = (counts > 0).float()
    if weighting == "natural":
        return there
    if weighting == "uniform":
        return there / counts.clamp(min=1)
    mean = _total(counts.square()) / _total(counts)
    scale = (5 * 10**-robust) ** 2 / mean
    return there / (1 + counts * scale.float()[:, None, None])


def unit(cells: Tensor) -> Tensor:
    """Return the cells' weights in the unit in which their `torch.fft.irfft2`, the dirty beam, has a peak of 1.

    Parameters
    ----------
    cells : (B, M, N / 2 + 1)
        Visibilities times the weight of one.

    Returns
    -------
    cells : (B, M, N / 2 + 1)
    """
    pixels = cells.shape[1] * 2 * (cells.shape[2] - 1)
    return cells * (pixels / _total(cells)).float()[:, None, None]


def unit_noise(counts: Tensor, weights: Tensor) -> Tensor:
    """Return by what the transform of white noise of rms 1 is multiplied to be the image's, of rms 1.

    A cell of n visibilities of equal noise and weight w has the noise w sqrt(n).

    Returns
    -------
    factors : (B, M, N / 2 + 1)
    """
    cells = weights * counts.sqrt()
    pixels = cells.shape[1] * 2 * (cells.shape[2] - 1)
    return cells * (pixels / _total(cells.square())).sqrt().float()[:, None, None]


def _total(cells: Tensor) -> Tensor:
    """Add up a half plane over the whole plane, (B,): all columns but the first and the last stand for two.

    In float64, so that the order of summation, which batches and threads change, is not seen in float32.
    """
    cells = cells.double()
    return 2 * cells.sum((1, 2)) - cells[..., 0].sum(1) - cells[..., -1].sum(1)


def fit(cells: Tensor, reach: float) -> Tensor:
    """Fit a Gaussian of peak 1 to the main lobe of the dirty beam.

    Least squares of the logarithm, weighted with the beam's square, which is least squares of the beam to first order;
    over what lies above `CUT` and hangs together with the peak. An axis in which nothing was resolved (of one baseline)
    gets a standard deviation of the image's longer side.

    Parameters
    ----------
    cells : (B, M, N / 2 + 1)
        Of `unit`.
    reach
        How far from the peak the lobe is followed, px.

    Returns
    -------
    covariance : (B, 3), float64
        Second moments xx, xy and yy over columns and rows, px^2.
    """
    at = torch.linspace(-reach, reach, LAGS, device=cells.device, dtype=torch.float64)
    lags = _beam_at(cells.double(), at)  # as in `_total`
    lobe = _lobe(lags > CUT)
    x, y = at.expand(LAGS, -1), at[:, None].expand(-1, LAGS)
    terms = torch.stack([x * x, 2 * x * y, y * y]).flatten(1)  # (3, lags)
    weight = torch.where(lobe, lags, 0.0).square().flatten(1)  # (B, lags)
    exponent = -2 * lags.clamp(min=CUT).log().flatten(1)
    normal = torch.einsum("bp,ip,jp->bij", weight, terms, terms)
    xx, xy, yy = torch.linalg.solve(normal, torch.einsum("bp,ip->bi", weight * exponent, terms)).unbind(1)
    values, vectors = torch.linalg.eigh(torch.stack([xx, xy, xy, yy], 1).unflatten(1, (2, 2)))
    widest = max(cells.shape[1] / 2, cells.shape[2] - 1)
    found = vectors @ torch.diag_embed(1 / values.clamp(min=widest**-2)) @ vectors.mT
    return torch.stack([found[:, 0, 0], found[:, 0, 1], found[:, 1, 1]], 1)


def _beam_at(cells: Tensor, at: Tensor) -> Tensor:
    """Return the dirty beam at any distances `at` (L,), px, from its peak, along rows and columns: (B, L, L)."""
    rows, columns = cells.shape[1], 2 * (cells.shape[2] - 1)
    y, x = frequencies((rows, columns), cells.device)
    y, x = y[:, 0].to(at), x.to(at)
    both = torch.full_like(x, 2.0)  # a column stands for its conjugate too
    both[0] = both[-1] = 1.0
    turn_y, turn_x = 2 * math.pi * at[:, None] * y, 2 * math.pi * x[:, None] * at  # (L, M), (K, L)
    across = [
        turn_y.cos() @ cells @ (both[:, None] * turn_x.cos()),
        turn_y.sin() @ cells @ (both[:, None] * turn_x.sin()),
    ]
    return (across[0] - across[1]) / (rows * columns)


def _lobe(above: Tensor) -> Tensor:
    """Return what of `above` (B, L, L) hangs together with the middle."""
    lobe = torch.zeros_like(above)
    lobe[:, LAGS // 2, LAGS // 2] = True
    while True:
        wider = torch.nn.functional.max_pool2d(lobe[:, None].float(), 3, 1, 1)[:, 0] > 0
        if torch.equal(wider & above, lobe):
            return lobe
        lobe = wider & above


def axes(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the full widths at half maximum and the position angle, north to east, of Gaussians.

    Parameters
    ----------
    covariance : (B, 3)
        xx, xy and yy, px^2; columns go to the west, rows to the north.

    Returns
    -------
    major, minor : (B,), px
    angle : (B,), deg in (-90, 90]
    """
    xx, xy, yy = covariance.unbind(1)
    mean, half = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    angle = torch.rad2deg(torch.atan2(-2 * xy, yy - xx)) / 2
    return (mean + half).sqrt() / SIGMA_PER_FWHM, (mean - half).sqrt() / SIGMA_PER_FWHM, angle


def clean(covariance: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the transform of Gaussian beams of peak 1 on the grid of a field of `shape` pixels.

    Parameters
    ----------
    covariance : (B, 3), float64
        xx, xy and yy, px^2.

    Returns
    -------
    transform : (B, rows, columns / 2 + 1), float32; at frequency 0 the beam's area, px^2
    """
    area = 2 * math.pi * (covariance[:, 0] * covariance[:, 2] - covariance[:, 1] ** 2).sqrt()
    xx, xy, yy = covariance.float()[:, :, None, None].unbind(1)
    y, x = frequencies(shape, covariance.device)
    return area.float()[:, None, None] * torch.exp(-2 * math.pi**2 * (xx * x * x + 2 * xy * x * y + yy * y * y))


def frequencies(shape: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the frequencies ``(rows, 1)`` and ``(columns / 2 + 1,)`` of a field of `shape` pixels, cycles/px."""
    return torch.fft.fftfreq(shape[0], device=device)[:, None], torch.fft.rfftfreq(shape[1], device=device)
