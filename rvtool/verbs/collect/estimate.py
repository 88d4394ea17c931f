"""What a collection would fetch: how many, how much, how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rvtool.verbs.collect.journal import DUPLICATE, OUTSIDE, PENDING, Journal
from rvtool.verbs.collect.services import Service

HEADER_BYTES = 8_640  # of a usual FITS image: three blocks of header and padding


def tell_estimate(
    journal: Journal, sides: Mapping[str, Service], settings: Any, out: Path, console: Console
) -> dict[str, Any]:
    """Tell what would be fetched into `out`, at the polite rate; nothing is fetched.

    Bytes are those of float32 images of the field that is asked for, and time is at least what the rate allows; both
    are unknown where the settings do not tell.
    """
    states: dict[str | None, Counter[str]] = {}
    for (label, state), count in journal.counts().items():
        states.setdefault(label, Counter())[state] += count
    table = Table(title="would fetch", title_justify="left")
    for heading in ("class", "wanted", "candidates", "outside coverage", "twice"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    images = 0
    for label, counts in sorted(states.items(), key=lambda item: str(item[0])):
        wanted = counts[PENDING] if settings.count is None else min(settings.count, counts[PENDING])
        images += wanted
        cells = (label or "-", wanted, counts[PENDING], counts[OUTSIDE], counts[DUPLICATE])
        table.add_row(*(Text(str(cell)) for cell in cells))
    console.print(table)
    size, seconds = 0, 0.0
    for service in sides.values():
        info = service.info
        rate = settings.max_rate or info.max_rate_per_s
        if not info.base_url.startswith("file:"):
            seconds = max(seconds, images / rate)
        if info.field_arcmin and info.pixel_arcsec:
            size += images * (round(info.field_arcmin * 60 / info.pixel_arcsec) ** 2 * 4 + HEADER_BYTES)
    about = f", about {_bytes(size)}" if size else ""
    long = f", {duration(seconds)} at least at the polite rate" if seconds else ""
    names = " and ".join(service.name for service in sides.values())
    console.print(
        f"{images} images from {names} into {out}{about}{long}; nothing was fetched", highlight=False, markup=False
    )
    return {
        "images": images,
        "bytes": size or None,
        "seconds": seconds or None,
        "classes": {label or "": dict(counts) for label, counts in states.items()},
        "headline": f"{images} images would be fetched",
    }


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def duration(seconds: float) -> str:
    """Write a time for people: ``43 min``, ``2 h 05 min``, ``3.1 days``."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes:.0f} min"
    if minutes < 48 * 60:
        return f"{int(minutes // 60)} h {int(minutes % 60):02d} min"
    return f"{minutes / 1440:.1f} days"
