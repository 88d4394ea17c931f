"""What disturbances share: how bright an image is, and what a stretch would find in the disturbed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from rvtool.data.moves import GRIDS

if TYPE_CHECKING:
    from rvtool.kinds import Batch


def heights(batch: Batch) -> Tensor:
    """Return each image's peak above its background, ``(B,)``, in the image's unit."""
    background, _, peak = batch["image_statistics"].unbind(1)
    return (peak - background).clamp(min=0)


def measure(image: Tensor, mask: Tensor) -> Tensor:
    """Return background, noise and peak of images, ``(B, 3)``, as `rvtool.data.stretch.measure` does of one.

    Parameters
    ----------
    image : (B, C, H, W)
    mask : (B, 1, H, W)
        True where a pixel is known; an image of which none is has NaN.
    """
    values = torch.where(mask, image, torch.nan).flatten(1)
    background = values.nanmedian(dim=1, keepdim=True).values
    noise = 1.4826 * (values - background).abs_().nanmedian(dim=1).values
    return torch.stack([background[:, 0], noise, values.nan_to_num_(nan=-torch.inf).amax(dim=1)], dim=1)


def replaced(
    batch: Batch, image: Tensor, mask: Tensor | None = None, side: Literal["image", "target"] = "image"
) -> Batch:
    """Return a batch with other pixels, and with the statistics that belong to them.

    The statistics change by as much as measuring both images tells: a network that meets such an image later gets it
    stretched by what was measured on it, interference and all. Changes made on purpose before (a brightness that the
    stretch must not undo) stay in them.

    Parameters
    ----------
    image : (B, C, H, W)
        The new pixels; unknown ones become 0.
    mask : (B, 1, H, W)
        Which are known; as before where left out.
    """
    before = batch[GRIDS[side]]
    mask = before if mask is None else mask
    image = torch.where(mask, image, 0.0)
    change = measure(image, mask) - measure(batch[side], before)
    change = torch.where(change.isfinite(), change, 0.0)  # of an image without any known pixel
    background, noise, peak = (batch[f"{side}_statistics"] + change).unbind(1)
    statistics = torch.stack([background, noise.clamp(min=0), peak], dim=1)
    return {**batch, side: image, GRIDS[side]: mask, f"{side}_statistics": statistics}
