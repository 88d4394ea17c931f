"""Images of one kind made of images of another: a U-Net against critics of patches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.config import Sizes
from rvtool.learning import AdversarialConfig


class Pix2PixConfig(AdversarialConfig):
    """Settings of the networks."""

    generator: Literal["unet", "transformer"] = Field(
        "unet", description="A U-Net down to one pixel, or to a sixteenth with transformer blocks there."
    )
    width: int = Field(
        64,
        ge=4,
        description="Channels of the first level; each further one has twice as many, up to eight times.",
        json_schema_extra={"search": {"choices": [16, 32, 64]}},
    )
    levels: int = Field(0, ge=0, le=8, description="Times that the image is halved (0: as its size allows, at most 8).")
    attention: Sizes = Field(
        (32, 64), description="Least and largest side of the maps that attend to themselves, px; '' for none."
    )
    blocks: int = Field(4, ge=1, description="Transformer blocks, with --generator transformer.")
    dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Part of the features that is dropped in the three innermost levels on the way up.",
        json_schema_extra={"search": {"low": 0.0, "high": 0.6, "step": 0.1}},
    )
    scales: int = Field(
        3,
        ge=1,
        le=4,
        description="Critics, each of an image of half the size of the one before; fewer of small images.",
    )
    critic_width: int = Field(64, ge=4, description="Channels of a critic's first layer.")


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "pix2pix",
            "Makes images of one kind of images of another, such as optical ones of radio images (Isola et al. 2017)",
            Pix2PixConfig,
            "rvtool_plugins.models.pix2pix.model:Pix2Pix",
        )
    ]
