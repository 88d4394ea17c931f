"""List what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rvtool.config import Config

if TYPE_CHECKING:
    from rich.console import Console


class Settings(Config):
    """What `rvtool plugins` may be told."""

    kind: Literal["source", "simulator", "model", "loss", "augmenter", "metric", "codec"] | None = Field(
        None, description="Only components of this kind."
    )


def run(settings: Settings, console: Console) -> list[dict[str, str]]:
    """List components and broken plugins, as a table and as plain rows."""
    from rich.table import Table

    from rvtool.plugins import offers

    names = ("kind", "name", "distribution", "version", "summary", "status")
    rows = [
        {name: getattr(offer, name) for name in names}
        for offer in offers()
        if settings.kind is None or offer.kind in (settings.kind, "")
    ]
    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name in ("kind", "name"))
    for row in rows:
        table.add_row(*(row[name] for name in names), style=None if row["status"] == "ok" else "red")
    console.print(table)
    return rows
