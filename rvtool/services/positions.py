"""Positions as services write them and as people type them."""

from __future__ import annotations

import re

from rvtool.errors import DataError
from rvtool.kinds import Target

NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?|[+-]?\.\d+")
ANGLE = re.compile(
    r"([+-]?)(\d{1,3})(?:[\s:hd°]+(\d{1,2})(?:[\s:m'′]+(\d{1,2}))?)?(\.\d*)?[\shdms°'′\"″]*", re.IGNORECASE
)
PAIR = re.compile(
    r"(\d{1,2}[\s:h]+\d{1,2}[\s:m]+\d{1,2}(?:\.\d*)?s?)(?:[\s,]+|(?=[+-]))"
    r"([+-]?\d{1,2}[\s:d°]+\d{1,2}[\s:m'′]+\d{1,2}(?:\.\d*)?[s\"″]?)",
    re.IGNORECASE,
)
COMPACT = re.compile(r"J(\d\d)([0-5]\d)([0-5]\d(?:\.\d*)?)([+-]\d\d)([0-5]\d)([0-5]\d(?:\.\d*)?)")


def parse(text: str) -> tuple[float, float] | None:
    """Read a position: degrees (``"187.7 12.39"``) or sexagesimal hours and degrees (``"12 30 49.4 +12 23 28"``).

    Returns
    -------
    Right ascension and declination, degrees; None where the text is no position (a name, perhaps).

    Raises
    ------
    ValueError
        It is one, but outside 0 to 360 or -90 to 90 degrees, or its minutes or seconds are 60 or more.
    """
    text = text.strip().replace("−", "-")
    if found := PAIR.fullmatch(text):
        place = 15 * angle(found[1]), angle(found[2])
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
    if not (found := COMPACT.search(name)):
        return None
    parts = found.groups()
    return 15 * angle(":".join(parts[:3])), angle(":".join(parts[3:]))


def angle(text: str) -> float:
    """Read a sexagesimal number, in the unit of its first part: ``-20:58:06.1``, ``12h30m49.4s``, ``-20 58.1``, ``12``.

    Raises
    ------
    ValueError
        It is none, or its minutes or seconds are 60 or more.
    """
    found = ANGLE.fullmatch(text.strip().replace("−", "-"))
    if found is None:
        raise ValueError(f"'{text}' is no sexagesimal number")
    sign, *parts, fraction = found.groups("")
    *upper, last = (part for part in parts if part)
    whole, *smaller = map(float, (*upper, last + fraction))
    if any(part >= 60 for part in smaller):
        raise ValueError(f"minutes and seconds are below 60, and not as in '{text}'")
    value = whole + sum(part / 60**place for place, part in enumerate(smaller, 1))
    return -value if sign == "-" else value


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
