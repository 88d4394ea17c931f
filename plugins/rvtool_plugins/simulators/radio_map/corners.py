"""The corners of buildings on a map: where waves bend."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

DISC = 4  # pixels around a corner by which it is told from a step of an oblique wall
CORNER = 0.25  # part of the disc that may be built
APART = 5  # pixels: of corners within such a square, the sharpest stays


@dataclass(frozen=True)
class Corners:
    """Open pixels beside the convex corners of buildings; K is the number of the map that has most.

    Attributes
    ----------
    place : (B, K, 2)
        x and y, pixels.
    real : (B, K)
        False where a map has fewer.
    """

    place: Tensor
    real: Tensor


def corners(built: Tensor) -> Corners:
    """Find the convex corners of buildings ``(B, H, W)``."""
    wall = functional.pad(built.float()[:, None], (1, 1, 1, 1))[:, 0]
    rows, columns = built.shape[-2:]

    def beside(dy: int, dx: int) -> Tensor:
        return wall[:, 1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns] > 0

    corner = torch.zeros_like(built)
    for dy, dx in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        corner |= beside(dy, dx) & ~beside(dy, 0) & ~beside(0, dx)
    corner &= ~built
    around = torch.arange(-DISC, DISC + 1, device=built.device)
    disc = (around[:, None].square() + around.square() <= DISC**2).float()
    disc /= disc.sum()
    share = functional.conv2d(built.float()[:, None], disc[None, None], padding=DISC)[:, 0]
    sharp = torch.where(corner & (share <= CORNER), 1 - share, 0.0)
    corner = (sharp > 0) & (sharp == functional.max_pool2d(sharp[:, None], APART, 1, APART // 2)[:, 0])

    which, y, x = corner.nonzero(as_tuple=True)
    counts = torch.bincount(which, minlength=len(built))
    slot = torch.arange(len(which), device=built.device) - (counts.cumsum(0) - counts)[which]
    most = int(counts.max())
    place = torch.zeros(len(built), most, 2, device=built.device)
    place[which, slot] = torch.stack([x, y], 1).to(place.dtype)
    return Corners(place, torch.arange(most, device=built.device) < counts[:, None])
