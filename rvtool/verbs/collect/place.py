"""Where on the sky an image is, read from the raw cards of its header in C: a tenth of what astropy's WCS costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from rvtool.data.units import cards_of

if TYPE_CHECKING:
    from astropy.coordinates import BaseCoordinateFrame
    from astropy.wcs import Wcsprm

    Frame: TypeAlias = BaseCoordinateFrame | str

# What FITS allows in a header; other bytes become spaces, for those above 127 damage the memory of wcslib's scanner.
ALLOWED = bytes(byte if 32 <= byte < 127 else 32 for byte in range(256))


@dataclass(frozen=True)
class Place:
    """Where an image is: its centre (ICRS), the sides of a pixel, and the target's pixel (x, y from 0)."""

    ra_deg: float
    dec_deg: float
    pixel_arcsec: tuple[float, float]
    target: tuple[float, float]


def place_of(header: bytes, height: int, width: int, target: tuple[float, float] | None = None) -> Place | None:
    """Read where an image is from its header's cards; None where they do not tell.

    Parameters
    ----------
    target
        Right ascension and declination of what the image should show, degrees ICRS; by default its middle.
    """
    try:
        wcs = _celestial(header)
        frame = _frame(wcs)
        axes = [wcs.lng, wcs.lat]
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        centre = tuple(wcs.p2s([middle], 0)["world"][0][axes])
        scales = np.sqrt(((wcs.get_pc() * wcs.get_cdelt()[:, None]) ** 2).sum(axis=0)) * 3600
        pixel = middle
        if target is not None:
            world = np.empty((1, 2))
            world[0, axes] = target if frame is None else _moved(target, "icrs", frame)
            pixel = wcs.s2p(world, 0)["pixcrd"][0]
        ra, dec = centre if frame is None else _moved(centre, frame, "icrs")
    except Exception:  # astropy raises a dozen kinds for broken headers; the pixels may still be good
        return None
    if not math.isfinite(ra + dec) or not (np.isfinite(scales) & (scales > 0)).all():
        return None
    return Place(float(ra) % 360, float(dec), (float(scales[0]), float(scales[1])), (float(pixel[0]), float(pixel[1])))


def _celestial(header: bytes) -> Wcsprm:
    """Read the two celestial axes."""
    from astropy.wcs import Wcsprm

    wcs = Wcsprm(header=b"".join(cards_of(header)).translate(ALLOWED), warnings=False)
    try:
        wcs.set()
    except ValueError:  # units such as DEGREE
        wcs.fix()
        wcs.set()
    wcs = wcs.sub([1, 2])
    wcs.set()
    if {wcs.lng, wcs.lat} != {0, 1}:
        raise ValueError("the first two axes are not those of the sky")
    return wcs


def _frame(wcs: Wcsprm) -> BaseCoordinateFrame | None:
    """Return the frame of the header's positions; None where they are ICRS, or FK5 of J2000, the same to 0.1 arcsec."""
    if wcs.lngtyp == "RA" and wcs.radesys in ("", "ICRS", "FK5") and (math.isnan(wcs.equinox) or wcs.equinox == 2000):
        return None
    from astropy.wcs import WCS
    from astropy.wcs.utils import wcs_to_celestial_frame

    described = WCS(naxis=2)
    described.wcs = wcs
    return wcs_to_celestial_frame(described)


def _moved(place: tuple[float, float], of: Frame, to: Frame) -> tuple[float, float]:
    from astropy.coordinates import SkyCoord

    moved = SkyCoord(*place, unit="deg", frame=of).transform_to(to).spherical
    return float(moved.lon.deg), float(moved.lat.deg)
