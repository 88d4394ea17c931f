"""A network that gives the same answer whichever way an image is turned or mirrored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.config import Sizes
from rvtool.learning import ModelConfig


class SteerableCNNConfig(ModelConfig):
    """Settings of the network."""

    channels: Sizes = Field(
        (4, 8, 12, 16),
        min_length=1,
        description="Channels of each level, each in eight orientations, as '4,8,12,16'.",
        json_schema_extra={"search": {"choices": ["4,8,12", "4,8,12,16", "6,12,18,24"]}},
    )
    depth: int = Field(
        2,
        ge=1,
        description="Convolutions of each level after the first, which has the stem alone.",
        json_schema_extra={"search": {"low": 1, "high": 3}},
    )
    stem_kernel: int = Field(5, ge=1, le=15, description="Side of the first convolution's kernel, in pixels (odd).")
    kernel: int = Field(3, ge=1, le=15, description="Side of the other kernels, in pixels (odd).")
    zoom: int = Field(
        2, ge=1, description="The middle 1/zoom of the image is seen in full, beside the whole of it averaged (1: all)."
    )
    mark_centre_px: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of a mark that shows the network the image's centre, px, where that means"
        " something, as the host's place (0: none); without --augment shift.",
    )
    stride: Literal[1, 2] = Field(1, description="2 halves the image before the first convolution.")
    dropout: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Part of the features that is dropped in training.",
        json_schema_extra={"search": {"low": 0.0, "high": 0.6, "step": 0.05}},
    )
    learning_rate: float = Field(
        3e-3,
        gt=0,
        description="Step size of the optimiser before the schedule.",
        json_schema_extra={"search": {"low": 1e-4, "high": 1e-2, "log": True}},
    )
    weight_decay: float = Field(
        0.02,
        ge=0,
        description="Decoupled weight decay of matrices and kernels.",
        json_schema_extra={"search": {"low": 1e-3, "high": 0.3, "log": True}},
    )


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "steerable-cnn",
            "Small classifier that cannot tell an image from its turns and mirror images (group convolutions, D4)",
            SteerableCNNConfig,
            "rvtool_plugins.models.steerable_cnn.model:SteerableCNN",
        )
    ]
