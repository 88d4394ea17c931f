"""A model reads top to bottom: here a network on top of `Classifier`, which brings steps, metrics and answers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rvtool.kinds import DataInfo
from rvtool.learning import Classifier, Losses
from rvtool_example import RadialProfileConfig


class RadialProfile(Classifier):
    """Classifies by the mean brightness in rings about the centre."""

    stretch: ClassVar[dict[str, Any]] = {"kind": "asinh", "scale": "image"}
    head = "head"

    def __init__(self, config: RadialProfileConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        self.network = nn.Sequential()
        self.network.add_module("rings", Rings(config.rings, data.image.height, data.image.width))
        self.network.add_module("hidden", nn.Linear(config.rings * data.image.channels, config.hidden))
        self.network.add_module("relu", nn.ReLU())
        self.network.add_module("head", nn.Linear(config.hidden, len(data.classes)))


class Rings(nn.Module):
    """``(B, C, H, W)`` to the mean of each ring, ``(B, C * rings)``."""

    weights: Tensor

    def __init__(self, rings: int, height: int, width: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        ring = (torch.hypot(x, y).clamp(max=0.999) * rings).long()  # (H, W)
        member = nn.functional.one_hot(ring, rings).flatten(0, 1).float()  # (H * W, rings)
        self.register_buffer("weights", member / member.sum(dim=0).clamp(min=1))

    def forward(self, image: Tensor) -> Tensor:
        """Sum brightness in rings."""
        return (image.flatten(2) @ self.weights).flatten(1)  # (B, C, H * W) @ (H * W, rings) -> (B, C * rings)
