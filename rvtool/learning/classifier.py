"""What classifiers share: their steps, their metrics, their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from rvtool.errors import DataError
from rvtool.kinds import Batch, LossContext
from rvtool.learning.model import Model

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning.config import ModelConfig
    from rvtool.learning.losses import Losses


class Classifier(Model):
    """A classifier: a subclass only builds `network`, which makes logits ``(B, K)`` of images ``(B, C, H, W)``.

    Attributes
    ----------
    network
        The layers.
    head
        Name of the layer within `network` that makes logits of features (``"head"``); its input is what
        `features` returns.
    invariant
        Whether an image turned by quarters or mirrored gets the very same answer, so that it need not be asked again.

    Raises
    ------
    DataError
        The data has fewer than two classes.
    """

    task = "classification"
    roles: ClassVar[dict[str, tuple[str, ...]]] = {"classification": ("cross-entropy",)}
    monitor = ("val/loss", "min")  # it tells more of a few hundred images than how many of them are right
    shown = "val/accuracy"
    invariant: ClassVar[bool] = False
    head: ClassVar[str] = "head"
    network: nn.Module

    def __init__(self, config: ModelConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        count = len(data.classes)
        if count < 2:
            raise DataError(
                f"Column '{data.label_column}' has {count} classes and a classifier needs two or more; "
                "choose another column with --label-column."
            )
        self.val_accuracy = MulticlassAccuracy(count, average="micro")
        self.val_balanced = MulticlassAccuracy(count, average="macro")
        self.val_f1 = MulticlassF1Score(count, average="macro")

    def forward(self, image: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of stretched images ``(B, C, H, W)``."""
        return self.network(image.to(memory_format=torch.channels_last))  # convolutions are faster so

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, whose labels are classes ``(B,)`` or, once mixed, probabilities ``(B, K)``."""
        logits = self(batch["image"])
        loss, parts = self.losses("classification", logits, batch["label"], LossContext(batch))
        # step values: the journal takes their means over an epoch, so that a resumed epoch counts every step
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=False)
        for name, value in parts.items():
            self.log(f"train/{name}", value, on_step=True, on_epoch=False)
        if batch["label"].ndim == 1:  # of a mixture of classes there is no right answer to count
            right = (logits.argmax(dim=1) == batch["label"]).float().mean()
            self.log("train/accuracy", right, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss, accuracy and macro F1 of the validation images."""
        logits = self(batch["image"])
        loss, parts = self.losses("classification", logits, batch["label"], LossContext(batch))
        size = len(logits)
        self.log("val/loss", loss, batch_size=size, sync_dist=True)
        for name, value in parts.items():
            self.log(f"val/{name}", value, batch_size=size, sync_dist=True)
        self.val_accuracy.update(logits, batch["label"])
        self.val_balanced.update(logits, batch["label"])
        self.val_f1.update(logits, batch["label"])
        self.log("val/accuracy", self.val_accuracy, batch_size=size)
        self.log("val/balanced-accuracy", self.val_balanced, batch_size=size)
        self.log("val/macro-f1", self.val_f1, batch_size=size)

    @property
    def backbone(self) -> list[nn.Module]:
        """The layers with weights before the part of the network that the head belongs to."""
        dense = self.head.partition(".")[0]
        parts = [part for name, part in self.network.named_children() if name != dense]
        layers = [layer for part in parts for layer in (part if isinstance(part, nn.Sequential) else [part])]
        return [layer for layer in layers if next(layer.parameters(), None) is not None]

    @property
    def head_name(self) -> str:
        """What the names of the weights of `head` begin with."""
        return f"network.{self.head}."

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return class probabilities ``(B, K)``, in the order of ``data.classes``."""
        return self.examine(batch)[0]

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return what the last layer sees, ``(B, F)``: the domain features of this classifier."""
        return self.examine(batch)[1]

    @torch.no_grad()
    def examine(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what `predict` and `features` give, of one pass."""
        seen: list[Tensor] = []
        layer = self.network.get_submodule(self.head)
        handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            logits = self(batch["image"])
        finally:
            handle.remove()
        return self.conclude(logits), seen[0].flatten(1)

    def conclude(self, logits: Tensor) -> Tensor:
        """Return the answers that the network's output ``(B, K)`` stands for."""
        return logits.softmax(dim=1)
