"""SkyView: any survey on any grid, resampled."""

from __future__ import annotations

from rvtool.services.positions import parse
from rvtool.testing.sky.asked import Answer, Asked, Route, fits_file, page
from rvtool.testing.sky.fits import fits_bytes, sky_cards
from rvtool.testing.sky.routes.sesame import resolve
from rvtool.testing.sky.sky import Sky
from rvtool.testing.sky.surveys import FIRST, NVSS, SUMSS, TGSS

SURVEYS = {
    "vla first (1.4 ghz)": FIRST,
    "first": FIRST,
    "nvss": NVSS,
    "sumss 843 mhz": SUMSS,
    "sumss": SUMSS,
    "tgss adr1": TGSS,
}
PROJECTIONS = ("TAN", "SIN")


class SkyView(Route):
    """One request with ``Return=FITS``; sizes in degrees. Without it, SkyView answers with a page."""

    paths = ("/current/cgi/runquery.pl", "/cgi-bin/images")

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Resample a survey's image, or say on a page why not."""
        query = {key.lower(): value for key, value in asked.query.items()}
        survey = SURVEYS.get(query.get("survey", "").lower())
        if survey is None:
            return page(f"SkyView error: no survey is named {query.get('survey', '')}")
        try:
            place = parse(query["position"]) or resolve(query["position"])
            width, height = map(int, _pair(query.get("pixels", "300")))
            width_deg, _ = _pair(query.get("size", f"{width * survey.pixel_arcsec / 3600}"))
        except (KeyError, ValueError):
            return page("SkyView error: position, pixels or size cannot be read")
        projection = query.get("projection", "Tan").upper()
        if place is None or projection not in PROJECTIONS or width_deg <= 0 or min(width, height) < 1:
            return page("SkyView error: the position cannot be resolved, or the grid cannot be made")
        if not survey.covers(*place):
            return page("No data of the survey at this position", 404)
        if query.get("return", "").upper() != "FITS":
            return page("SkyView images")
        grid = (*place, height, width, width_deg * 3600 / width)
        image = sky.cutout(*grid, survey.beam_arcsec, survey.rms_jy, projection=projection)
        cards = [
            ("SURVEY", query["survey"], ""),
            *sky_cards(*grid, projection, unit="JY/BEAM", beam_arcsec=survey.beam_arcsec),
            ("HISTORY", f"Resampler used: {query.get('sampler', 'NNSampler')}", ""),
        ]
        return fits_file(fits_bytes(image, cards, simple="Written by SkyView"))


def _pair(text: str) -> tuple[float, float]:
    """Read one number that holds for both axes, or two."""
    first, _, second = text.partition(",")
    return float(first), float(second or first)
