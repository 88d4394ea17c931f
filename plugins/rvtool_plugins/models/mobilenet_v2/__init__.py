"""MobileNetV2 (Sandler et al. 2018) for images of any number of channels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.config import Sizes
from rvtool.learning import PretrainedConfig


class MobileNetV2Config(PretrainedConfig):
    """Settings of the network."""

    width: float = Field(1.0, gt=0, le=4, description="Channels of each layer, as a multiple of the published ones.")
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
