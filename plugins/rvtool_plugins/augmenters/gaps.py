"""Gaps in dynamic spectra: channels and times that were not measured, or were flagged.

A gap is *unknown*, not dark: its pixels are False in the mask, and 0 after the stretch, as are those that a file holds
as NaN. So a network learns what it will meet, and losses that heed the mask pass over them. The target stays whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from rvtool_plugins.augmenters.draws import some, windows
from rvtool_plugins.augmenters.levels import replaced

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool_plugins.augmenters import GapsConfig


class Gaps:
    """Makes 1 to `max_gaps` gaps along an axis, of widths drawn evenly up to the largest; they may overlap.

    Rows and columns of a sky image are no measurements of their own, and never lack alone.

    References
    ----------
    Park et al. 2019, arXiv:1904.08779, section 2 (frequency and time masking), where gaps are filled with the mean.
    """

    axes: ClassVar[tuple[str, ...]] = ("frequency-time",)
    axis: ClassVar[int]

    def __init__(self, config: GapsConfig, data: DataInfo) -> None:
        self.config = config

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Forget parts of a batch."""
        image, most = batch["image"], self.config.max_gaps
        size, length = len(image), image.shape[self.axis]
        widest = max(1, int(self.config.max_width * length))
        gaps = windows(length, widest, (size, most), generator) & some(most, size, generator)[:, :, None]
        kept = ~gaps.any(dim=1).to(image.device)  # (B, length)
        kept = kept[:, None, :, None] if self.axis == -2 else kept[:, None, None, :]
        return replaced(batch, image, batch["mask"] & kept)


class ChannelDropout(Gaps):
    """Gaps in frequency, at all times: filters, and channels flagged for interference."""

    axis = -2


class TimeMask(Gaps):
    """Gaps in time, in all channels: dropped packets, slews, and flagged bursts."""

    axis = -1
