"""Self-supervised learning: from images alone, without a label."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.learning import ModelConfig


class ByolConfig(ModelConfig):
    """Settings of the training."""

    encoder: str = Field("steerable-cnn", description="Classifier whose layers before the head are trained.")
    encoder_settings: str = Field(
        "", description="The encoder's own settings, as 'channels=4,8,12 depth=1'; those that are left out are its own."
    )
    projection: int = Field(64, ge=2, description="Numbers of each projection that two views are compared by.")
    hidden: int = Field(256, ge=2, description="Neurons of the hidden layers of projector and predictor.")
    momentum: float = Field(
        0.99, ge=0, lt=1, description="Part of the target network that a step keeps at first; it climbs to 1."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Step size of the optimiser before the schedule.")
    weight_decay: float = Field(0.02, ge=0, description="Decoupled weight decay of matrices and kernels.")


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "byol",
            "Learns features from images without labels, for a classifier to begin with (--from)",
            ByolConfig,
            "rvtool_plugins.models.byol.model:Byol",
        )
    ]
