"""The network of latent diffusion: a U with one way down, one way up for each output, and a look at an image.

References
----------
.. [1] Wang et al. 2024, RadioDiff, arXiv:2408.08593 (two decoders, adaptive Fourier filter, windowed attention)
.. [2] Ho, Jain & Abbeel 2020, arXiv:2006.11239 (appendix B)
.. [3] Liu et al. 2021, Swin, arXiv:2103.14030
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from rvtool_plugins.models.latent_diffusion import LatentDiffusionConfig

GROUPS = 8
FREQUENCIES, SPREAD = 32, 4.0  # of the features of time
KNOTS = 9  # of the Fourier filter along an axis


class Block(nn.Module):
    """Two convolutions beside the identity, scaled and shifted by what the image is to be: [2]_."""

    def __init__(self, before: int, after: int, told: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.norm, self.told = nn.GroupNorm(GROUPS, after), nn.Linear(told, 2 * after)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # a block begins as the identity
        self.past = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor, told: Tensor) -> Tensor:
        """Return maps ``(B, C', H, W)``."""
        scale, shift = self.told(functional.silu(told))[:, :, None, None].chunk(2, dim=1)
        inner = functional.silu(self.norm(self.first(maps)) * (1 + scale) + shift)
        added: Tensor = self.past(maps) + self.second(inner)
        return added


class WindowAttention(nn.Module):
    """Places of maps look at those of other maps, or of their own, within square windows: section 3.2 of [3]_.

    A window of 0 is the whole map.
    """

    def __init__(self, channels: int, seen: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm, self.seen_norm = nn.GroupNorm(GROUPS, channels), nn.GroupNorm(GROUPS, seen)
        self.query, self.key_value = nn.Conv2d(channels, channels, 1), nn.Conv2d(seen, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, maps: Tensor, seen: Tensor) -> Tensor:
        """Attend from ``(B, C, H, W)`` to ``(B, D, H, W)``."""
        height, width = maps.shape[-2:]
        window = self.window or max(height, width)
        lacks = (0, -width % window, 0, -height % window) if self.window else (0, 0, 0, 0)
        parts = [self.query(self.norm(maps)), *self.key_value(self.seen_norm(seen)).chunk(2, dim=1)]
        query, key, value = (self._windows(functional.pad(part, lacks), window) for part in parts)
        known = functional.pad(torch.ones_like(maps[:1, :1]), lacks)
        mask = self._windows(known.expand(len(maps), self.heads, -1, -1), window).mT > 0  # (n, heads, 1, places)
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask if any(lacks) else None)
        whole = self._whole(found, height + lacks[3], width + lacks[1], window)[..., :height, :width]
        added: Tensor = maps + self.out(whole)
        return added

    def _windows(self, maps: Tensor, window: int) -> Tensor:
        """Cut ``(B, heads c, H, W)`` into ``(B windows, heads, places, c)``."""
        batch, channels, height, width = maps.shape
        tall, wide = (min(window, side) for side in (height, width))
        cut = maps.view(batch, self.heads, channels // self.heads, height // tall, tall, width // wide, wide)
        return cut.permute(0, 3, 5, 1, 4, 6, 2).reshape(-1, self.heads, tall * wide, channels // self.heads)

    def _whole(self, windows: Tensor, height: int, width: int, window: int) -> Tensor:
        tall, wide = (min(window, side) for side in (height, width))
        each = windows.shape[-1]
        cut = windows.view(-1, height // tall, width // wide, self.heads, tall, wide, each)
        return cut.permute(0, 3, 6, 1, 4, 2, 5).reshape(-1, self.heads * each, height, width)


class FourierFilter(nn.Module):
    """Multiply the Fourier transform of maps by learnt complex weights: the adaptive filter of [1]_, of any size.

    The weights are known at `KNOTS` frequencies along each axis, in cycles a pixel, and linear in between, so that a
    frequency is treated alike whatever the size of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 2, 2 * KNOTS - 1, KNOTS))  # real and imaginary
        with torch.no_grad():
            self.weight[:, 0] = 1.0

    def forward(self, maps: Tensor) -> Tensor:
        """Filter ``(B, C, H, W)``."""
        height, width = maps.shape[-2:]
        with torch.autocast(maps.device.type, enabled=False):
            down = 2 * torch.fft.fftfreq(height, device=maps.device)  # -1 .. 1, of the largest frequency
            right = 2 * torch.fft.rfftfreq(width, device=maps.device) * 2 - 1  # 0 .. 1 as -1 .. 1
            places = torch.stack(torch.meshgrid(down, right, indexing="ij")[::-1], dim=-1)[None]
            weight = functional.grid_sample(
                self.weight.float().flatten(0, 1)[None], places, padding_mode="border", align_corners=True
            ).view(-1, 2, height, width // 2 + 1)
            spectrum = torch.fft.rfft2(maps.float(), norm="ortho")
            filtered = torch.fft.irfft2(
                spectrum * torch.complex(weight[:, 0], weight[:, 1]), (height, width), norm="ortho"
            )
        return filtered.to(maps.dtype)


class Filtered(nn.Module):
    """Maps and what a Fourier filter makes of them: z + IFFT(W FFT(conv(norm(z))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.filter = FourierFilter(channels)
        nn.init.zeros_(self.mix.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Filter ``(B, C, H, W)``."""
        added: Tensor = maps + self.filter(self.mix(self.norm(maps)))
        return added


class SmallEncoder(nn.Module):
    """Looks at an image at each level of the network, by strided convolutions."""

    def __init__(self, channels: int, widths: list[int], cell: int) -> None:
        super().__init__()
        halvings = cell.bit_length() - 1
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1), nn.SiLU()]
        for _ in range(halvings):
            layers += [nn.Conv2d(widths[0], widths[0], 4, 2, 1), nn.GroupNorm(GROUPS, widths[0]), nn.SiLU()]
        layers += [nn.Conv2d(widths[0], widths[0], 3, padding=1), nn.SiLU()]
        self.first = nn.Sequential(*layers)
        self.further = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(GROUPS, after), nn.SiLU())
            for before, after in pairwise(widths)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return maps of each level, the finest first."""
        found = [self.first(image)]
        for layer in self.further:
            found.append(layer(found[-1]))
        return found


class SwinEncoder(nn.Module):
    """The same by torchvision's Swin transformer [3]_, whose finest maps are a quarter as fine as the image."""

    def __init__(self, channels: int, widths: list[int], cell: int) -> None:
        super().__init__()
        from torchvision.models import swin_t

        body = swin_t(weights=None).features
        body[0][0] = nn.Conv2d(channels, 96, 4, 4)
        self.body = nn.ModuleList(body[2 * stage : 2 * stage + 2] for stage in range(min(len(widths), 4)))
        self.mix = nn.ModuleList(nn.Conv2d(96 * 2 ** min(level, 3), width, 1) for level, width in enumerate(widths))
        self.cell = cell

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return maps of each level, the finest first."""
        maps, stages = image, []
        for stage in self.body:
            maps = stage(maps)  # (B, h, w, C)
            stages.append(maps.permute(0, 3, 1, 2))
        found = []
        for level, layer in enumerate(self.mix):
            size = [-(-side // (self.cell * 2**level)) for side in image.shape[-2:]]
            one = layer(stages[min(level, len(stages) - 1)])
            found.append(functional.interpolate(one, size, mode="bilinear", align_corners=False))
        return found


class Network(nn.Module):
    """From noisy maps, the time and what is asked for to the process's outputs.

    Parameters
    ----------
    channels
        Of the maps.
    seen
        Channels of the image that is conditioned on; 0 without.
    cell
        How many times finer that image is than the maps.
    outputs
        How many things are told of each channel, each by a decoder of its own.
    """

    frequencies: Tensor

    def __init__(self, channels: int, seen: int, cell: int, outputs: int, config: LatentDiffusionConfig) -> None:
        super().__init__()
        self.widths = [config.width * min(2**level, 4) for level in range(config.levels)]
        told = 4 * config.width
        self.told_width = told
        self.register_buffer("frequencies", torch.linspace(0, math.log(64), FREQUENCIES).exp())
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, told), nn.SiLU(), nn.Linear(told, told))
        first = self.widths[0]
        self.encoder: nn.Module | None = None
        if seen:
            kind = {"small": SmallEncoder, "swin": SwinEncoder}[config.condition_encoder]
            self.encoder = kind(seen, self.widths, cell)
        self.first = nn.Conv2d(channels + (first if seen else 0), first, 3, padding=1)
        self.down = nn.ModuleList()
        for level, width in enumerate(self.widths):
            before = self.widths[max(level - 1, 0)]
            looks = WindowAttention(width, width, config.heads, config.window) if seen else None
            self.down.append(_Level(before, width, told, looks, halves=level > 0))
        inner = self.widths[-1]
        self.middle = nn.ModuleList([Block(inner, inner, told), Block(inner, inner, told)])
        self.attention = WindowAttention(inner, inner, config.heads, 0)
        self.ways_up = nn.ModuleList(_WayUp(self.widths, channels, told) for _ in range(outputs))

    def forward(self, maps: Tensor, ratio: Tensor, asked: Tensor, seen: list[Tensor] | None) -> Tensor:
        """Return ``(B, outputs channels, H, W)``.

        Parameters
        ----------
        ratio : (B,)
            What is told of the time.
        asked : (B, told) or scalar
            What is asked for, as a vector.
        seen
            What `encoder` makes of the image that is conditioned on, once for all times; None without one.
        """
        phase = ratio[:, None] * self.frequencies
        told = self.time(torch.cat([phase.sin(), phase.cos()], dim=1)) + asked
        looks: Sequence[Tensor | None] = seen or [None] * len(self.widths)
        if seen is not None:
            maps = torch.cat([maps, seen[0]], dim=1)
        maps = self.first(maps)
        kept = [maps]
        for level, look in zip(self.down, looks, strict=True):
            maps = level(maps, told, look)
            kept.append(maps)
        maps = self.middle[0](maps, told)
        maps = self.middle[1](self.attention(maps, maps), told)
        return torch.cat([way(maps, kept, told) for way in self.ways_up], dim=1)


class _Level(nn.Module):
    """One level on the way down."""

    def __init__(self, before: int, width: int, told: int, looks: WindowAttention | None, *, halves: bool) -> None:
        super().__init__()
        self.halve = nn.Conv2d(before, before, 4, 2, 1) if halves else nn.Identity()
        self.first, self.second = Block(before, width, told), Block(width, width, told)
        self.looks = looks

    def forward(self, maps: Tensor, told: Tensor, look: Tensor | None) -> Tensor:
        """Go down."""
        maps = self.first(self.halve(maps), told)
        if self.looks is not None and look is not None:
            maps = self.looks(maps, look)
        down: Tensor = self.second(maps, told)
        return down


class _WayUp(nn.Module):
    """A decoder of its own, behind a Fourier filter of its own: [1]_."""

    def __init__(self, widths: list[int], channels: int, told: int) -> None:
        super().__init__()
        self.filtered = Filtered(widths[-1])
        self.blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            after = widths[max(level - 1, 0)]
            self.blocks.append(Block(2 * widths[level], after, told))
        self.last = Block(2 * widths[0], widths[0], told)
        self.norm, self.out = nn.GroupNorm(GROUPS, widths[0]), nn.Conv2d(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, maps: Tensor, kept: list[Tensor], told: Tensor) -> Tensor:
        """Go up, past what was kept on the way down."""
        maps = self.filtered(maps)
        for place, block in enumerate(self.blocks):
            beside = kept[len(kept) - 1 - place]
            maps = block(torch.cat([maps, beside], dim=1), told)
            if place + 1 < len(self.blocks):
                maps = functional.interpolate(maps, scale_factor=2.0)
        made: Tensor = self.out(functional.silu(self.norm(self.last(torch.cat([maps, kept[0]], dim=1), told))))
        return made
