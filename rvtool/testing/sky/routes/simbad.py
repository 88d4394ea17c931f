"""SIMBAD: objects of a type over TAP, for the queries that ask for the table `basic` by `otype`."""

from __future__ import annotations

import re

from rvtool.testing.sky.asked import Answer, Asked, Route
from rvtool.testing.sky.routes.vizier import redshift, votable
from rvtool.testing.sky.sky import Sky

LABELS = {"HII": "emission_nebula", "PN": "emission_nebula", "SNR": "emission_nebula", "QSO": "quasar", "Psr": "pulsar"}
OBJECTS = 2000
"""Of each class, among which those of a class with several types take turns."""
QUERY = re.compile(r"SELECT TOP (\d+) (.+) FROM basic WHERE otype IN \((.+?)\)", re.IGNORECASE)


class Simbad(Route):
    """``/simbad/sim-tap/sync``."""

    paths = ("/simbad/sim-tap/sync",)

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Send the objects, or say that the query is wrong."""
        found = QUERY.match(asked.query.get("query", ""))
        if found is None:
            return votable([], error="Incorrect ADQL query", status=400)
        names = [name.strip() for name in found[2].split(",")]
        otypes = [otype.strip(" '") for otype in found[3].split(",")]
        rows = []
        for label in dict.fromkeys(LABELS[otype] for otype in otypes if otype in LABELS):
            kinds = [otype for otype, of in LABELS.items() if of == label]
            for number, thing in enumerate(sky.catalogue(label, OBJECTS)):
                otype = kinds[number % len(kinds)]
                if otype in otypes:
                    row = {
                        "ra": thing.ra_deg,
                        "dec": thing.dec_deg,
                        "main_id": f"SIM  {thing.name}",
                        "otype": otype,
                        "galdim_majaxis": thing.size_arcsec / 60,
                        "galdim_minaxis": thing.size_arcsec / 60,
                        "galdim_angle": round(thing.angle_deg),
                        "rvz_redshift": redshift(thing),
                    }
                    rows.append({name: row[name] for name in names})
        return votable(rows, int(found[1]))
