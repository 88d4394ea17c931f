"""MiraBest: 770 radio galaxies as FIRST sees them, out of one published archive."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import ClassVar

from rvtool.errors import DataError
from rvtool.kinds import Absent, Beam, Fatal, Found, Listed, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.batches import png
from rvtool.services.replies import refusal
from rvtool_plugins.sources.mirabest import MirabestConfig
from rvtool_plugins.sources.mirabest.batches import SIDE_PX, Galaxy, read_archive

BASE_URL = "http://www.jb.man.ac.uk"
ARCHIVE = "/research/MiraBest/basic/MiraBest_basic_batches.tar.gz"
MD5 = "6c9a3e6ca3c0f3d27f9f6dca1b9730e1"
PIXEL_ARCSEC = 1.8


class Mirabest:
    """Lists the galaxies of the archive and gives their images; every request is the one archive."""

    classes: ClassVar[tuple[str, ...]] = ("FRI", "FRII")

    def __init__(self, config: MirabestConfig) -> None:
        self.published = config.path is None
        url = BASE_URL + ARCHIVE if config.path is None else config.path.resolve().as_uri()
        self._archive = Request(
            url, shared=self.published
        )  # of a file there is no need to keep a copy, which grows old
        self.info = SourceInfo(
            base_url=BASE_URL if self.published else url,
            beam=Beam(5.4, 5.4),
            pixel_arcsec=PIXEL_ARCSEC,
            field_arcmin=SIDE_PX * PIXEL_ARCSEC / 60,
            licence="images of FIRST: scholarly, educational and private non-commercial use",
            release="basic",
            citation="Porter & Scaife 2023, RASTI 2, 293; Miraghaei & Best 2017, MNRAS 466, 4346; "
            "Porter 2020, doi:10.5281/zenodo.4288837",
            bibtex=BIBTEX,
            acknowledgement="This work uses MiraBest (Porter & Scaife 2023), images of the VLA FIRST survey "
            "(Becker, White & Helfand 1995).",
            unverified=("the archive's address answers", "the licence"),
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for the archive."""
        return (self._archive,)

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal:
        """Read the galaxies of a class, or all 770."""
        galaxies = self._galaxies(reply)
        if not isinstance(galaxies, dict):
            return galaxies
        targets = [galaxy.target for galaxy in galaxies.values()]
        return Listed(tuple(t for t in targets if label in ("", t.columns["label"])))

    def request(self, target: Target) -> Request:
        """Ask for the archive."""
        return self._archive

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Take the target's image out of the archive, as PNG."""
        galaxies = self._galaxies(reply)
        if not isinstance(galaxies, dict):
            return galaxies
        if target.id not in galaxies:
            return Absent("MiraBest has no image of this name")
        return Found(png(galaxies[target.id].pixels), ".png", galaxies[target.id].target.columns)

    def _galaxies(self, reply: Reply) -> dict[str, Galaxy] | Absent | Retry | Fatal:
        if refused := refusal(reply):
            return refused
        try:
            return _read_once(reply.body, self.published)
        except DataError as error:  # what was fetched may have been cut off or replaced; a file stays as it is
            reason = str(error).rstrip(".")
            return Retry(reason) if self.published else Fatal(reason)


@lru_cache(maxsize=2)
def _read_once(body: bytes, published: bool) -> dict[str, Galaxy]:
    """Read the archive, for all the targets whose reply it is.

    Raises
    ------
    DataError
        It is not MiraBest's, or was published otherwise.
    """
    if published and hashlib.md5(body, usedforsecurity=False).hexdigest() != MD5:
        raise DataError("What came is not the archive that was published; fetch it by hand and name it with --path.")
    return read_archive(body)


BIBTEX = """\
@article{2023RASTI...2..293P,
  author = {{Porter}, Fiona A. M. and {Scaife}, Anna M. M.},
  title = "{MiraBest: a data set of morphologically classified radio galaxies for machine learning}",
  journal = {RAS Techniques and Instruments},
  year = 2023,
  volume = {2},
  pages = {293-306}
}

@article{2017MNRAS.466.4346M,
  author = {{Miraghaei}, H. and {Best}, P. N.},
  title = "{The nuclear properties and extended morphologies of powerful radio galaxies}",
  journal = {Monthly Notices of the Royal Astronomical Society},
  year = 2017,
  volume = {466},
  pages = {4346-4363}
}
"""
