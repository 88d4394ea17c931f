"""Sesame of the CDS: where an object of a name is, as SIMBAD, NED and VizieR know it."""

from __future__ import annotations

import re
from urllib.parse import quote

from rvtool.kinds import Absent, Fatal, Reply, Request, Retry
from rvtool.services.replies import refusal, words

BASE_URL = "https://cds.unistra.fr"
POSITION = re.compile(r"^%J\s*(\d+(?:\.\d*)?)\s*([+-]?\d+(?:\.\d*)?)", re.MULTILINE)


def request(name: str) -> Request:
    """Ask for a name in all databases (``A``), the first that knows it answers."""
    return Request(f"{BASE_URL}/cgi-bin/nph-sesame/A?{quote(name.strip())}")


def read(reply: Reply) -> tuple[float, float] | Retry | Fatal | None:
    """Read the position, degrees ICRS; None where nobody knows the name."""
    refused = refusal(reply)
    if isinstance(refused, Absent):  # an unknown name is no HTTP error
        return Fatal(f"the name service is not where it was ({refused.reason})")
    if refused is not None:
        return refused
    text = reply.body.decode("latin-1")
    if found := POSITION.search(text):
        return float(found[1]), float(found[2])
    if text.startswith("#"):  # every reply of Sesame, the unsuccessful ones too
        return None
    return Retry(f"the name service answered: {words(reply.body)}")
