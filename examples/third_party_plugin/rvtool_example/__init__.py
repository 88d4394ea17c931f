"""Declares what this plugin offers. Nothing heavy is imported here: rvtool loads this module to list its names."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl
from rvtool.config import Numbers
from rvtool.learning import ModelConfig


class ArchiveConfig(Config):
    """Settings of the source `example-archive`."""

    ra_deg: Numbers = Field((180.0,), description="Right ascensions, degrees.")
    dec_deg: Numbers = Field((0.0,), description="Declinations, degrees.")
    size_arcmin: float = Field(4.5, gt=0, le=30, description="Side of a cutout, arcmin.")


class RadialProfileConfig(ModelConfig):
    """Settings of the model `radial-profile`."""

    learning_rate: float = Field(1e-2, gt=0, description="Step size of the optimiser.")
    rings: int = Field(8, ge=2, le=64, description="Rings in which brightness is summed.")
    hidden: int = Field(32, ge=1, description="Neurons between the profile and the classes.")


class MarginConfig(Config):
    """Settings of the loss `margin`."""

    margin: float = Field(1.0, gt=0, description="By how much the right class must lead.")


class GainConfig(Config):
    """Settings of the augmenter `gain`."""

    largest: float = Field(
        1.2, ge=1, le=2, description="Largest factor on the brightness; the smallest is its inverse."
    )


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    summary = "Cutouts of a made-up archive that answers in FITS over HTTP"
    return [Component("example-archive", summary, ArchiveConfig, "rvtool_example.archive:Archive")]


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    summary = "A small classifier of brightness in rings"
    return [Component("radial-profile", summary, RadialProfileConfig, "rvtool_example.radial_profile:RadialProfile")]


@hookimpl
def rvtool_losses() -> list[Component]:
    """Offer the loss."""
    summary = "Multi-class margin (Crammer & Singer 2001)"
    return [Component("margin", summary, MarginConfig, "rvtool_example.margin:Margin")]


@hookimpl
def rvtool_augmenters() -> list[Component]:
    """Offer the augmenter."""
    summary = "Brightens or dims each image by a factor"
    return [Component("gain", summary, GainConfig, "rvtool_example.gain:Gain")]
