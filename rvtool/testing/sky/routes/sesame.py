"""Sesame: the name resolver, in the plain text that astropy reads."""

from __future__ import annotations

from rvtool.services.positions import sexagesimal
from rvtool.testing.sky.asked import Answer, Asked, Route
from rvtool.testing.sky.sky import Sky

KNOWN = {
    "M87": (187.7059, 12.3911),
    "Cygnus A": (299.8682, 40.7339),
    "Hercules A": (252.7840, 4.9926),
    "3C 31": (16.8540, 32.4126),
    "3C 273": (187.2779, 2.0524),
    "M31": (10.6847, 41.2688),
    "M51": (202.4696, 47.1952),
    "PSR B0531+21": (83.6331, 22.0145),
}
"""Positions of a few well-known objects, degrees, as SIMBAD has them."""


class Sesame(Route):
    """``/cgi-bin/nph-sesame/[options/]databases?name``; spaces and capitals do not matter."""

    paths = ("/cgi-bin/nph-sesame",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Resolve a name."""
        name = next(iter(asked.query), "")
        place = resolve(name)
        if place is None:
            said = f"# {name}\t#Q1\n#!SNV: *** Nothing found ***\n#====Done====\n"
        else:
            ra, dec = sexagesimal(*place, ":")
            said = (
                f"# {name}\t#Q1\n#=S=Simbad (via url):    1\n"
                f"%J {place[0]:.4f} {place[1]:+.4f} = {ra} {dec}\n%I.0 {name}\n#====Done====\n"
            )
        return Answer(said.encode(), "text/plain; charset=utf-8")


def resolve(name: str) -> tuple[float, float] | None:
    """Return the position of a well-known object, degrees; None where nobody knows it."""
    return _PLACES.get(_plain(name))


def _plain(name: str) -> str:
    return "".join(name.lower().split())


_PLACES = {_plain(name): place for name, place in KNOWN.items()}
