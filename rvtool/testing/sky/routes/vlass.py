"""VLASS at the CADC: TAP tells which images there are, DataLink where they are cut, SODA cuts them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, cos, floor, radians
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from rvtool.services.positions import from_name, j_name
from rvtool.testing.sky.asked import Answer, Asked, Route, fits_file
from rvtool.testing.sky.fits import Card, fits_bytes, sky_cards
from rvtool.testing.sky.geometry import project
from rvtool.testing.sky.sky import Sky
from rvtool.testing.sky.surveys import VLASS

SIDE_PX = 3722  # of an image, which is a little more than a degree: neighbours overlap
PUBLISHER = "ivo://cadc.nrc.ca/VLASS?"
EPOCH = re.compile(r"LIKE 'VLASS(\d)\.%'")
CIRCLE = re.compile(r"CIRCLE\('ICRS',\s*([-+\d.]+),\s*([-+\d.]+),\s*([\d.]+)\)")
TILE = re.compile(r"VLASS(\d)\.(\d)(?:\.ql)?\.T\d\dt\d\d\.(J\d{6}[+-]\d{6})")
TAP_FIELDS = ("observationID", "requirements_flag", "publisherID", "ra_deg", "dec_deg")
LINK_FIELDS = ("ID", "access_url", "service_def", "error_message", "semantics", "description", "content_type")


@dataclass(frozen=True)
class Tile:
    """One of the images, a square degree; its middle lies on a grid."""

    strip: int
    cell: int

    @classmethod
    def at(cls, ra_deg: float, dec_deg: float) -> Tile:
        """Return the image in whose cell a position lies."""
        strip = floor(dec_deg)
        return cls(strip, floor(ra_deg % 360 / 360 * cls(strip, 0).cells))

    @property
    def cells(self) -> int:
        """Number of images around the sky at this declination."""
        return ceil(360 * cos(radians(self.dec_deg)))

    @property
    def ra_deg(self) -> float:
        """Right ascension of the middle."""
        return (self.cell % self.cells + 0.5) * 360 / self.cells

    @property
    def dec_deg(self) -> float:
        """Declination of the middle."""
        return self.strip + 0.5

    @property
    def half(self) -> int:
        """In which half of an epoch it was observed."""
        return 1 + self.cell % 2

    def observation(self, epoch: int, half: int) -> str:
        """Name an observation: ``VLASS2.1.T10t02.J005000-023000``."""
        name = re.sub(r"\.\d+", "", j_name(self.ra_deg, self.dec_deg))
        return f"VLASS{epoch}.{half}.T{(self.strip + 44) // 4:02d}t{int(self.ra_deg / 12) + 1:02d}.{name}"

    def touches(self, ra_deg: float, dec_deg: float, radius_deg: float) -> bool:
        """Tell whether a circle reaches into the image."""
        offsets_deg = project(ra_deg, dec_deg, self.ra_deg, self.dec_deg, "SIN")
        return max(map(abs, offsets_deg)) <= SIDE_PX / 2 * VLASS.pixel_arcsec / 3600 + radius_deg


class Vlass(Route):
    """The three services that lead to a cutout."""

    paths = ("/argus/sync", "/caom2ops/datalink", "/caom2ops/sync")

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Answer as the service of the path would."""
        if asked.path.startswith("/argus"):
            return _tap(asked.query.get("QUERY", ""))
        if asked.path.endswith("datalink"):
            return _datalink(asked.query.get("ID", ""), asked.origin)
        return _soda(asked.query.get("ID", ""), asked.query.get("POS", ""), sky)


def _tap(adql: str) -> Answer:
    """List the images that a circle touches; of those in even cells also an earlier one, which failed its checks."""
    epoch, circle = EPOCH.search(adql), CIRCLE.search(adql)
    if epoch is None or circle is None:
        return _votable(
            '<INFO name="QUERY_STATUS" value="ERROR">the stand-in does not read the query</INFO>', status=400
        )
    ra_deg, dec_deg, radius_deg = map(float, circle.groups())
    rows = []
    for tile in _around(ra_deg, dec_deg, radius_deg) if VLASS.covers(ra_deg, dec_deg) else ():
        flags = {3 - tile.half: "fail", tile.half: ""} if tile.cell % 2 == 0 else {tile.half: ""}
        for half, flag in flags.items():
            name = tile.observation(int(epoch[1]), half)
            rows.append((name, flag, f"{PUBLISHER}{name}/{name}.quicklook", tile.ra_deg, tile.dec_deg))
    return _votable(_table(TAP_FIELDS, rows))


def _around(ra_deg: float, dec_deg: float, radius_deg: float) -> Iterator[Tile]:
    """Find the images that a circle touches, those of the next cells among them."""
    for up, along in product((-1, 0, 1), repeat=2):
        tile = Tile.at(ra_deg, min(max(dec_deg + up, -89.9), 89.9))
        tile = Tile(tile.strip, (tile.cell + along) % tile.cells)
        if tile.touches(ra_deg, dec_deg, radius_deg):
            yield tile


