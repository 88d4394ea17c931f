"""MobileNetV2 (Sandler et al. 2018) for images of any number of channels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.config import Sizes
from rvtool.learning import PretrainedConfig


class MobileNetV2Config(PretrainedConfig):
    """Settings of the network."""

    width: float = Field(
        1.0,
        gt=0,
        le=4,
        description="Channels of each layer, as a multiple of the published ones.",
        json_schema_extra={"search": {"choices": [0.5, 0.75, 1.0, 1.4]}},
    )
    stem_stride: Literal[1, 2] = Field(
        1, description="Stride of the first convolution: 1 keeps sources of few pixels apart, 2 is as published."
    )
    hidden: Sizes = Field(
        (512, 256), description="Neurons of each dense layer before the last; ',' for none, as published."
    )
    dropout: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Part of the features that is dropped in training; each dense layer drops 0.7 of the one before.",
        json_schema_extra={"search": {"low": 0.0, "high": 0.6, "step": 0.05}},
    )
    learning_rate: float = Field(
        1e-3,
        gt=0,
        description="Step size of the optimiser before the schedule.",
        json_schema_extra={"search": {"low": 1e-4, "high": 1e-2, "log": True}},
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        description="Decoupled weight decay of matrices and kernels.",
        json_schema_extra={"search": {"low": 1e-3, "high": 0.3, "log": True}},
    )


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "mobilenet-v2",
            "MobileNetV2 classifier with a full-resolution stem (Sandler et al. 2018)",
            MobileNetV2Config,
            "rvtool_plugins.models.mobilenet_v2.model:MobileNetV2",
        )
    ]
