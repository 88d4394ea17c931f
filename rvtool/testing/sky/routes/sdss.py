"""SDSS: SkyServer's SQL and JPEG cutouts, and frames, smaller than the real ones but turned and packed as they are."""

from __future__ import annotations

import bz2
import io
import re
from functools import lru_cache
from math import cos, floor, radians

import numpy as np

from rvtool.testing.sky.asked import Answer, Asked, Route, page
from rvtool.testing.sky.fits import Card, fits_bytes
from rvtool.testing.sky.routes.vizier import redshift
from rvtool.testing.sky.sky import Sky
from rvtool.testing.sky.surveys import SDSS

FRAME_PX = 640
GRID_DEG = 0.05  # between the centres of frames, which overlap by more than a minute of arc
NANOMAGGY_JY = 3.631e-6
BEAM_PX = 1.133 * (SDSS.beam_arcsec / SDSS.pixel_arcsec) ** 2  # its area
LARGEST_PX, SMALLEST_PX = 2048, 64
OBJECTS = 2000
RERUN = "301"
TOP = re.compile(r"SELECT TOP (\d+)", re.IGNORECASE)
NEAREST = re.compile(r"fGetNearestObjEq\(([^,]+),([^,]+),", re.IGNORECASE)
FRAME = re.compile(rf"/photoObj/frames/{RERUN}/\d+/\d/frame-[ugriz]-(\d+)-\d-(\d+)\.fits\.bz2$")


class SkyServer(Route):
    """``SqlSearch`` as CSV and ``getjpeg``, of any data release."""

    paths = tuple(f"/dr{number}/SkyServerWS/" for number in range(12, 20))

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Run what looks like a known query, or draw."""
        if asked.path.endswith("/getjpeg"):
            return _jpeg(asked.query, sky)
        command = asked.query.get("cmd", "")
        if found := NEAREST.search(command):
            return _csv(_frame_at(float(found[1]), float(found[2])))
        top = TOP.match(command)
        label = "spiral_galaxy" if "zooSpec" in command else "quasar" if "'QSO'" in command else None
        if top is None or label is None:
            return page("<title>Skyserver Error</title>Incorrect syntax")
        rows = sky.catalogue(label, min(int(top[1]), OBJECTS))
        ids = (f"{n:019d}" for n in range(299489676975171584, 299489676975171584 + OBJECTS))
        return _csv(
            [
                {"ra": t.ra_deg, "dec": t.dec_deg, "redshift": redshift(t), "specobjid": i}
                for t, i in zip(rows, ids, strict=False)
            ]
        )


class Frames(Route):
    """The archive server's frames."""

    paths = ("/sas/",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Send a frame."""
        found = FRAME.search(asked.path)
        if found is None:
            return page("Not Found", 404)
        return Answer(_frame(sky.seed, int(found[1]), int(found[2])), "application/x-bzip2")


def _csv(rows: list[dict[str, object]]) -> Answer:
    lines = ["#Table1", *([",".join(rows[0])] if rows else ["No objects have been found"])]
    lines += [",".join(map(str, row.values())) for row in rows]
    return Answer("\n".join(lines).encode(), "text/csv")


def _jpeg(query: dict[str, str], sky: Sky) -> Answer:
    """Draw a picture; black where the survey has not looked, and never larger than 2048 pixels, without a word."""
    from PIL import Image

    place = float(query["ra"]), float(query["dec"])
    height, width = (min(max(int(query[name]), SMALLEST_PX), LARGEST_PX) for name in ("height", "width"))
    grey = np.zeros((height, width), np.uint8)
    if SDSS.covers(*place):
        image = sky.cutout(*place, height, width, float(query["scale"]), SDSS.beam_arcsec, SDSS.rms_jy)
        grey = np.clip(np.arcsinh(image[::-1] / SDSS.rms_jy) * 25 + 30, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).convert("RGB").save(out, "JPEG", quality=90)
    return Answer(out.getvalue(), "image/jpeg")


def _frame_at(ra_deg: float, dec_deg: float) -> list[dict[str, object]]:
    """Return the frame that shows a position: its row of the grid is the run, its column the field."""
    if not SDSS.covers(ra_deg, dec_deg):
        return []
    row = floor((dec_deg + 90) / GRID_DEG)
    return [{"run": row, "rerun": RERUN, "camcol": 1, "field": floor(ra_deg / _column_deg(row))}]


def _column_deg(row: int) -> float:
    """Return the width of a column of the grid in right ascension, degrees."""
    return GRID_DEG / cos(radians((row + 0.5) * GRID_DEG - 90))


@lru_cache(maxsize=64)
def _frame(seed: int, row: int, column: int) -> bytes:
    """Draw a frame with columns towards the north and rows towards the east, as the camera scans."""
    ra_deg, dec_deg = (column + 0.5) * _column_deg(row), (row + 0.5) * GRID_DEG - 90
    image = Sky(seed).cutout(
        ra_deg, dec_deg, FRAME_PX, FRAME_PX, SDSS.pixel_arcsec, SDSS.beam_arcsec, SDSS.rms_jy, projection="TAN"
    )
    turned = (image[:, ::-1].T / BEAM_PX / NANOMAGGY_JY).round(2)
    pixel_deg, middle = SDSS.pixel_arcsec / 3600, (FRAME_PX + 1) / 2
    cards: list[Card] = [
        ("RUN", row, ""),
        ("FRAME", column, ""),
        ("CAMCOL", 1, ""),
        ("RERUN", RERUN, ""),
        ("FILTER", "r", ""),
        ("BUNIT", "nanomaggy", ""),
        ("CTYPE1", "RA---TAN", ""),
        ("CTYPE2", "DEC--TAN", ""),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRPIX1", middle, ""),
        ("CRPIX2", middle, ""),
        ("CRVAL1", ra_deg, ""),
        ("CRVAL2", dec_deg, ""),
        ("CD1_1", 0.0, ""),
        ("CD1_2", pixel_deg, ""),
        ("CD2_1", pixel_deg, ""),
        ("CD2_2", 0.0, ""),
    ]
    return bz2.compress(fits_bytes(turned, cards))
