"""A source is pure: it says what to fetch, builds requests and reads replies; rvtool does all downloading."""

from __future__ import annotations

from collections.abc import Iterator

from rvtool.kinds import Absent, Beam, Fatal, Found, Reply, Request, Retry, SourceInfo, Target
from rvtool_example import ArchiveConfig


FITS_BLOCK = 2880  # bytes; no FITS file is smaller


class Archive:
    """Cutouts of a made-up archive."""

    info = SourceInfo(
        base_url="https://archive.example.org",
        unit="Jy/beam",
        beam=Beam(5.4, 5.4),
        pixel_arcsec=1.8,
        max_rate_per_s=5.0,
        licence="CC0",
        citation="none: the archive does not exist",
        unverified=("everything: the archive does not exist",),
    )

    def __init__(self, config: ArchiveConfig) -> None:
        self.config = config

    def targets(self) -> Iterator[Target]:
        """Give the positions of the settings."""
        for ra, dec in zip(self.config.ra_deg, self.config.dec_deg, strict=True):
            yield Target(f"J{ra:08.4f}{dec:+08.4f}", ra, dec)

    def request(self, target: Target) -> Request:
        """Ask for a cutout."""
        place = {"ra": f"{target.ra_deg:.5f}", "dec": f"{target.dec_deg:.5f}", "size": f"{self.config.size_arcmin:g}"}
        return Request(f"{self.info.base_url}/cutout", place)

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Tell an image from the many ways in which a service says no, with whatever status."""
        if reply.status in (401, 403):
            return Fatal(f"the archive refuses access (HTTP {reply.status})")
        if reply.status == 404:
            return Absent("not in the archive's footprint")
        if reply.status != 200:
            return Retry(f"the archive answered HTTP {reply.status}")
        if not reply.body.startswith(b"SIMPLE  =") or len(reply.body) < FITS_BLOCK:
            return Retry("the archive answered something that is no whole FITS file")
        return Found(reply.body, ".fits")
