"""LoTSS: the cutout server of the LOFAR surveys."""

from __future__ import annotations

from rvtool.kinds import Absent, Beam, Fatal, Found, Reply, Request, Retry, SourceInfo, Target
from rvtool.services import mocserver
from rvtool.services.positions import position_of, sexagesimal
from rvtool.services.replies import fits_or_refusal
from rvtool.services.surveys import LOTSS
from rvtool_plugins.sources.lotss import LARGEST_ARCMIN, LotssConfig

PIXEL_ARCSEC = 1.5
LOW_BEAM = Beam(20, 20)


class Lotss:
    """Asks for a cutout by position."""

    def __init__(self, config: LotssConfig) -> None:
        self.config = config
        low = config.resolution == "low"
        survey = vars(LOTSS) | ({"beam": LOW_BEAM} if low else {})
        self.info = SourceInfo(
            base_url="https://lofar-surveys.org",
            further_urls=(mocserver.BASE_URL,),
            pixel_arcsec=None if low else PIXEL_ARCSEC,  # that of the 20 arcsec images is not documented
            field_arcmin=config.size_arcmin,
            max_rate_per_s=1,
            max_connections=2,
            release=config.release.upper(),
            unverified=(
                f"the largest image: {LARGEST_ARCMIN} arcmin",
                "the words with which the server says that it has no image",
                "whether the third release is open",
                "the rate that the server bears",
                "the survey's name at the MOCServer",
            ),
            **survey,
        )

    def coverage(self) -> Request:
        """Ask where the release has images."""
        return mocserver.request(f"astron.nl/P/lotss_{self.config.release}_high")

    def request(self, target: Target) -> Request:
        """Ask for a position: sexagesimal, with colons."""
        position = " ".join(sexagesimal(*position_of(target), ":"))
        low = "-low" if self.config.resolution == "low" else ""
        return Request(
            f"{self.info.base_url}/{self.config.release}{low}-cutout.fits",
            {"pos": position, "size": f"{self.config.size_arcmin:g}"},
        )

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Take the image; outside the survey a web page comes, with status 200."""
        return fits_or_refusal(reply)
