"""What goes wrong with real services, each under a name, so that it can be made to happen again."""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rvtool.errors import unknown
from rvtool.services.replies import is_fits
from rvtool.testing.sky.asked import Answer, Asked, page

if TYPE_CHECKING:
    from astropy.io.fits import PrimaryHDU


@dataclass(frozen=True)
class Delivery:
    """How an answer's body goes over the wire.

    Attributes
    ----------
    share
        How much of the body is sent before the connection ends.
    chunked
        In chunks, the last of which never comes, instead of with a length.
    reset
        The connection ends with a reset instead of in order.
    bytes_per_s
        How slowly it is sent; 0: at once.
    """

    share: float = 1.0
    chunked: bool = False
    reset: bool = False
    bytes_per_s: float = 0.0


WHOLE = Delivery()


@dataclass(frozen=True)
class Fault:
    """A fault: another answer, or the same one, sent badly."""

    answer: Callable[[Answer], Answer] = lambda answer: answer
    delivery: Delivery = WHOLE


def faulty(name: str, answer: Answer) -> Answer:
    """Return what a fault of `PURE` makes of an answer; one of `WIRE` leaves it as it is.

    Raises
    ------
    ConfigError
        No fault has that name.
    """
    return named(name).answer(answer)


def named(name: str) -> Fault:
    """Return the fault of a name.

    Raises
    ------
    ConfigError
        There is none.
    """
    if name not in FAULTS:
        raise unknown("fault", name, FAULTS)
    return FAULTS[name]


def identity(asked: Asked) -> bytes:
    """Return what two attempts of the same request have in common: a hash."""
    said = repr((asked.method, asked.path, sorted(asked.query.items()), asked.body))
    return hashlib.blake2b(said.encode(), digest_size=8).digest()


def drawn(asked: Asked, seed: int, fraction: float, names: tuple[str, ...]) -> str | None:
    """Draw the fault of a request, or none: always the same for the same request and seed."""
    luck = int.from_bytes(hashlib.blake2b(identity(asked), digest_size=6, salt=seed.to_bytes(8)).digest()) / 2**48
    return names[int(luck / fraction * len(names))] if luck < fraction else None


def _busy(answer: Answer) -> Answer:
    return replace(page("Too many requests", 429), headers={"Retry-After": "1"})


def _busy_until(answer: Answer) -> Answer:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    return replace(page("Too many requests", 429), headers={"Retry-After": email.utils.format_datetime(then, True)})


def _down(answer: Answer) -> Answer:
    return page("<h1>503 Service Unavailable</h1>No server is available to handle this request.", 503)


def _web_page(answer: Answer) -> Answer:
    return page("We are experiencing technical difficulties. Please try again later.")


def _preformatted(answer: Answer) -> Answer:
    return Answer(b"<PRE>\nError: cannot open the output file. Please try again later.\n</PRE>\n", "text/html")


def _csv(answer: Answer) -> Answer:
    said = '#Table1\n"ERROR: Maximum 60 queries allowed per minute. Rejected query: SELECT TOP 1 ..."\n'
    return Answer(said.encode(), "text/plain")


def _votable(status: str, info: str = "") -> Callable[[Answer], Answer]:
    said = f"""<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results">
{info}<INFO name="QUERY_STATUS" value="{status}"/>
</RESOURCE>
</VOTABLE>
"""
    return lambda answer: Answer(said.encode(), "application/x-votable+xml")


def _overflowing(answer: Answer) -> Answer:
    """Say after the rows that there are more, if the answer is a table at all."""
    head, found, tail = answer.body.rpartition(b"</RESOURCE>")
    if not found:
        return _votable("OVERFLOW")(answer)
    return replace(answer, body=head + b'<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n' + found + tail)


_UNREACHABLE = '<INFO ID="Error" name="Error" value="The database is not currently reachable."/>\n'


def _edited(edit: Callable[[PrimaryHDU], None]) -> Callable[[Answer], Answer]:
    """Edit the first image of a FITS file; any other answer stays."""

    def apply(answer: Answer) -> Answer:
        from astropy.io import fits

        if not is_fits(answer.body):
            return answer
        with fits.open(io.BytesIO(answer.body)) as hdus:
            edit(hdus[0])
            out = io.BytesIO()
            hdus.writeto(out)
        return replace(answer, body=out.getvalue())

    return apply


def _blank(hdu: PrimaryHDU) -> None:
    hdu.data = np.full(hdu.data.shape, np.nan, np.float32)


def _half(hdu: PrimaryHDU) -> None:
    rows = hdu.data.shape[-2]
    hdu.data = hdu.data[..., rows // 4 : rows // 4 + rows // 2, :]
    hdu.header["CRPIX2"] -= rows // 4


def _elsewhere(hdu: PrimaryHDU) -> None:
    hdu.header["CRVAL2"] += -5 if hdu.header["CRVAL2"] > 0 else 5


FAULTS = {
    "429-seconds": Fault(_busy),
    "429-date": Fault(_busy_until),
    "503": Fault(_down),
    "html": Fault(_web_page),
    "pre": Fault(_preformatted),
    "csv-error": Fault(_csv),
    "votable-error": Fault(_votable("ERROR", _UNREACHABLE)),
    "votable-overflow": Fault(_overflowing),
    "blank": Fault(_edited(_blank)),
    "wrong-size": Fault(_edited(_half)),
    "elsewhere": Fault(_edited(_elsewhere)),
    "truncated": Fault(delivery=Delivery(share=0.5)),
    "truncated-chunked": Fault(delivery=Delivery(share=0.5, chunked=True)),
    "reset": Fault(delivery=Delivery(share=0.5, reset=True)),
    "slow": Fault(delivery=Delivery(bytes_per_s=2880)),
}
PURE = tuple(name for name, fault in FAULTS.items() if fault.delivery == WHOLE)
"""Faults of the answer, which need no network."""

WIRE = tuple(name for name in FAULTS if name not in PURE)
"""Faults of the connection."""

USUAL = ("429-seconds", "503", "html", "truncated-chunked", "reset", "slow")
"""What happens to any service."""
