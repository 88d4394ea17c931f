"""The ATNF pulsar catalogue: the package of one version, or VizieR's copy."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from rvtool.errors import DataError
from rvtool.kinds import Absent, Fatal, Listed, Reply, Request, Retry, SourceInfo, Target
from rvtool.services import positions
from rvtool.services.archives import members
from rvtool.services.replies import refusal, words
from rvtool.services.votable import catalogue_of
from rvtool_plugins.sources.atnf import AtnfConfig
from rvtool_plugins.sources.atnf.psrcat import read_psrcat

BASE_URL = "https://www.atnf.csiro.au"
VIZIER_URL = "https://vizier.cds.unistra.fr"
MEMBER = "psrcat_tar/psrcat.db"
LARGEST = 64 * 2**20  # bytes, many times what the package holds
COLUMNS = {"P0": "period_s", "P1": "period_derivative", "DM": "dm_pc_cm3", "S400": "s400_mjy", "S1400": "s1400_mjy"}


class Atnf:
    """Lists every pulsar of the catalogue."""

    classes: ClassVar[tuple[str, ...]] = ("pulsar",)

    def __init__(self, config: AtnfConfig) -> None:
        self.config = config
        self.info = SourceInfo(
            base_url=BASE_URL,
            further_urls=(VIZIER_URL,),
            max_rate_per_s=1,
            max_connections=1,
            licence="free to use, with the citation and the address",
            release=config.version,
            citation="Manchester, Hobbs, Teoh & Hobbs 2005, AJ 129, 1993",
            bibtex=BIBTEX,
            acknowledgement="This research has made use of the ATNF Pulsar Catalogue, "
            "https://www.atnf.csiro.au/research/pulsar/psrcat (Manchester et al. 2005).",
            unverified=(
                "the licence",
                "the columns of VizieR's B/psr, and how far it lags behind",
                *(() if config.sha256 else ("that the package is the one that was published (no sha256 is set)",)),
            ),
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for all pulsars: the catalogue comes whole."""
        if self.config.backup == "vizier":
            params = {"-source": "B/psr/psr", "-out.max": "unlimited", "-out": "*", "-out.add": "_RAJ2000,_DEJ2000"}
            return (Request(f"{VIZIER_URL}/viz-bin/votable", params, shared=True),)
        package = f"psrcat_pkg.v{self.config.version}.tar.gz"
        return (Request(f"{BASE_URL}/research/pulsar/psrcat/downloads/{package}", shared=True),)

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal:
        """Read the pulsars."""
        if self.config.backup == "vizier":
            return _from_vizier(reply)
        if refused := refusal(reply):
            return refused
        if not reply.body.startswith(b"\x1f\x8b"):
            return Retry(f"no package came, but: {words(reply.body) or 'nothing'}")
        digest = hashlib.sha256(reply.body).hexdigest()
        if self.config.sha256 and digest != self.config.sha256.lower():
            return Fatal(
                f"the package of psrcat {self.config.version} has the SHA-256 {digest} and not the one of the settings"
            )
        try:
            database = dict(members(reply.body, LARGEST)).get(MEMBER)
        except DataError as error:
            return Retry(str(error))
        if database is None:
            return Fatal(f"the package of psrcat {self.config.version} holds no {MEMBER}")
        return Listed(tuple(read_psrcat(database.decode("utf-8", "replace"))))


def _from_vizier(reply: Reply) -> Listed | Absent | Retry | Fatal:
    table = catalogue_of(reply)
    if isinstance(table, Absent | Retry | Fatal):
        return table
    if table.status == "OVERFLOW":
        return Retry(f"VizieR sent only {len(table.rows)} pulsars ({table.message}); use the catalogue's own package.")
    targets = tuple(target for row in table.rows if (target := _of_row(row)) is not None)
    return Listed(targets) if targets else Absent("VizieR's copy holds no pulsar")


def _of_row(row: dict[str, Any]) -> Target | None:
    """Read a pulsar of VizieR's copy, whose columns have changed over time."""
    ra_deg, dec_deg = row.get("_RAJ2000"), row.get("_DEJ2000")
    if ra_deg is None or dec_deg is None:
        return None
    name = row.get("PSRJ") or row.get("PSR") or positions.j_name(ra_deg, dec_deg)
    columns = {ours: row.get(theirs) for theirs, ours in COLUMNS.items()}
    return Target(str(name), ra_deg, dec_deg, columns | {"label": "pulsar"})


BIBTEX = """\
@article{2005AJ....129.1993M,
  author = {{Manchester}, R. N. and {Hobbs}, G. B. and {Teoh}, A. and {Hobbs}, M.},
  title = "{The Australia Telescope National Facility Pulsar Catalogue}",
  journal = {Astronomical Journal},
  year = 2005,
  volume = {129},
  pages = {1993-2006},
  doi = {10.1086/428488}
}
"""
