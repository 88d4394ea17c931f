"""Radio Galaxy Zoo: images of FIRST, out of one published archive or out of a folder of its batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import ClassVar

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Absent, Beam, Fatal, Found, Listed, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.batches import in_archive, in_folder, png
from rvtool.services.replies import refusal
from rvtool_plugins.sources.rgz import RgzConfig
from rvtool_plugins.sources.rgz.pictures import SIDE_PX, Picture, read_pictures

BASE_URL = "http://www.jb.man.ac.uk"
ARCHIVE = "/research/ascaife/rgz20k-batches-python.tar.gz"
MD5 = "3a85fb4167fb08619e36e77bbba40896"
LARGEST = 2**30  # bytes; the 20,000 images unpack to half of it
META = "batches.meta"
PIXEL_ARCSEC = 1.8


class Rgz:
    """Lists the images and gives them; every request is the archive, or the one small file in the folder of batches.

    Raises
    ------
    ConfigError
        There is no such archive or folder of batches.
    """

    classes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: RgzConfig) -> None:
        self.config = config
        self._folder: Path | None = None
        url = BASE_URL + ARCHIVE
        if config.path is not None:
            self._folder = _batches_folder(config.path)
            url = (self._folder / META if self._folder else config.path).resolve().as_uri()
        self._published = config.path is None
        self._request = Request(url, shared=self._published)
        self._known: tuple[tuple[int, bytes], dict[str, Picture]] | None = None
        self._reading = Lock()  # reading needs a GB for the archive, and a few seconds
        self.info = SourceInfo(
            base_url=BASE_URL if self._published else url,
            beam=Beam(5.4, 5.4),
            pixel_arcsec=PIXEL_ARCSEC,
            field_arcmin=SIDE_PX * PIXEL_ARCSEC / 60,
            licence="images of FIRST: scholarly, educational and private non-commercial use",
            release="20k" if self._published else "",
            citation="Banfield et al. 2015, MNRAS 453, 2326; Slijepcevic et al. 2024, RASTI 3, 19",
            bibtex=BIBTEX,
            acknowledgement="This work uses Radio Galaxy Zoo (Banfield et al. 2015), images of the VLA FIRST survey "
            "(Becker, White & Helfand 1995).",
            unverified=("the archive's address answers", "the archive's content", "the licence"),
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for the archive, or for the file in the folder."""
        return (self._request,)

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal:
        """List the images that the settings leave in."""
        pictures = self._pictures(reply)
        if not isinstance(pictures, dict):
            return pictures
        return Listed(tuple(picture.target for picture in pictures.values()))

    def request(self, target: Target) -> Request:
        """Ask for the archive, or for the file in the folder."""
        return self._request

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Take the target's image out of the batches, as PNG."""
        pictures = self._pictures(reply)
        if not isinstance(pictures, dict):
            return pictures
        if target.id not in pictures:
            return Absent("Radio Galaxy Zoo has no image of this name, with these settings")
        picture = pictures[target.id]
        return Found(png(picture.pixels), ".png", picture.target.columns)

    def _pictures(self, reply: Reply) -> dict[str, Picture] | Absent | Retry | Fatal:
        """Return all images; they are read once, and not for each target whose reply it is."""
        if refused := refusal(reply):
            return refused
        content = (len(reply.body), reply.body[-8:])  # gzip ends in the checksum and the length of what it holds
        with self._reading:
            if self._known is None or self._known[0] != content:
                try:
                    self._known = content, read_pictures(self._batches(reply.body), self.config)
                except (DataError, OSError) as error:  # what was fetched may have been cut off; a file stays as it is
                    reason = str(error).rstrip(".")
                    return Retry(reason) if self._published else Fatal(reason)
            return self._known[1]

    def _batches(self, body: bytes) -> Iterator[tuple[str, bytes]]:
        if self._folder is not None:
            return in_folder(self._folder)
        if self._published and hashlib.md5(body, usedforsecurity=False).hexdigest() != MD5:
            raise DataError(
                "what came is not the archive that was published; fetch it by hand, and name it with --path"
            )
        try:
            return in_archive(body, LARGEST)
        except DataError as error:
            raise DataError(f"{error}; unpack it by hand, and name its folder with --path") from error


def _batches_folder(path: Path) -> Path | None:
    """Return the folder of batches that is at a path or in it; None for a file, which is an archive."""
    if path.is_file():
        return None
    for folder in (path, *sorted(path.glob("rgz*-batches-py"))):
        if (folder / META).is_file():
            return folder
    raise ConfigError(
        f"{path} is no archive, and no folder with {META} and data_batch_1, ... in it or in its rgz20k-batches-py or "
        "rgz108k-batches-py; give source 'rgz' the --path where they are."
    )


BIBTEX = """\
@article{2015MNRAS.453.2326B,
  author = {{Banfield}, J. K. and {Wong}, O. I. and {Willett}, K. W. and others},
  title = "{Radio Galaxy Zoo: host galaxies and radio morphologies derived from visual inspection}",
  journal = {Monthly Notices of the Royal Astronomical Society},
  year = 2015,
  volume = {453},
  pages = {2326-2340}
}

@article{2024RASTI...3...19S,
  author = {{Slijepcevic}, Inigo V. and {Scaife}, Anna M. M. and {Walmsley}, Mike and {Bowles}, Micah and
            {Wong}, O. Ivy and {Shabala}, Stanislav S. and {White}, Sarah V.},
  title = "{Radio galaxy zoo: towards building the first multipurpose foundation model for radio astronomy with
           self-supervised learning}",
  journal = {RAS Techniques and Instruments},
  year = 2024,
  volume = {3},
  pages = {19-32}
}
"""
