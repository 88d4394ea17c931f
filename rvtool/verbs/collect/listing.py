"""A table of targets out of a catalogue, for `rvtool collect --targets`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rvtool.errors import DataError
from rvtool.report.tables import write_csv
from rvtool.verbs.collect.plan import Ask, listed, objects
from rvtool.verbs.collect.services import Service


def list_targets(service: Service, settings: Any, ask: Ask, say: Callable[[str], None]) -> dict[str, Any]:
    """Write what a catalogue lists as a CSV: everything that its settings name, or the classes that were asked for.

    Raises
    ------
    DataError
        The file exists already, or the catalogue lists nothing.
    SourceError
        The catalogue cannot be had.
    """
    out = (settings.out or Path("data") / service.name).with_suffix(".csv")
    if out.exists():
        raise DataError(f"{out} exists already; choose another --out.")
    whole = [] if settings.class_ else listed(service, "", settings.count, ask)[: settings.count]
    targets = whole or objects([service], settings, ask, say)
    if not targets:
        raise DataError(f"Source '{service.name}' lists nothing with these settings; nothing was written.")
    names = list(dict.fromkeys(name for target in targets for name in target.columns))
    rows = ((t.id, t.ra_deg, t.dec_deg, *(t.columns.get(name) for name in names)) for t in targets)
    write_csv(out, ("id", "ra_deg", "dec_deg", *names), rows)
    say(
        f"{len(targets)} targets; fetch images of them, for example: "
        f"rvtool collect --source nvss --targets {out} --out data/images"
    )
    say(str(out))
    return {"targets": str(out), "count": len(targets), "headline": f"{len(targets)} targets"}
