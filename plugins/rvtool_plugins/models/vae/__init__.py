"""Latents that are drawn: images within a bound on their likelihood."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.learning import VariationalConfig


class VAEConfig(VariationalConfig):
    """Settings of the networks."""

    cell: Literal[4, 8, 16] = Field(8, description="Side of the square of pixels that a place of the latents is for.")
    latents: int = Field(
        32, ge=1, description="Latents of a place.", json_schema_extra={"search": {"choices": [16, 24, 32, 48]}}
    )
    width: int = Field(
        64, ge=4, description="Channels of the networks.", json_schema_extra={"search": {"choices": [32, 48, 64]}}
    )
    blocks: int = Field(1, ge=0, description="Residual blocks at each of the two scales.")
    gain: float = Field(
        0.2, gt=0, description="Size of a latent where training begins, of a cosine coefficient in stretched units."
    )


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "vae",
            "Variational autoencoder with a learnt likelihood: denoises, tells what is likely (Kingma & Welling 2014)",
            VAEConfig,
            "rvtool_plugins.models.vae.model:VAE",
        )
    ]
