"""Augmenters: what varies the training images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl


class RotateFlipConfig(Config):
    """Settings of turns and mirror images."""

    max_angle_deg: float = Field(180.0, ge=0, le=180, description="Largest turn to either side, in degrees.")
    step_deg: float = Field(
        90.0, ge=0, le=180, description="Turn by multiples of this, in degrees (90 keeps every value); 0: any angle."
    )
    flip_probability: float = Field(0.5, ge=0, le=1, description="Part of the images that are mirrored.")
    interpolation: Literal["bilinear", "nearest"] = Field("bilinear", description="How turned pixels are made.")


class ShiftConfig(Config):
    """Settings of shifts."""

    max_shift_px: float = Field(3.0, ge=0, description="Largest shift along each axis, in pixels of the image.")
    interpolation: Literal["bilinear", "nearest"] = Field("bilinear", description="How shifted pixels are made.")


@hookimpl
def rvtool_augmenters() -> list[Component]:
    """Offer the augmenters."""
    return [
        Component(
            "rotate-flip",
            "Turns images by any angle, or by quarters, and mirrors them",
            RotateFlipConfig,
            "rvtool_plugins.augmenters.geometry:RotateFlip",
        ),
        Component(
            "shift",
            "Shifts images by fractions of pixels",
            ShiftConfig,
            "rvtool_plugins.augmenters.geometry:Shift",
        ),
    ]
