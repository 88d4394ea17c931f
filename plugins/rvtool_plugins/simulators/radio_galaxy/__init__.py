"""Radio galaxies of known shape as a radio survey would show them: FRI, FRII, bent and compact, with beam and noise."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from rvtool import Component, Config, hookimpl
from rvtool.config import Names

CLASSES = ("FRI", "FRII", "Bent", "Compact")


class RadioGalaxyConfig(Config):
    """What is simulated, and how it is observed. The defaults are those of the FIRST survey."""

    classes: Names = Field(CLASSES, min_length=1, description="Classes to simulate, in equal parts, in this order.")
    size: int = Field(150, ge=16, le=4096, description="Side of an image, pixels.")
    pixel_arcsec: float = Field(1.8, gt=0, description="Side of a pixel, arcsec.")
    beam_major_arcsec: float = Field(5.4, gt=0, description="Restoring beam, major axis (FWHM), arcsec.")
    beam_minor_arcsec: float = Field(0.0, ge=0, description="Restoring beam, minor axis (FWHM), arcsec; 0 = circular.")
    beam_angle_deg: float = Field(0.0, ge=-180, le=180, description="Position angle of the beam, north to east, deg.")
    rms_jy_beam: float = Field(1.5e-4, ge=0, description="Rms of the noise, Jy/beam; 0 = none.")
    noise_fwhm_beams: float = Field(
        0.71, ge=0.5, le=2, description="What white noise is convolved with, in beams; 0.71: it correlates as the beam."
    )
    snr_min: float = Field(15.0, ge=0, description="Faintest peak, in units of the noise's rms; wins over flux_max_jy.")
    flux_min_jy: float = Field(0.01, gt=0, description="Faintest integrated flux, Jy.")
    flux_max_jy: float = Field(0.5, gt=0, description="Brightest integrated flux, Jy.")
    las_min_arcsec: float = Field(12.0, gt=0, description="Smallest angular size of a resolved source, arcsec.")
    las_max_arcsec: float = Field(0.0, ge=0, description="Largest angular size, arcsec; 0 = 3/4 of the image's side.")
    offset_arcsec: float = Field(2.0, ge=0, description="Scatter of the core about the image's centre, arcsec an axis.")
    angle_prior: Literal["uniform", "observed"] = Field(
        "observed", description="Distribution of the bending angle: uniform, or as observed by Garon et al. 2019."
    )
    straight_to_deg: float = Field(20.0, ge=0, le=180, description="Largest bending angle of FRI and FRII, deg.")
    bent_from_deg: float = Field(20.0, ge=0, le=180, description="Smallest bending angle of Bent, deg.")
    field_sources_per_deg2: float = Field(
        90.0, ge=0, le=1e5, description="Unrelated point sources above 1 mJy, per square degree."
    )
    priors: str = Field(
        "",
        description="Real dataset or table (.parquet, .csv) whose fluxes, sizes and angles replace the stated ones.",
    )

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for name in classes:
            if name not in CLASSES:
                raise ValueError(f"no class is named '{name}' (known: {', '.join(CLASSES)})")
        if len(set(classes)) < len(classes):
            raise ValueError("a class is named twice")
        return classes

    @field_validator("beam_major_arcsec")
    @classmethod
    def _sampled(cls, major: float, info: ValidationInfo) -> float:
        return _two_pixels(major, info)

    @field_validator("beam_minor_arcsec")
    @classmethod
    def _minor_is_smaller(cls, minor: float, info: ValidationInfo) -> float:
        if minor > info.data.get("beam_major_arcsec", minor):
            raise ValueError("the minor axis may not be longer than the major axis")
        return _two_pixels(minor, info) if minor else minor

    @field_validator("offset_arcsec")
    @classmethod
    def _within(cls, offset: float, info: ValidationInfo) -> float:
        side = info.data.get("size", 0) * info.data.get("pixel_arcsec", 0)
        if offset > side / 8:
            raise ValueError(f"at most an eighth of the image's side ({side / 8:g} arcsec), or sources leave the image")
        return offset

    @field_validator("flux_max_jy")
    @classmethod
    def _brighter(cls, brightest: float, info: ValidationInfo) -> float:
        if brightest <= info.data.get("flux_min_jy", 0):
            raise ValueError("must be more than flux_min_jy")
        return brightest


def _two_pixels(fwhm_arcsec: float, info: ValidationInfo) -> float:
    """Refuse beams that the pixels cannot sample: below two pixels, fluxes are no longer those of the sources."""
    if fwhm_arcsec < 2 * info.data.get("pixel_arcsec", 0):
        raise ValueError(f"the beam must span two pixels at least ({2 * info.data['pixel_arcsec']:g} arcsec)")
    return fwhm_arcsec


@hookimpl
def rvtool_simulators() -> list[Component]:
    """Offer the simulator."""
    return [
        Component(
            "radio-galaxy",
            "FRI, FRII, bent and compact radio galaxies in Jy/beam, with beam and correlated noise",
            RadioGalaxyConfig,
            "rvtool_plugins.simulators.radio_galaxy.simulator:RadioGalaxy",
        )
    ]
