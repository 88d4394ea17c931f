"""EfficientNet-B0 (Tan & Le 2019) for images of any number of channels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.learning import PretrainedConfig


class EfficientNetB0Config(PretrainedConfig):
    """Settings of the network."""

    width: float = Field(1.0, gt=0, le=4, description="Channels of each layer, as a multiple of the published ones.")
    depth: float = Field(1.0, gt=0, le=4, description="Blocks of each stage, as a multiple of the published ones.")
    stem_stride: Literal[1, 2] = Field(
        1, description="Stride of the first convolution: 1 keeps sources of few pixels apart, 2 is as published."
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Part of the features that is dropped in training.")
    stochastic_depth: float = Field(
        0.2, ge=0, lt=1, description="Part of the images for which the last block is skipped in training; less before."
    )


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "efficientnet-b0",
            "EfficientNet-B0 classifier with a full-resolution stem (Tan & Le 2019)",
            EfficientNetB0Config,
            "rvtool_plugins.models.efficientnet_b0.model:EfficientNetB0",
        )
    ]
