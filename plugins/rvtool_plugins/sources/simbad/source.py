"""SIMBAD: objects by type, asked for in ADQL over TAP."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Fatal, Listed, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.replies import words
from rvtool.services.votable import catalogue_of
from rvtool_plugins.sources.simbad import SimbadConfig

BASE_URL = "https://simbad.cds.unistra.fr"
MOST_ROWS = 2_000_000  # the service's own limit
OTYPES = {"emission_nebula": ("HII", "PN", "SNR")}
OTYPE = re.compile(r"[\w*?]+")
HTML = re.compile(rb"<(!doctype\s+)?html", re.IGNORECASE)
BLACKLIST_S = 3600.0
COLUMNS = {
    "main_id": "name",
    "otype": "otype",
    "galdim_majaxis": "major_axis_arcmin",
    "galdim_minaxis": "minor_axis_arcmin",
    "galdim_angle": "position_angle_deg",
    "rvz_redshift": "redshift",
}


class Simbad:
    """Lists objects by their main type."""

    classes: ClassVar[tuple[str, ...]] = tuple(OTYPES)

    def __init__(self, config: SimbadConfig) -> None:
        self.config = config
        for otype in config.otypes:
            if not OTYPE.fullmatch(otype):
                raise ConfigError(f"Setting 'otypes' of source 'simbad': '{otype}' is no object type, as PN is.")
        self.info = SourceInfo(
            base_url=BASE_URL,
            mirrors=("https://simbad.harvard.edu",),
            max_rate_per_s=4,
            max_connections=2,
            licence="free to use, with the acknowledgement",
            citation="Wenger et al. 2000, A&AS 143, 9",
            bibtex=BIBTEX,
            acknowledgement="This research has made use of the SIMBAD database, CDS, Strasbourg Astronomical "
            "Observatory, France.",
            unverified=("the licence", "the mirror answers", "how long a blacklisting lasts"),
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for the objects of a class; for `label` ``""`` for those of the settings' types."""
        otypes = OTYPES[label] if label else self.config.otypes
        if not otypes:
            return ()
        among = ", ".join(f"'{otype}'" for otype in otypes)
        adql = (
            f"SELECT TOP {count or MOST_ROWS} ra, dec, {', '.join(COLUMNS)} FROM basic "
            f"WHERE otype IN ({among}) AND ra IS NOT NULL AND dec IS NOT NULL"
        )
        params = {"request": "doQuery", "lang": "adql", "format": "votable", "query": adql}
        return (Request(f"{BASE_URL}/simbad/sim-tap/sync", params | {"maxrec": str(MOST_ROWS)}),)

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal:
        """Read the objects."""
        if reply.status == 200 and HTML.search(reply.body[:1000]):  # who asks too fast is told so on a web page
            return Retry(f"SIMBAD answered with a page: {words(reply.body)}", BLACKLIST_S)
        table = catalogue_of(reply)
        if isinstance(table, Absent | Retry | Fatal):
            return table
        if table.status == "OVERFLOW" and f"TOP {len(table.rows)} " not in reply.request.params["query"]:
            return Retry(f"SIMBAD sent only {len(table.rows)} objects; ask for fewer with --count.")
        if table.rows and not {"ra", "dec", *COLUMNS} <= set(table.columns):
            return Retry("the table is not the one that was asked for")
        targets = tuple(self._target(label or self.config.label, row) for row in table.rows)
        return Listed(targets) if targets else Absent("SIMBAD has no such object")

    def _target(self, label: str, row: dict[str, Any]) -> Target:
        columns = {ours: row[theirs] for theirs, ours in COLUMNS.items()} | {"label": label or row["otype"]}
        return Target(" ".join(row["main_id"].split()), row["ra"], row["dec"], columns)


BIBTEX = """\
@article{2000A&AS..143....9W,
  author = {{Wenger}, M. and {Ochsenbein}, F. and {Egret}, D. and others},
  title = "{The SIMBAD astronomical database. The CDS reference database for astronomical objects}",
  journal = {Astronomy and Astrophysics Supplement Series},
  year = 2000,
  volume = {143},
  pages = {9-22},
  doi = {10.1051/aas:2000332}
}
"""
