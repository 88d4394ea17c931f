"""SDSS: colour JPEGs from SkyServer, calibrated frames from the archive server, and spectroscopic classes by SQL."""

from __future__ import annotations

import csv
import io
import re
from typing import ClassVar

from rvtool.errors import DataError
from rvtool.kinds import Absent, Fatal, Found, Further, Listed, Reply, Request, Retry, SourceInfo, Target
from rvtool.services import positions
from rvtool.services.replies import refusal, words
from rvtool_plugins.sources.sdss import SdssConfig

BASE_URL = "https://skyserver.sdss.org"
FRAMES_URL = "https://data.sdss.org"
PIXEL_ARCSEC = 0.396127
SMALLEST_PX, LARGEST_PX = 64, 2048  # what getjpeg gives; it clips without a word
ONE_COLOUR = 0.5  # standard deviation, grey levels: more than rounding makes
MOST_ROWS = 500_000
MINUTE_S = 60.0
FIELDS = re.compile(r"\w+(,\w+)*")
QUERIES = {
    "quasar": "SELECT TOP {count} s.ra, s.dec, s.z AS redshift, s.specobjid FROM SpecObj AS s "
    "WHERE s.class = 'QSO' AND s.zWarning = 0",
    "spiral_galaxy": "SELECT TOP {count} s.ra, s.dec, s.z AS redshift, s.specobjid FROM SpecObj AS s "
    "JOIN zooSpec AS g ON g.specobjid = s.specobjid WHERE g.spiral = 1",
}
NEAREST = (
    "SELECT TOP 1 p.run, p.rerun, p.camcol, p.field FROM dbo.fGetNearestObjEq({ra:.6f}, {dec:.6f}, 0.5) AS n "
    "JOIN PhotoObj AS p ON p.objid = n.objid"
)


