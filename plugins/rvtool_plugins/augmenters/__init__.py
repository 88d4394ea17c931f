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


class ScaleConfig(Config):
    """Settings of zooms."""

    max_factor: float = Field(1.1, ge=1, le=2, description="Largest factor on angular sizes, and 1 over the smallest.")
    interpolation: Literal["bilinear", "nearest"] = Field("bilinear", description="How zoomed pixels are made.")


class BrightnessContrastConfig(Config):
    """Settings of brightness, contrast and colours."""

    max_brightness: float = Field(1.2, ge=1, le=10, description="Largest factor on the flux, and 1 over the smallest.")
    max_contrast: float = Field(
        1.1, ge=1, le=2, description="Largest exponent on brightness over the peak, and 1 over the smallest."
    )
    max_saturation: float = Field(
        1.2, ge=1, le=10, description="Of three channels: largest factor on the colours, and 1 over the smallest."
    )
    max_hue_deg: float = Field(
        10.0, ge=0, le=180, description="Of three channels: largest turn of the colours to either side, in degrees."
    )


class NoiseConfig(Config):
    """Settings of added noise."""

    max_sigma: float = Field(1.0, ge=0, le=100, description="Largest added noise, in units of the image's own noise.")
    max_peak_fraction: float = Field(
        0.02, ge=0, le=1, description="The same for images without any noise, in units of their peak above background."
    )


class MixUpConfig(Config):
    """Settings of blends of two images."""

    alpha: float = Field(
        0.2, gt=0, le=100, description="Shares come from Beta(alpha, alpha): 1 draws all alike, less mixes less."
    )
    probability: float = Field(1.0, ge=0, le=1, description="Part of the images that are mixed.")


class CutMixConfig(Config):
    """Settings of images with a part of another."""

    alpha: float = Field(
        1.0, gt=0, le=100, description="Areas come from Beta(alpha, alpha): 1 draws all alike, less cuts less."
    )
    probability: float = Field(0.5, ge=0, le=1, description="Part of the images that are mixed.")


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
        Component(
            "scale",
            "Zooms images about their centre",
            ScaleConfig,
            "rvtool_plugins.augmenters.geometry:Scale",
        ),
        Component(
            "brightness-contrast",
            "Varies brightness and contrast, and the colours of RGB images",
            BrightnessContrastConfig,
            "rvtool_plugins.augmenters.brightness:BrightnessContrast",
        ),
        Component(
            "noise",
            "Adds noise, correlated as the beam where it is known",
            NoiseConfig,
            "rvtool_plugins.augmenters.noise:Noise",
        ),
        Component(
            "mixup",
            "Blends pairs of images and their labels (Zhang et al. 2018)",
            MixUpConfig,
            "rvtool_plugins.augmenters.mixing:MixUp",
        ),
        Component(
            "cutmix",
            "Pastes a part of another image, and mixes the labels by area (Yun et al. 2019)",
            CutMixConfig,
            "rvtool_plugins.augmenters.mixing:CutMix",
        ),
    ]
