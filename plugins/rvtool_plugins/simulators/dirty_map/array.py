"""Where antennas stand, and which spatial frequencies they measure as the Earth turns.

References
----------
Thompson, Moran & Swenson 2017, "Interferometry and Synthesis in Radio Astronomy", 3rd ed., section 4.1 (coordinates,
eq. 4.1) and section 5.5 (the VLA). Thompson, Clark, Wade & Napier 1980, ApJS 44, 151 (the VLA).
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rvtool.errors import DataError

C_M_S = 299792458.0
RAD_PER_HOUR = math.pi / 12

# The VLA's arms: azimuth (north to east) and distance of the outermost pad. The n-th of nine antennas of an arm stands
# at n^1.716 of the first's distance, so that it is the 2n-th of the next larger array: 2^1.716 = 3.285 between arrays.
# This gives the surveyed pads of A and B to 0.3 %, but for three (two are moved along the north arm, by 3 % and 1.3 %,
# and one lies 140 m beside the east arm); the ground's relief, up to 50 m, is left out.
VLA_ARMS = ((236.0, 21000.0), (115.0, 21000.0), (355.0, 18936.0))
VLA_POWER = 1.716
VLA_PER_ARM = 9
VLA_SMALLER = {"vla-a": 0, "vla-b": 1, "vla-c": 2, "vla-d": 3}


def vla(name: str) -> Tensor:
    """Return the antennas of the VLA in the array ``"vla-a"`` (the largest) to ``"vla-d"``.

    Returns
    -------
    antennas : (27, 3), float64
        East, north and up of the arms' meeting, metres.
    """
    law = (torch.arange(1, VLA_PER_ARM + 1, dtype=torch.float64) / VLA_PER_ARM) ** VLA_POWER
    arms = []
    for azimuth, outermost in VLA_ARMS:
        reach = law * outermost / 2 ** (VLA_POWER * VLA_SMALLER[name])
        angle = math.radians(azimuth)
        arms.append(torch.stack([reach * math.sin(angle), reach * math.cos(angle), 0 * reach], 1))
    return torch.cat(arms)


def read(path: Path) -> Tensor:
    """Read a table of antennas: east, north and up in metres, a line each; ``#`` begins a comment.

    Returns
    -------
    antennas : (A, 3), float64

    Raises
    ------
    DataError
        It cannot be read as such, or holds less than two antennas.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of an empty table, which is refused below
            table = np.loadtxt(path, usecols=(0, 1, 2), ndmin=2)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as antennas ({reason}); give east, north and up in metres, a line each."
        ) from error
    if len(table) < 2 or not np.isfinite(table).all() or len(np.unique(table, axis=0)) < len(table):
        raise DataError(f"{path} must hold two antennas or more, each at a place of its own.")
    return torch.from_numpy(table)


def baselines(antennas: Tensor, latitude_deg: float) -> Tensor:
    """Return each pair's separation along X (to the meridian on the equator), Y (east) and Z (to the pole).

    Parameters
    ----------
    antennas : (A, 3)
        East, north and up, metres.

    Returns
    -------
    baselines : (A (A - 1) / 2, 3), metres
    """
    first, second = torch.triu_indices(len(antennas), len(antennas), 1)
    east, north, up = (antennas[second] - antennas[first]).unbind(1)
    sin, cos = math.sin(math.radians(latitude_deg)), math.cos(math.radians(latitude_deg))
    return torch.stack([up * cos - north * sin, east, north * cos + up * sin], 1)


def tracks(baselines: Tensor, hour_angle_h: Tensor, dec_deg: Tensor) -> tuple[Tensor, Tensor]:
    """Return the baselines as the source sees them (TMS eq. 4.1): u to the east and v to the north.

    w, along the line of sight, is left out: fields of arcminutes are flat (pi w theta^2 is 0.02 for FIRST's).

    Parameters
    ----------
    baselines : (P, 3)
        Along X, Y and Z.
    hour_angle_h : (B, T)
    dec_deg : (B,)

    Returns
    -------
    u, v : (B, T, P), in the unit of `baselines`
    """
    x, y, z = baselines.unbind(1)
    hour = (hour_angle_h * RAD_PER_HOUR)[..., None]
    dec = torch.deg2rad(dec_deg)[:, None, None]
    sin, cos = hour.sin(), hour.cos()
    return sin * x + cos * y, dec.sin() * (sin * y - cos * x) + dec.cos() * z


def elevation_deg(hour_angle_h: Tensor, dec_deg: Tensor, latitude_deg: float) -> Tensor:
    """Return the elevation of sources, deg; the shapes broadcast."""
    latitude, dec = math.radians(latitude_deg), torch.deg2rad(dec_deg)
    along = math.cos(latitude) * dec.cos() * (hour_angle_h * RAD_PER_HOUR).cos()
    return torch.rad2deg((math.sin(latitude) * dec.sin() + along).clamp(-1, 1).asin())
