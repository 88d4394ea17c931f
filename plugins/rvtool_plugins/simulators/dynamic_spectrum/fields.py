"""Smooth random fields: Gaussian processes with a scale, and the scintillation that is made of them.

A process is white noise on a grid that reaches past both ends, spread by Gaussians of one width. Every point is divided
by the root of its weights' squares, so its variance is one exactly; the grid is fine enough (1.2 widths) for the
correlation to be Gaussian to 2e-3.

Scintillation is what a thin screen does to a point source's intensity. Its strength ``xi`` fixes all the rest: below 1
(weak) the intensity varies over the Fresnel time; above (strong) it splits into a fast diffractive branch, correlated
over a part of the band only, and a slow, broadband, refractive one.

References
----------
Walker 1998, MNRAS 294, 307 (sections 3.1 to 3.3: indices, scales and bandwidths as powers of ``xi``).
Narayan 1992, Phil. Trans. R. Soc. A 341, 151. Bhat et al. 2004, ApJ 605, 759, eq. 7 (`interstellar_mhz`).
"""

from __future__ import annotations

import math

import torch

STEP = 1.2  # of the grid, in widths of the Gaussians
REACH = 4.0  # of the grid past the ends, in widths
FAINTEST = -30.0  # exponent at which a Gaussian stops falling: denormal numbers would take ten times as long


def nodes(span: float, finest: float) -> int:
    """Return how many points a grid needs for processes over `span` whose Gaussians are `finest` wide at least."""
    return math.ceil((span / finest + 2 * REACH) / STEP) + 1


def spread(points: torch.Tensor, width: torch.Tensor, count: int) -> torch.Tensor:
    """Return what makes a process of unit variance of white noise.

    Parameters
    ----------
    points : (P,)
        Evenly spaced, ascending.
    width : (B,)
        Of the Gaussians, in the unit of `points`. Two values that are d apart correlate as exp(-d^2 / 4 width^2).
    count
        Points of the grid (see `nodes`).

    Returns
    -------
    weights : (B, P, count)
    """
    grid = torch.linspace(0, 1, count, device=points.device)
    low = points[0] - REACH * width[:, None]
    grid = low + grid * (points[-1] - points[0] + 2 * REACH * width)[:, None]  # (B, count)
    weights = (points[:, None] - grid[:, None]).div_(width[:, None, None]).square_().mul_(-0.5)
    weights.clamp_(min=FAINTEST).exp_()
    return weights.div_(weights.square().sum(2, keepdim=True).sqrt_())


def process(points: torch.Tensor, width: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
    """Return processes of unit variance, ``(B, P)``, of white noise ``(B, N)`` (see `spread`)."""
    # not as a product of matrices: those are summed in another order in batches of another size
    return spread(points, width, white.shape[1]).mul_(white[:, None]).sum(2)


def width_of(scale: torch.Tensor, *, half: bool = False) -> torch.Tensor:
    """Return the Gaussians' width for a complex field whose intensity decorrelates over `scale`.

    The intensity's autocovariance, the square of the field's, falls to 1/e there; to a half, as bandwidths are counted,
    if `half`.
    """
    return scale / math.sqrt(2 * math.log(2) if half else 2)


def intensity(field: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return an intensity of mean 1 and standard deviation `index (B,)` of a complex field.

    Parameters
    ----------
    field : (B, 2, ...)
        Real and imaginary part, each of unit variance. Their power is exponentially distributed, as that of a point
        source is; a steady part takes up what lacks to 1, as where the source is not a point.
    """
    power = field.square().sum(1).mul_(0.5)  # (B, ...)
    index = index.reshape(-1, *[1] * (power.ndim - 1))
    return power.sub_(1).mul_(index).add_(1)


def branches(strength: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what a screen of strength ``xi (B,)`` does to a point source (Walker 1998).

    Returns
    -------
    ``index`` of the weak or diffractive branch (xi^(5/6) below 1, then 1), its ``time`` in Fresnel times (1, then
    1 / xi) and its ``band`` in units of the frequency (1, then xi^-2); ``slow_index`` (0, then xi^(-1/3)) and
    ``slow_time`` (xi) of the refractive branch.
    """
    strong = strength.clamp(min=1)
    return {
        "index": strength.clamp(max=1) ** (5 / 6),
        "time": 1 / strong,
        "band": strong**-2,
        "slow_index": torch.where(strength > 1, strong ** (-1 / 3), 0.0),
        "slow_time": strong,
    }


def interstellar_mhz(dm_pc_cm3: torch.Tensor, centre_mhz: float, scatter: torch.Tensor) -> torch.Tensor:
    """Return the bandwidth of the interstellar scintillation of pulsars, MHz.

    The pulse broadening of Bhat et al. 2004 (eq. 7, ms and GHz), with its `scatter` (standard deviations of 0.65 dex),
    as a bandwidth, 1.16 / 2 pi tau.
    """
    log_dm = torch.log10(dm_pc_cm3.clamp(min=1))
    log_ms = -6.46 + 0.154 * log_dm + 1.07 * log_dm**2 - 3.86 * math.log10(centre_mhz / 1000) + 0.65 * scatter
    return 1.16 / (2 * math.pi) / 10**log_ms / 1000  # 1 / ms is a kHz
