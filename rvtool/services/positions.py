"""Positions as services write them and as people type them."""

from __future__ import annotations

import re

from rvtool.errors import DataError
from rvtool.kinds import Target

NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?|[+-]?\.\d+")
SEXAGESIMAL = re.compile(
    r"^\s*(\d{1,2})[\s:h]+(\d{1,2})[\s:m]+(\d{1,2}(?:\.\d*)?)s?[\s,]*"
    r"([+-]?)(\d{1,2})[\s:d°]+(\d{1,2})[\s:m'′]+(\d{1,2}(?:\.\d*)?)[s\"″]?\s*$"
)
COMPACT = re.compile(r"J(\d{2})(\d{2})(\d{2}(?:\.\d*)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d*)?)")


def parse(text: str) -> tuple[float, float] | None:
    """Read a position: degrees (``"187.7 12.39"``) or sexagesimal hours and degrees (``"12 30 49.4 +12 23 28"``).

    Returns
    -------
    Right ascension and declination, degrees; None where the text is no position (a name, perhaps).

    Raises
    ------
    ValueError
        It is one, but outside 0 to 360 or -90 to 90 degrees.
    """
    if found := SEXAGESIMAL.match(text):
        place = _degrees(*found.groups())
    else:
        parts = text.replace(",", " ").split()
        if len(parts) != 2 or not all(NUMBER.fullmatch(part) for part in parts):
            return None
        place = float(parts[0]), float(parts[1])
    if not 0 <= place[0] <= 360:
        raise ValueError(f"right ascension {place[0]:g} is not within 0 to 360 degrees")
    if not -90 <= place[1] <= 90:
        raise ValueError(f"declination {place[1]:g} is not within -90 to 90 degrees")
    return place[0] % 360, place[1]


def from_name(name: str) -> tuple[float, float] | None:
    """Read the position in a name such as ``J123049.42+122328.0``, degrees; None where there is none."""
    found = COMPACT.search(name)
    return _degrees(*found.groups()) if found else None


def _degrees(h: str, m: str, s: str, *dec_parts: str) -> tuple[float, float]:
    sign, d, dm, ds = dec_parts
    dec = float(d) + float(dm) / 60 + float(ds) / 3600
    return 15 * (float(h) + float(m) / 60 + float(s) / 3600), -dec if sign == "-" else dec


def sexagesimal(ra_deg: float, dec_deg: float, separator: str = " ") -> tuple[str, str]:
    """Write a position as hours and degrees, to 0.01 s and 0.1 arcsec: ``("12 30 49.42", "+12 23 28.0")``."""
    hundredths = round(ra_deg % 360 / 15 * 360_000) % (24 * 360_000)
    minutes, rest = divmod(hundredths, 6_000)
    tenths = round(abs(dec_deg) * 36_000)
    arcmin, left = divmod(tenths, 600)
    sign = "-" if dec_deg < 0 else "+"
    ra = f"{minutes // 60:02d}{separator}{minutes % 60:02d}{separator}{rest / 100:05.2f}"
    return ra, f"{sign}{arcmin // 60:02d}{separator}{arcmin % 60:02d}{separator}{left / 10:04.1f}"


def j_name(ra_deg: float, dec_deg: float) -> str:
    """Name a position: ``J123049.42+122328.0``."""
    ra, dec = sexagesimal(ra_deg, dec_deg, "")
    return f"J{ra}{dec}"


def position_of(target: Target) -> tuple[float, float]:
    """Return a target's right ascension and declination, degrees ICRS.

    Raises
    ------
    DataError
        It has none.
    """
    if target.ra_deg is None or target.dec_deg is None:
        raise DataError(f"Target '{target.id}' has no position; give it the columns ra_deg and dec_deg.")
    return target.ra_deg % 360, target.dec_deg
