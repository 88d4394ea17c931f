"""Beams as Gaussians, and what a unit says of them: how brightness changes from one beam and pixel to another."""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple

from rvtool.kinds import Beam

SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
GAUSSIAN_AREA = math.pi / (4 * math.log(2))  # of a beam, over the product of its full widths

# a pixel of these holds a flux, unless an area divides it: one of twice the area holds twice as much
HELD_BY_PIXELS = re.compile(r"pix|^(nanomagg|nmgy|magg|count|ct\b|cts|adu|dn\b|electron|photon|e-)", re.IGNORECASE)
AREA = re.compile(r"beam|arcsec|arcmin|\bdeg|\bsr|sterad", re.IGNORECASE)


class Covariance(NamedTuple):
    """The second moments of a Gaussian over x (to the west, along rows) and y (to the north), in a squared length."""

    xx: float
    xy: float
    yy: float


def covariance(beam: Beam) -> Covariance:
    """Return that of a beam, arcsec^2; its angle counts from north to east."""
    angle = math.radians(beam.angle_deg)
    x, y = -math.sin(angle), math.cos(angle)  # of the major axis
    major, minor = ((width * SIGMA_PER_FWHM) ** 2 for width in (beam.major_arcsec, beam.minor_arcsec))
    return Covariance(major * x**2 + minor * y**2, (major - minor) * x * y, major * y**2 + minor * x**2)


def area(beam: Beam) -> float:
    """Return the area of a Gaussian beam, arcsec^2."""
    return GAUSSIAN_AREA * beam.major_arcsec * beam.minor_arcsec


def per(unit: str) -> Literal["beam", "pixel", "area", ""]:
    """Tell what a brightness is counted per: ``"beam"`` of ``"Jy beam-1"``, ``"area"`` of ``"MJy/sr"``, else nothing.

    A unit of flux that is no brightness (``"nanomaggy"``, ``"count"``) is one per pixel.
    """
    found = AREA.search(unit)
    if found:
        return "beam" if "beam" in unit.casefold() else "area"
    return "pixel" if HELD_BY_PIXELS.search(unit.strip()) else ""


def spelled(unit: str) -> str:
    """Return one spelling of a unit: ``"JY/BEAM"``, ``"Jy beam-1"`` and ``"Jy beam^-1"`` are ``"jy/beam"``."""
    return re.sub(r"[ .*]*(beam|pix)(el)?(\^|\*\*)?-1$", r"/\1", unit.strip().casefold())
