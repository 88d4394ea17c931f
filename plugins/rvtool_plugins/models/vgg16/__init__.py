"""VGG16 (Simonyan & Zisserman 2014) for images of any number of channels."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from rvtool import Component, hookimpl
from rvtool.config import Sizes
from rvtool.learning import PretrainedConfig


class VGG16Config(PretrainedConfig):
    """Settings of the network."""

    learning_rate: float = Field(3e-4, gt=0, description="Step size of the optimiser before the schedule.")
    channels: Sizes = Field(
        (64, 128, 256, 512, 512),
        min_length=1,
        description="Channels of each block; a pooling by two ends a block, so five leave 2 px of 64.",
    )
    convolutions: Sizes = Field((2, 2, 3, 3, 3), description="Convolutions of each block, as many as channels.")
    batch_norm: bool = Field(
        True, description="Normalise after each convolution; without, as published, it hardly learns from scratch."
    )
    grid: int = Field(
        1, ge=1, le=16, description="Side of the grid on to which the last maps are averaged, px (published: 7)."
    )
    hidden: int = Field(512, ge=1, description="Neurons of the two dense layers (published: 4096).")
    dropout: float = Field(0.5, ge=0, lt=1, description="Part of each dense layer that is dropped in training.")

    @field_validator("convolutions")
    @classmethod
    def _one_each(cls, convolutions: tuple[int, ...], known: ValidationInfo) -> tuple[int, ...]:
        blocks = len(known.data.get("channels", convolutions))
        if len(convolutions) != blocks:
            raise ValueError(f"give as many as there are channels ({blocks})")
        return convolutions


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "vgg16",
            "VGG16 classifier with a small dense head (Simonyan & Zisserman 2014)",
            VGG16Config,
            "rvtool_plugins.models.vgg16.model:VGG16",
        )
    ]
