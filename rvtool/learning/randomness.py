"""Random numbers that depend on where a training stands, and on nothing else.

Each batch starts from its own seed, derived from the run's seed, the stage, the epoch, the batch and the process. So a
training that was killed and resumed draws what an undisturbed one draws (dropout, diffusion noise), whatever was
drawn in between by a data loader or a sample grid, and nothing has to be stored.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

TRAIN, VALIDATION = 0, 1


def derive(seed: int, *path: int) -> int:
    """Return a 64-bit seed for one place in a run, for example ``derive(seed, epoch, index)``.

    Different paths give independent streams (`numpy.random.SeedSequence` mixes them).
    """
    return int(np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)[0])


class Randomness(Callback):
    """Seeds Python, NumPy and torch (every device) at the start of each training and validation batch.

    Validation batches get the same numbers in every epoch, so that a noisy validation loss (of a diffusion model)
    can be compared from epoch to epoch.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed by epoch and batch."""
        self._start(TRAIN, trainer.current_epoch, batch_idx, trainer.global_rank)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Seed by batch."""
        self._start(VALIDATION, dataloader_idx, batch_idx, trainer.global_rank)

    def _start(self, *path: int) -> None:
        seed = derive(self.seed, *path)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - plugins and libraries may draw from the global state
        torch.manual_seed(seed)