def _datalink(publisher_id: str, origin: str) -> Answer:
    """Tell the files of an image, its noise first, and the services that cut them."""
    named = TILE.search(publisher_id)
    if not publisher_id.startswith(PUBLISHER) or named is None:
        fault = f"NotFoundFault: {publisher_id}"
        return _votable(_table(LINK_FIELDS, [(publisher_id, "", "", fault, "#error", "", "")]))
    observation = named[0]
    run, _, rest = observation.partition(".T")
    rows, services = [], []
    for kind in (".rms", ""):
        uri = f"nrao:VLASS/{run}.ql.T{rest}.10.2048.v1.I.iter1.image.pbcor.tt0{kind}.subim.fits"
        rows.append((publisher_id, f"{origin}/data/{uri}", "", "", "#this", f"download {uri}", "application/fits"))
        for way in ("async", "sync"):
            name = f"soda-{way}{kind}"
            rows.append((publisher_id, "", name, "", "#cutout", f"SODA-{way} cutout of {uri}", "application/fits"))
            services.append(_service(name, way, uri, origin))
    return _votable(_table(LINK_FIELDS, rows), services)


def _service(name: str, way: str, uri: str, origin: str) -> str:
    params = {"standardID": f"ivo://ivoa.net/std/SODA#{way}-1.0", "accessURL": f"{origin}/caom2ops/{way}"}
    inputs = {"ID": uri, "RUNID": "0123456789abcdef", "POS": ""}

    def written(values: dict[str, str]) -> str:
        return "".join(
            f'<PARAM name="{key}" datatype="char" arraysize="*" value={quoteattr(value)}/>'
            for key, value in values.items()
        )

    numbers = '<PARAM name="CIRCLE" datatype="double" arraysize="3" unit="deg" xtype="circle" value=""/>'
    return (
        f'<RESOURCE type="meta" ID="{name}" utype="adhoc:service">{written(params)}'
        f'<GROUP name="inputParams">{written(inputs)}{numbers}</GROUP></RESOURCE>'
    )


def _soda(uri: str, pos: str, sky: Sky) -> Answer:
    """Cut the box around a circle, as far as the image goes; nothing (204) where they do not meet."""
    named, circle = TILE.search(uri), pos.split()
    place = from_name(named[3]) if named else None
    if named is None or place is None:
        return Answer(f"NotFoundFault: {uri}".encode(), "text/plain", 404)
    if len(circle) != 4 or circle[0] != "CIRCLE":
        return Answer(f"UsageFault: invalid POS: {pos}".encode(), "text/plain", 400)
    tile = Tile.at(*place)
    ra_deg, dec_deg, radius_deg = map(float, circle[1:])
    middle, radius_px = (SIDE_PX + 1) / 2, radius_deg * 3600 / VLASS.pixel_arcsec
    east_deg, north_deg = project(ra_deg, dec_deg, tile.ra_deg, tile.dec_deg, "SIN")
    x, y = (middle + offset * 3600 / VLASS.pixel_arcsec for offset in (-east_deg, north_deg))
    if not (abs(x - middle) < middle + radius_px and abs(y - middle) < middle + radius_px):
        return Answer(b"", "text/plain", 204)
    (left, right), (bottom, top) = ((max(1, ceil(c - radius_px)), min(SIDE_PX, floor(c + radius_px))) for c in (x, y))
    height, width = top - bottom + 1, right - left + 1
    if min(height, width) < 1:
        return Answer(b"", "text/plain", 204)
    grid = (tile.ra_deg, tile.dec_deg, height, width, VLASS.pixel_arcsec)
    crpix = (middle - left + 1, middle - bottom + 1)
    if ".rms." in uri:
        image = np.full((height, width), VLASS.rms_jy, np.float32)
    else:
        image = sky.cutout(*grid, VLASS.beam_arcsec, VLASS.rms_jy, crpix=crpix)
    cards: list[Card] = [
        ("OBJECT", named[3], ""),
        ("TELESCOP", "EVLA", ""),
        ("DATE-OBS", f"{2015 + 3 * int(named[1]) + int(named[2])}-03-26T19:18:44.549999", ""),
        *sky_cards(*grid, crpix=crpix, unit="Jy/beam", beam_arcsec=VLASS.beam_arcsec),
        *_FURTHER_AXES,
    ]
    return fits_file(fits_bytes(image[np.newaxis, np.newaxis], cards), uri.rpartition("/")[2])


def _table(fields: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    head = "".join(
        f'<FIELD name="{name}" datatype="double"/>'
        if name.endswith("_deg")
        else f'<FIELD name="{name}" datatype="char" arraysize="*"/>'
        for name in fields
    )
    cells = ("".join(f"<TD>{escape(str(cell))}</TD>" for cell in row) for row in rows)
    body = "".join(f"<TR>{row}</TR>" for row in cells)
    table = f"<TABLE>{head}<DATA><TABLEDATA>{body}</TABLEDATA></DATA></TABLE>"
    return f'{table}<INFO name="QUERY_STATUS" value="OK"/>'


def _votable(results: str, services: Sequence[str] = (), status: int = 200) -> Answer:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3" version="1.4">'
        f'<RESOURCE type="results">{results}</RESOURCE>{"".join(services)}</VOTABLE>\n'
    )
    return Answer(text.encode(), "application/x-votable+xml", status)


_FURTHER_AXES: list[Card] = [
    ("CTYPE3", "FREQ", ""),
    ("CRVAL3", 3e9, "Hz"),
    ("CDELT3", 2.072e9, "Hz"),
    ("CRPIX3", 1.0, ""),
    ("CTYPE4", "STOKES", ""),
    ("CRVAL4", 1.0, ""),
    ("CDELT4", 1.0, ""),
    ("CRPIX4", 1.0, ""),
]
