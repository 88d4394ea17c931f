"""NVSS: the VLA survey at 1.4 GHz, 45 arcsec."""

from __future__ import annotations

from pydantic import Field, model_validator

from rvtool import Component, Config, hookimpl

LARGEST_PX = 512


class NvssConfig(Config):
    """Settings of the source `nvss`."""

    size_arcmin: float = Field(8.0, ge=1, description="Side of the cutout, arcmin (512 pixels at most).")
    cell_arcsec: float = Field(15.0, ge=1, le=45, description="Side of a pixel, arcsec (the survey's own: 15).")

    @model_validator(mode="after")
    def _fits(self) -> NvssConfig:
        if self.size_arcmin * 60 / self.cell_arcsec > LARGEST_PX:
            most = LARGEST_PX * self.cell_arcsec / 60
            raise ValueError(
                f"size_arcmin is {most:g} at most with cells of {self.cell_arcsec:g} arcsec ({LARGEST_PX} px)"
            )
        return self


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "nvss",
            "NVSS: VLA images at 1.4 GHz, 45 arcsec, of the sky north of -40 degrees",
            NvssConfig,
            "rvtool_plugins.sources.nvss.source:Nvss",
        )
    ]
