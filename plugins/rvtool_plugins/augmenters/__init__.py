"""Augmenters: what varies the training images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

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


class RfiConfig(Config):
    """Settings of interference."""

    max_lines: int = Field(5, ge=1, le=50, description="Most lines (on the sky: fringes) of an image.")
    max_peak_fraction: float = Field(
        0.3, ge=0, le=10, description="Of dynamic spectra: brightness of the brightest line, in units of the peak."
    )
    max_width_px: int = Field(
        3, ge=1, le=100, description="Of dynamic spectra: width of the widest line, in channels or samples."
    )
    broadband_probability: float = Field(
        0.5, ge=0, le=1, description="Of dynamic spectra: part of the lines that are bursts in all channels."
    )
    max_fringe_fraction: float = Field(
        0.05, ge=0, le=10, description="Of sky images: amplitude of the strongest fringe, in units of the peak."
    )
    max_period_px: float = Field(
        50.0, ge=4, le=1000, description="Of sky images: longest period of a fringe, in pixels (the shortest is 4)."
    )


class ScintillationConfig(Config):
    """Settings of scintillation."""

    max_modulation: float = Field(
        0.5, ge=0, le=1, description="Largest modulation index, the gain's standard deviation (its mean is 1)."
    )
    bandwidth_channels: float = Field(
        16.0, ge=1, le=1e5, description="Decorrelation bandwidth (to half of the autocovariance), in channels."
    )
    timescale_samples: float = Field(
        128.0, ge=1, le=1e6, description="Decorrelation time (to 1/e of the autocovariance), in samples."
    )


class ElasticConfig(Config):
    """Settings of elastic deformation."""

    max_displacement_px: float = Field(
        1.0, ge=0, le=50, description="Largest standard deviation of displacements along each axis, in pixels."
    )
    smoothness_px: float = Field(
        16.0, ge=2, le=1000, description="Distance at which displacements correlate by 1/e, in pixels."
    )


class BaselineDriftConfig(Config):
    """Settings of a drifting baseline."""

    max_peak_fraction: float = Field(
        0.1, ge=0, le=10, description="Largest amplitude, in units of the spectrum's peak above background."
    )
    max_cycles: float = Field(3.0, gt=0, le=50, description="Most cycles over the time of a spectrum.")


class SpikesConfig(Config):
    """Settings of spikes."""

    max_spikes: int = Field(5, ge=1, le=100, description="Most spikes of an image.")
    max_peak_fraction: float = Field(
        0.3, ge=0, le=10, description="Peak of the brightest spike, in units of the image's peak above background."
    )
    width_px: float = Field(
        2.0, ge=0.5, le=50, description="Full width at half maximum, in pixels; a known beam counts instead."
    )


class GapsConfig(Config):
    """Settings of gaps in frequency or time."""

    max_gaps: int = Field(3, ge=1, le=50, description="Most gaps of a spectrum.")
    max_width: float = Field(0.05, gt=0, le=0.5, description="Width of the widest gap, as a part of the axis.")


class ExtremeConfig(Config):
    """Settings of several disturbances at once."""

    probability: float = Field(0.9, ge=0, le=1, description="Part of the images that are disturbed.")
    min_parts: int = Field(2, ge=1, le=8, description="Fewest disturbances of such an image.")
    max_parts: int = Field(4, ge=1, le=8, description="Most disturbances of such an image.")

    @field_validator("max_parts")
    @classmethod
    def _ordered(cls, most: int, known: ValidationInfo) -> int:
        if most < known.data.get("min_parts", most):
            raise ValueError("must not be less than min_parts")
        return most


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
        Component(
            "rfi",
            "Adds interference: lines on dynamic spectra, fringes on images of the sky",
            RfiConfig,
            "rvtool_plugins.augmenters.interference:Rfi",
        ),
        Component(
            "scintillation",
            "Multiplies dynamic spectra by a random gain of mean 1, smooth in frequency and time",
            ScintillationConfig,
            "rvtool_plugins.augmenters.scintillation:Scintillation",
        ),
        Component(
            "elastic",
            "Bends images of the sky by smooth displacements (Simard et al. 2003)",
            ElasticConfig,
            "rvtool_plugins.augmenters.elastic:Elastic",
        ),
        Component(
            "baseline-drift",
            "Lets the level of dynamic spectra drift with time",
            BaselineDriftConfig,
            "rvtool_plugins.augmenters.interference:BaselineDrift",
        ),
        Component(
            "spikes",
            "Adds bursts to dynamic spectra, unrelated compact sources to images of the sky",
            SpikesConfig,
            "rvtool_plugins.augmenters.interference:Spikes",
        ),
        Component(
            "channel-dropout",
            "Makes channels of dynamic spectra unknown",
            GapsConfig,
            "rvtool_plugins.augmenters.gaps:ChannelDropout",
        ),
        Component(
            "time-mask",
            "Makes times of dynamic spectra unknown",
            GapsConfig,
            "rvtool_plugins.augmenters.gaps:TimeMask",
        ),
        Component(
            "extreme",
            "Disturbs most images by two to four of the above that fit them, and noise",
            ExtremeConfig,
            "rvtool_plugins.augmenters.extreme:Extreme",
        ),
    ]
