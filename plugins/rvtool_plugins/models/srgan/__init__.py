"""Finer images: residual networks with sub-pixel upsampling, on pixels and against a critic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, hookimpl
from rvtool.learning import AdversarialConfig


class SRGANConfig(AdversarialConfig):
    """Settings of the networks."""

    generator: Literal["srresnet", "rrdb"] = Field(
        "srresnet", description="Residual blocks (Ledig 2017), or residual dense ones (ESRGAN, Wang 2018)."
    )
    blocks: int = Field(
        16, ge=1, description="Blocks of the generator.", json_schema_extra={"search": {"low": 4, "high": 16}}
    )
    width: int = Field(
        64, ge=4, description="Channels of the generator.", json_schema_extra={"search": {"choices": [32, 48, 64]}}
    )
    growth: int = Field(32, ge=4, description="Channels that each layer of a dense block adds, with --generator rrdb.")
    upsampling: Literal["once", "steps"] = Field(
        "once",
        description="The last layer makes all finer pixels (Shi 2016), or steps of 2 each make maps of all channels.",
    )
    batch_norm: bool = Field(
        False, description="Normalise in the residual blocks, as the published network; fluxes are kept better without."
    )
    critic_width: int = Field(64, ge=4, description="Channels of the critic's first layer.")
    learning_rate: float = Field(1e-4, gt=0, description="Step size of the generator's optimiser before the schedule.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the mean gradient in Adam.")
    pretrain: float = Field(0.5, ge=0, le=1, description="Part of the epochs, the first, in which there is no critic.")


@hookimpl
def rvtool_models() -> list[Component]:
    """Offer the model."""
    return [
        Component(
            "srgan",
            "Makes images 2, 4 or 8 times as fine, learnt from pixels, then from a critic (Ledig et al. 2017)",
            SRGANConfig,
            "rvtool_plugins.models.srgan.model:SRGAN",
        )
    ]
