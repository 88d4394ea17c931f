"""NVSS: the postage stamp server, images of four axes."""

from __future__ import annotations

import numpy as np

from rvtool.services.positions import parse
from rvtool.testing.sky.asked import Answer, Asked, Route, fits_file
from rvtool.testing.sky.fits import Card, fits_bytes, sky_cards
from rvtool.testing.sky.sky import Sky
from rvtool.testing.sky.surveys import NVSS

MOST_PX = 512


class Nvss(Route):
    """The postage stamp server; sizes in degrees, cells in arcsec, coordinates with spaces."""

    paths = ("/cgi-bin/postage.pl",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Cut a stamp, or say in preformatted text why not."""
        query = asked.query
        try:
            place = parse(f"{query['RA']} {query['Dec']}") if ":" not in query["RA"] + query["Dec"] else None
            cell_arcsec = float(query.get("Cells", "15 15").split()[0])
            sides_deg = [float(side) for side in query.get("Size", "0.25 0.25").split()]
        except (KeyError, ValueError, IndexError):
            place = None
        if place is None:
            return _text("Error in the input parameters: check RA, Dec, Size and Cells")
        if not NVSS.covers(*place):
            return _text("No image is available at this position: the survey covers declinations above -40")
        if query.get("Type", "") not in ("image/x-fits", "application/octet-stream"):
            return _text("Only FITS images are made here")
        width, height = (min(MOST_PX, max(1, round(side * 3600 / cell_arcsec))) for side in sides_deg)
        grid = (*place, height, width, cell_arcsec)
        image = sky.cutout(*grid, NVSS.beam_arcsec, NVSS.rms_jy)
        cards: list[Card] = [
            ("OBJECT", query.get("ObjName", ""), ""),
            ("TELESCOP", "VLA", ""),
            ("OBSERVER", "NVSS GRP", ""),
            *sky_cards(*grid, unit="JY/BEAM", beam_arcsec=NVSS.beam_arcsec),
            *_FURTHER_AXES,
        ]
        return fits_file(fits_bytes(image[np.newaxis, np.newaxis], cards))


def _text(said: str) -> Answer:
    return Answer(f"<PRE>\n{said}\n</PRE>\n".encode(), "text/html")


_FURTHER_AXES: list[Card] = [
    ("CTYPE3", "FREQ", ""),
    ("CRVAL3", 1.4e9, "Hz"),
    ("CDELT3", 1e8, "Hz"),
    ("CRPIX3", 1.0, ""),
    ("CTYPE4", "STOKES", ""),
    ("CRVAL4", 1.0, ""),
    ("CDELT4", 1.0, ""),
    ("CRPIX4", 1.0, ""),
]
