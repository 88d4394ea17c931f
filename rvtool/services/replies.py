"""Telling what a reply is before believing it: half of what services send with HTTP 200 is no image."""

from __future__ import annotations

import datetime
import email.utils
import re
from typing import Any

from rvtool.data.units import cards_of, keyword, text_of
from rvtool.kinds import Absent, Fatal, Found, Reply, Retry

LATER = frozenset({0, 408, 425, 429, 500, 502, 503, 504})
TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
FITS_START = b"SIMPLE  ="
LONGEST_HEADER = 100 * 2880  # bytes
AREA = r"(?:\w+ ){0,2}(?:area|region|survey|footprint|coverage)\b"
NOTHING_THERE = re.compile(
    rf"\bno (?:image|data|field|mosaic|coverage)s?\b|\bnot covered\b"
    rf"|\b(?:not (?:in|within|inside)|outside(?: of)?) {AREA}",
    re.IGNORECASE,
)


def refusal(reply: Reply) -> Absent | Retry | Fatal | None:
    """Say what the HTTP status alone means; None where the body has to tell.

    408, 425, 429, 5xx and a reply that did not come whole may be asked again; 401 and 403 stop everything; any other
    4xx says that there is nothing.
    """
    if reply.status in LATER or reply.status >= 500:
        said = reply.body.decode("latin-1").strip() if reply.status == 0 else f"HTTP {reply.status}"
        return Retry(said or "no reply", retry_after(reply))
    if reply.status in (401, 403):
        return Fatal(f"the service refuses access (HTTP {reply.status})")
    if reply.status >= 400:
        return Absent(f"HTTP {reply.status}: {words(reply.body)}".removesuffix(": "))
    return None


def retry_after(reply: Reply, now: datetime.datetime | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which may be a number or a date; None where it tells nothing."""
    said = reply.headers.get("retry-after", "").strip()
    if not said:
        return None
    if said.replace(".", "", 1).isdigit():
        return float(said)
    try:
        then = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - (now or datetime.datetime.now(datetime.UTC))).total_seconds())


def is_fits(body: bytes) -> bool:
    """Tell whether bytes begin as a FITS file does, and hold at least one block."""
    return body.startswith(FITS_START) and len(body) >= 2880


def words(body: bytes, most: int = 160) -> str:
    """Return the first words of a web page or a text, without tags: what a service said instead of an image."""
    text = " ".join(TAGS.sub(" ", body[:20_000].decode("latin-1")).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else text[: most - 3] + "..."


def fits_or_refusal(reply: Reply, **columns: Any) -> Found | Absent | Retry | Fatal:
    """Take a FITS file as it came; anything else is `Absent` if its words say so, and worth another try if not.

    Parameters
    ----------
    columns
        For the manifest, those left out that are None; ``epoch``, the ISO date of the observation, is added where the
        header tells it.
    """
    if refused := refusal(reply):
        return refused
    if is_fits(reply.body):
        columns["epoch"] = iso_date(header_values(reply.body).get("DATE-OBS", ""))
        return Found(reply.body, ".fits", {name: value for name, value in columns.items() if value is not None})
    said = words(reply.body)
    if NOTHING_THERE.search(said):
        return Absent(said)
    return Retry(f"no FITS file came, but: {said}" if said else "an empty reply came")


def header_values(body: bytes) -> dict[str, str]:
    """Return the first value of each keyword in the first header of a FITS file, as text."""
    values: dict[str, str] = {}
    for card in cards_of(body[:LONGEST_HEADER]):
        if card[8:10] == b"= ":
            values.setdefault(keyword(card), text_of(card))
    return values


def iso_date(text: str) -> str | None:
    """Write a date of a FITS header, ``19930417`` or ``17/04/93`` or ISO with a time, as ``1993-04-17``."""
    for form in ("%Y-%m-%d", "%Y%m%d", "%d/%m/%y"):
        try:
            return datetime.datetime.strptime(text.partition("T")[0].strip(), form).date().isoformat()
        except ValueError:
            continue
    return None
