"""Distances in a flat universe of H0 = 70 km/s/Mpc and Omega_m = 0.3; redshifts and results are (B,).

References
----------
Pen 1999, ApJS 120, 49, eq. 1 (the luminosity distance in closed form).
"""

from __future__ import annotations

import math

import torch

HUBBLE_MPC, OMEGA = 299792.458 / 70, 0.3
MPC_M, ARCSEC_RAD = 3.0857e22, math.pi / 648000
SPECTRAL_INDEX = -0.7  # of radio emission, S ~ nu^index


def luminosity_distance_mpc(redshift: torch.Tensor) -> torch.Tensor:
    """Return the luminosity distance, good to 0.4 %."""
    s = ((1 - OMEGA) / OMEGA) ** (1 / 3)

    def conformal(a: torch.Tensor) -> torch.Tensor:
        series = a**-4 - 0.1540 * s * a**-3 + 0.4304 * s**2 * a**-2 + 0.19097 * s**3 / a + 0.066941 * s**4
        return 2 * math.sqrt(s**3 + 1) * series ** (-1 / 8)

    stretch = 1 + redshift.double()
    return (HUBBLE_MPC * stretch * (conformal(torch.ones_like(stretch)) - conformal(1 / stretch))).float()


def distance_modulus(redshift: torch.Tensor) -> torch.Tensor:
    """Return apparent less absolute magnitude."""
    return 5 * torch.log10(luminosity_distance_mpc(redshift)) + 25


def kpc_per_arcsec(redshift: torch.Tensor) -> torch.Tensor:
    """Return the length that is seen under an arcsec."""
    return luminosity_distance_mpc(redshift) / (1 + redshift) ** 2 * 1000 * ARCSEC_RAD


def log_area(redshift: torch.Tensor) -> torch.Tensor:
    """Return log10 of radio luminosity (W/Hz) over flux (Jy)."""
    log_m = torch.log10(luminosity_distance_mpc(redshift)) + math.log10(MPC_M)
    return math.log10(4 * math.pi * 1e-26) + 2 * log_m - (1 + SPECTRAL_INDEX) * torch.log10(1 + redshift)
