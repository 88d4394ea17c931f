"""CDS: hips2fits, which resamples any HiPS, and the MOCServer, which tells where a survey has looked."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from rvtool.testing.sky.asked import Answer, Asked, Route
from rvtool.testing.sky.fits import Card, fits_bytes, sky_cards
from rvtool.testing.sky.sky import Sky
from rvtool.testing.sky.surveys import (
    LOTSS,
    NVSS,
    RACS_LOW,
    RACS_MID,
    SDSS,
    SUMSS,
    TGSS,
    VLASS,
    Survey,
)

HIPS = {
    "CDS/P/NVSS": NVSS,
    "CDS/P/SUMSS": SUMSS,
    "CDS/P/SDSS9/color": SDSS,
    "CDS/P/DESI-Legacy-Surveys/DR10/color": SDSS,
    "CSIRO/P/RACS/low/I": RACS_LOW,
    "CSIRO/P/RACS/mid/I": RACS_MID,
    "Leiden/P/TGSSADR": TGSS,
    "NRAO/P/VLASS-Quicklook-MedianStack": VLASS,
    "astron.nl/P/lotss_dr2_high": LOTSS,
    "astron.nl/P/lotss_dr3_high": LOTSS,
    "astron.nl/P/tgssadr": TGSS,
}
MOST_PIXELS = 50_000_000
PROJECTIONS = ("TAN", "SIN")
STRETCHES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "sqrt": np.sqrt,
    "power": np.square,
    "log": lambda x: np.log1p(1000 * x) / np.log(1001),
    "asinh": lambda x: np.arcsinh(10 * x) / np.arcsinh(10),
}
MOC_ORDER = 8


class Refused(Exception):
    """The parameters make no image; the text says why."""


class Hips2Fits(Route):
    """FITS without unit and beam, JPEG or PNG; blank where the survey has not looked at the centre."""

    paths = ("/hips-image-services/hips2fits",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Resample, or tell in JSON why not."""
        try:
            return _resampled(asked.query, sky)
        except Refused as error:
            said = {"title": "Bad request", "description": str(error)}
        except (KeyError, ValueError) as error:
            said = {"title": "Bad request", "description": f"missing or unreadable parameter: {error}"}
        return Answer(json.dumps(said).encode(), "application/json", 400)


