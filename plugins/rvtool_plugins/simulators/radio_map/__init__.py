"""Radio maps: how much of a transmitter's signal reaches each place of a city (wireless, not astronomy)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from rvtool import Component, Config, hookimpl

RANDOM = "random"


class RadioMapConfig(Config):
    """Which city, and what waves lose in it; the defaults are those of RadioMapSeer, without cars."""

    size: int = Field(256, ge=16, le=1024, description="Side of a map, pixels; time grows as its fourth power.")
    pixel_m: float = Field(1.0, gt=0, le=20, description="Side of a pixel, m.")
    city: str = Field(
        RANDOM, min_length=1, description=f"'{RANDOM}', or an image of a city, of which each map is a window by chance."
    )
    buildings: Literal["dark", "bright"] = Field("dark", description="What buildings are in the image of a city.")
    building_m: float = Field(
        25.0, ge=0, le=1000, description="Height of buildings, m; 0 = the image's grey levels are their heights."
    )
    cars: int = Field(0, ge=0, le=1000, description="Cars in the streets of each map.")

    frequency_mhz: float = Field(5900.0, ge=30, le=1e6, description="Frequency, MHz.")
    power_dbm: float = Field(23.0, description="Power of the transmitter, dBm: a column, the map is of gains.")
    transmitter_m: float = Field(1.5, gt=0, le=1000, description="Height of the transmitter above the ground, m.")
    receiver_m: float = Field(1.5, gt=0, le=1000, description="Height of the receivers above the ground, m.")

    bend_db: float = Field(22.0, ge=0, le=200, description="The most that one bend round an edge loses, dB.")
    wall_db: float = Field(20.0, ge=0, le=200, description="Loss of an outer wall, dB.")
    building_db_m: float = Field(0.5, ge=0, le=100, description="Loss of a metre within a building, dB.")
    car_db: float = Field(5.0, ge=0, le=100, description="Loss of a car in the straight line, dB.")

    @field_validator("building_m")
    @classmethod
    def _told(cls, height: float, info: ValidationInfo) -> float:
        if height == 0 and (info.data.get("city") == RANDOM or info.data.get("buildings") == "bright"):
            raise ValueError("0 takes heights from an image of a city with dark buildings; name one with city")
        return height


@hookimpl
def rvtool_simulators() -> list[Component]:
    """Offer the simulator."""
    return [
        Component(
            "radio-map",
            "Pairs: a city with a transmitter, and how much of its signal reaches each place (dominant path)",
            RadioMapConfig,
            "rvtool_plugins.simulators.radio_map.simulator:RadioMap",
        )
    ]
