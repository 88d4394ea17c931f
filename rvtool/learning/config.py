"""Settings that every model has."""

from __future__ import annotations

from pydantic import Field

from rvtool.config import Config


class ModelConfig(Config):
    """What a model's settings are derived from; a model sets its own defaults by declaring a field again."""

    learning_rate: float = Field(1e-3, gt=0, description="Step size of the optimiser before the schedule.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay of matrices and kernels.")
