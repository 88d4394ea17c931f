"""A table of targets out of a catalogue, for `rvtool collect --targets`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Target
from rvtool.report.tables import write_csv
from rvtool.verbs.collect.plan import Ask, listed, objects
from rvtool.verbs.collect.services import Service


def list_targets(service: Service, settings: Any, ask: Ask, say: Callable[[str], None]) -> dict[str, Any]:
    """Write what a catalogue lists as a CSV: everything that its settings name, or the classes that were asked for.

    With ``settings.dry_run`` it is counted only.

    Raises
    ------
    ConfigError
        Images are asked for, which the catalogue does not give.
    DataError
        The file exists already, or the catalogue lists nothing.
    SourceError
        The catalogue cannot be had.
    """
    for way in ("targets", "position", "pair"):
        if getattr(settings, way):
            raise ConfigError(
                f"Source '{service.name}' lists targets and gives no images; name another --source for --{way}."
            )
    out = settings.out or Path("data") / service.name
    out = out if out.suffix.lower() == ".csv" else Path(f"{out}.csv")
    if out.exists():
        raise DataError(f"{out} exists already; choose another --out.")
    whole = [] if settings.class_ else listed(service, "", settings.count, ask)
    targets = list(_at_most(settings.count, whole or objects([service], settings, ask, say)))
    if not targets:
        raise DataError(f"Source '{service.name}' lists nothing with these settings; nothing was written.")
    if settings.dry_run:
        say(f"{len(targets)} targets would be listed in {out}; nothing was written")
        return {"count": len(targets), "headline": f"{len(targets)} targets would be listed"}
    names = list(dict.fromkeys(name for target in targets for name in target.columns))
    rows = ((t.id, t.ra_deg, t.dec_deg, *(t.columns.get(name) for name in names)) for t in targets)
    write_csv(out, ("id", "ra_deg", "dec_deg", *names), rows)
    say(
        f"{len(targets)} targets; fetch images of them, for example: "
        f"rvtool collect --source nvss --targets {out} --out data/images"
    )
    say(str(out))
    return {"targets": str(out), "count": len(targets), "headline": f"{len(targets)} targets"}


def _at_most(count: int | None, targets: Iterable[Target]) -> Iterator[Target]:
    """Give the first `count` targets of each class, as catalogues may list more than they were asked for."""
    given: Counter[Any] = Counter()
    for target in targets:
        label = target.columns.get("label")
        given[label] += 1
        if count is None or given[label] <= count:
            yield target
