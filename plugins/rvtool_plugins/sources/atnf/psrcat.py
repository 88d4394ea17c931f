"""psrcat.db, the text file of the ATNF pulsar catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import asin, atan2, cos, degrees, radians, sin
from typing import Any

from rvtool.kinds import Target
from rvtool.services import positions

REFERENCES = re.compile(r"\[[^\]]*\]")
OBLIQUITY_DEG = 84381.412 / 3600  # IAU 2000, as psrcat itself takes it
NUMBERS = {
    "P0": "period_s",
    "P1": "period_derivative",
    "DM": "dm_pc_cm3",
    "RM": "rm_rad_m2",
    "S400": "s400_mjy",
    "S1400": "s1400_mjy",
    "W50": "w50_ms",
    "DIST_A": "distance_kpc",
    "DIST_DM": "dm_distance_kpc",
}
WORDS = {"PSRB": "b_name", "TYPE": "type", "BINARY": "binary_model", "ASSOC": "association"}


def read_psrcat(text: str) -> list[Target]:
    """Read all pulsars that have a position, which is ecliptic for some and is turned to the equator here."""
    return [target for target in map(_pulsar, _records(text)) if target is not None]


def _records(text: str) -> Iterator[dict[str, str]]:
    """Split into pulsars: parameter to value. Errors and references, which follow a value, are left out."""
    record: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            yield record
            record = {}
        elif not line.startswith("#") and len(words := line.split()) > 1:
            record.setdefault(words[0], words[1])
    yield record


def _pulsar(record: dict[str, str]) -> Target | None:
    place = _position(record)
    if place is None or "PSRJ" not in record:
        return None
    columns: dict[str, Any] = {ours: _number(record.get(theirs)) for theirs, ours in NUMBERS.items()}
    frequency_hz = _number(record.get("F0"))
    if columns["period_s"] is None and frequency_hz:  # the one or the other is given
        columns["period_s"] = 1 / frequency_hz
        slowing = _number(record.get("F1"))
        columns["period_derivative"] = None if slowing is None else -slowing / frequency_hz**2
    columns |= {ours: REFERENCES.sub("", record.get(theirs, "")) or None for theirs, ours in WORDS.items()}
    return Target(record["PSRJ"], *place, columns | {"label": "pulsar"})


def _position(record: dict[str, str]) -> tuple[float, float] | None:
    """Return the position of a pulsar, degrees ICRS."""
    hours, dec_deg = _sexagesimal(record.get("RAJ")), _sexagesimal(record.get("DECJ"))
    if hours is not None and dec_deg is not None:
        return hours * 15, dec_deg
    longitude, latitude = _number(record.get("ELONG")), _number(record.get("ELAT"))
    return None if longitude is None or latitude is None else from_ecliptic(longitude, latitude)


def _sexagesimal(text: str | None) -> float | None:
    """Read ``-20:58:06.1``, and what is less well known: ``-20:58.1``, ``-20``."""
    try:
        return positions.angle(text or "")
    except ValueError:
        return None


def from_ecliptic(longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    """Turn ecliptic longitude and latitude (J2000) into right ascension and declination, degrees."""
    lon, lat, tilt = radians(longitude_deg), radians(latitude_deg), radians(OBLIQUITY_DEG)
    x, y, z = cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat)
    ra = atan2(y * cos(tilt) - z * sin(tilt), x)
    return degrees(ra) % 360, degrees(asin(y * sin(tilt) + z * cos(tilt)))


def _number(word: str | None) -> float | None:
    try:
        return None if word is None else float(word)
    except ValueError:
        return None
