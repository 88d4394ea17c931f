"""A variational autoencoder whose images are held against real ones by a critic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.learning import VariationalConfig


class VAEGANConfig(VariationalConfig):
    """Settings of the networks."""

    factor: Literal[4, 8] = Field(4, description="How many times coarser the latents are.")
    latents: int = Field(3, ge=1, description="Latents of a place.")
    width: int = Field(
        16,
        ge=8,
        multiple_of=8,
        description="Channels of the first level; the next ones have 2 and 4 times as many (published: 128).",
        json_schema_extra={"search": {"choices": [16, 32, 64]}},
    )
    blocks: int = Field(1, ge=1, description="Residual blocks of a level (published: 2).")
    beta: float = Field(1e-6, ge=0, description="Weight of the divergence from the prior (1: the evidence bound).")
    discriminator_start: int = Field(
        0, ge=0, description="Steps before the critic joins (0: the first half of the training)."
    )
    critic_weight: float = Field(
        0.5, ge=0, description="How much the critic moves the last layer, as a part of what the other losses do."
    )
    critic_width: int = Field(32, ge=4, description="Channels of the critic's first layer (published: 64).")
    critic_norm: Literal["none", "batch", "actnorm"] = Field("none", description="What normalises the critic's maps.")
    spectral_norm: bool = Field(True, description="Divide the critic's kernels by their largest gain.")
    critic_rate: float = Field(1.0, gt=0, description="Step size of the critic's optimiser, as a part of the other's.")
    learning_rate: float = Field(2e-4, gt=0, description="Step size of the autoencoder before the schedule.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of matrices and kernels.")


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "vae-gan",
            "Variational autoencoder with a critic of patches, the first stage of latent diffusion (Rombach 2022)",
            VAEGANConfig,
            "rvtool_plugins.models.vae_gan.model:VAEGAN",
        )
    ]
