"""FIRST: the VLA survey at 1.4 GHz, 5.4 arcsec."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl

PIXEL_ARCSEC = 1.8
LARGEST_PX = 1024


class FirstConfig(Config):
    """Settings of the source `first`."""

    size_arcmin: float = Field(
        4.5,
        ge=0.1,
        le=round(LARGEST_PX * PIXEL_ARCSEC / 60, 2),
        description="Side of the cutout, arcmin (150 pixels at the default; the server gives 1024 at most).",
    )


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "first",
            "FIRST: VLA images at 1.4 GHz, 5.4 arcsec, around any position in its area",
            FirstConfig,
            "rvtool_plugins.sources.first.source:First",
        )
    ]
