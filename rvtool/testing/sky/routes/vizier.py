"""VizieR: a few catalogues of the simulated sky under the names and columns of real ones, as VOTables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from rvtool.services.positions import sexagesimal
from rvtool.testing.sky.asked import Answer, Asked, Route
from rvtool.testing.sky.routes.atnf import pulsar_name
from rvtool.testing.sky.sky import Sky, Thing

USUAL_ROWS = 50  # whoever wants more has to ask for them
DATATYPES = {str: 'datatype="char" arraysize="*"', int: 'datatype="long"', float: 'datatype="double"'}

Row = dict[str, Any]


class Vizier(Route):
    """``/viz-bin/votable``: fields of a form, or one ``name=value`` in each line of the body."""

    paths = ("/viz-bin/votable",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Send a table, at most as many rows as were asked for."""
        lines = (line.partition("=") for line in asked.body.decode().splitlines())
        said = asked.query | {name: value for name, _, value in lines}
        table = said.get("-source", "")
        rows_of = CATALOGUES.get(table)
        if rows_of is None:
            return votable([], error=f"No catalogue or table was found for: {table}")
        rows = rows_of(sky)
        most = said.get("-out.max", str(USUAL_ROWS))
        return votable(rows, len(rows) if most == "unlimited" else int(most))


def votable(rows: Sequence[Row], most: int | None = None, error: str = "", status: int = 200) -> Answer:
    """Return a VOTable of the first `most` rows, which says so if there are more, or of an error."""
    head = rows[0] if rows else {}
    fields = "".join(f"<FIELD name={quoteattr(name)} {DATATYPES[type(value)]}/>\n" for name, value in head.items())
    sent = "".join(
        f"<TR>{''.join(f'<TD>{escape(str(value))}</TD>' for value in row.values())}</TR>\n" for row in rows[:most]
    )
    over = most is not None and len(rows) > most
    said = "ERROR" if error else "OVERFLOW" if over else "OK"
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results">
{f'<INFO ID="Error" name="Error" value={quoteattr(error)}/>' if error else ""}
{f"<TABLE>{fields}<DATA><TABLEDATA>{sent}</TABLEDATA></DATA></TABLE>" if rows else ""}
<INFO name="QUERY_STATUS" value="{said}">{f"truncated result (maxtup={most})" if over else ""}</INFO>
</RESOURCE>
</VOTABLE>
"""
    return Answer(body.encode(), "application/x-votable+xml", status)


def redshift(thing: Thing) -> float:
    """Return a redshift that belongs to a thing."""
    return round(0.02 + thing.angle_deg / 1000, 4)


def _fricat(sky: Sky) -> list[Row]:
    return [{"SDSS": t.name, "z": redshift(t), "F1.4GHz": t.flux_jy * 1e3} for t in sky.catalogue("FRI", 400)[:300]]


def _friicat(sky: Sky) -> list[Row]:
    return [{"SDSS": t.name, "z": redshift(t), "S1.4GHz": t.flux_jy * 1e3} for t in sky.catalogue("FRII", 400)[:300]]


def _config(sky: Sky) -> list[Row]:
    kinds = (("FRI", "I", "c", 300), ("FRII", "II", "c", 300), ("Compact", "C", "", 0))
    found = [(t, kind, sure) for label, kind, sure, skip in kinds for t in sky.catalogue(label, 400)[skip:]]
    return [
        _degrees(t) | _sexagesimal(t) | {"S1.4": t.flux_jy * 1e3, "mt": kind, "u_mt": sure, "z": redshift(t)}
        for t, kind, sure in found
    ]


def _proctor(sky: Sky) -> list[Row]:
    return [
        {"FCG": t.name} | _sexagesimal(t) | {"Size": t.size_arcsec / 60, "Com": "wat", "Tno": 1}
        for t in sky.catalogue("Bent", 400)[:200]
    ]


def _garon(sky: Sky) -> list[Row]:
    return [
        _degrees(t) | {"Name": t.name, "LAS": t.size_arcsec / 60, "z": redshift(t), "BA": 80.0}
        for t in sky.catalogue("Bent", 400)[200:]
    ]


def _pulsars(sky: Sky) -> list[Row]:
    return [_degrees(t) | {"PSRJ": pulsar_name(t), "S1400": t.flux_jy * 1e3} for t in sky.catalogue("pulsar", 400)]


def _degrees(thing: Thing) -> Row:
    return {"_RAJ2000": thing.ra_deg, "_DEJ2000": thing.dec_deg}


def _sexagesimal(thing: Thing) -> Row:
    return dict(zip(("RAJ2000", "DEJ2000"), sexagesimal(thing.ra_deg, thing.dec_deg), strict=True))


CATALOGUES: dict[str, Callable[[Sky], list[Row]]] = {
    "J/A+A/598/A49": _fricat,
    "J/A+A/601/A81": _friicat,
    "J/MNRAS/404/1719": _config,
    "J/ApJS/194/31": _proctor,
    "J/AJ/157/126": _garon,
    "B/psr/psr": _pulsars,
}
