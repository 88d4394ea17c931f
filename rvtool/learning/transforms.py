"""From images to maps of latents and back: two small networks that work on any size and cost little a pixel.

Each is the sum of a line, one convolution whose windows overlap, and of a network that adds what is not linear. Before
anything is learnt the line is the discrete cosine transform of square cells, lowest frequencies first, and the network
adds nothing: training begins where JPEG stands, and widens and bends it from there.

References
----------
Balle et al. 2021, IEEE JSTSP, "Nonlinear transform coding", arXiv:2007.03034. Ahmed, Natarajan & Rao 1974, IEEE Trans.
Comput. C-23, 90 (the cosine transform). Malvar & Staelin 1989, IEEE TASSP 37, 553 (overlapping windows). Shi et al.
2016, arXiv:1609.05158 (sub-pixel shuffles).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """x + conv1x1(act(conv3x3(act(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around, self.mix = _seeing(channels, channels), nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Add to ``(B, C, H, W)`` what is seen around each place."""
        seen = self.around(functional.leaky_relu(maps, 0.1))
        added: Tensor = maps + self.mix(functional.leaky_relu(seen, 0.1))
        return added


class Analysis(nn.Module):
    """``(B, C, H, W) -> (B, D + E, H / cell, W / cell)``; sides are multiples of `cell`, an even number.

    Parameters
    ----------
    latents
        D, the maps of the transform; at most ``C cell^2``.
    width
        Channels of the network where a place stands for ``cell / 2`` pixels a side; twice as many at the end.
    gain
        What the coefficients of the cosine transform, which is orthonormal, are multiplied by at first.
    further
        E, maps that are no coefficients and begin at 0.
    """

    def __init__(
        self,
        channels: int,
        latents: int,
        width: int,
        cell: int,
        *,
        blocks: int = 1,
        gain: float = 1.0,
        further: int = 0,
    ) -> None:
        super().__init__()
        half = cell // 2
        self.further = further
        self.line = nn.Conv2d(channels, latents, 2 * cell, cell, half, bias=False, padding_mode="replicate")
        self.net = nn.Sequential(
            nn.PixelUnshuffle(half),
            _seeing(channels * half**2, width),
            *(Residual(width) for _ in range(blocks)),
            nn.Conv2d(width, 2 * width, 4, 2, 1, padding_mode="replicate"),
            *(Residual(2 * width) for _ in range(blocks)),
            nn.LeakyReLU(0.1),
        )
        self.last = _silent(nn.Conv2d(2 * width, latents + further, 1))
        with torch.no_grad():
            self.line.weight.copy_(gain * _cosines(channels, latents, cell))

    def forward(self, image: Tensor) -> Tensor:
        """Return the maps of an image."""
        line = functional.pad(self.line(image), (0, 0, 0, 0, 0, self.further))
        maps: Tensor = line + self.last(self.net(image))
        return maps


class Synthesis(nn.Module):
    """``(B, D, h, w) -> (B, C, cell h, cell w)``: `Analysis`, backwards."""

    def __init__(
        self, channels: int, latents: int, width: int, cell: int, *, blocks: int = 1, gain: float = 1.0
    ) -> None:
        super().__init__()
        half = cell // 2
        self.line = nn.ConvTranspose2d(latents, channels, 2 * cell, cell, half + cell)  # and what `forward` puts round
        self.net = nn.Sequential(
            _seeing(latents, 2 * width),
            *(Residual(2 * width) for _ in range(blocks)),
            nn.Conv2d(2 * width, 4 * width, 1),
            nn.PixelShuffle(2),
            *(Residual(width) for _ in range(blocks)),
            nn.LeakyReLU(0.1),
        )
        self.last = _silent(_seeing(width, channels * half**2))
        self.shuffle = nn.PixelShuffle(half)
        with torch.no_grad():
            self.line.weight.copy_(_cosines(channels, latents, cell) / gain)
            self.line.bias.zero_()  # type: ignore[union-attr]

    def forward(self, maps: Tensor) -> Tensor:
        """Return the image of maps."""
        line = self.line(functional.pad(maps, (1, 1, 1, 1), mode="replicate"))
        image: Tensor = line + self.shuffle(self.last(self.net(maps)))
        return image


def _seeing(before: int, after: int) -> nn.Conv2d:
    """Return a layer that sees the neighbours of each place; beyond an edge lies the same, or tiles had seams."""
    return nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")


def reach(cell: int, blocks: int) -> int:
    """Return how far from a pixel an analysis and its synthesis together see, px: all layers' windows, end to end."""
    return 7 * cell // 2 + 3 * cell * blocks  # the cell, line and first layers; a block at each scale, both ways


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """Let a layer add nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _cosines(channels: int, latents: int, cell: int) -> Tensor:
    """Return the cosine transform's waves of lowest frequency as windows ``(D, C, 2 cell, 2 cell)``, 0 at the rim."""
    place = (torch.arange(cell) + 0.5) / cell
    waves = torch.cos(math.pi * torch.arange(cell)[:, None] * place) * math.sqrt(2 / cell)  # (frequency, place)
    waves[0] /= math.sqrt(2)
    order = sorted((i * i + j * j, i, j, c) for i in range(cell) for j in range(cell) for c in range(channels))
    windows = torch.zeros(latents, channels, 2 * cell, 2 * cell)
    inner = slice(cell // 2, cell // 2 + cell)
    for number, (_, i, j, channel) in enumerate(order[:latents]):
        windows[number, channel, inner, inner] = torch.outer(waves[i], waves[j])
    return windows
