"""Deep convolutional adversarial networks: images of a class by chance, from 32 to 256 px."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.learning import ModelConfig


class DCGANConfig(ModelConfig):
    """Settings of the networks and of how they play."""

    latents: int = Field(100, ge=1, description="Numbers that an image is made from.")
    width: int = Field(
        32,
        ge=4,
        description="Channels of the finest level, twice as many a level coarser (published: 64).",
        json_schema_extra={"search": {"choices": [16, 32, 64]}},
    )
    most: int = Field(256, ge=4, description="Channels of a level at most (published: 512).")
    by_class: bool = Field(True, description="Make images of classes, where the data has them.")
    progressive: bool = Field(
        False, description="Begin at 8 px and grow, a level at a time, in the first half of the training."
    )
    spectral_norm: bool = Field(False, description="Divide the critic's kernels by their largest gain.")
    critic_steps: int = Field(1, ge=1, description="Steps of the critic for one of the generator (wgan-gp: 5).")
    critic_shift: float = Field(
        0.125,
        ge=0,
        le=0.5,
        description="How far the critic's images are moved by chance, as a part of a side.",
    )
    learning_rate: float = Field(2e-4, gt=0, description="Step size of the generator's optimiser before the schedule.")
    critic_rate: float = Field(1.0, gt=0, description="Step size of the critic's optimiser, as a part of that.")
    beta1: float = Field(0.0, ge=0, lt=1, description="Decay of the mean gradient in Adam (published: 0.5).")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of matrices and kernels.")


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "dcgan",
            "Generative adversarial network of convolutions (Radford 2016), of classes, growing where asked",
            DCGANConfig,
            "rvtool_plugins.models.dcgan.model:DCGAN",
        )
    ]
