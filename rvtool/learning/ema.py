"""An exponential moving average of the weights, used for validation, for checkpoints and at the end of a training."""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Averages weights and buffers (the statistics of batch normalisation) after each training step.

    The decay climbs with the number n of averages, min(decay, (1 + n) / (10 + n)) [1]_, so that short trainings
    forget their random start. Checkpoints hold the average as the model's weights.

    Parameters
    ----------
    decay
        Part of the average that a step keeps, once warmed up.

    References
    ----------
    .. [1] TensorFlow, tf.train.ExponentialMovingAverage (argument ``num_updates``)
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=self._average)
        self.decay = decay

    def _average(self, averages: list[Tensor], currents: list[Tensor], count: Tensor) -> None:
        if not averages[0].is_floating_point():  # counters, such as the batches that a normalisation has seen
            torch._foreach_copy_(averages, currents)
            return
        n = int(count)
        decay = min(self.decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(averages, currents, 1 - decay)
