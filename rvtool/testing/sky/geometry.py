"""Angles: projections, distances, and the cells into which the simulated sky is cut."""

from __future__ import annotations

from math import asin, atan2, cos, degrees, floor, radians, sin, sqrt

import numpy as np

from rvtool.kinds import Box

CELL_DEG = 0.2
STRIPS = round(180 / CELL_DEG)
_EDGES_DEG = np.arange(STRIPS + 1) * CELL_DEG - 90
CELLS = np.maximum(
    1, np.floor(360 / CELL_DEG * np.cos(np.radians(np.maximum(abs(_EDGES_DEG[1:]), abs(_EDGES_DEG[:-1])))))
).astype(int)
"""Number of cells in each strip: as many as are at least as wide as the strip is high."""


def project(ra_deg: float, dec_deg: float, ra0_deg: float, dec0_deg: float, projection: str) -> tuple[float, float]:
    """Return how far east and north of a reference (``ra0``, ``dec0``) a position lies in its plane, degrees.

    `projection` is ``SIN`` or ``TAN``; a position on the other side of the sphere lies at infinity.
    """
    apart, dec, dec0 = radians(ra_deg - ra0_deg), radians(dec_deg), radians(dec0_deg)
    towards = sin(dec) * sin(dec0) + cos(dec) * cos(dec0) * cos(apart)
    if towards <= 0:
        return float("inf"), float("inf")
    scale = degrees(1 / towards if projection == "TAN" else 1)
    east = cos(dec) * sin(apart)
    north = sin(dec) * cos(dec0) - cos(dec) * sin(dec0) * cos(apart)
    return scale * east, scale * north


def deproject(
    east_deg: float, north_deg: float, ra0_deg: float, dec0_deg: float, projection: str
) -> tuple[float, float]:
    """Return the position that `project` maps to this place of the plane, degrees."""
    x, y, dec0 = radians(east_deg), radians(north_deg), radians(dec0_deg)
    r2 = x * x + y * y
    if projection == "TAN":
        towards = 1 / sqrt(1 + r2)
        x, y = x * towards, y * towards
    else:
        towards = sqrt(max(0.0, 1 - r2))
    dec = asin(max(-1.0, min(1.0, towards * sin(dec0) + y * cos(dec0))))
    ra = atan2(x, towards * cos(dec0) - y * sin(dec0))
    return (ra0_deg + degrees(ra)) % 360, degrees(dec)


def separation_deg(ra_deg: float, dec_deg: float, ras_deg: np.ndarray, decs_deg: np.ndarray) -> np.ndarray:
    """Return how far positions lie from one, degrees."""
    dec, decs, apart = radians(dec_deg), np.radians(decs_deg), np.radians(ras_deg - ra_deg)
    h = np.sin((decs - dec) / 2) ** 2 + cos(dec) * np.cos(decs) * np.sin(apart / 2) ** 2
    return 2 * np.degrees(np.arcsin(np.sqrt(np.minimum(h, 1))))


def within(box: Box, ra_deg: float | np.ndarray, dec_deg: float | np.ndarray) -> np.ndarray:
    """Tell whether positions lie in a box."""
    ra, dec = np.asarray(ra_deg), np.asarray(dec_deg)
    in_ra = (ra >= box.ra_min) & (ra <= box.ra_max)
    if box.ra_min > box.ra_max:
        in_ra = (ra >= box.ra_min) | (ra <= box.ra_max)
    return in_ra & (dec >= box.dec_min) & (dec <= box.dec_max)


def box_around(ra_deg: float, dec_deg: float, radius_deg: float) -> Box:
    """Return the box that a circle fits in."""
    dec_min, dec_max = dec_deg - radius_deg, dec_deg + radius_deg
    if dec_min <= -90 or dec_max >= 90:
        return Box(0, 360, max(-90, dec_min), min(90, dec_max))
    reach = degrees(asin(sin(radians(radius_deg)) / cos(radians(dec_deg))))
    return Box((ra_deg - reach) % 360, (ra_deg + reach) % 360, dec_min, dec_max)


def cells_of(box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells that a box touches: their strips, and their numbers in these."""
    span = (box.ra_max - box.ra_min) % 360 or 360.0 * (box.ra_max != box.ra_min)
    first_strip = max(0, floor((box.dec_min + 90) / CELL_DEG))
    last_strip = min(STRIPS - 1, floor((box.dec_max + 90) / CELL_DEG))
    numbers = []
    for strip in range(first_strip, last_strip + 1):
        n = int(CELLS[strip])
        first, last = floor(box.ra_min * n / 360), floor((box.ra_min + span) * n / 360)
        numbers.append(np.arange(first, min(last, first + n - 1) + 1) % n)
    strips = np.repeat(np.arange(first_strip, last_strip + 1), [len(cells) for cells in numbers])
    return strips, np.concatenate(numbers)
