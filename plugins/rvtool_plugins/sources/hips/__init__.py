"""HiPS: any of the surveys that the CDS holds as hierarchical maps, resampled by hips2fits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rvtool import Component, Config, hookimpl

MOST_PIXELS = 50_000_000


class HipsConfig(Config):
    """Settings of the source `hips`."""

    survey: str = Field(
        "CDS/P/NVSS",
        pattern=r"^[\w.-]+/P/\S+$",  # of a short keyword that fits several surveys, the service takes any one
        description="Full ID of the HiPS (AUTHORITY/P/...), as listed at https://aladin.cds.unistra.fr/hips/list.",
    )
    size_arcmin: float = Field(8.0, gt=0, le=180 * 60, description="Side of the cutout, arcmin.")
    pixel_arcsec: float = Field(15.0, gt=0, description="Side of a pixel, arcsec.")
    projection: Literal["TAN", "SIN", "STG", "ZEA"] = Field("TAN", description="Projection of the sky.")
    format: Literal["fits", "jpg", "png"] = Field("fits", description="Values, or a picture.")
    min_cut_percent: float = Field(0.5, ge=0, le=100, description="Percentile that is black in a picture.")
    max_cut_percent: float = Field(99.5, ge=0, le=100, description="Percentile that is white in a picture.")
    stretch: Literal["linear", "sqrt", "log", "asinh", "power"] = Field("linear", description="Contrast of a picture.")

    @property
    def side_px(self) -> int:
        """Side of the cutout, pixels."""
        return max(1, round(self.size_arcmin * 60 / self.pixel_arcsec))

    @model_validator(mode="after")
    def _served(self) -> HipsConfig:
        if self.side_px**2 > MOST_PIXELS:
            raise ValueError(
                f"{self.size_arcmin:g} arcmin at {self.pixel_arcsec:g} arcsec are {self.side_px}x{self.side_px} px; "
                f"the service gives {MOST_PIXELS // 10**6} million at most"
            )
        if self.min_cut_percent >= self.max_cut_percent:
            raise ValueError("min_cut_percent must be below max_cut_percent")
        return self


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "hips",
            "Any survey of the CDS (NVSS, LoTSS, RACS, VLASS, Legacy, ...) resampled from its HiPS",
            HipsConfig,
            "rvtool_plugins.sources.hips.source:Hips",
        )
    ]
