"""FIRST: cutouts of one coadded image, with its header of four axes, neither north-aligned nor centred to a pixel."""

from __future__ import annotations

import time
from math import floor

import numpy as np

from rvtool.services.positions import j_name, parse, sexagesimal
from rvtool.testing.sky.asked import Answer, Asked, Route, fits_file, page
from rvtool.testing.sky.fits import Card, fits_bytes, sky_cards
from rvtool.testing.sky.geometry import project
from rvtool.testing.sky.sky import Sky
from rvtool.testing.sky.surveys import FIRST

COADD_WIDTH, COADD_HEIGHT = 1550, 1160  # pixels
GRID_DEG = 0.5  # between the centres of coadded images, so that a cutout of 4.5 arcmin never crosses an edge
MOST_PX = 1024


class First(Route):
    """The cutout server; right ascension in hours, both coordinates in one field."""

    paths = ("/cgi-bin/firstcutout",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Cut an image, or say on a page why not."""
        try:
            ra_deg, dec_deg = _position(f"{asked.query['RA']} {asked.query.get('Dec', '')}")
            side = round(float(asked.query.get("ImageSize", "5")) * 60 / FIRST.pixel_arcsec)
            most = int(asked.query.get("MaxImSize", MOST_PX))
        except (KeyError, ValueError):
            return page("FIRST Cutout Server: error in the input parameters")
        if not FIRST.covers(ra_deg, dec_deg):
            return page("Position is not in the area currently covered by the FIRST images")
        if not 1 <= side <= min(most, MOST_PX):
            return page(f"FIRST Cutout Server: error: image size {side} exceeds the maximum of {most} pixels")
        if asked.query.get("ImageType", "").startswith("GIF"):
            return page("FIRST Cutout Server: error: no GIF images here")
        return fits_file(_cutout(sky, ra_deg, dec_deg, side), f"{j_name(ra_deg, dec_deg)}.fits")


def _position(text: str) -> tuple[float, float]:
    parts = text.replace(":", " ").split()
    if len(parts) == 2:
        hours, dec_deg = map(float, parts)
        return 15 * hours % 360, dec_deg
    place = parse(" ".join(parts))
    if place is None:
        raise ValueError(f"no position: {text}")
    return place


def _cutout(sky: Sky, ra_deg: float, dec_deg: float, side: int) -> bytes:
    field_ra, field_dec = ((floor(angle / GRID_DEG) + 0.5) * GRID_DEG for angle in (ra_deg, dec_deg))
    east_deg, north_deg = project(ra_deg, dec_deg, field_ra, field_dec, "SIN")
    field_x, field_y = (COADD_WIDTH + 1) / 2, (COADD_HEIGHT + 1) / 2
    x = field_x - east_deg * 3600 / FIRST.pixel_arcsec
    y = field_y + north_deg * 3600 / FIRST.pixel_arcsec
    corner_x, corner_y = round(x) - side // 2, round(y) - side // 2
    crpix = (field_x - corner_x + 1, field_y - corner_y + 1)
    image = sky.cutout(
        field_ra, field_dec, side, side, FIRST.pixel_arcsec, FIRST.beam_arcsec, FIRST.rms_jy, crpix=crpix
    )
    columns, rows = corner_x + np.arange(side), corner_y + np.arange(side)
    image[:, (columns < 1) | (columns > COADD_WIDTH)] = np.nan
    image[(rows < 1) | (rows > COADD_HEIGHT)] = np.nan
    ra, dec = sexagesimal(ra_deg, dec_deg)
    cards: list[Card] = [
        ("DATE", time.strftime("%Y-%m-%d", time.gmtime()), "Creation UTC (CCCC-MM-DD) date of FITS header"),
        ("FIELDNAM", _field_name(field_ra, field_dec), "FIRST coadded image name"),
        ("OBJECT", j_name(ra_deg, dec_deg), "Object name"),
        ("OBJCTRA", ra, "Object Right Ascension (J2000)"),
        ("OBJCTDEC", dec, "Object Declination"),
        ("OBJCTX", round(x, 2), "Object X in image (pixels)"),
        ("OBJCTY", round(y, 2), "Object Y in image"),
        ("XCORN", corner_x, "X corner in image (pixels)"),
        ("YCORN", corner_y, "Y corner in image"),
        ("TELESCOP", "VLA", ""),
        ("INSTRUME", "VLA", ""),
        ("DATE-OBS", "19930417", ""),
        ("DATE-MAP", "19990820", ""),
        ("DATAMAX", float(np.nanmax(image)), ""),
        ("DATAMIN", float(np.nanmin(image)), ""),
        *sky_cards(
            field_ra, field_dec, side, side, FIRST.pixel_arcsec,
            crpix=crpix, unit="JY/BEAM", beam_arcsec=FIRST.beam_arcsec,
        ),
        *_FURTHER_AXES,
    ]  # fmt: skip
    return fits_bytes(image, cards, simple=f"FIRST Cutout Server: {time.ctime()}")


def _field_name(ra_deg: float, dec_deg: float) -> str:
    """Name a coadded image: hours, minutes and tenths, degrees, minutes and tenths."""
    ra, dec = round(ra_deg / 15 * 600), round(abs(dec_deg) * 600)
    return f"{ra // 600:02d}{ra % 600:03d}{'-' if dec_deg < 0 else '+'}{dec // 600:02d}{dec % 600:03d}E"


_FURTHER_AXES: list[Card] = [
    ("CTYPE3", "FREQ", ""),
    ("CRVAL3", 1.3649e9, ""),
    ("CDELT3", 2.1875e7, ""),
    ("CRPIX3", 1.0, ""),
    ("CTYPE4", "STOKES", ""),
    ("CRVAL4", 1.0, ""),
    ("CDELT4", 1.0, ""),
    ("CRPIX4", 1.0, ""),
    ("HISTORY", "A simulated image in the form of the FIRST VLA Survey", ""),
]
