"""SkyView: any of its surveys, resampled to one grid."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl


class SkyviewConfig(Config):
    """Settings of the source `skyview`."""

    survey: str = Field("VLA FIRST (1.4 GHz)", min_length=1, description="Survey, by SkyView's name.")
    size_arcmin: float = Field(4.5, ge=0.1, description="Side of the cutout, arcmin.")
    pixel_arcsec: float = Field(1.8, gt=0, description="Side of a pixel, arcsec.")
    sampler: Literal["nearest", "linear", "lanczos", "spline", "clip"] = Field(
        "nearest", description="How the survey's pixels are resampled (clip keeps the flux)."
    )

    @property
    def side_px(self) -> int:
        """Side of the cutout, pixels."""
        return max(1, round(self.size_arcmin * 60 / self.pixel_arcsec))


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "skyview",
            "SkyView: images of FIRST, NVSS, SUMSS, TGSS, WENSS and many more, resampled to one grid",
            SkyviewConfig,
            "rvtool_plugins.sources.skyview.source:Skyview",
        )
    ]
