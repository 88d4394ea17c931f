"""Freezing the backbone of a model that begins with weights learnt elsewhere, and thawing it."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from rvtool.learning.model import Model


class Thaw(Callback):
    """Keeps a model's backbone as it is until an epoch, then lets it learn: all at once, or from the last layer down.

    A frozen layer has no gradients, and its batch normalisation keeps its statistics and uses them. What is frozen
    follows from the epoch alone, so that a resumed training is the same.

    Parameters
    ----------
    epoch
        The first epoch, counted from 0, in which the backbone learns.
    every
        Epochs between the thawing of one layer and of the layer before it; 0 thaws all of them at `epoch`.

    References
    ----------
    Howard & Ruder 2018, arXiv:1801.06146, section 3.3 (gradual unfreezing)
    """

    def __init__(self, epoch: int, every: int = 0) -> None:
        self.epoch, self.every = epoch, every

    def frozen(self, layers: int, epoch: int) -> int:
        """Return how many of a backbone's layers, counted from the first, are frozen in an epoch."""
        if epoch < self.epoch:
            return layers
        return max(layers - 1 - (epoch - self.epoch) // self.every, 0) if self.every else 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze and thaw what this epoch asks for."""
        assert isinstance(pl_module, Model)
        layers = pl_module.backbone
        count = self.frozen(len(layers), trainer.current_epoch)
        for number, layer in enumerate(layers):
            learns = number >= count
            layer.requires_grad_(learns)
            layer.train(learns)
