"""The ATNF pulsar catalogue: the package of any version, with the simulated sky's pulsars."""

from __future__ import annotations

import gzip
import io
import tarfile
from functools import lru_cache

from rvtool.services.positions import sexagesimal
from rvtool.testing.sky.asked import Answer, Asked, Route
from rvtool.testing.sky.sky import Sky, Thing

PULSARS = 400
RULE = "@-----------------------------------------------------------------\n"


class Atnf(Route):
    """``psrcat_pkg.tar.gz`` and ``psrcat_pkg.vX.Y.Z.tar.gz``."""

    paths = ("/research/pulsar/psrcat/downloads/psrcat_pkg.",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Send the package."""
        return Answer(_package(sky.seed), "application/gzip")


@lru_cache(maxsize=4)
def _package(seed: int) -> bytes:
    text = "#CATALOGUE 2.7.0\n#\n" + "".join(map(_record, Sky(seed).catalogue("pulsar", PULSARS)))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("psrcat_tar/psrcat.db")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(tar.getvalue(), mtime=0)


def pulsar_name(thing: Thing) -> str:
    """Return the name that a pulsar has: hours and minutes, degrees and minutes."""
    ra, dec = sexagesimal(thing.ra_deg, thing.dec_deg, "")
    return f"J{ra[:4]}{dec[:5]}"


def _record(thing: Thing) -> str:
    ra, dec = sexagesimal(thing.ra_deg, thing.dec_deg, ":")
    return (
        f"PSRJ     {pulsar_name(thing)}              aaa+26\n"
        f"RAJ      {ra}             2    aaa+26\nDECJ     {dec}            1    aaa+26\n"
        f"F0       {1 + thing.angle_deg:.6f}         3    aaa+26\n"
        f"S1400    {thing.flux_jy * 1e3:.3f}                  aaa+26\nTYPE     HE[aaa+26]\n{RULE}"
    )
