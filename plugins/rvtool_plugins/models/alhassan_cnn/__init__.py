"""The convolutional network of Alhassan et al. (2018) for the morphology of radio galaxies."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.config import Sizes
from rvtool.learning import ModelConfig


class AlhassanCNNConfig(ModelConfig):
    """Settings of the network."""

    channels: Sizes = Field(
        (32, 64, 194),
        min_length=1,
        description="Channels of each convolution, as '32,64,194'.",
        json_schema_extra={"search": {"choices": ["16,32,97", "32,64,194", "32,64,128,194"]}},
    )
    kernel: int = Field(3, ge=1, le=15, description="Side of each convolution's kernel, in pixels.")
    stride: int = Field(1, ge=1, le=8, description="Stride of the first convolution; 1 keeps small sources apart.")
    pools: int = Field(0, ge=0, description="Convolutions, from the first, that a pooling by two follows (0: all).")
    grid: int = Field(7, ge=1, le=32, description="Side of the grid on to which the last maps are averaged, px.")
    hidden: int = Field(
        194,
        ge=1,
        description="Neurons of the dense layer.",
        json_schema_extra={"search": {"low": 32, "high": 512, "log": True}},
    )
    dropout: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Part of the dense layer that is dropped in training.",
        json_schema_extra={"search": {"low": 0.0, "high": 0.6, "step": 0.05}},
    )
    batch_norm: bool = Field(True, description="Normalise after each convolution (the published network does not).")
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
            "alhassan-cnn",
            "Small convolutional classifier of radio galaxies (Alhassan et al. 2018)",
            AlhassanCNNConfig,
            "rvtool_plugins.models.alhassan_cnn.model:AlhassanCNN",
        )
    ]
