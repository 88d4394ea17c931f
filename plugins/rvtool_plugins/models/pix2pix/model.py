"""Conditional adversarial translation: U-Net or transformer against patch critics on several scales.

References
----------
.. [1] Isola, Zhu, Zhou & Efros 2017, pix2pix, arXiv:1611.07004
.. [2] Wang et al. 2018, pix2pixHD, arXiv:1711.11585 (critics on several scales, section 3.2)
.. [3] Zhang, Goodfellow, Metaxas & Odena 2019, self-attention GAN, arXiv:1805.08318
.. [4] Miyato et al. 2018, spectral normalisation, arXiv:1802.05957
.. [5] Chen et al. 2021, TransUNet, arXiv:2102.04306 (transformer blocks between convolutions)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from rvtool.errors import ConfigError
from rvtool.learning import Translator

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool.learning.critic import Judged
    from rvtool_plugins.models.pix2pix import Pix2PixConfig

MOST_PADDING = 1.15  # of a side, where the number of levels may be chosen
TRANSFORMER_LEVELS = 4
HEAD = 32  # channels of an attention head of a transformer block


class Attention(nn.Module):
    """Every place looks at every other: eqs. 1-3 of [3]_, with a weight that begins at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 8, 1)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Attend within ``(B, C, H, W)``."""
        channels = maps.shape[1]
        query, key, value = (layer(maps).flatten(2).mT for layer in (self.query, self.key, self.value))  # (B, HW, .)
        # padded with zeros, which change nothing, they are as long as the values: what the fused kernels ask for
        query, key = (functional.pad(part, (0, channels - part.shape[-1])) for part in (query, key))
        query, key, value = (part.unsqueeze(1).contiguous() for part in (query, key, value))
        seen = functional.scaled_dot_product_attention(query, key, value, scale=1.0)  # (B, 1, HW, C)
        return maps + self.weight * seen.squeeze(1).mT.reshape(maps.shape)


class Block(nn.Module):
    """A transformer block over all places of ``(B, C, H, W)``: attention and a dense part, each after normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(channels // HEAD, 1)
        self.before, self.within = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mix, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.dense = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, places: Tensor) -> Tensor:
        """Attend within ``(B, N, C)``."""
        mixed = self.mix(self.before(places)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*mixed.unbind(0))  # (B, heads, N, C / heads)
        places = places + self.out(seen.transpose(1, 2).flatten(2))
        return places + self.dense(self.within(places))


class Transformer(nn.Module):
    """Blocks over the places of a map, which are told apart by waves of their row and column, so that any size does."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(blocks)))

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` of such maps."""
        return self.blocks((maps + _waves(maps)).flatten(2).mT).mT.reshape(maps.shape)


