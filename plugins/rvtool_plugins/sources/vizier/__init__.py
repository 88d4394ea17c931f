"""VizieR: any published catalogue, and radio galaxies by class."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl
from rvtool.config import Names


class VizierConfig(Config):
    """Settings of the source `vizier`."""

    catalogue: str = Field("", description="Catalogue or table, as J/A+A/598/A49 or VIII/92/first14.")
    columns: Names = Field((), description="Columns to ask for besides the position. Default: those VizieR shows.")
    where: Names = Field((), description="Constraints on columns, as LAS=>0.5,z=<0.2.")
    label: str = Field("", description="Class of every object. Default: what the catalogue says, where it is known.")
    bent_deg: float = Field(
        20.0, ge=0, le=180, description="Smallest bending angle at which a source of Garon et al. is Bent, degrees."
    )


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "vizier",
            "Targets out of any catalogue of VizieR; radio galaxies FRI, FRII, Bent and Compact",
            VizierConfig,
            "rvtool_plugins.sources.vizier.source:Vizier",
        )
    ]
