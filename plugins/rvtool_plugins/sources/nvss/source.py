"""NVSS: the postage stamp server."""

from __future__ import annotations

from rvtool.kinds import Absent, Fatal, Found, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.positions import position_of, sexagesimal
from rvtool.services.replies import fits_or_refusal
from rvtool.services.surveys import NVSS
from rvtool_plugins.sources.nvss import LARGEST_PX, NvssConfig


class Nvss:
    """Asks for a stamp by position."""

    def __init__(self, config: NvssConfig) -> None:
        self.config = config
        self.info = SourceInfo(
            base_url="https://www.cv.nrao.edu",
            pixel_arcsec=config.cell_arcsec,
            field_arcmin=config.size_arcmin,
            max_rate_per_s=2,
            max_connections=2,
            unverified=(
                "whether the server still answers at this address, and the fields of its form",
                f"the largest image: {LARGEST_PX} px",
                "the words with which the server says that it has no image",
                "the rate that the server bears",
            ),
            **vars(NVSS),
        )

    def request(self, target: Target) -> Request:
        """Ask for a position: sexagesimal, with spaces (the server refuses colons); the size in degrees."""
        ra, dec = sexagesimal(*position_of(target))
        size_deg = f"{self.config.size_arcmin / 60:.6f}"
        cell = f"{self.config.cell_arcsec:g}"
        return Request(
            f"{self.info.base_url}/cgi-bin/postage.pl",
            {
                "Equinox": "J2000",
                "PolType": "I",
                "RA": ra,
                "Dec": dec,
                "Size": f"{size_deg} {size_deg}",
                "Cells": f"{cell} {cell}",
                "MAPROJ": "SIN",
                "rotate": "0.0",
                "Type": "application/octet-stream",
            },
        )

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Take the image; what the server has to say instead stands in ``<PRE>``, with status 200."""
        return fits_or_refusal(reply)
