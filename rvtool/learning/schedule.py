"""The learning rate over a training: one pure function, and the callback that applies it.

The callback holds no state: it computes the factor from where the training stands, so that a resumed training goes on
exactly. (Lightning's ``estimated_stepping_batches`` is never read: doing so breaks exact resume, Lightning #20550.)
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from lightning.pytorch import Callback, LightningModule, Trainer

from rvtool.errors import unknown

Kind = Literal["constant", "cosine", "cosine-restarts", "polynomial"]

POWER = 0.95  # of the polynomial
CYCLES = 3  # of the restarts, each twice as long as the one before


def factor(step: int, total_steps: int, kind: Kind = "cosine", warmup_steps: int = 0) -> float:
    """Return what the learning rate is multiplied by at a step.

    With p the part of the steps after the warm-up that is done:

    - ``constant``: 1;
    - ``cosine``: (1 + cos(pi p)) / 2 [1]_, eq. 5 with a smallest rate of 0;
    - ``cosine-restarts``: the same within each of three cycles of 1/7, 2/7 and 4/7 of the steps
      ([1]_ with T_mult = 2), so that the last cycle ends with the training;
    - ``polynomial``: (1 - p)^0.95 [2]_, the power of decoupled diffusion models [3]_.

    During the first `warmup_steps` steps it climbs linearly to 1 [4]_.

    Parameters
    ----------
    step
        Optimiser steps taken so far, from 0.
    total_steps
        Optimiser steps of the whole training.
    kind
        The shape after the warm-up.
    warmup_steps
        Optimiser steps of the warm-up.

    Raises
    ------
    ConfigError
        There is no such kind.

    References
    ----------
    .. [1] Loshchilov & Hutter 2017, SGDR, arXiv:1608.03983
    .. [2] Chen et al. 2018, DeepLab, arXiv:1606.00915
    .. [3] Huang et al. 2023, Decoupled diffusion models, arXiv:2306.13720
    .. [4] Goyal et al. 2017, arXiv:1706.02677, section 2.2
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if kind == "constant":
        return 1.0
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if kind == "cosine-restarts":
        # in units of the first cycle, cycle c goes from 2^c - 1 to 2^(c+1) - 1
        place = done * (2**CYCLES - 1)
        cycle = min(CYCLES - 1, int(math.log2(place + 1)))
        return 0.5 * (1 + math.cos(math.pi * (place + 1 - 2**cycle) / 2**cycle))
    if kind == "polynomial":
        return (1 - done) ** POWER
    raise unknown("learning-rate schedule", kind, get_args(Kind))


class Schedule(Callback):
    """Multiplies the learning rate of every optimiser by `factor`, under automatic and manual optimisation alike.

    Each parameter group keeps its own base rate in ``group["initial_lr"]``, which travels with the optimiser's state.

    Parameters
    ----------
    kind, total_steps, warmup_steps
        As `factor`. Steps are those of one optimiser: batches, divided by the accumulation.
    """

    def __init__(self, kind: Kind, total_steps: int, warmup_steps: int = 0) -> None:
        factor(0, total_steps, kind)  # a wrong kind is told before anything is trained
        self.kind: Kind = kind
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the learning rates of this batch."""
        now = factor(steps_taken(trainer, pl_module, batch_idx), self.total_steps, self.kind, self.warmup_steps)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * now


def steps_taken(trainer: Trainer, module: LightningModule, batch_index: int) -> int:
    """Count the steps that each optimiser has taken before this batch; the length of the data must be known.

    ``trainer.global_step`` would count every optimiser's steps together, twice as many for a GAN.
    """
    accumulate = trainer.accumulate_grad_batches if module.automatic_optimization else getattr(module, "accumulate", 1)
    each_epoch = math.ceil(trainer.num_training_batches / accumulate)  # its last, smaller group steps too
    return trainer.current_epoch * each_epoch + batch_index // accumulate
