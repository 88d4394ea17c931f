"""SkyView: one request for each image, which comes resampled."""

from __future__ import annotations

from rvtool.kinds import Absent, Fatal, Found, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.positions import position_of
from rvtool.services.replies import fits_or_refusal
from rvtool.services.surveys import FIRST, NVSS, Survey
from rvtool_plugins.sources.skyview import SkyviewConfig

SURVEYS = {"VLA FIRST (1.4 GHz)": FIRST, "NVSS": NVSS}
SAMPLERS = {"linear": "LI", "lanczos": "Lanczos3", "spline": "Spline", "clip": "Clip"}  # nearest is the default
CITATION = "McGlynn, Scollick & White 1998, IAU Symposium 179, 465 (SkyView)"
BIBTEX = """@inproceedings{mcglynn1998skyview,
  author = {McGlynn, Thomas and Scollick, Keith and White, Nicholas},
  title = {{SkyView}: The Multi-Wavelength Sky on the Internet},
  booktitle = {New Horizons from Multi-Wavelength Sky Surveys},
  series = {IAU Symposium},
  volume = {179},
  pages = {465},
  year = {1998}
}
"""
ACKNOWLEDGEMENT = (
    "We acknowledge the use of NASA's SkyView facility (https://skyview.gsfc.nasa.gov) located at NASA Goddard Space "
    "Flight Center."
)


class Skyview:
    """Asks for a survey around a position."""

    def __init__(self, config: SkyviewConfig) -> None:
        self.config = config
        survey = SURVEYS.get(config.survey, Survey())
        self.info = SourceInfo(
            base_url="https://skyview.gsfc.nasa.gov",
            unit=survey.unit,
            beam=survey.beam,
            pixel_arcsec=config.pixel_arcsec,
            field_arcmin=config.side_px * config.pixel_arcsec / 60,
            footprint=survey.footprint,
            max_rate_per_s=1,
            max_connections=2,
            licence=survey.licence or "that of the survey, told in each image's header",
            citation="; ".join(filter(None, (survey.citation, CITATION))),
            bibtex=survey.bibtex + BIBTEX,
            acknowledgement=" ".join(filter(None, (survey.acknowledgement, ACKNOWLEDGEMENT))),
            unverified=(
                "the request for an image in one step, and the words of its samplers there",
                "what the server sends where the survey has no image",
                "the rate that the server bears",
            ),
        )

    def request(self, target: Target) -> Request:
        """Ask for a position in degrees; the size in degrees."""
        ra_deg, dec_deg = position_of(target)
        side, size_deg = self.config.side_px, self.config.side_px * self.config.pixel_arcsec / 3600
        params = {
            "Position": f"{ra_deg:.7f},{dec_deg:.7f}",
            "Survey": self.config.survey,
            "Coordinates": "J2000",
            "Projection": "Tan",
            "Size": f"{size_deg:.9f},{size_deg:.9f}",
            "Pixels": f"{side},{side}",
            "Return": "FITS",
        }
        if self.config.sampler in SAMPLERS:
            params["Sampler"] = SAMPLERS[self.config.sampler]
        return Request(f"{self.info.base_url}/current/cgi/runquery.pl", params)

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Take the image."""
        return fits_or_refusal(reply, calibration="resampled")
