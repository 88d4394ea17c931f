"""LoTSS: the LOFAR survey at 144 MHz, 6 and 20 arcsec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl

LARGEST_ARCMIN = 120


class LotssConfig(Config):
    """Settings of the source `lotss`."""

    size_arcmin: float = Field(
        4.5, ge=0.1, le=LARGEST_ARCMIN, description="Side of the cutout, arcmin (180 pixels at the default)."
    )
    release: Literal["dr2", "dr3"] = Field("dr2", description="Data release (dr3 may ask for a password still).")
    resolution: Literal["high", "low"] = Field("high", description="Images with a beam of 6 or of 20 arcsec.")


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "lotss",
            "LoTSS: LOFAR images at 144 MHz, 6 or 20 arcsec, of the northern sky",
            LotssConfig,
            "rvtool_plugins.sources.lotss.source:Lotss",
        )
    ]
