"""Losses of classifiers. Labels are classes ``(B,)`` or, where images were mixed, probabilities ``(B, K)``.

An image's ``weight`` counts in the mean over the batch, where the batch has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo, LossContext
    from rvtool_plugins.losses import Balance, CrossEntropyConfig, FocalConfig

TINY = 1e-6  # keeps the slope of (1 - p)^gamma finite at p = 1 for gamma below 1


class CrossEntropy(nn.Module):
    """-sum_c w_c y_c log p_c, the mean over the batch.

    Label smoothing e makes y_c (1 - e) + e / K of y_c [1]_. Logit adjustment tau takes p_c of the logits plus
    tau log pi_c, where pi_c is the class's share of the training images (eq. 10 of [2]_): what the network answers
    then lacks the share, which at tau = 1 suits balanced accuracy.

    Raises
    ------
    ConfigError
        Weights or an adjustment are asked for where the classes were not counted.

    References
    ----------
    .. [1] Szegedy et al. 2016, arXiv:1512.00567, section 7
    .. [2] Menon et al. 2021, arXiv:2007.07314
    """

    role: ClassVar[str] = "classification"
    weights: Tensor
    adjustment: Tensor

    def __init__(self, config: CrossEntropyConfig, data: DataInfo) -> None:
        super().__init__()
        self.label_smoothing = config.label_smoothing
        self.register_buffer("weights", class_weights(config.class_weights, data), persistent=False)
        self.register_buffer("adjustment", logit_adjustment(config.logit_adjustment, data), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of logits ``(B, K)``."""
        labels = probabilities(target, prediction)
        labels = labels * (1 - self.label_smoothing) + self.label_smoothing / prediction.shape[1]
        log_p = (prediction + self.adjustment).log_softmax(dim=1)
        losses = -(self.weights * labels * log_p).sum(dim=1)  # (B,)
        return mean(losses, context)


class Focal(nn.Module):
    """-sum_c alpha_c y_c (1 - p_c)^gamma log p_c, the mean over the batch: eq. 5 of [1]_ for many classes.

    p_c is the network's probability; alpha weighs the loss and never enters p_c.

    Raises
    ------
    ConfigError
        Alpha is to be balanced where the classes were not counted.

    References
    ----------
    .. [1] Lin et al. 2017, arXiv:1708.02002
    """

    role: ClassVar[str] = "classification"
    alpha: Tensor

    def __init__(self, config: FocalConfig, data: DataInfo) -> None:
        super().__init__()
        self.gamma = config.gamma
        self.register_buffer("alpha", class_weights(config.alpha, data), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of logits ``(B, K)``."""
        labels = probabilities(target, prediction)
        log_p = prediction.log_softmax(dim=1)
        missed = (1 - log_p.exp()).clamp_min(TINY) ** self.gamma
        losses = -(self.alpha * labels * missed * log_p).sum(dim=1)  # (B,)
        return mean(losses, context)


def probabilities(target: Tensor, prediction: Tensor) -> Tensor:
    """Return labels as probabilities ``(B, K)``."""
    if target.ndim == 2:
        return target.to(prediction.dtype)
    return functional.one_hot(target, prediction.shape[1]).to(prediction.dtype)


def mean(losses: Tensor, context: LossContext) -> Tensor:
    """Return the mean of ``(B,)`` losses, weighted where the batch has weights."""
    weight = context.batch.get("weight")
    return losses.mean() if weight is None else (weight * losses).sum() / weight.sum()


def class_weights(balance: Balance, data: DataInfo) -> Tensor:
    """Return a weight for each class ``(K,)``, with a mean of 1 over the training images.

    Raises
    ------
    ConfigError
        Balance is asked for where the classes were not counted.
    """
    if balance == "none":
        return torch.ones(len(data.classes))
    counts = class_counts(data)
    # N / (K n_c); a class that is not there weighs nothing
    return torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp_min(1)), 0.0)


def logit_adjustment(tau: float, data: DataInfo) -> Tensor:
    """Return what is added to each class's logit ``(K,)``: tau log of its share of the training images.

    Raises
    ------
    ConfigError
        An adjustment is asked for where the classes were not counted.
    """
    if tau == 0:
        return torch.zeros(len(data.classes))
    counts = class_counts(data).clamp_min(1)  # a class that is not there counts as one image: its share has a logarithm
    return tau * (counts / counts.sum()).log()


def class_counts(data: DataInfo) -> Tensor:
    """Return the training images of each class ``(K,)``.

    Raises
    ------
    ConfigError
        They were not counted.
    """
    if len(data.class_counts) != len(data.classes) or not any(data.class_counts):
        raise ConfigError(
            "Classes cannot be balanced or logits adjusted: the training images of each class are not counted."
        )
    return torch.tensor(data.class_counts, dtype=torch.float32)
