"""The convolutional network of Alhassan et al. (2018) for the morphology of radio galaxies."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.config import Sizes
from rvtool.learning import ModelConfig


class AlhassanCNNConfig(ModelConfig):
    """Settings of the network."""

    channels: Sizes = Field((32, 64, 194), min_length=1, description="Channels of each convolution, as '32,64,194'.")
    kernel: int = Field(3, ge=1, le=15, description="Side of each convolution's kernel, in pixels.")
    stride: int = Field(1, ge=1, le=8, description="Stride of the first convolution; 1 keeps small sources apart.")
    pools: int = Field(0, ge=0, description="Convolutions, from the first, that a pooling by two follows (0: all).")
    grid: int = Field(7, ge=1, le=32, description="Side of the grid on to which the last maps are averaged, px.")
    hidden: int = Field(194, ge=1, description="Neurons of the dense layer.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Part of the dense layer that is dropped in training.")
    batch_norm: bool = Field(True, description="Normalise after each convolution (the published network does not).")


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "alhassan-cnn",
            "Small convolutional classifier of radio galaxies (Alhassan et al. 2018)",
            AlhassanCNNConfig,
            "rvtool_plugins.models.alhassan_cnn.model:AlhassanCNN",
        )
    ]
