"""VLASS: Quick Look images from the CADC, by TAP (which image), DataLink (where it is cut) and SODA (the cutout)."""

from __future__ import annotations

import io
import re
from math import cos, hypot, radians
from typing import Any

from rvtool.kinds import Absent, Fatal, Found, Further, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.positions import position_of
from rvtool.services.replies import fits_or_refusal, is_fits
from rvtool.services.surveys import VLASS
from rvtool.services.votable import catalogue_of
from rvtool_plugins.sources.vlass import VlassConfig

BASE_URL = "https://ws.cadc-ccda.hia-iha.nrc-cnrc.gc.ca"
# of the images that the cutout's circle touches; the position of an image is that of its middle
QUERY = """SELECT o.observationID, o.requirements_flag, p.publisherID,
COORD1(CENTROID(p.position_bounds)) AS ra_deg, COORD2(CENTROID(p.position_bounds)) AS dec_deg
FROM caom2.Observation AS o JOIN caom2.Plane AS p ON o.obsID = p.obsID
WHERE o.collection = 'VLASS' AND o.observationID LIKE 'VLASS{epoch}.%' AND p.productID LIKE '%quicklook%'
AND INTERSECTS(CIRCLE('ICRS', {ra_deg:.7f}, {dec_deg:.7f}, {radius_deg:.7f}), p.position_bounds) = 1"""
RUN = re.compile(r"VLASS(\d+\.\d+)\.")
SODA_SYNC = "ivo://ivoa.net/std/SODA#sync"
# Quick Look images do not sample the beam fully and are cleaned down to 5 sigma only
CAVEATS = {"product": "Quick Look", "flux_error_percent": 20.0, "position_error_arcsec": 1.0}


class Vlass:
    """Asks for the image whose middle is nearest to a position, then for a cutout of it."""

    def __init__(self, config: VlassConfig) -> None:
        self.config = config
        self.info = SourceInfo(
            base_url=BASE_URL,
            further_urls=("https://www.cadc-ccda.hia-iha.nrc-cnrc.gc.ca", "https://ws-cadc.canfar.net"),
            pixel_arcsec=1.0,
            field_arcmin=config.size_arcmin,
            max_rate_per_s=4,
            max_connections=4,
            release=f"Quick Look, epoch {config.epoch}",
            unverified=(
                "the middle of an image by COORD1(CENTROID(position_bounds))",
                "the names of the images, by which those of the noise are told apart",
                "the hosts to which DataLink leads",
                "the rate that the service bears",
            ),
            **vars(VLASS),
        )

    def request(self, target: Target) -> Request:
        """Ask which images of the epoch there are."""
        ra_deg, dec_deg = position_of(target)
        radius_deg = self.config.size_arcmin / 120
        query = QUERY.format(epoch=self.config.epoch, ra_deg=ra_deg, dec_deg=dec_deg, radius_deg=radius_deg)
        return Request(
            f"{BASE_URL}/argus/sync",
            {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable", "QUERY": " ".join(query.split())},
        )

    def read(self, target: Target, reply: Reply) -> Found | Further | Absent | Retry | Fatal:
        """Tell by what came, an image or one of two tables, which step this is."""
        if reply.status == 204:  # SODA: no pixel lies in the circle
            return Absent("the cutout lies outside the image")
        if is_fits(reply.body):
            return _image(reply)
        table = catalogue_of(reply)
        if isinstance(table, Absent) and "QUERY" in reply.request.params:  # a list may be empty, but not missing
            return Fatal(f"the service does not take the query: {table.reason}")
        if isinstance(table, Absent | Retry | Fatal):
            return table
        if table.status == "OVERFLOW":
            return Retry("the service sent a part of its list only")
        if "publisherID" in table.columns:
            return self._nearest(target, table.rows)
        if "service_def" in table.columns:
            return self._cutout(target, reply, table.rows)
        return Retry(f"a table of other columns came: {', '.join(table.columns)}")

    def _nearest(self, target: Target, rows: list[dict[str, Any]]) -> Further | Absent:
        """Go on with the image whose middle is nearest: neighbours overlap, and the target is well inside that one."""
        passed = [row for row in rows if str(row["requirements_flag"]).lower() != "fail"]
        if not passed:
            why = f"the {len(rows)} that show it failed the quality check" if rows else "none shows it"
            return Absent(f"no image of epoch {self.config.epoch}: {why}")
        ra_deg, dec_deg = position_of(target)

        def separation_deg(row: dict[str, Any]) -> float:
            east_deg = ((row["ra_deg"] - ra_deg + 180) % 360 - 180) * cos(radians(dec_deg))
            return hypot(east_deg, row["dec_deg"] - dec_deg)

        # of two alike, the later run and version, whose name is last
        nearest = min(sorted(passed, key=lambda row: row["publisherID"], reverse=True), key=separation_deg)
        return Further(Request(f"{BASE_URL}/caom2ops/datalink", {"ID": nearest["publisherID"]}))

    def _cutout(self, target: Target, reply: Reply, rows: list[dict[str, Any]]) -> Further | Absent | Retry:
        """Go on with the cutout service of the image itself, at the address and with the ID that DataLink tells."""
        services = _services(reply.body)
        if not services:
            faults = [str(row["error_message"]) for row in rows if row.get("error_message")]
            lasting = [fault for fault in faults if not fault.startswith("TransientFault")]
            return Absent("; ".join(lasting)) if lasting else Retry("; ".join(faults) or "no cutout service is told")
        url, params = max(services, key=lambda service: service[1]["ID"])  # the latest version
        ra_deg, dec_deg = position_of(target)
        circle = f"CIRCLE {ra_deg:.7f} {dec_deg:.7f} {self.config.size_arcmin / 120:.7f}"
        return Further(Request(url, params | {"POS": circle}))


def _image(reply: Reply) -> Found | Absent | Retry | Fatal:
    file = reply.request.params.get("ID", "").rpartition("/")[2]
    run = RUN.match(file)
    return fits_or_refusal(reply, **CAVEATS, image_file=file, survey_epoch=run[1] if run else None)


def _services(body: bytes) -> list[tuple[str, dict[str, str]]]:
    """Return address and fixed parameters of each service that cuts an image while one waits, but not one of noise."""
    from astropy.io.votable import parse
    from pyvo.dal.adhoc import DatalinkResults
    from pyvo.dal.exceptions import DALServiceError

    found = []
    for link in DatalinkResults(parse(io.BytesIO(body), verify="ignore")):
        if link.semantics != "#cutout" or not link.service_def:
            continue
        try:
            url = link.access_url or ""
            standard = {param.name: str(param.value) for param in link.params}.get("standardID", "")
            # those that are left to the client have no value, or one of numbers
            fixed = {p.name: p.value for p in link.input_params if isinstance(p.value, str) and p.value}
        except DALServiceError:  # the table promises a service that the reply does not describe
            continue
        image = "ID" in fixed and ".rms." not in fixed["ID"]
        if image and standard.startswith(SODA_SYNC) and url.startswith(("https://", "http://")):
            found.append((url, fixed))
    return found
