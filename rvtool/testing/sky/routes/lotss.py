"""LoTSS: the cutout server of its second and third release, at 6 and 20 arcsec."""

from __future__ import annotations

from rvtool.services.positions import parse
from rvtool.testing.sky.asked import Answer, Asked, Route, page
from rvtool.testing.sky.fits import fits_bytes, sky_cards
from rvtool.testing.sky.routes.sesame import resolve
from rvtool.testing.sky.sky import Sky
from rvtool.testing.sky.surveys import LOTSS, LOTSS_LOW

MOST_ARCMIN = 120.0


class Lotss(Route):
    """A position or a name, and a size in arcmin; the third release has the area of the second here."""

    paths = ("/dr2-cutout.fits", "/dr2-low-cutout.fits", "/dr3-cutout.fits", "/dr3-low-cutout.fits")

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Cut an image, or say on a page why not."""
        survey = LOTSS_LOW if "-low-" in asked.path else LOTSS
        try:
            name = asked.query["pos"]
            place = parse(name) or resolve(name)
            size_arcmin = float(asked.query.get("size", "3"))
        except (KeyError, ValueError):
            return page("Bad request: pos or size cannot be read")
        if place is None:
            return page(f"The name {name} cannot be resolved")
        if not 0 < size_arcmin <= MOST_ARCMIN:
            return page(f"Image size must be no more than {MOST_ARCMIN:g} arcmin")
        if not survey.covers(*place):
            return page("No image covers this position: it is outside the area of this release")
        side = round(size_arcmin * 60 / survey.pixel_arcsec)
        grid = (*place, side, side, survey.pixel_arcsec)
        image = sky.cutout(*grid, survey.beam_arcsec, survey.rms_jy)
        cards = [("TELESCOP", "LOFAR", ""), *sky_cards(*grid, unit="JY/BEAM", beam_arcsec=survey.beam_arcsec)]
        return Answer(fits_bytes(image, cards), "application/fits")