class Sdss:
    """Gives optical images of any position, and lists quasars and spiral galaxies."""

    classes: ClassVar[tuple[str, ...]] = tuple(QUERIES)

    def __init__(self, config: SdssConfig) -> None:
        self.config = config
        fits = config.form == "fits"
        self.info = SourceInfo(
            base_url=BASE_URL,
            further_urls=(FRAMES_URL,),
            unit="nanomaggy" if fits else "",
            pixel_arcsec=PIXEL_ARCSEC,
            field_arcmin=config.size_arcmin,
            max_rate_per_s=0.9 if fits else 4,  # an SQL query for each FITS image, of which 60 a minute are allowed
            max_connections=1 if fits else 4,
            licence="public, with the acknowledgement",
            citation="York et al. 2000, AJ 120, 1579; Abdurro'uf et al. 2022, ApJS 259, 35 (DR17); "
            "Lintott et al. 2011, MNRAS 410, 166 (Galaxy Zoo)",
            release=config.release,
            bibtex=BIBTEX,
            acknowledgement="The text that SDSS asks for is at https://www.sdss.org/collaboration/citing-sdss/.",
            unverified=(
                "what getjpeg sends outside the footprint (taken to be an image of one colour)",
                "the column spiral of the table zooSpec",
                "the function fGetNearestObjEq",
                "the licence",
            ),
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for the objects of a class; for `label` ``""`` for those of every class."""
        return tuple(
            self._sql(sql.format(count=count or MOST_ROWS)) for name, sql in QUERIES.items() if label in ("", name)
        )

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal:
        """Read the objects."""
        rows = _rows(reply)
        if isinstance(rows, Absent | Retry | Fatal):
            return rows
        label = label or ("spiral_galaxy" if "zooSpec" in reply.request.params["cmd"] else "quasar")
        try:
            return Listed(tuple(_target(label, row) for row in rows))
        except (KeyError, TypeError, ValueError):
            return Retry("the table is not the one that was asked for")

    def request(self, target: Target) -> Request:
        """Ask for the JPEG, or for which frame shows the target."""
        ra, dec = positions.position_of(target)
        if self.config.form == "fits":
            return self._sql(NEAREST.format(ra=ra, dec=dec))
        side = str(self._side_px)
        where = {"ra": f"{ra:.6f}", "dec": f"{dec:.6f}", "scale": str(PIXEL_ARCSEC)}
        # no option: each would draw something into the image
        params = where | {"width": side, "height": side, "opt": ""}
        return Request(f"{BASE_URL}/{self.config.release}/SkyServerWS/ImgCutout/getjpeg", params)

    def read(self, target: Target, reply: Reply) -> Found | Further | Absent | Retry | Fatal:
        """Take the JPEG; or ask on for the frame, and cut the target out of it."""
        if self.config.form == "jpeg":
            return self._read_jpeg(reply)
        if reply.request.url.startswith(FRAMES_URL):
            return self._read_frame(target, reply)
        rows = _rows(reply)
        if not isinstance(rows, list):
            return rows
        try:
            return Further(self._frame(rows[0]))
        except (KeyError, TypeError, ValueError):
            return Retry("the table is not the one that was asked for")

    def _read_jpeg(self, reply: Reply) -> Found | Absent | Retry | Fatal:
        from PIL import Image, ImageStat

        if refused := refusal(reply):
            return refused
        if not reply.body.startswith(b"\xff\xd8"):
            return Retry(f"no JPEG came, but: {words(reply.body) or 'nothing'}")
        try:
            with Image.open(io.BytesIO(reply.body)) as image:
                contrast = max(ImageStat.Stat(image).stddev)
        except OSError as error:
            return Retry(f"the JPEG is damaged: {error}")
        return Found(reply.body, ".jpg") if contrast > ONE_COLOUR else Absent("outside the survey: one colour only")

    def _read_frame(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        from rvtool_plugins.sources.sdss.frames import cut

        if refused := refusal(reply):
            return refused
        try:
            image = cut(reply.body, positions.position_of(target), self.config.size_arcmin)
        except DataError as error:
            return Retry(str(error))
        return Absent("the frame ends before the target") if image is None else Found(image, ".fits")

    @property
    def _side_px(self) -> int:
        return min(max(round(self.config.size_arcmin * 60 / PIXEL_ARCSEC), SMALLEST_PX), LARGEST_PX)

    def _sql(self, command: str) -> Request:
        url = f"{BASE_URL}/{self.config.release}/SkyServerWS/SearchTools/SqlSearch"
        return Request(url, {"cmd": command, "format": "csv"})

    def _frame(self, row: dict[str, str]) -> Request:
        """Ask for the frame of a row of run, rerun, camcol and field; the reruns of a release never change."""
        number = int(self.config.release.removeprefix("dr"))
        # imaging ended with DR13: later releases keep it where it was
        folder = "boss" if number <= 12 else "eboss" if number <= 17 else "prior-surveys/sdss4-dr17-eboss"
        run, camcol, field = int(row["run"]), int(row["camcol"]), int(row["field"])
        name = f"frame-{self.config.band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
        path = f"/sas/{self.config.release}/{folder}/photoObj/frames/{row['rerun']}/{run}/{camcol}/{name}"
        return Request(FRAMES_URL + path, shared=True)


def _target(label: str, row: dict[str, str]) -> Target:
    place = float(row["ra"]), float(row["dec"])
    columns = {"label": label, "redshift": float(row["redshift"]), "specobjid": row["specobjid"]}
    return Target(positions.j_name(*place), *place, columns)


def _rows(reply: Reply) -> list[dict[str, str]] | Absent | Retry | Fatal:
    """Read the rows of a CSV reply; errors and outages come in its place, as text, with HTTP 200."""
    if refused := refusal(reply):
        return refused
    text = reply.body.decode("utf-8", "replace").strip()
    if "queries allowed per minute" in text:
        return Retry(words(reply.body), MINUTE_S)
    if "No objects have been found" in text:
        return Absent("SDSS has no such object")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not FIELDS.fullmatch(lines[0]) or "error_message" in lines[0]:
        return Retry(f"no table came, but: {words(reply.body) or 'nothing'}")
    return list(csv.DictReader(lines)) or Absent("SDSS has no such object")


BIBTEX = """\
@article{2000AJ....120.1579Y,
  author = {{York}, Donald G. and others},
  title = "{The Sloan Digital Sky Survey: Technical Summary}",
  journal = {Astronomical Journal},
  year = 2000,
  volume = {120},
  pages = {1579-1587},
  doi = {10.1086/301513}
}

@article{2022ApJS..259...35A,
  author = {{Abdurro'uf} and others},
  title = "{The Seventeenth Data Release of the Sloan Digital Sky Surveys}",
  journal = {Astrophysical Journal Supplement Series},
  year = 2022,
  volume = {259},
  pages = {35},
  doi = {10.3847/1538-4365/ac4414}
}

@article{2011MNRAS.410..166L,
  author = {{Lintott}, Chris and others},
  title = "{Galaxy Zoo 1: data release of morphological classifications for nearly 900 000 galaxies}",
  journal = {Monthly Notices of the Royal Astronomical Society},
  year = 2011,
  volume = {410},
  pages = {166-178}
}
"""
