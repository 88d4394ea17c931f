"""Dirty images as an interferometer makes them, beside the sky that a clean beam shows: pairs for reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from rvtool import Component, Config, hookimpl


class DirtyMapConfig(Config):
    """Which sky, and how it is observed. The defaults: an hour with the VLA in B at FIRST's frequency."""

    data: Path | None = Field(
        None, description="Dataset or folder of images that are the sky, in Jy/beam or Jy/pixel; none: sources drawn."
    )
    from_beam_arcsec: float = Field(
        0.0, ge=0, description="Beam (FWHM) of the images of --data where they do not tell, arcsec (0: they do)."
    )
    image_pixel_arcsec: float = Field(
        0.0, ge=0, description="Side of a pixel of the images of --data where they do not tell, arcsec (0: they do)."
    )
    crop: int = Field(0, ge=0, description="Central square of the images of --data to use, px (0: all).")
    size: int = Field(128, ge=16, le=4096, description="Side of a drawn image, pixels.")
    pixel_arcsec: float = Field(1.0, gt=0, description="Side of a pixel of a drawn image, arcsec.")
    sources: int = Field(6, ge=1, le=500, description="Most sources drawn in an image; their number begins at 1.")
    extended_fraction: float = Field(
        0.5, ge=0, le=1, description="Part of the drawn sources that are elliptical Gaussians; the rest are points."
    )
    fwhm_max_arcsec: float = Field(
        0.0, ge=0, description="Longest axis (FWHM) of a drawn Gaussian, arcsec; 0 = an eighth of the image's side."
    )
    flux_min_jy: float = Field(2e-3, gt=0, description="Faintest flux of a drawn source, Jy.")
    flux_max_jy: float = Field(0.5, gt=0, description="Brightest flux of a drawn source, Jy.")
    flux_slope: float = Field(0.85, gt=0, le=5, description="Of the drawn fluxes' counts, N(>S) ~ S^-slope.")

    array: Literal["vla-a", "vla-b", "vla-c", "vla-d"] = Field("vla-b", description="The antennas' layout.")
    antennas: Path | None = Field(
        None, description="Table of antennas in place of --array: east, north and up in metres, a line each."
    )
    latitude_deg: float = Field(34.0788, ge=-90, le=90, description="Where the antennas stand, deg; the VLA's.")
    frequency_mhz: float = Field(1400.0, gt=0, description="Frequency, MHz: one narrow channel.")
    dec_min_deg: float = Field(-10.0, ge=-90, le=90, description="Southernmost declination, deg.")
    dec_max_deg: float = Field(65.0, ge=-90, le=90, description="Northernmost declination, deg; the same: fixed.")
    hour_angle_min_h: float = Field(0.0, ge=-12, le=12, description="Least hour angle of an observation's middle, h.")
    hour_angle_max_h: float = Field(0.0, ge=-12, le=12, description="Largest hour angle of that, h; the same: fixed.")
    track_h: float = Field(1.0, ge=0, le=24, description="Length of an observation, h; 0: one integration.")
    integration_s: float = Field(60.0, gt=0, description="Time between visibilities of a baseline, s.")
    elevation_min_deg: float = Field(8.0, ge=-90, lt=90, description="Nothing is observed below this elevation, deg.")

    weighting: Literal["natural", "uniform", "briggs"] = Field("briggs", description="Weights of the visibilities.")
    robust: float = Field(0.0, ge=-2, le=2, description="Of Briggs weights: -2 is nearly uniform, 2 nearly natural.")
    rms_jy_beam: float = Field(1.5e-4, ge=0, description="Rms of the noise in the dirty image, Jy/beam; 0 = none.")
    clean_beam_arcsec: float = Field(
        0.0, ge=0, description="Round beam (FWHM) of the target, arcsec; 0: fitted to each dirty beam's main lobe."
    )

    @field_validator("dec_max_deg", "hour_angle_max_h", "flux_max_jy")
    @classmethod
    def _in_order(cls, largest: float, info: ValidationInfo) -> float:
        least = str(info.field_name).replace("max", "min")
        if largest < info.data.get(least, largest):
            raise ValueError(f"may not be less than {least}")
        return largest


@hookimpl
def rvtool_simulators() -> list[Component]:
    """Offer the simulator."""
    return [
        Component(
            "dirty-map",
            "Pairs: the sky through the dirty beam of an interferometer, with noise, and through its clean beam",
            DirtyMapConfig,
            "rvtool_plugins.simulators.dirty_map.simulator:DirtyMap",
        )
    ]
