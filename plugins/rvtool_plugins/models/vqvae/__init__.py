"""Images as codes out of a book, or as whole numbers, whose length is counted while they are learnt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.learning import ModelConfig


class VQVAEConfig(ModelConfig):
    """Settings of the networks and of the codes."""

    network: Literal["transform", "oord"] = Field(
        "transform", description="Overlapping transforms with networks beside them, or the published one (cells of 4)."
    )
    quantiser: Literal["scalar", "vq", "residual", "fsq"] = Field(
        "scalar",
        description="Latents rounded to whole numbers of as few bits as they are worth; one book of vectors; several, "
        "each for what the one before leaves; or a fixed number of levels (--levels).",
    )
    cell: Literal[4, 8, 16] = Field(8, description="Side of the square of pixels that a place of the codes is for.")
    latents: int = Field(
        32, ge=1, description="Latents of a place.", json_schema_extra={"search": {"choices": [16, 24, 32, 48]}}
    )
    width: int = Field(
        64, ge=4, description="Channels of the networks.", json_schema_extra={"search": {"choices": [32, 48, 64]}}
    )
    blocks: int = Field(1, ge=0, description="Residual blocks at each scale.")
    gain: float = Field(
        0.6, gt=0, description="Size of a latent where training begins, of a cosine coefficient in stretched units."
    )
    rate: float = Field(
        0.2,
        ge=0,
        description="What a bit costs in a training step, against the losses of a pixel; 0 with books: none.",
        json_schema_extra={"search": {"low": 0.05, "high": 2.0, "log": True}},
    )
    codes: int = Field(256, ge=2, le=4096, description="Codes of a book.")
    books: int = Field(4, ge=1, le=32, description="Books, with --quantiser residual.")
    levels: int = Field(5, ge=3, le=63, description="Levels of a latent, an odd number, with --quantiser fsq.")
    commitment: float = Field(0.25, ge=0, description="Weight of the latents' distance from their codes.")
    decay: float = Field(0.99, ge=0, lt=1, description="Part of a book that a step keeps.")


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "vqvae",
            "Autoencoder with discrete codes, a codec at low rates (van den Oord et al. 2017; FSQ, residual VQ)",
            VQVAEConfig,
            "rvtool_plugins.models.vqvae.model:VQVAE",
        )
    ]
