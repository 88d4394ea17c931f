"""Estimating a number from an image, with the network of any classifier."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from rvtool.errors import ConfigError, PluginError
from rvtool.kinds import Batch, LossContext
from rvtool.learning.classifier import Classifier
from rvtool.learning.model import Model

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning.config import ModelConfig
    from rvtool.learning.losses import Losses


class Regressor(Classifier):
    """A classifier's network whose last layer gives the numbers of a likelihood instead of logits.

    `for_task` puts it before a classifier: ``for_task(SteerableCNN, "regression")`` is both.

    Raises
    ------
    ConfigError
        There is not exactly one loss, whose likelihood says what the network's numbers mean.
    """

    task = "regression"
    roles: ClassVar[dict[str, tuple[str, ...]]] = {"regression": ("gaussian-nll",)}
    shown = "val/mean-error"

    def __init__(self, config: ModelConfig, data: DataInfo, losses: Losses) -> None:
        parts = losses.of("regression")
        if len(parts) != 1:
            raise ConfigError("A regression has one likelihood; give one --loss of that role.")
        self._check(parts[0].name, parts[0].loss)
        # the network is built with one output for each number of the likelihood
        outputs = tuple(f"output{number}" for number in range(parts[0].loss.outputs))  # type: ignore[arg-type]
        super().__init__(config, replace(data, classes=outputs), losses)
        self.data = data

    @property
    def likelihood(self) -> Any:
        """The loss that says what the network's numbers mean (`rvtool.kinds.Loss`)."""
        return self.losses.of("regression")[0].loss

    @staticmethod
    def _check(name: str, loss: Any) -> None:
        if not (isinstance(getattr(loss, "outputs", None), int) and hasattr(loss, "answer")):
            raise PluginError(
                f"Loss '{name}' has the role 'regression' but no 'outputs' and 'answer'; its author should run "
                "rvtool.testing.check_loss on it."
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, whose labels are numbers ``(B,)``."""
        loss, error = self._losses(batch)
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=False)
        self.log("train/mean-error", error, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and mean absolute error of the validation images."""
        loss, error = self._losses(batch)
        size = len(batch["label"])
        self.log("val/loss", loss, batch_size=size, sync_dist=True)
        self.log("val/mean-error", error, batch_size=size, sync_dist=True)

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        numbers = self(batch["image"])
        loss, _ = self.losses("regression", numbers, batch["label"], LossContext(batch))
        estimate = self.likelihood.answer(numbers.detach().float())[:, 0]
        return loss, (estimate - batch["label"]).abs().mean()

    def conclude(self, numbers: Tensor) -> Tensor:
        """Return estimate and standard deviation ``(B, 2)``, in the label's unit, of the network's numbers."""
        answer: Tensor = self.likelihood.answer(numbers.float())
        return answer


@cache
def for_task(kind: type[Model], task: str) -> type[Model]:
    """Return what learns a task with a model's network: the model itself, or a regressor made of a classifier.

    Parameters
    ----------
    task
        ``"classification"``, ``"regression"``, ...; ``""`` for what the model is made for.

    Raises
    ------
    ConfigError
        The model cannot learn it.
    """
    if task in ("", kind.task):
        return kind
    if task == "regression" and issubclass(kind, Classifier):
        return type(f"{kind.__name__}Regressor", (Regressor, kind), {})
    raise ConfigError(f"{kind.__name__} is made for {kind.task} and cannot learn {task}; choose another model.")
