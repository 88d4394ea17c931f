"""Sesame: where an object of a name is."""

from __future__ import annotations

import pytest
from astropy.coordinates import name_resolve

from rvtool.kinds import Fatal, Reply, Retry
from rvtool.services import sesame
from rvtool.testing.sky import Sky, answer


def said(body: bytes, status: int = 200) -> Reply:
    """Return a reply of the name service."""
    return Reply(sesame.request("M87"), status, {}, body)


def test_request_is_the_one_that_astropy_sends() -> None:
    assert sesame.request(" Cygnus A ").url == name_resolve.sesame_url.get()[0] + "A?Cygnus%20A"


def test_known_object() -> None:
    reply = answer(sesame.request("m87"), sesame.BASE_URL, Sky())
    assert sesame.read(reply) == pytest.approx((187.7059, 12.3911), abs=1e-4)
    ra, dec = name_resolve._parse_response(reply.body.decode())
    assert sesame.read(reply) == (float(ra), float(dec))


def test_a_real_reply_reads() -> None:
    body = b"# M 87\t#Q22523669\n#=S=Simbad (via url):    1\n%J 187.70593077 +12.39112325 = 12:30:49.42 +12:23:28.0\n"
    assert sesame.read(said(body)) == (187.70593077, 12.39112325)


def test_unknown_name() -> None:
    assert sesame.read(answer(sesame.request("no such thing"), sesame.BASE_URL, Sky())) is None


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (said(b"<html><body>Down for maintenance</body></html>"), Retry),
        (said(b""), Retry),
        (said(b"", 503), Retry),
        (said(b"connection refused", 0), Retry),
        (said(b"", 404), Fatal),
        (said(b"", 403), Fatal),
    ],
)
def test_outages(reply: Reply, kind: type) -> None:
    assert isinstance(sesame.read(reply), kind)
