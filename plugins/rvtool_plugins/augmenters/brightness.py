"""Brightness, contrast and colours, in the image's physical unit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from rvtool_plugins.augmenters.draws import factors

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool_plugins.augmenters import BrightnessContrastConfig

FAINTEST = 1 / 255  # of the peak: the least that a picture of 8 bits tells


class BrightnessContrast:
    """Varies each image's flux and dynamic range, and the colours of images with three channels.

    With v the brightness above the background and p its peak, v becomes b v (max(v, s) / p)^(c - 1).

    - *Brightness* b is what an error of the flux scale does.
    - *Contrast* is an exponent c, which shows faint parts more (c < 1) or less, and leaves zero and the peak where
      they are. Stretching about the mean, as for photographs, would move the empty sky, whose level is known. The
      noise s (or 1/255 of the peak, where that is more) and what is below it keep their shape, since the slope of
      v^c has no bound at zero. Of three channels the brightest counts, so that colours stay.
    - *Saturation* and *hue* scale the colours about grey and turn them around it. This is linear [1]_: it works on
      fluxes of any range and sign, with draws of its own for each image.

    A target changes as its image does. ``image_statistics`` stay those of the image as it was: the stretch takes its
    scale from them, and would undo the brightness otherwise.

    References
    ----------
    .. [1] Karras et al. 2020, arXiv:2006.06676, appendix B (luma-preserving hue rotation, saturation)
    """

    axes: ClassVar[tuple[str, ...]] = ("sky", "frequency-time")

    def __init__(self, config: BrightnessContrastConfig, data: DataInfo) -> None:
        self.config = config

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Vary a batch."""
        config, size = self.config, len(batch["image"])
        brightness = factors(config.max_brightness, size, generator)
        contrast = factors(config.max_contrast, size, generator)
        saturation = factors(config.max_saturation, size, generator)
        hue = (2 * torch.rand(size, generator=generator) - 1) * math.radians(config.max_hue_deg)
        varied = dict(batch)
        for side in ("image", "target"):
            if side in batch:
                image = batch[side]
                terms = batch[f"{side}_statistics"].to(image)[:, :, None, None, None]  # (B, 3, 1, 1, 1)
                background, noise, peak = terms.unbind(1)
                value = _with_contrast(image - background, noise, peak - background, contrast.to(image))
                if image.shape[1] == 3:
                    value = torch.einsum("bij,bjhw->bihw", colour_matrices(saturation, hue).to(image), value)
                varied[side] = background + brightness.to(image)[:, None, None, None] * value
        return varied


def _with_contrast(value: Tensor, noise: Tensor, peak: Tensor, exponent: Tensor) -> Tensor:
    """Multiply ``(B, C, H, W)`` by (brightness / peak)^(exponent - 1)."""
    peak = torch.where(peak > 0, peak, 1.0)  # a flat image has none
    floor = (noise / peak).clamp(FAINTEST, 1.0)
    level = torch.maximum(value.amax(dim=1, keepdim=True) / peak, floor)  # (B, 1, H, W)
    return value * level ** (exponent[:, None, None, None] - 1)


def colour_matrices(saturation: Tensor, hue: Tensor) -> Tensor:
    """Return matrices ``(B, 3, 3)`` on (red, green, blue) that keep grey.

    Parameters
    ----------
    saturation : (B,)
        Factor on what differs from grey.
    hue : (B,), radians
        Turn about the grey axis, from red towards green.
    """
    grey = torch.full((3, 3), 1 / 3)
    root = math.sqrt(1 / 3)
    cross = torch.tensor([[0, -root, root], [root, 0, -root], [-root, root, 0]])  # cross product with the grey axis
    along, across = (term[:, None, None] for term in (saturation * hue.cos(), saturation * hue.sin()))
    return grey + along * (torch.eye(3) - grey) + across * cross
