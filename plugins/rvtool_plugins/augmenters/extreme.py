"""Several disturbances at once, others for each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from rvtool_plugins.augmenters import rvtool_augmenters

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool_plugins.augmenters import ExtremeConfig

PARTS = ("elastic", "scintillation", "noise", "rfi", "spikes", "baseline-drift", "channel-dropout", "time-mask")
"""What is drawn from, in the order of its making: sky, medium, receiver, site, flagging. Noise, which is counted in
units of the image's own, comes before what would be taken for noise."""


class Extreme:
    """Gives most images a few of the disturbances that fit the data's axes, with those augmenters' own defaults.

    With probability `probability` an image gets `min_parts` to `max_parts` different ones (as many as there are, where
    that is fewer); which and how many is drawn for each image.
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time")

    def __init__(self, config: ExtremeConfig, data: DataInfo) -> None:
        self.config = config
        known = {component.name: component for component in rvtool_augmenters()}
        loaded = [(known[name], known[name].load()) for name in PARTS]
        self.parts = [
            target(component.configure(), data) for component, target in loaded if data.image.axes in target.axes
        ]

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Disturb a batch."""
        chosen = self.choose(len(batch["image"]), generator)
        for part, mine in zip(self.parts, chosen.unbind(1), strict=True):
            rows = mine.nonzero()[:, 0].to(batch["image"].device)
            if len(rows) == 0:
                continue
            some = {name: value[rows] for name, value in batch.items()}
            disturbed = part(some, generator)
            changed = {name: value for name, value in disturbed.items() if value is not some[name]}
            batch = {**batch, **{name: batch[name].index_copy(0, rows, value) for name, value in changed.items()}}
        return batch

    def choose(self, size: int, generator: torch.Generator) -> torch.Tensor:
        """Draw which of the parts each image gets, ``(size, parts)`` bool."""
        config = self.config
        count = torch.randint(config.min_parts, config.max_parts + 1, (size, 1), generator=generator)
        spared = torch.rand(size, 1, generator=generator) >= config.probability
        rank = torch.rand(size, len(self.parts), generator=generator).argsort(dim=1).argsort(dim=1)
        return (rank < count) & ~spared
