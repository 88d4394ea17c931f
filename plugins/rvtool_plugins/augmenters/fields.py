"""Smooth random fields, for what varies slowly over an image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rvtool.data import chance

REACH = 4  # standard deviations of a kernel, beyond which it is left out


class SmoothFields:
    """Gaussian random fields of mean 0 and variance 1, some an image, that can be looked up anywhere.

    White noise on a coarse grid is smoothed by a Gaussian along each axis. The correlation of two places is
    exp(-(dy / ly)^2 - (dx / lx)^2). Any number of grids can look at the same fields, each at places of its own.

    Parameters
    ----------
    shape
        Images, and fields of each.
    spans_px : (y, x)
        Side of the rectangle about the centre within which places will be asked for.
    lengths_px : (y, x)
        Where the correlation has fallen to 1/e.
    generator
        Of which the seed is drawn; by address the numbers are the same on every device.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        spans_px: tuple[float, float],
        lengths_px: tuple[float, float],
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        # knots a standard deviation apart: the variance is then even to 1e-4 before it is made 1
        self.sigmas = [length / 2 for length in lengths_px]
        self.counts = [
            2 * math.ceil(span / 2 / sigma + REACH) + 1 for span, sigma in zip(spans_px, self.sigmas, strict=True)
        ]
        seed = int(torch.randint(2**62, (1,), generator=generator))
        images, fields = shape
        self.knots = chance.normal(seed, torch.arange(images, device=device), (fields, *self.counts))

    def at(self, y: Tensor, x: Tensor) -> Tensor:
        """Look the fields up, ``(B, fields, len(y), len(x))``, at offsets from the centre in px."""
        down, across = (
            _kernel(places.to(self.knots), sigma, count)
            for places, sigma, count in zip((y, x), self.sigmas, self.counts, strict=True)
        )
        return down @ self.knots @ across.mT


def _kernel(places: Tensor, sigma: float, count: int) -> Tensor:
    """Return the weights of `count` knots at each place, ``(places, count)``; their squares sum to 1."""
    knots = (torch.arange(count, device=places.device) - count // 2) * sigma
    weights = torch.exp(-((places[:, None] - knots) ** 2) / (2 * sigma**2))
    return weights / weights.norm(dim=1, keepdim=True)


def centres(pixels: int) -> Tensor:
    """Return where the centres of a row of pixels lie, in pixels from its middle."""
    return torch.arange(pixels) - (pixels - 1) / 2
