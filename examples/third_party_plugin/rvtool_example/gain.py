"""An augmenter is a function of a batch and a generator; shape, dtype and unit stay."""

from __future__ import annotations

from typing import ClassVar

import torch

from rvtool.kinds import Batch, DataInfo
from rvtool_example import GainConfig


class Gain:
    """Multiplies each image, and its target with it, by a factor drawn evenly in its logarithm."""

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time", "metres")

    def __init__(self, config: GainConfig, data: DataInfo) -> None:
        self.reach = torch.log(torch.tensor(config.largest))

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Brighten or dim."""
        count = len(batch["image"])
        factor = torch.exp((2 * torch.rand(count, generator=generator) - 1) * self.reach)
        factor = factor.to(batch["image"])[:, None, None, None]  # (B, 1, 1, 1)
        return {**batch, **{side: batch[side] * factor for side in ("image", "target") if side in batch}}
