"""What every model is: a LightningModule that owns its optimisers and names the roles of its losses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

if TYPE_CHECKING:
    from rvtool.data.batches import Prepare
    from rvtool.kinds import DataInfo
    from rvtool.learning.config import ModelConfig
    from rvtool.learning.losses import Losses


class Model(LightningModule):
    """A model of the toolkit.

    A subclass builds its layers in ``__init__``, writes ``training_step`` and ``validation_step``, and offers what
    it can do once trained (`rvtool.kinds.Predicts`, `Samples`, `Autoencodes`). It makes its optimisers in
    ``configure_optimizers``; the learning-rate schedule, weight averaging, accumulation and clipping are applied
    from outside. It logs what a training step computes as ``train/NAME`` with ``on_step=True, on_epoch=False`` (the
    journal takes the means, so that a resumed epoch counts every step), and of validation ``val/NAME``.

    Parameters
    ----------
    config
        The validated settings of the model's component.
    data
        Channels, sizes, classes, units and beams of what it will see.
    losses
        The losses of each of `roles`, made by `rvtool.learning.compose`.

    Attributes
    ----------
    task
        What is learnt: ``"classification"``, ``"translation"``, ``"generation"``, ...
    roles
        For each role of loss that the model has, the losses that it takes where the user names none, as
        ``"name"`` or ``"name:weight"``. An empty tuple means that the role may stay empty.
    fixed_roles
        Roles that a user may not fill, each with the sentence that says why.
    monitor
        The logged value that chooses the best checkpoint and stops early, and whether ``"max"`` or ``"min"`` is best.
    shown
        The logged value that people are shown beside the loss; the monitored one where it is empty.
    stretch
        Defaults for how images are prepared; the keys are the fields of `rvtool.data.stretch.Stretch`.
    any_size
        Whether images of another size than those of the training can be judged.
    views
        How many differently augmented views of each image a batch brings: ``image``, and with 2 ``view`` besides.
    exempt
        Parts of `rvtool.testing.check_model` that do not apply, each with the reason.
    accumulate
        Batches whose gradients are summed before a step. Lightning does this under automatic optimisation;
        `descend` does it for models with ``automatic_optimization = False``.
    clip
        Largest norm of the gradients of one optimiser; 0 leaves them as they are.
    backbone_rate
        Learning rate of the backbone as a part of the others'.
    prepare
        What made the batches of raw pixels, and brings images back to their physical units; None where nobody told.
    """

    task: ClassVar[str] = ""
    roles: ClassVar[dict[str, tuple[str, ...]]] = {}
    fixed_roles: ClassVar[dict[str, str]] = {}
    monitor: ClassVar[tuple[str, str]] = ("val/loss", "min")
    shown: ClassVar[str] = ""
    stretch: ClassVar[dict[str, Any]] = {}
    views: ClassVar[int] = 1
    any_size: ClassVar[bool] = False
    exempt: ClassVar[dict[str, str]] = {}

    def __init__(self, config: ModelConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__()
        self.config = config
        self.data = data
        self.losses = losses
        self.accumulate = 1
        self.clip = 0.0
        self.backbone_rate = 1.0
        self.prepare: Prepare | None = None

    @classmethod
    def stretch_of(cls, config: Any) -> dict[str, Any]:
        """Return the defaults of how images are prepared for a model of these settings."""
        return cls.stretch

    @property
    def judged_from_epoch(self) -> int:
        """The first epoch that may be the best: those before it followed other aims."""
        return 0

    @property
    def backbone(self) -> list[nn.Module]:
        """The layers, first to last, that another question can begin with: what a transfer takes, freezes and thaws.

        Empty where a model has no such part.
        """
        return []

    @property
    def networks(self) -> list[nn.Module]:
        """The parts that ``train --compile`` compiles: those whose answers depend on their input and weights alone."""
        return [
            child for child in self.children() if child is not self.losses and any(True for _ in child.parameters())
        ]

    @property
    def head_name(self) -> str:
        """What the names of the head's weights begin with: the layer that belongs to the question that was learnt."""
        return "head."

    def start(self) -> str:
        """Do what belongs to the beginning of a training only, such as loading pretrained weights.

        `rvtool train` calls this once, on the fresh model, before the first step; a run that goes on from a checkpoint
        or is opened to judge and predict never does, so that files which were needed here may be gone by then.

        Returns
        -------
        One line to tell of it; empty where there is nothing to tell.
        """
        return ""

    def configure_optimizers(self) -> Any:
        """Make AdamW with the config's learning rate, decaying matrices and kernels only."""
        rate = self.config.learning_rate
        groups = decay_groups(self.parameters(), self.config.weight_decay)
        if self.backbone_rate != 1:
            slow = {id(p) for layer in self.backbone for p in layer.parameters()}
            groups = [
                {**group, "params": some, "lr": rate * part}
                for group in groups
                for part, own in ((1.0, False), (self.backbone_rate, True))
                if (some := [p for p in group["params"] if (id(p) in slow) is own])
            ]
        return torch.optim.AdamW(groups, lr=rate)

    def descend(self, optimizer: torch.optim.Optimizer, loss: Tensor, batch_index: int) -> None:
        """Take one optimiser's part of a training step, in manual optimisation.

        The gradients of `accumulate` batches are averaged; the last group of an epoch may be smaller and steps too.
        Gradients that `loss` has in parameters of other optimisers (a generator's loss in its discriminator) are
        thrown away, so that each optimiser follows its own losses only.

        Parameters
        ----------
        optimizer
            One of ``self.optimizers()``.
        loss
            Scalar: the mean over the batch.
        batch_index
            The ``batch_idx`` of the training step.
        """
        batches = self.trainer.num_training_batches  # inf where the length of the data is not known
        first = batch_index - batch_index % self.accumulate
        group = min(self.accumulate, batches - first)
        own = {id(p) for g in optimizer.param_groups for p in g["params"]}
        others = [p for p in self.parameters() if id(p) not in own]
        kept = [p.grad for p in others]
        for parameter in others:
            parameter.grad = None  # else the pass would add to what is kept
        self.manual_backward(loss / group)
        for parameter, gradient in zip(others, kept, strict=True):
            parameter.grad = gradient
        if batch_index + 1 - first < group and not self.trainer.is_last_batch:
            return
        if self.clip > 0:
            # Lightning's own refuses optimisers that are one kernel, which may be clipped unless gradients are scaled
            nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], self.clip)
        optimizer.step()
        optimizer.zero_grad()


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable ones of some parameters into those that decay and those that do not.

    Biases and the scales of normalisation layers have one dimension and do not decay.
    """
    trainable = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
