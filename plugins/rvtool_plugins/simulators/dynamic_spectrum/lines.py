"""Spectral lines in channels: neutral hydrogen of a rotating disc, and hydrogen's recombination lines.

Lines are integrated over each channel, so their flux is kept however narrow they are.

References
----------
Hellwig et al. 1970, IEEE Trans. Instrum. Meas. 19, 200 (the 21 cm line). Lilley & Palmer 1968, ApJS 16, 143 (the
recombination lines; Rydberg's formula with hydrogen's reduced mass gives them to a few kHz). Roberts 1978, AJ 83, 1026
(profiles of galaxies). Quireza et al. 2006, ApJ 653, 1226, eq. 1 (a recombination line's strength in LTE).
"""

from __future__ import annotations

import math

import torch

C_KM_S = 299792.458
HI_MHZ = 1420.405751768
RYDBERG_MHZ = 3.2898419602500e9  # of an infinitely heavy nucleus, times c
HYDROGEN_MHZ = RYDBERG_MHZ / (1 + 1 / 1836.152673426)  # the electron's mass over the proton's
HELIUM = 0.08  # ionised helium to ionised hydrogen, by number
# abscissae and weights of Gauss and Hermite for a Gaussian of unit deviation: five points
HERMITE = (
    (-2.8569700, 0.0112574),
    (-1.3556262, 0.2220759),
    (0.0, 0.5333333),
    (1.3556262, 0.2220759),
    (2.8569700, 0.0112574),
)


def recombination_mhz(level: int) -> float:
    """Return the frequency of hydrogen's line from `level` + 1 to `level` (H166-alpha: 166), MHz."""
    return HYDROGEN_MHZ * (1 / level**2 - 1 / (level + 1) ** 2)


def levels_between(low_mhz: float, high_mhz: float) -> list[int]:
    """Return the levels whose alpha lines lie in a band."""
    first, last = (int((2 * HYDROGEN_MHZ / mhz) ** (1 / 3)) for mhz in (high_mhz, low_mhz))  # nu is nearly 2 R / n^3
    return [n for n in range(max(first - 2, 1), last + 2) if low_mhz < recombination_mhz(n) < high_mhz]


def double_horn(
    edges_mhz: torch.Tensor,
    centre_mhz: torch.Tensor,
    width_km_s: torch.Tensor,
    *,
    lopsided: torch.Tensor,
    turbulence_km_s: float,
) -> torch.Tensor:
    """Return the part of a rotating disc's line that falls into each channel.

    Where the rotation curve is flat, the gas at every radius spreads over the velocities v as
    1 / (pi sqrt(V^2 - v^2)), with 2 V the `width_km_s`; `lopsided` gas, more on one side, multiplies that by
    1 + lopsided v / V. Both have closed integrals. Turbulence convolves it with a Gaussian, by quadrature.

    Parameters
    ----------
    edges_mhz : (C + 1,)
        Borders of the channels.
    centre_mhz, width_km_s, lopsided : (B,)
        Place of the line, distance of its horns, and asymmetry in [-1, 1].

    Returns
    -------
    parts : (B, C)
        Their sum is 1 where the line lies within the band.
    """
    speed = C_KM_S * (1 - edges_mhz / centre_mhz[:, None])  # (B, C + 1), receding is positive
    below = torch.zeros_like(speed)
    for place, weight in HERMITE:
        share = ((speed - place * turbulence_km_s) / (width_km_s / 2)[:, None]).clamp(-1, 1)
        below += weight * (torch.asin(share) - lopsided[:, None] * torch.sqrt(1 - share**2)) / math.pi
    return below[:, :-1] - below[:, 1:]  # speed falls with frequency


def gaussians(edges_mhz: torch.Tensor, centres_mhz: torch.Tensor, fwhm_km_s: torch.Tensor) -> torch.Tensor:
    """Return the part of each of several Gaussian lines that falls into each channel.

    Parameters
    ----------
    edges_mhz : (C + 1,)
    centres_mhz : (B, L)
    fwhm_km_s : (B,)
        One width for all lines of an image.

    Returns
    -------
    parts : (B, L, C)
    """
    sigma = fwhm_km_s[:, None] / math.sqrt(8 * math.log(2)) / C_KM_S * centres_mhz  # MHz
    below = torch.special.ndtr((edges_mhz - centres_mhz[..., None]) / sigma[..., None])
    return below[..., 1:] - below[..., :-1]


def line_to_continuum_km_s(centres_mhz: torch.Tensor, temperature_k: torch.Tensor) -> torch.Tensor:
    """Return a recombination line's integral over its continuum, km/s, in LTE (Quireza et al. 2006, eq. 1).

    Parameters
    ----------
    centres_mhz : (L,)
    temperature_k : (B,)
        Of the electrons.

    Returns
    -------
    ratio : (B, L)
    """
    return 7103.3 * (centres_mhz / 1000) ** 1.1 / (1 + HELIUM) * temperature_k[:, None] ** -1.15
