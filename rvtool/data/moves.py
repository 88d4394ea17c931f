"""Moving a batch on the sky: image, target and image-like condition together, and several moves as one.

What a move uncovers is unknown: False in the mask and 0 in the image, like every unknown pixel. A pixel is known where
all that it was interpolated from is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from rvtool.kinds import Batch

GRIDS = {"image": "mask", "target": "target_mask", "condition": "condition_mask"}
"""What moves in a batch, and the mask that moves with it."""


@dataclass(frozen=True)
class Move:
    """How each image of a batch moves.

    Attributes
    ----------
    matrices : (B, 2, 2)
        From (x, y) of the output to (x, y) of the input, about the centre.
    offsets_px : dict of (B, 2)
        By how many of its own pixels each of `GRIDS` then moves to the right and down; what is left out stays.
    mode
        How values between pixels are made.
    """

    matrices: Tensor
    offsets_px: dict[str, Tensor]
    mode: Literal["bilinear", "nearest"] = "bilinear"

    def then(self, later: Move) -> Move:
        """Return this move and a later one as a single move, so that pixels are interpolated once."""
        # out = in(M (x - o)), and so M1 (M2 (x - o2) - o1) = M1 M2 (x - o2 - M2^-1 o1)
        inverse = torch.linalg.inv(later.matrices)
        offsets = dict(later.offsets_px)
        for name, offset in self.offsets_px.items():
            moved = (inverse @ offset[:, :, None])[:, :, 0]
            offsets[name] = offsets[name] + moved if name in offsets else moved
        mode: Literal["bilinear", "nearest"] = "nearest" if self.mode == later.mode == "nearest" else "bilinear"
        return Move(self.matrices @ later.matrices, offsets, mode)

    def apply(self, batch: Batch) -> Batch:
        """Move everything in a batch that lies on the sky."""
        return look_up(batch, self._places, self.mode)

    def _places(self, name: str, image: Tensor) -> Tensor:
        """Return where each output pixel of ``(B, C, H, W)`` comes from, as `look_up` wants it."""
        height, width = image.shape[-2:]
        offset_px = self.offsets_px.get(name, torch.zeros(len(image), 2))
        # grid_sample counts in half images; `half` converts pixels to that, so that turns stay turns on oblong images
        half = torch.tensor([width / 2, height / 2])
        linear = self.matrices * half / half[:, None]
        shift = -(self.matrices @ offset_px[:, :, None])[:, :, 0] / half
        theta = torch.cat([linear, shift[:, :, None]], dim=2).to(image)  # (B, 2, 3)
        return functional.affine_grid(theta, list(image.shape), align_corners=False)


def look_up(
    batch: Batch, places: Callable[[str, Tensor], Tensor], mode: Literal["bilinear", "nearest"] = "bilinear"
) -> Batch:
    """Resample everything in a batch that lies on the sky, masks included.

    Parameters
    ----------
    places
        Called with one of `GRIDS` and its ``(B, C, H, W)``; returns where each output pixel is looked up,
        ``(B, H, W, 2)``: x and y from the centre, in halves of the image's sides.
    mode
        How values between pixels are made.
    """
    moved = dict(batch)
    for name, mask_name in GRIDS.items():
        image = batch.get(name)
        if image is None or image.ndim != 4:  # a condition may be a vector
            continue
        mask = batch.get(mask_name)
        known = torch.ones_like(image[:, :1], dtype=torch.bool) if mask is None else mask
        both = torch.cat([image, known.to(image)], dim=1)
        both = functional.grid_sample(both, places(name, image), mode, padding_mode="zeros", align_corners=False)
        covered = both[:, -1:] > 0.999  # less is rounding of a pixel that is wholly known
        moved[name] = both[:, :-1] * covered
        if mask is not None:
            moved[mask_name] = covered
    return moved
