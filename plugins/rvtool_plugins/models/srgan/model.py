"""Super-resolution: SRResNet or residual dense blocks, sub-pixel upsampling, and a critic of whole images.

References
----------
.. [1] Ledig et al. 2017, SRGAN, arXiv:1609.04802
.. [2] Wang et al. 2018, ESRGAN, arXiv:1809.00219
.. [3] Shi et al. 2016, sub-pixel convolution, arXiv:1609.05158
.. [4] Lim et al. 2017, EDSR, arXiv:1707.02921 (without batch normalisation)
.. [5] Mohan et al. 2020, bias-free networks, arXiv:1906.05478
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.errors import ConfigError
from rvtool.learning import Translator

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool.learning.critic import Judged
    from rvtool_plugins.models.srgan import SRGANConfig

FACTORS = (1, 2, 4, 8)  # of 1 the network restores what it is shown, no finer
RESIDUAL = 0.2  # of a dense block that is added: section 3.1 of [2]_


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity: figure 4 of [1]_, and figure 2c of [4]_ where nothing is normalised."""

    def __init__(self, width: int, batch_norm: bool) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if batch_norm else nn.Identity
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=batch_norm),
            norm(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=batch_norm),
            norm(width),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        return maps + self.body(maps)


class DenseBlock(nn.Module):
    """Five convolutions that each see all before: figure 4 of [2]_."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(width + number * growth, growth if number < 4 else width, 3, padding=1, bias=False)
            for number in range(5)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        seen = maps
        for layer in self.layers[:-1]:
            seen = torch.cat([seen, functional.leaky_relu(layer(seen), 0.2)], dim=1)
        return maps + RESIDUAL * self.layers[-1](seen)


class DenseBlocks(nn.Module):
    """Three dense blocks beside the identity: the residual-in-residual block of [2]_."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        return maps + RESIDUAL * self.body(maps)


class Upsampler(nn.Module):
    """Blocks at the input's resolution, then finer pixels [3]_, beside the input interpolated.

    One layer makes all finer pixels of a pixel's maps (figure 1 of [3]_), or each step of `steps` maps twice as fine
    (figure 4 of [1]_), at several times the cost.

    The network so begins with what bilinear interpolation gives, and learns what that lacks. Nothing in it has a bias,
    so that (without batch normalisation) a sky twice as bright comes out twice as bright [5]_, and a faint source in a
    wide field as it would alone.
    """

    def __init__(self, before: int, after: int, factor: int, config: SRGANConfig) -> None:
        super().__init__()
        width = config.width
        self.factor = factor
        self.first = nn.Sequential(nn.Conv2d(before, width, 9, padding=4, bias=False), nn.PReLU())
        blocks: list[nn.Module] = [
            DenseBlocks(width, config.growth) if config.generator == "rrdb" else ResidualBlock(width, config.batch_norm)
            for _ in range(config.blocks)
        ]
        norm = nn.BatchNorm2d(width) if config.batch_norm else nn.Identity()
        self.body = nn.Sequential(*blocks, nn.Conv2d(width, width, 3, padding=1, bias=False), norm)
        if config.upsampling == "steps":
            steps = [
                layer
                for _ in range(factor.bit_length() - 1)
                for layer in (nn.Conv2d(width, 4 * width, 3, padding=1, bias=False), nn.PixelShuffle(2), nn.PReLU())
            ]
            made = nn.Conv2d(width, after, 9, padding=4, bias=False)
            self.last = nn.Sequential(*steps, made)
        else:
            made = nn.Conv2d(width, factor**2 * after, 3, padding=1, bias=False)
            self.last = nn.Sequential(made, nn.PixelShuffle(factor))
        self.skip = before == after
        with torch.no_grad():
            made.weight.mul_(0.1)

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(B, C', factor H, factor W)`` of ``(B, C, H, W)``."""
        maps = self.first(image)
        fine = self.last(maps + self.body(maps))
        if not self.skip:
            return fine
        return fine + functional.interpolate(image, scale_factor=self.factor, mode="bilinear")


class Critic(nn.Module):
    """Eight convolutions, every other one halving, the mean over the image, and one answer: figure 4 of [1]_."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers, before = nn.ModuleList(), channels
        for level in range(4):
            after = width * 2**level
            for stride in (1, 2):
                norm = nn.Identity() if before == channels else nn.BatchNorm2d(after)
                convolution = nn.Conv2d(before, after, 3, stride, 1)
                self.layers.append(nn.Sequential(convolution, norm, nn.LeakyReLU(0.2)))
                before = after
        self.layers.append(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(before, 2 * before, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(2 * before, 1, 1),
            )
        )

    def forward(self, image: Tensor, picture: Tensor) -> Judged:
        """Judge pictures ``(B, C', H, W)``; the images of which they are made say nothing to it."""
        made = []
        for layer in self.layers:
            picture = layer(picture)
            made.append(picture)
        return [made]


class SRGAN(Translator):
    """A generator of finer images, and a critic of them.

    Raises
    ------
    ConfigError
        The targets are not finer by 2, 4 or 8.
    """

    roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "reconstruction": ("rms",),
        "perceptual": (),
        "adversarial": ("bce-gan:0.001",),
        "features": (),
    }
    stretch: ClassVar[dict[str, Any]] = {"kind": "linear", "scale": "image", "background": "none"}
    any_size = True

    def __init__(self, config: SRGANConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        if self.factor not in FACTORS:
            raise ConfigError(
                f"srgan makes images 2, 4 or 8 times as fine, and these targets are finer by {self.factor}; "
                "use pairs of 2, 4 or 8."
            )
        self.generator = Upsampler(data.image.channels, self.target.channels, self.factor, config)
        self.critic = Critic(self.target.channels, config.critic_width)
        each = 15 if config.generator == "rrdb" else 2  # convolutions of a block, of which each reaches a pixel farther
        self.reach = 4 + each * config.blocks + 1 + 2 + 4  # the later ones are of finer pixels and reach less far
