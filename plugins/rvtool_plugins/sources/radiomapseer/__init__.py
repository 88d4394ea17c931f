"""RadioMapSeer: cities, transmitters, and what of their signals simulations found everywhere (wireless)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl


class RadioMapSeerConfig(Config):
    """Settings of the source `radiomapseer`."""

    path: Path | None = Field(None, description="The folder RadioMapSeer, with png and gain in it.")
    simulation: Literal["dpm", "irt2", "irt4"] = Field(
        "dpm", description="Dominant paths, or intelligent ray tracing with 2 or 4 interactions."
    )
    cars: bool = Field(False, description="The simulation with cars in the streets, which are shown then.")


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "radiomapseer",
            "RadioMapSeer: pairs of a city with a transmitter and its simulated radio map, 1 m a pixel",
            RadioMapSeerConfig,
            "rvtool_plugins.sources.radiomapseer.source:RadioMapSeer",
        )
    ]
