"""FIRST: the cutout server, which cuts one coadded image as it is."""

from __future__ import annotations

from rvtool.kinds import Absent, Fatal, Found, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.positions import position_of
from rvtool.services.replies import fits_or_refusal, header_values
from rvtool.services.surveys import FIRST
from rvtool_plugins.sources.first import LARGEST_PX, PIXEL_ARCSEC, FirstConfig


class First:
    """Asks for a cutout by position."""

    def __init__(self, config: FirstConfig) -> None:
        self.config = config
        self.info = SourceInfo(
            base_url="https://sundog.stsci.edu",
            pixel_arcsec=PIXEL_ARCSEC,
            field_arcmin=config.size_arcmin,
            max_rate_per_s=2,
            max_connections=4,
            unverified=(
                "the words with which the server says that it has no image",
                f"the largest image: {LARGEST_PX} px in its help, 2048 px in astroquery",
                "the beam where a header tells none (in the south it is said to be 6.4 or 6.8 x 5.4 arcsec)",
                "the rate that the server bears",
            ),
            **vars(FIRST),
        )

    def request(self, target: Target) -> Request:
        """Ask for a position: right ascension in hours and declination in degrees, in one field."""
        ra_deg, dec_deg = position_of(target)
        return Request(
            f"{self.info.base_url}/cgi-bin/firstcutout",
            {
                "RA": f"{ra_deg / 15:.8f} {dec_deg:.7f}",
                "Equinox": "J2000",
                "ImageSize": f"{self.config.size_arcmin:g}",
                "ImageType": "FITS File",
                "MaxImSize": str(LARGEST_PX),
            },
        )

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Take the image, with the name of the coadded image that it was cut from (column ``coadd``)."""
        return fits_or_refusal(reply, coadd=header_values(reply.body).get("FIELDNAM"))
