"""Elastic deformation of images of the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from rvtool.data.moves import look_up
from rvtool_plugins.augmenters.fields import SmoothFields, centres
from rvtool_plugins.augmenters.geometry import pixels_of

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool_plugins.augmenters import ElasticConfig


class Elastic:
    """Moves every pixel by a smooth random displacement; image, target and image-like condition bend together.

    Displacements are Gaussian, x and y alike and independent, with a standard deviation drawn evenly up to the largest
    for each image. (Section 2 of [1]_ smooths uniform numbers by a Gaussian and scales them, which comes to the same;
    its sigma is half our `smoothness_px`.) On the sky this is what refraction in the ionosphere does to positions, and
    it bends jets as their surroundings do. A dynamic spectrum is not bent: its axes are known to a part in a million,
    and a dispersed pulse keeps its law.

    The target bends by the same angle on the sky, at the same place; where a pixel scale is not known, target and image
    are taken to show the same field, as the condition always is.

    References
    ----------
    .. [1] Simard, Steinkraus & Platt 2003, ICDAR, doi:10.1109/ICDAR.2003.1227801
    """

    axes: ClassVar[tuple[str, ...]] = ("sky",)

    def __init__(self, config: ElasticConfig, data: DataInfo) -> None:
        self.config = config
        self.target_scale = pixels_of(data.image, data.target) if data.target else 1.0

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Bend a batch."""
        image = batch["image"]
        size, (height, width) = len(image), image.shape[-2:]
        sigma = self.config.max_displacement_px * torch.rand(size, 1, 1, 1, generator=generator).to(image)
        # a target may reach further than its image
        rows, columns = batch["target"].shape[-2:] if "target" in batch else (0, 0)
        spans = max(height, rows / self.target_scale), max(width, columns / self.target_scale)
        smoothness = self.config.smoothness_px
        fields = SmoothFields((size, 2), spans, (smoothness, smoothness), generator, image.device)

        def places(name: str, grid: Tensor) -> Tensor:
            rows, columns = grid.shape[-2:]
            scale = {"image": 1.0, "target": self.target_scale}.get(name, columns / width)  # its pixels in one of ours
            y, x = centres(rows).to(grid), centres(columns).to(grid)
            across, down = (scale * sigma * fields.at(y / scale, x / scale)).unbind(dim=1)  # (B, H, W) each
            return torch.stack([(x + across) / (columns / 2), (y[:, None] + down) / (rows / 2)], dim=3)

        return look_up(batch, places, "bilinear")
