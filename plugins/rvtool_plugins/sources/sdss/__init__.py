"""SDSS: optical images, as colour JPEG or calibrated FITS, quasars and spiral galaxies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl


class SdssConfig(Config):
    """Settings of the source `sdss`."""

    form: Literal["jpeg", "fits"] = Field("jpeg", description="Colour JPEG, or FITS of one band.")
    band: Literal["u", "g", "r", "i", "z"] = Field("r", description="Filter of a FITS image.")
    size_arcmin: float = Field(1.0, ge=0.43, le=13.5, description="Side of an image, arcmin.")
    release: str = Field("dr17", pattern=r"^dr\d{1,2}$", description="Data release, as dr17.")


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "sdss",
            "SDSS: optical images, JPEG or FITS; targets: quasars and spiral galaxies",
            SdssConfig,
            "rvtool_plugins.sources.sdss.source:Sdss",
        )
    ]
