"""Pairs for super-resolution: images as a survey with a larger beam would have seen them, beside the images."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rvtool import Component, Config, hookimpl


class LowerResolutionConfig(Config):
    """Which images, and how they are made coarser."""

    data: Path | None = Field(None, description="Dataset or folder of the images that are made coarser.")
    factor: int = Field(4, ge=1, le=32, description="Pixels along each axis that become one.")
    to_beam_arcsec: float = Field(
        21.6, gt=0, description="Beam (FWHM) of the coarser images, arcsec; with the same beam only noise is added."
    )
    from_beam_arcsec: float = Field(
        0.0, ge=0, description="Beam (FWHM) of the images where they do not tell, arcsec (0: they do)."
    )
    image_pixel_arcsec: float = Field(
        0.0, ge=0, description="Side of a pixel of the images where they do not tell, arcsec (0: they do)."
    )
    rms_jy_beam: float = Field(3e-4, ge=0, description="Rms of the noise that is added, Jy per coarser beam; 0 = none.")
    crop: int = Field(0, ge=0, description="Central square of the images to use, px (0: all, cut to whole new pixels).")
    shift: int = Field(0, ge=0, description="How far from the centre the crop's lies at most, each way, px; by chance.")


@hookimpl
def rvtool_simulators() -> list[Component]:
    """Offer the simulator."""
    return [
        Component(
            "lower-resolution",
            "Images as a survey with a larger beam and coarser pixels sees them, each beside the image it is made of",
            LowerResolutionConfig,
            "rvtool_plugins.simulators.lower_resolution.simulator:LowerResolution",
        )
    ]
