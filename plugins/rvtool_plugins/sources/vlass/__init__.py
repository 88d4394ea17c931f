"""VLASS: the VLA survey at 2-4 GHz, 2.5 arcsec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl


class VlassConfig(Config):
    """Settings of the source `vlass`."""

    size_arcmin: float = Field(
        2.0,
        ge=0.1,
        le=60,
        description="Side of the cutout, arcmin (images overlap by 2: a wider cutout may run past an image's edge).",
    )
    epoch: Literal[1, 2, 3] = Field(2, description="Which of the survey's passes over the sky.")


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "vlass",
            "VLASS: VLA Quick Look images at 2-4 GHz, 2.5 arcsec, of the sky north of -40 degrees",
            VlassConfig,
            "rvtool_plugins.sources.vlass.source:Vlass",
        )
    ]
