"""SIMBAD: objects by type, the whole sky."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl
from rvtool.config import Names


class SimbadConfig(Config):
    """Settings of the source `simbad`."""

    otypes: Names = Field((), description="Object types to list, as HII,PN (those below them in the hierarchy not).")
    label: str = Field("", description="Class of the objects of `otypes`. Default: the type itself.")


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "simbad",
            "Targets out of SIMBAD by object type; emission nebulae",
            SimbadConfig,
            "rvtool_plugins.sources.simbad.source:Simbad",
        )
    ]
