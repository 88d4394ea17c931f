"""Dynamic spectra, channels by samples, as a dish records them: pulsar, quasar, spiral galaxy and emission nebula."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from rvtool import Component, Config, hookimpl
from rvtool.config import Names, Numbers

CLASSES = ("pulsar", "quasar", "spiral-galaxy", "emission-nebula")
QUALITIES = ("good", "fair", "poor")


def _one_each(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != len(QUALITIES) or min(values) < 0:
        raise ValueError(f"needs {len(QUALITIES)} numbers of 0 or more, for {', '.join(QUALITIES)}")
    return values


Levels = Annotated[Numbers, AfterValidator(_one_each)]


class DynamicSpectrumConfig(Config):
    """What is simulated, and how it is observed; where three numbers stand, they are for good, fair and poor data."""

    classes: Names = Field(CLASSES, min_length=1, description="Classes to simulate, in equal parts, in this order.")
    channels: int = Field(128, ge=16, le=4096, description="Frequency channels: the rows, the lowest first.")
    samples: int = Field(1024, ge=64, le=65536, description="Samples in time: the columns.")
    centre_mhz: float = Field(1404.0, gt=0, description="Middle of the band, MHz.")
    channel_mhz: float = Field(0.5, gt=0, description="Width of a channel, MHz.")
    sample_s: float = Field(0.002, gt=0, description="Length of a sample, s.")
    polarisations: int = Field(2, ge=1, le=2, description="Polarisations that are averaged.")

    quality_mix: Levels = Field((0.2, 0.5, 0.3), description="Parts of the images of each quality.")
    sefd_jy: Levels = Field((5.0, 10.0, 20.0), description="Noise of the receiver as a flux density (SEFD), Jy.")
    baseline_fraction: Levels = Field(
        (0.001, 0.002, 0.004),
        description="Rms of the drift in time and of the ripple in frequency, parts of the power.",
    )
    rfi_channels: Levels = Field((1.0, 3.0, 6.0), description="Mean number of narrow persistent interferers.")
    rfi_bursts: Levels = Field((1.0, 3.0, 6.0), description="Mean number of short broadband bursts.")
    dropped_fraction: Levels = Field((0.0, 0.05, 0.15), description="Part of the pixels that is lost, and unknown.")

    dm_min_pc_cm3: float = Field(50.0, ge=0, description="Least dispersion measure of pulsars, pc/cm3.")
    dm_max_pc_cm3: float = Field(300.0, gt=0, le=3000, description="Largest dispersion measure of pulsars, pc/cm3.")
    period_min_s: float = Field(0.05, gt=0, description="Shortest period of pulsars, s.")
    period_max_s: float = Field(0.0, ge=0, description="Longest period of pulsars, s; 0 = a third of the observation.")

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for name in classes:
            if name not in CLASSES:
                raise ValueError(f"no class is named '{name}' (known: {', '.join(CLASSES)})")
        if len(set(classes)) < len(classes):
            raise ValueError("a class is named twice")
        return classes

    @field_validator("channel_mhz")
    @classmethod
    def _above_zero(cls, width: float, info: ValidationInfo) -> float:
        if width * info.data.get("channels", 0) >= info.data.get("centre_mhz", 0):
            raise ValueError("the band is as wide as its middle frequency; take fewer or narrower channels")
        return width

    @field_validator("quality_mix")
    @classmethod
    def _some(cls, mix: tuple[float, ...]) -> tuple[float, ...]:
        if sum(mix) == 0:
            raise ValueError("one quality at least must have a part")
        return mix

    @field_validator("rfi_channels", "rfi_bursts")
    @classmethod
    def _countable(cls, counts: tuple[float, ...]) -> tuple[float, ...]:
        if max(counts) > 100:
            raise ValueError("at most 100")
        return counts

    @field_validator("dropped_fraction")
    @classmethod
    def _half_at_most(cls, parts: tuple[float, ...]) -> tuple[float, ...]:
        if max(parts) > 0.5:
            raise ValueError("at most 0.5: the rest would show nothing")
        return parts

    @field_validator("dm_max_pc_cm3")
    @classmethod
    def _more(cls, largest: float, info: ValidationInfo) -> float:
        if largest < info.data.get("dm_min_pc_cm3", 0):
            raise ValueError("must be dm_min_pc_cm3 or more")
        return largest

    @field_validator("period_max_s")
    @classmethod
    def _several_pulses(cls, longest: float, info: ValidationInfo) -> float:
        third = info.data.get("samples", 0) * info.data.get("sample_s", 0) / 3
        shortest = info.data.get("period_min_s", 0)
        if not shortest <= (longest or third) <= third * (1 + 1e-9):
            raise ValueError(
                f"periods must lie between period_min_s ({shortest:g} s) and a third of the observation ({third:g} s)"
            )
        return longest


@hookimpl
def rvtool_simulators() -> list[Component]:
    """Offer the simulator."""
    return [
        Component(
            "dynamic-spectrum",
            "Pulsar, quasar, spiral galaxy and emission nebula in frequency and time, Jy, with noise and interference",
            DynamicSpectrumConfig,
            "rvtool_plugins.simulators.dynamic_spectrum.simulator:DynamicSpectrum",
        )
    ]
