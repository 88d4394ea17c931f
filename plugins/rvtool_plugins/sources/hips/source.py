"""HiPS: cutouts by hips2fits, coverage by the MOCServer."""

from __future__ import annotations

import json

from rvtool.kinds import Absent, Fatal, Found, Reply, Request, Retry, SourceInfo, Target
from rvtool.services import mocserver
from rvtool.services.positions import position_of
from rvtool.services.replies import fits_or_refusal, refusal, words
from rvtool.services.surveys import LOTSS, NVSS, VLASS, Survey
from rvtool_plugins.sources.hips import MOST_PIXELS, HipsConfig

SURVEYS = {
    "CDS/P/NVSS": NVSS,
    "astron.nl/P/lotss_dr2_high": LOTSS,
    "astron.nl/P/lotss_dr3_high": LOTSS,
    "NRAO/P/VLASS-Quicklook-MedianStack": VLASS,
}
PICTURE_STARTS = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}
RESAMPLED = {"calibration": "resampled"}  # bilinear, which keeps no flux
CITATION = "Fernique et al. 2015, A&A 578, A114 (HiPS)"
BIBTEX = """@article{fernique2015hips,
  author = {Fernique, P. and Allen, M. G. and Boch, T. and Oberto, A. and Pineau, F.-X. and Durand, D. and Bot, C. and
            Cambr{\\'e}sy, L. and Derriere, S. and Genova, F. and Bonnarel, F.},
  title = {Hierarchical progressive surveys. Multi-resolution {HEALPix} data structures for astronomical images,
           catalogues, and 3-dimensional data cubes},
  journal = {Astronomy \\& Astrophysics},
  volume = {578},
  pages = {A114},
  year = {2015},
  doi = {10.1051/0004-6361/201526075}
}
"""
ACKNOWLEDGEMENT = "This research made use of hips2fits, a service provided by CDS."


class Hips:
    """Asks for a HiPS around a position."""

    def __init__(self, config: HipsConfig) -> None:
        self.config = config
        survey = SURVEYS.get(config.survey, Survey())
        values = config.format == "fits"
        self.info = SourceInfo(
            base_url=mocserver.BASE_URL,
            mirrors=("https://alaskybis.cds.unistra.fr",),
            unit=survey.unit if values else "",
            beam=survey.beam,
            pixel_arcsec=config.pixel_arcsec,
            field_arcmin=config.side_px * config.pixel_arcsec / 60,
            footprint=survey.footprint,
            max_rate_per_s=5,
            max_connections=6,
            licence=survey.licence or "that of the survey (obs_copyright of its HiPS)",
            citation="; ".join(filter(None, (survey.citation, CITATION))),
            bibtex=survey.bibtex + BIBTEX,
            acknowledgement=" ".join(filter(None, (survey.acknowledgement, ACKNOWLEDGEMENT))),
            unverified=(
                f"the largest image: {MOST_PIXELS} pixels",
                "the units of the HiPS, whose headers tell none",
                "blank images, which may also be a failure of the service",
                "the rate that the service bears",
            ),
        )

    def coverage(self) -> Request:
        """Ask where the survey has images."""
        return mocserver.request(self.config.survey)

    def request(self, target: Target) -> Request:
        """Ask for a position; ``fov`` is the side in degrees."""
        ra_deg, dec_deg = position_of(target)
        config = self.config
        params = {
            "hips": config.survey,
            "width": str(config.side_px),
            "height": str(config.side_px),
            "projection": config.projection,
            "coordsys": "icrs",
            "rotation_angle": "0.0",
            "ra": f"{ra_deg:.7f}",
            "dec": f"{dec_deg:.7f}",
            "fov": f"{config.side_px * config.pixel_arcsec / 3600:.9f}",
            "format": config.format,
        }
        if config.format != "fits":
            params |= {
                "min_cut": f"{config.min_cut_percent:g}%",
                "max_cut": f"{config.max_cut_percent:g}%",
                "stretch": config.stretch,
            }
        return Request(f"{self.info.base_url}/hips-image-services/hips2fits", params)

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Take the image; where the survey has none it is blank, and a refusal is JSON and concerns every target."""
        refused = refusal(reply)
        if isinstance(refused, Absent) and (said := _refused(reply.body)):
            return Fatal(f"hips2fits refuses the settings: {said}")
        if self.config.format == "fits":
            return fits_or_refusal(reply, **RESAMPLED)
        if refused:
            return refused
        if not reply.body.startswith(PICTURE_STARTS[self.config.format]):
            return Retry(f"no picture came, but: {words(reply.body)}")
        return Found(reply.body, f".{self.config.format}", dict(RESAMPLED))


def _refused(body: bytes) -> str:
    """Return the title and description of a JSON refusal; ``""`` where the body is none."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    return (
        ": ".join(str(said[key]) for key in ("title", "description") if key in said) if isinstance(said, dict) else ""
    )
