"""Galaxies and quasars seen twice on one piece of sky: by a radio survey (the image) and in visible light (target)."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from rvtool import Component, Config, hookimpl
from rvtool.config import Names

CLASSES = ("elliptical", "spiral", "quasar")
BANDS = ("g", "r", "i")


class RadioOpticalConfig(Config):
    """What is simulated, and how it is observed. The defaults are those of FIRST and of SDSS on FIRST's pixels."""

    classes: Names = Field(CLASSES, min_length=1, description="Classes of host, in equal parts, in this order.")
    size: int = Field(64, ge=16, le=4096, description="Side of a radio image, pixels.")
    pixel_arcsec: float = Field(1.8, gt=0, description="Side of a radio pixel, arcsec.")
    target_pixel_arcsec: float = Field(
        0.0, ge=0, description="Side of an optical pixel, arcsec; the field must hold a whole number; 0 = the radio's."
    )
    bands: Names = Field(
        ("i", "r", "g"), min_length=1, description="Optical bands, a channel each: of g, r, i; red first, as in RGB."
    )

    beam_arcsec: float = Field(5.4, gt=0, description="Radio beam (FWHM), circular, arcsec.")
    rms_jy_beam: float = Field(1.5e-4, ge=0, description="Rms of the radio noise, Jy/beam; 0 = none.")
    snr_min: float = Field(10.0, ge=0, description="Faintest radio peak, in units of the noise's rms.")
    seeing_arcsec: float = Field(1.3, gt=0, description="Seeing in r (FWHM), arcsec; 9 % more in g, 5 % less in i.")
    sky_rms_nmgy: float = Field(
        0.07, ge=0, description="Rms of the r sky in a square arcsec, nanomaggy; g 0.62 and i 1.5 times that; 0 = none."
    )

    alignment_scatter_deg: float = Field(
        30.0, ge=0, le=180, description="Scatter of the jets about the host's minor axis, deg; 180 = any direction."
    )
    las_max_arcsec: float = Field(
        0.0, ge=0, description="Largest extent of jets and lobes, arcsec; 0 = 3/4 of the image's side."
    )
    offset_arcsec: float = Field(2.0, ge=0, description="Scatter of the host about the image's centre, arcsec an axis.")
    field_per_arcmin2: float = Field(
        2.0, ge=0, le=20, description="Unrelated stars and galaxies with r between 16 and 21, per square arcmin."
    )

    @field_validator("classes", "bands")
    @classmethod
    def _known(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        what, known = ("class", CLASSES) if info.field_name == "classes" else ("band", BANDS)
        for name in names:
            if name not in known:
                raise ValueError(f"no {what} is named '{name}' (known: {', '.join(known)})")
        if len(set(names)) < len(names):
            raise ValueError(f"a {what} is named twice")
        return names

    @field_validator("target_pixel_arcsec")
    @classmethod
    def _fills_the_field(cls, pixel: float, info: ValidationInfo) -> float:
        field = info.data.get("size", 0) * info.data.get("pixel_arcsec", 0)
        if pixel and (
            abs(field / pixel - round(field / pixel)) > 1e-6 * field / pixel or not 16 <= field / pixel <= 4096
        ):
            raise ValueError(f"between 16 and 4096 whole pixels must make up the field of {field:g} arcsec")
        return pixel

    @field_validator("beam_arcsec")
    @classmethod
    def _sampled(cls, fwhm: float, info: ValidationInfo) -> float:
        if fwhm < 2 * info.data.get("pixel_arcsec", 0):
            raise ValueError(f"must span two pixels at least ({2 * info.data['pixel_arcsec']:g} arcsec)")
        return fwhm

    @field_validator("offset_arcsec")
    @classmethod
    def _within(cls, offset: float, info: ValidationInfo) -> float:
        side = info.data.get("size", 0) * info.data.get("pixel_arcsec", 0)
        if offset > side / 8:
            raise ValueError(f"at most an eighth of the image's side ({side / 8:g} arcsec), or hosts leave the image")
        return offset


@hookimpl
def rvtool_simulators() -> list[Component]:
    """Offer the simulator."""
    return [
        Component(
            "radio-optical",
            "Pairs: elliptical, spiral and quasar hosts in visible light, with their radio emission in Jy/beam",
            RadioOpticalConfig,
            "rvtool_plugins.simulators.radio_optical.simulator:RadioOptical",
        )
    ]