def _waves(maps: Tensor) -> Tensor:
    """Return sines and cosines of rows and columns ``(C, H, W)``; Vaswani et al. 2017, section 3.5, in two axes."""
    channels, height, width = maps.shape[1:]
    rates = 1e4 ** -torch.arange(0, 1, 4 / channels).to(maps)[: channels // 4]
    y, x = (torch.arange(side).to(maps)[:, None] * rates for side in (height, width))  # (side, C / 4)
    rows = torch.cat([y.sin(), y.cos()], dim=1)[:, None].expand(-1, width, -1)
    columns = torch.cat([x.sin(), x.cos()], dim=1)[None].expand(height, -1, -1)
    waves = torch.cat([rows, columns], dim=2).permute(2, 0, 1)
    return functional.pad(waves, (0, 0, 0, 0, 0, channels - len(waves)))


class UNet(nn.Module):
    """Down by halves and up again, each level beside the one of its size on the way down: section 6.1.1 of [1]_.

    Images are padded by reflection to a whole number of innermost pixels, and what is made is cut back.
    """

    def __init__(self, before: int, after: int, size: tuple[int, int], config: Pix2PixConfig) -> None:
        super().__init__()
        self.levels = config.levels or _levels(size)
        if config.generator == "transformer":
            self.levels = min(self.levels, TRANSFORMER_LEVELS)
        self.padded = tuple(_padded(side, self.levels) for side in size)
        widths = [config.width * min(2**level, 8) for level in range(self.levels)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            last = level == self.levels - 1
            convolution = nn.Conv2d(before if level == 0 else widths[level - 1], width, 4, 2, 1)
            # one innermost pixel has no spread that could be normalised, and the image's own level shall not be
            plain = level == 0 or (last and config.generator == "unet")
            layers = [convolution, *([] if plain else [nn.BatchNorm2d(width)])]
            if not last:
                layers.append(self._attention(width, level + 1, config))
            self.down.append(nn.Sequential(*layers))
        inner = widths[-1]
        self.inside = Transformer(inner, config.blocks) if config.generator == "transformer" else nn.ReLU()
        for level in reversed(range(self.levels)):
            width = widths[level - 1] if level else after
            have = inner if level == self.levels - 1 else 2 * widths[level]
            layers = [nn.ConvTranspose2d(have, width, 4, 2, 1)]
            if level:
                layers.append(nn.BatchNorm2d(width))
                layers.append(nn.Dropout(config.dropout if self.levels - 1 - level < 3 else 0.0))  # the innermost three
                layers.append(self._attention(width, level, config))
            self.up.append(nn.Sequential(*layers))

    def _attention(self, channels: int, level: int, config: Pix2PixConfig) -> nn.Module:
        """Attend where a map's sides lie in the asked range."""
        side = max(self.padded) // 2**level
        asked = config.attention
        return Attention(channels) if asked and min(asked) <= side <= max(asked) else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(B, C', H, W)`` of ``(B, C, H, W)`` of any size."""
        height, width = image.shape[-2:]
        maps = _pad(image, self.levels)
        kept: list[Tensor] = []
        for level, layer in enumerate(self.down):
            maps = layer(maps if level == 0 else functional.leaky_relu(maps, 0.2))
            kept.append(maps)
        maps = self.inside(kept.pop())
        for level, layer in enumerate(self.up):
            maps = layer(maps if level == 0 else functional.relu(torch.cat([maps, kept.pop()], dim=1)))
        top, left = (maps.shape[-2] - height) // 2, (maps.shape[-1] - width) // 2
        return maps[..., top : top + height, left : left + width]


def _levels(size: tuple[int, int]) -> int:
    """Return how often an image of a size can be halved without padding it much, at least three times."""
    fits = [n for n in range(3, 9) if all(_padded(side, n) <= max(MOST_PADDING * side, 8) for side in size)]
    return max(fits, default=3)


def _padded(side: int, levels: int) -> int:
    return math.ceil(side / 2**levels) * 2**levels


def _pad(image: Tensor, levels: int) -> Tensor:
    height, width = image.shape[-2:]
    lacks = [_padded(side, levels) - side for side in (width, height)]
    sides = [part for lack in lacks for part in (lack // 2, lack - lack // 2)]
    if not any(sides):
        return image
    within = max(sides[:2]) < width and max(sides[2:]) < height  # else there is too little to reflect
    return functional.pad(image, sides, mode="reflect" if within else "replicate")


class PatchCritic(nn.Module):
    """One answer a patch, on several scales: section 3.3 of [1]_, 3.2 of [2]_, with spectral normalisation [4]_."""

    def __init__(self, channels: int, width: int, scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(self._scale(channels, width) for _ in range(scales))

    @staticmethod
    def _scale(channels: int, width: int) -> nn.ModuleList:
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers, before = nn.ModuleList(), channels
        for number, after in enumerate(widths):
            stride = 1 if after is widths[-1] else 2
            convolution = spectral_norm(nn.Conv2d(before, after, 4, stride, 1))
            norm = nn.Identity() if number == 0 else nn.InstanceNorm2d(after)
            layers.append(nn.Sequential(convolution, norm, nn.LeakyReLU(0.2)))
            before = after
        layers.append(spectral_norm(nn.Conv2d(before, 1, 4, padding=1)))
        return layers

    def forward(self, image: Tensor, picture: Tensor) -> Judged:
        """Judge pictures ``(B, C', H, W)`` beside the images ``(B, C, H, W)`` that they belong to."""
        pair = torch.cat([image, picture], dim=1)
        judged = []
        for number, scale in enumerate(self.scales.children()):
            if number:
                pair = functional.avg_pool2d(pair, 3, 2, 1, count_include_pad=False)
            maps, made = pair, []
            for layer in scale.children():
                maps = layer(maps)
                made.append(maps)
            judged.append(made)
        return judged


class Pix2Pix(Translator):
    """A generator from image to target on one grid, and critics of patches of both together.

    Raises
    ------
    ConfigError
        The two sides have different sizes, or images are too small for the critics.
    """

    def __init__(self, config: Pix2PixConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        image, target = data.image, self.target
        if (image.height, image.width) != (target.height, target.width):
            raise ConfigError(
                f"pix2pix makes targets as large as the images ({image.width}x{image.height} px), and these have "
                f"{target.width}x{target.height}; put both on one grid, or train srgan."
            )
        # each critic halves three times, and then two layers need something left of the sides
        fit = int(math.log2(min(image.height, image.width))) - 4
        if fit < 1:
            raise ConfigError(
                f"Images of {image.width}x{image.height} px are smaller than a patch that a critic judges, 32 px; "
                "use larger ones."
            )
        unet = UNet(image.channels, target.channels, (image.height, image.width), config)
        self.generator, self.grid = unet, 2**unet.levels
        self.critic = PatchCritic(image.channels + target.channels, config.critic_width, min(config.scales, fit))