class MocServer(Route):
    """``get=moc`` as FITS or JSON, ``get=record`` as text or JSON, both by ``ID``."""

    paths = ("/MocServer/query",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Tell where a survey has looked, or what it is."""
        name, form = asked.query.get("ID", ""), asked.query.get("fmt", "ascii")
        survey = HIPS.get(name)
        if asked.query.get("get") == "moc" and survey is not None:
            order = min(MOC_ORDER, int(asked.query.get("order", MOC_ORDER)))
            as_json = form == "json"
            return Answer(_moc(name, order, as_json), "application/json" if as_json else "application/fits")
        record = {} if survey is None else {"ID": name, "obs_title": f"Simulated {name}", "dataproduct_type": "image"}
        if form == "json":
            return Answer(json.dumps([record] if record else []).encode(), "application/json")
        return Answer("".join(f"{key:<20} = {value}\n" for key, value in record.items()).encode(), "text/plain")


def _resampled(query: dict[str, str], sky: Sky) -> Answer:
    survey = HIPS.get(query["hips"])
    if survey is None:
        raise Refused(f"no HiPS is named {query['hips']}")
    if float(query.get("rotation_angle", 0)) or query.get("coordsys", "icrs") != "icrs":
        raise Refused("this stand-in neither rotates nor changes the frame")
    ra_deg, dec_deg, height, width, pixel_arcsec, projection = _grid(query)
    if height * width > MOST_PIXELS:
        raise Refused(f"the image is larger than {MOST_PIXELS} pixels")
    if projection not in PROJECTIONS:
        raise Refused(f"this stand-in projects {' and '.join(PROJECTIONS)} only, not {projection}")
    grid = (ra_deg, dec_deg, height, width, pixel_arcsec)
    if survey.covers(ra_deg, dec_deg):
        image = sky.cutout(*grid, survey.beam_arcsec, survey.rms_jy, projection=projection)
    else:
        image = np.full((height, width), np.nan, np.float32)
    form = query.get("format", "fits")
    if form == "fits":
        pixels = _rgba(image, query) if survey.colour else image
        made: Card = ("HISTORY", "In the form of the CDS hips2fits service", "")
        return Answer(fits_bytes(pixels, [*sky_cards(*grid, projection), made]), "application/fits")
    if form not in ("jpg", "png"):
        raise Refused(f"format is fits, jpg or png, not {form}")
    return _picture(image, form, query)


def _grid(query: dict[str, str]) -> tuple[float, float, int, int, float, str]:
    if "wcs" in query:
        header = json.loads(query["wcs"])
        pixel_deg = header.get("CDELT2") or header["CD2_2"]
        height, width, projection = header["NAXIS2"], header["NAXIS1"], header["CTYPE1"][-3:]
        return header["CRVAL1"], header["CRVAL2"], height, width, pixel_deg * 3600, projection
    height, width = int(query["height"]), int(query["width"])
    if min(height, width) < 1:
        raise Refused("width and height are at least 1")
    pixel_arcsec = float(query["fov"]) * 3600 / max(height, width)
    return float(query["ra"]), float(query["dec"]), height, width, pixel_arcsec, query.get("projection", "TAN")


def _rgba(image: np.ndarray, query: dict[str, str]) -> np.ndarray:
    """Stretch an image between its cuts (values, or percentages of the pixels): ``(4, H, W) uint8``, 0 where blank."""
    known = image[np.isfinite(image)]
    if not known.size:
        return np.zeros((4, *image.shape), np.uint8)
    low, high = (_cut(query.get(f"{name}_cut", usual), known) for name, usual in (("min", "0.5%"), ("max", "99.5%")))
    if low >= high:
        raise Refused("min_cut is not below max_cut")
    stretch = STRETCHES.get(query.get("stretch", "linear"))
    if stretch is None:
        raise Refused(f"stretch is one of {', '.join(STRETCHES)}")
    grey = np.nan_to_num(255 * stretch(np.clip((image - low) / (high - low), 0, 1))).astype(np.uint8)
    return np.stack([grey, grey, grey, np.where(np.isfinite(image), 255, 0).astype(np.uint8)])


def _cut(text: str, known: np.ndarray) -> float:
    if not text.endswith("%"):
        return float(text)
    percent = float(text[:-1])
    if not 0 <= percent <= 100:
        raise Refused("a percentage is within 0 to 100")
    return float(np.percentile(known, percent))


def _picture(image: np.ndarray, form: str, query: dict[str, str]) -> Answer:
    """Draw a picture, its first row in the north: blank pixels are white in JPEG and transparent in PNG."""
    from PIL import Image

    picture = Image.fromarray(np.moveaxis(_rgba(image, query)[:, ::-1], 0, -1))
    if form == "jpg":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    out = io.BytesIO()
    picture.save(out, "JPEG" if form == "jpg" else "PNG")
    return Answer(out.getvalue(), "image/jpeg" if form == "jpg" else "image/png")


@lru_cache(maxsize=32)
def _moc(name: str, order: int, as_json: bool) -> bytes:
    import astropy.units as u
    from astropy.coordinates import SkyCoord
    from mocpy import MOC

    def zone(ra_min: float, ra_max: float, dec_min: float, dec_max: float) -> MOC:
        return MOC.from_zone(SkyCoord([ra_min, ra_max] * u.deg, [dec_min, dec_max] * u.deg), max_depth=order)

    moc = MOC.new_empty(order)
    survey: Survey = HIPS[name]
    for box in survey.footprint:
        moc |= zone(box.ra_min, box.ra_max, box.dec_min, box.dec_max)
    if as_json:
        return moc.to_string(format="json").encode()
    out = io.BytesIO()
    moc.serialize(format="fits").writeto(out)
    return out.getvalue()
