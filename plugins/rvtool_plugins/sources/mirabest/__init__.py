"""MiraBest: 770 radio galaxies as FIRST sees them, with Fanaroff-Riley classes."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rvtool import Component, Config, hookimpl


class MirabestConfig(Config):
    """Settings of the source `mirabest`."""

    path: Path | None = Field(
        None, description="The archive, MiraBest_basic_batches.tar.gz, where it lies here already. Default: fetch it."
    )


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "mirabest",
            "MiraBest basic: 770 published 8-bit images of FRI and FRII galaxies of FIRST",
            MirabestConfig,
            "rvtool_plugins.sources.mirabest.source:Mirabest",
        )
    ]
