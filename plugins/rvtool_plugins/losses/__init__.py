"""Losses: what training minimises."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl

Balance = Literal["none", "balanced"]


class CrossEntropyConfig(Config):
    """Settings of the cross entropy."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Part of each label that is spread over all classes.")
    class_weights: Balance = Field("none", description="'balanced' weighs classes by their inverse frequency.")
    logit_adjustment: float = Field(
        0.0, ge=0, le=10, description="1: logits that answer as if classes were equally frequent; 0: as they are."
    )


class FocalConfig(Config):
    """Settings of the focal loss."""

    gamma: float = Field(2.0, ge=0, description="How much well classified images are played down; 0: cross entropy.")
    alpha: Balance = Field("none", description="'balanced' weighs classes by their inverse frequency.")


class GaussianConfig(Config):
    """Settings of the Gaussian likelihood."""

    beta: float = Field(0.0, ge=0, le=1, description="How much images of large uncertainty teach (0: likelihood).")


class VonMisesConfig(Config):
    """Settings of the folded von Mises likelihood."""

    largest_deg: float = Field(180.0, gt=0, le=360, description="Largest angle that there is, deg; the least is 0.")


@hookimpl
def rvtool_losses() -> list[Component]:
    """Offer the losses."""
    return [
        Component(
            "cross-entropy",
            "Cross entropy of classes, with label smoothing, class weights and logit adjustment",
            CrossEntropyConfig,
            "rvtool_plugins.losses.classification:CrossEntropy",
        ),
        Component(
            "focal",
            "Focal loss: cross entropy that looks at hard images (Lin et al. 2017)",
            FocalConfig,
            "rvtool_plugins.losses.classification:Focal",
        ),
        Component(
            "gaussian-nll",
            "Likelihood of a number: a normal distribution of its own width for each image",
            GaussianConfig,
            "rvtool_plugins.losses.regression:GaussianNLL",
        ),
        Component(
            "von-mises-nll",
            "Likelihood of an angle without a side, such as a bending angle: a folded von Mises distribution",
            VonMisesConfig,
            "rvtool_plugins.losses.regression:VonMisesNLL",
        ),
    ]
