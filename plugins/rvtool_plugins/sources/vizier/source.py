"""VizieR: any published catalogue, and radio galaxies by class."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Fatal, Listed, Reply, Request, Retry, SourceInfo, Target
from rvtool.services import positions
from rvtool.services.votable import catalogue_of
from rvtool_plugins.sources.vizier import VizierConfig
from rvtool_plugins.sources.vizier.catalogues import CATALOGUES, Published, Row, published

BASE_URL = "https://vizier.cds.unistra.fr"
POSITIONS = (("_RAJ2000", "_DEJ2000"), ("RAJ2000", "DEJ2000"), ("_RA.icrs", "_DE.icrs"), ("RA_ICRS", "DE_ICRS"))
COORDINATES = frozenset(name for pair in POSITIONS for name in pair)
UNKNOWN = re.compile(r"no (catalogue|table).* found", re.IGNORECASE)


class Vizier:
    """Lists the objects of published catalogues."""

    classes: ClassVar[tuple[str, ...]] = ("FRI", "FRII", "Bent", "Compact")

    def __init__(self, config: VizierConfig) -> None:
        self.config = config
        for text in config.where:
            if not text.partition("=")[2]:
                raise ConfigError(f"Setting 'where' of source 'vizier': '{text}' is no COLUMN=CONSTRAINT, as z=<0.2.")
        self.info = SourceInfo(
            base_url=BASE_URL,
            mirrors=("https://vizier.cfa.harvard.edu",),
            max_rate_per_s=2,
            max_connections=2,
            licence="as each catalogue's authors and journal say",
            citation="; ".join(
                ["Ochsenbein, Bauer & Marcout 2000, A&AS 143, 23 (VizieR)", *(c.citation for c in CATALOGUES.values())]
            ),
            acknowledgement="This research has made use of the VizieR catalogue access tool, CDS, Strasbourg, France "
            "(DOI: 10.26093/cds/vizier). The original description of the VizieR service was published in 2000, "
            "A&AS 143, 23.",
            bibtex=BIBTEX,
            unverified=(
                "the mirror answers",
                "CoNFIG is J/MNRAS/404/1719 (by its 858 rows and its columns)",
                "a reply that holds less than was asked says QUERY_STATUS=OVERFLOW",
            ),
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for the catalogues that have a class, whole; for `label` ``""`` for the catalogue of the settings."""
        if label:
            return tuple(_request(name) for name, known in CATALOGUES.items() if label in known.classes)
        if not self.config.catalogue:
            return ()
        constraints = dict(text.split("=", 1) for text in self.config.where)
        return (_request(self.config.catalogue, count, self.config.columns, constraints),)

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal:
        """Read the objects; those of a class where one was asked for."""
        table = catalogue_of(reply)
        if isinstance(table, Retry) and UNKNOWN.search(table.reason):
            return Fatal(f"VizieR has no {reply.request.params['-source']}: {table.reason}")
        if isinstance(table, Absent | Retry | Fatal):
            return table
        whole = reply.request.params["-out.max"] == "unlimited"
        if table.status == "OVERFLOW" and whole:
            return Retry(
                f"VizieR sent only {len(table.rows)} rows ({table.message}); "
                "ask for fewer with --set source.vizier.where=COLUMN=CONSTRAINT"
            )
        known = published(reply.request.params["-source"])
        try:
            found = [self._target(row, known) for row in table.rows]
        except ValueError as error:
            return Retry(f"the table is damaged: {error}")
        targets: dict[str, Target] = {}  # the same position twice is one target
        for target in found:
            if target is not None and label in ("", target.columns.get("label")):
                targets.setdefault(target.id, target)
        return Listed(tuple(targets.values())) if targets else Absent("the catalogue has no such object")

    def _target(self, row: Row, known: Published | None) -> Target | None:
        place = _position(row)
        if place is None:
            return None
        theirs = known.columns if known else {}
        columns: dict[str, Any] = {}
        for name, value in row.items():
            if name in theirs:
                ours, factor = theirs[name]
                columns[ours] = value if value is None or factor == 1 else round(float(value) * factor, 9)
            elif name not in COORDINATES:
                columns[_clean(name)] = value
        label = self.config.label or (known.label(row, self.config.bent_deg) if known else "")
        return Target(positions.j_name(*place), *place, columns | ({"label": label} if label else {}))


def _request(
    table: str, count: int | None = None, columns: tuple[str, ...] = (), where: dict[str, str] | None = None
) -> Request:
    """Ask for a table: 50 rows come unless more are asked for."""
    params = {
        "-source": table,
        "-out.max": str(count or "unlimited"),
        "-out": ",".join(columns) or "*",
        "-out.add": "_RAJ2000,_DEJ2000",
        **(where or {}),
        "-out.meta": "huUD",
        "-out.form": "mini",
        "-oc.form": "d",
    }
    return Request(f"{BASE_URL}/viz-bin/votable", params)


def _position(row: Row) -> tuple[float, float] | None:
    """Read a row's position: in degrees, in sexagesimal, or out of the object's name."""
    for ra, dec in POSITIONS:
        if row.get(ra) is not None and row.get(dec) is not None:
            if isinstance(row[ra], float):
                return row[ra] % 360, float(row[dec])
            return positions.parse(f"{row[ra]} {row[dec]}")
    names = (positions.from_name(value) for value in row.values() if isinstance(value, str))
    return next((place for place in names if place), None)


def _clean(name: str) -> str:
    """Return a column's name without signs: ``F[OIII]`` is ``F_OIII``."""
    return re.sub(r"\W+", "_", name).strip("_")


BIBTEX = """\
@article{2000A&AS..143...23O,
  author = {{Ochsenbein}, F. and {Bauer}, P. and {Marcout}, J.},
  title = "{The VizieR database of astronomical catalogues}",
  journal = {Astronomy and Astrophysics Supplement Series},
  year = 2000,
  volume = {143},
  pages = {23-32},
  doi = {10.1051/aas:2000169}
}

@article{2017A&A...598A..49C,
  author = {{Capetti}, A. and {Massaro}, F. and {Baldi}, R. D.},
  title = "{FRICAT: A FIRST catalog of FR I radio galaxies}",
  journal = {Astronomy and Astrophysics},
  year = 2017,
  volume = {598},
  pages = {A49}
}

@article{2017A&A...601A..81C,
  author = {{Capetti}, A. and {Massaro}, F. and {Baldi}, R. D.},
  title = "{FRIICAT: A FIRST catalog of FR II radio galaxies}",
  journal = {Astronomy and Astrophysics},
  year = 2017,
  volume = {601},
  pages = {A81},
  doi = {10.1051/0004-6361/201630247}
}

@article{2010MNRAS.404.1719G,
  author = {{Gendre}, M. A. and {Best}, P. N. and {Wall}, J. V.},
  title = "{The Combined NVSS-FIRST Galaxies (CoNFIG) sample - II}",
  journal = {Monthly Notices of the Royal Astronomical Society},
  year = 2010,
  volume = {404},
  pages = {1719-1732}
}

@article{2011ApJS..194...31P,
  author = {{Proctor}, D. D.},
  title = "{Morphological annotations for groups in the FIRST database}",
  journal = {Astrophysical Journal Supplement Series},
  year = 2011,
  volume = {194},
  pages = {31}
}

@article{2019AJ....157..126G,
  author = {{Garon}, A. F. and {Rudnick}, L. and {Wong}, O. I. and others},
  title = "{Radio Galaxy Zoo: The Distortion of Radio Galaxies by Galaxy Clusters}",
  journal = {Astronomical Journal},
  year = 2019,
  volume = {157},
  pages = {126}
}
"""
