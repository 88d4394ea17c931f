"""An autoencoder with discrete codes: books of vectors, or whole numbers.

References
----------
.. [1] van den Oord, Vinyals & Kavukcuoglu 2017, VQ-VAE, arXiv:1711.00937
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rvtool.data.chance import bits
from rvtool.errors import ConfigError
from rvtool.kinds import Batch
from rvtool.learning import Autoencoder
from rvtool.learning.transforms import Analysis, Synthesis, reach
from rvtool_plugins.models.vqvae.quantise import Books, Quantised, Scalars

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.vqvae import VQVAEConfig

OORD_REACH = 44  # px: what twice three 3x3 layers see at a quarter of the pixels, and the strides
OORD_CELL, OORD_WIDTH, OORD_INNER, OORD_BLOCKS = 4, 256, 32, 2


class VQVAE(Autoencoder):
    """Encoder, codes, decoder. A step minimises the losses, `rate` for each bit of a pixel, and the commitment.

    Raises
    ------
    ConfigError
        There are more latents than pixels in a cell, or an even number of levels.
    """

    config: VQVAEConfig

    def __init__(self, config: VQVAEConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        channels, made, latents = data.image.channels, self.made.channels, config.latents
        if config.quantiser == "fsq" and config.levels % 2 == 0:
            raise ConfigError(f"--levels {config.levels} is even, and 0 is to be one of them; take an odd number.")
        if config.network == "oord":
            self.encoder: nn.Module = _oord_encoder(channels, latents)
            self.decoder: nn.Module = _oord_decoder(made, latents)
            cell = OORD_CELL
        else:
            cell = config.cell
            if latents > channels * cell**2:
                raise ConfigError(
                    f"{latents} latents are more than the {channels * cell**2} values of a cell of {cell} px; lower "
                    "--latents or raise --cell."
                )
            width, blocks, gain = config.width, config.blocks, config.gain
            self.encoder = Analysis(channels, latents, width, cell, blocks=blocks, gain=gain)
            self.decoder = Synthesis(made, latents, width, cell, blocks=blocks, gain=gain)
        self.quantiser = (Books if config.quantiser in ("vq", "residual") else Scalars)(config)
        self.lay_out(cell, self.quantiser.maps, self.quantiser.alphabet, open=self.quantiser.open)
        self.register_buffer("log_sigma", torch.zeros(()))

    @property
    def reach(self) -> int:
        """How far an image is seen from each of its pixels, px."""
        return OORD_REACH if self.config.network == "oord" else reach(self.config.cell, self.config.blocks)

    def latents(self, image: Tensor) -> Tensor:
        """Return what the codes are chosen for."""
        maps: Tensor = self.encoder(image)
        return maps

    def quantise(self, latents: Tensor) -> Tensor:
        """Choose codes."""
        return self.quantiser.symbols(latents)

    def restore(self, symbols: Tensor) -> Tensor:
        """Look codes up."""
        return self.quantiser.latents(symbols)

    def decode(self, latents: Tensor) -> Tensor:
        """Return stretched images."""
        image: Tensor = self.decoder(latents)
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Return what is made of the codes of stretched images."""
        return self.image_of(self.restore(self.symbols(image)), image.shape)

    def pass_on(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes, and their length under the prior."""
        symbols = self.symbols(image)
        prior = self.prior
        cost = [math.log(2) * prior.bits(one).sum() for one in symbols.cpu().numpy()]
        return self.restore(symbols), torch.tensor(np.array(cost), dtype=torch.float32, device=image.device)

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return what is made, the loss, and its parts; ``bits`` are those of a pixel, by each code's share."""
        image = batch["image"]
        latents = self.latents(self.whole(image)).float()
        with torch.autocast(image.device.type, enabled=False):  # codes are chosen, and books move, without rounding
            found: Quantised = self.quantiser(latents)
        made = self.image_of(found.latents, image.shape)
        near, parts = self.near(batch, made)
        rate = found.bits / made.numel()
        total = near + self.config.commitment * found.distance
        if rate.requires_grad or not self.training:
            total = total + self.config.rate * rate
        told = {"bits": rate, "commitment": found.distance, "perplexity": found.perplexity}
        return made, total, {**parts, **{name: value.detach() for name, value in told.items()}}

    @torch.no_grad()
    def sample(self, indices: Tensor, seed: int, device: torch.device, condition: Batch | None = None) -> Tensor:
        """Decode codes that are drawn from the prior, one after the other."""
        height, width = (-(-side // self.cell) for side in (self.data.image.height, self.data.image.width))
        even = bits(seed, indices.cpu(), self.maps * height * width).bitwise_and(65535)
        prior = self.prior
        maps = [prior.draw(one) for one in even.view(-1, self.maps, height, width).numpy()]
        symbols = torch.from_numpy(np.stack(maps)).to(device)
        return self.image_of(self.restore(symbols), (self.data.image.height, self.data.image.width)).float()


class _OordBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))): section 4.1 of [1]_."""

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Conv2d(OORD_WIDTH, OORD_INNER, 3, padding=1, bias=False)
        self.mix = nn.Conv2d(OORD_INNER, OORD_WIDTH, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Add what is seen around each place."""
        added: Tensor = maps + self.mix(self.around(maps.relu()).relu())
        return added


def _oord_encoder(channels: int, latents: int) -> nn.Sequential:
    half = OORD_WIDTH // 2
    return nn.Sequential(
        *(nn.Conv2d(channels, half, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(half, OORD_WIDTH, 4, 2, 1), nn.ReLU()),
        nn.Conv2d(OORD_WIDTH, OORD_WIDTH, 3, padding=1),
        *(_OordBlock() for _ in range(OORD_BLOCKS)),
        nn.ReLU(),
        nn.Conv2d(OORD_WIDTH, latents, 1),
    )


def _oord_decoder(channels: int, latents: int) -> nn.Sequential:
    half = OORD_WIDTH // 2
    return nn.Sequential(
        *(nn.Conv2d(latents, OORD_WIDTH, 3, padding=1), nn.ReLU()),
        *(_OordBlock() for _ in range(OORD_BLOCKS)),
        nn.ReLU(),
        *(nn.ConvTranspose2d(OORD_WIDTH, half, 4, 2, 1), nn.ReLU()),
        nn.ConvTranspose2d(half, channels, 4, 2, 1),
    )
