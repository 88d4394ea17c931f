"""A loss is a module: ``(prediction, target, context) -> scalar``, with a role."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rvtool.kinds import DataInfo, LossContext
from rvtool_example import MarginConfig


class Margin(nn.Module):
    """Mean of max(0, margin + largest wrong logit - right logit); soft labels weigh the classes.

    References
    ----------
    Crammer & Singer 2001, Journal of Machine Learning Research 2, 265.
    """

    role: ClassVar[str] = "classification"

    def __init__(self, config: MarginConfig, data: DataInfo) -> None:
        super().__init__()
        self.margin = config.margin

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compare logits ``(B, K)`` with labels ``(B,)`` or soft labels ``(B, K)``."""
        classes = prediction.shape[1]
        soft = target if target.ndim == 2 else nn.functional.one_hot(target, classes).to(prediction)
        own = torch.eye(classes, dtype=torch.bool, device=prediction.device)
        rivals = prediction[:, None, :].masked_fill(own, -torch.inf).amax(dim=2)  # (B, K): largest of the others
        return (soft * (self.margin + rivals - prediction).clamp(min=0)).sum(dim=1).mean()
