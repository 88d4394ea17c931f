"""A variational autoencoder on two overlapping transforms with networks beside them.

References
----------
.. [1] Kingma & Welling 2014, arXiv:1312.6114
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from rvtool.errors import ConfigError
from rvtool.learning import Variational
from rvtool.learning.transforms import Analysis, Synthesis, reach

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.vae import VAEConfig

LOG_VARIANCE = -3.0  # of the posterior where training begins


class VAE(Variational):
    """Means and variances of a posterior for every cell of an image, and images of draws from it.

    Raises
    ------
    ConfigError
        There are more latents than pixels in a cell.
    """

    config: VAEConfig

    def __init__(self, config: VAEConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        channels, latents, cell = data.image.channels, config.latents, config.cell
        if latents > channels * cell**2:
            raise ConfigError(
                f"{latents} latents are more than the {channels * cell**2} values of a cell of {cell} px; lower "
                "--latents or raise --cell."
            )
        self.encoder = Analysis(
            channels, latents, config.width, cell, blocks=config.blocks, gain=config.gain, further=latents
        )
        self.decoder = Synthesis(
            self.made.channels, latents, config.width, cell, blocks=config.blocks, gain=config.gain
        )
        assert self.encoder.last.bias is not None
        nn.init.constant_(self.encoder.last.bias[latents:], LOG_VARIANCE)
        self.lay_out_latents(cell, latents)

    @property
    def reach(self) -> int:
        """How far an image is seen from each of its pixels, px."""
        return reach(self.config.cell, self.config.blocks)
