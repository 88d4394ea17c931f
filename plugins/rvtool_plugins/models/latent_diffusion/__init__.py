"""Diffusion in the latents of an autoencoder, or in pixels, conditioned on classes, numbers and images."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, field_validator

from rvtool import Component, hookimpl
from rvtool.errors import ConfigError
from rvtool.learning import ModelConfig


class LatentDiffusionConfig(ModelConfig):
    """Settings of the process, the network and how it is asked."""

    first_stage: str = Field(
        "", description="Run of an autoencoder (vae, vqvae, vae-gan) in whose latents to work. Default: pixels."
    )
    objective: Literal["ddm", "ddpm", "edm"] = Field(
        "ddm", description="What noise does, and what the network learns of it (see the documentation)."
    )
    patch: Literal[1, 2, 4, 8] = Field(
        4, description="Side of the squares of pixels that are one place of the network's maps, without a first stage."
    )
    width: int = Field(
        48,
        ge=8,
        multiple_of=8,
        description="Channels of the first level (published: 128).",
        json_schema_extra={"search": {"choices": [32, 48, 64]}},
    )
    levels: int = Field(3, ge=1, le=5, description="Levels of the network, each half as fine as the one before.")
    heads: int = Field(4, ge=1, description="Heads of attention.")
    window: int = Field(8, ge=2, description="Side of the windows in which maps attend to an image, places.")
    condition_encoder: Literal["small", "swin"] = Field(
        "small",
        description="What looks at the image that is given: a few convolutions, or a Swin transformer.",
    )
    by_class: bool = Field(True, description="Make images of classes, where the data has them.")
    drop_condition: float = Field(
        0.1, ge=0, lt=1, description="Part of the training images whose condition is not told, for guidance."
    )
    sampling_steps: int = Field(5, ge=1, le=1000, description="Steps from noise to an image.")
    guidance: float = Field(
        1.0, ge=0, description="How much an image follows its condition (1: as learnt; more: more than that)."
    )
    learning_rate: float = Field(5e-4, gt=0, description="Step size of the optimiser before the schedule.")

    @field_validator("first_stage")
    @classmethod
    def _described(cls, value: str) -> str:
        """Write out what is needed of the first stage, so that a run opens without it."""
        return value if not value or value.startswith("{") else json.dumps(_describe(value))


def _describe(name: str) -> dict[str, Any]:
    from rvtool import load_run

    run = load_run(name)
    if run.task != "autoencoding" or run.data.target is not None:
        raise ConfigError(
            f"{run.path} is no autoencoder of images, so it cannot be a first stage; train a vae, a vqvae or a vae-gan."
        )
    stretch = run.stretch.settings.model_dump(mode="json")
    told = {name: run.record[name] for name in ("model", "config", "data_info")}
    return {"run": str(run.path.resolve()), **told, "stretch": stretch}


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "latent-diffusion",
            "Decoupled diffusion in latents or pixels, of classes, numbers or images (RadioDiff; Wang et al. 2024)",
            LatentDiffusionConfig,
            "rvtool_plugins.models.latent_diffusion.model:LatentDiffusion",
        )
    ]
