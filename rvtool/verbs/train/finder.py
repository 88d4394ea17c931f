"""A good learning rate, looked for: the loss over a few steps while the rate climbs (Smith 2017, arXiv:1506.01186)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.tuner import Tuner
from rich.console import Console

from rvtool.data.batches import Batches
from rvtool.errors import ConfigError, DataError
from rvtool.learning import Model
from rvtool.report import curves

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 100


def find_learning_rate(
    model: Model, batches: Batches, arithmetic: dict[str, Any], path: Path, console: Console
) -> dict[str, Any]:
    """Train `STEPS` steps with a rate that climbs from `LOWEST` to `HIGHEST`, plot the losses, suggest a rate.

    The suggestion is the rate where the loss falls fastest. Nothing that was learnt is kept.

    Raises
    ------
    ConfigError
        The model steps several optimisers, for which one rate says nothing.
    DataError
        The losses show no fall.
    """
    if not model.automatic_optimization:
        raise ConfigError(
            "--find-learning-rate works for models with one optimiser; set the rates of this one yourself."
        )
    setattr(model, "lr", model.config.learning_rate)  # noqa: B010 - the tuner asks for an attribute of this name
    trainer = lightning.Trainer(
        **arithmetic, max_epochs=-1, logger=False, enable_checkpointing=False, default_root_dir=path
    )
    found = Tuner(trainer).lr_find(model, datamodule=batches, min_lr=LOWEST, max_lr=HIGHEST, num_training=STEPS)
    suggestion = found.suggestion() if found is not None else None
    if found is None or suggestion is None:
        raise DataError("The losses never fell while the learning rate climbed, so none can be suggested.")
    rates, losses = np.array(found.results["lr"]), np.array(found.results["loss"])
    picture = path / "learning_rate.png"
    curves.learning_rate_curve(rates, losses, suggestion, picture)
    console.print(f"suggested: --learning-rate {suggestion:.2g} (see {picture})", highlight=False, soft_wrap=True)
    return {"learning_rate": float(suggestion), "picture": str(picture)}
