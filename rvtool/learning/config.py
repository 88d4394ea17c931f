"""Settings that every model has."""

from __future__ import annotations

from pydantic import Field

from rvtool.config import Config


class ModelConfig(Config):
    """What a model's settings are derived from; a model sets its own defaults by declaring a field again."""

    learning_rate: float = Field(1e-3, gt=0, description="Step size of the optimiser before the schedule.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay of matrices and kernels.")


class VariationalConfig(ModelConfig):
    """What the settings of a variational autoencoder are derived from."""

    beta: float = Field(1.0, ge=0, description="Weight of the divergence from the prior (1: the evidence bound).")
    sigma: float = Field(
        0.0, ge=0, description="Deviation of the likelihood that is trained with, in stretched units (0: learnt)."
    )
    step: float = Field(
        3.0, gt=0, description="Step to which latents are rounded as codes, in deviations of their posterior."
    )


class AdversarialConfig(ModelConfig):
    """What the settings of a generator and its critic are derived from."""

    learning_rate: float = Field(2e-4, gt=0, description="Step size of the generator's optimiser before the schedule.")
    critic_rate: float = Field(1.0, gt=0, description="Step size of the critic's optimiser, as a part of that.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Decay of the mean gradient in Adam.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of matrices and kernels.")
    pretrain: float = Field(0.0, ge=0, le=1, description="Part of the epochs, the first, in which there is no critic.")
