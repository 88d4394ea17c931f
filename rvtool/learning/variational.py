"""What variational autoencoders share: a normal posterior, its divergence from the prior, and a learnt likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rvtool.data.chance import normal
from rvtool.kinds import Batch
from rvtool.learning.autoencoder import Autoencoder

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning.config import VariationalConfig
    from rvtool.learning.losses import Losses

ALPHABET = 31  # steps about 0 that are common; there are tables of them
LEAST_LOG_VARIANCE, LARGEST_LOG_VARIANCE = -30.0, 20.0
SIGMA_RATE = 20.0  # one number, which all others wait for: it is far from 1 where images are scaled to their peaks
ACTIVE = 0.01  # nats that a latent must hold to count as used


class Variational(Autoencoder):
    """Latents are drawn from a normal posterior; a subclass builds `encoder` and `decoder` and calls `lay_out_latents`.

    What a step minimises is, for each pixel, L / (2 sigma^2) + log sigma + beta KL, where L is the weighted sum of the
    losses: with ``mse`` alone and beta = 1 the negative evidence lower bound [1]_, eq. 3, but for a constant. sigma is
    learnt [2]_ unless the settings fix it.

    To become symbols the means are rounded to whole steps, which are as wide as `config.step` times the median
    deviation of the posterior on the training images: a latent that holds nothing costs nothing.

    Attributes
    ----------
    encoder
        ``(B, C, H, W) -> (B, 2 D, h, w)``: means and log variances.
    decoder
        ``(B, D, h, w) -> (B, C, H, W)``.

    References
    ----------
    .. [1] Kingma & Welling 2014, arXiv:1312.6114
    .. [2] Rybkin, Daniilidis & Levine 2021, sigma-VAE, arXiv:2006.13202
    """

    config: VariationalConfig
    steps: Tensor

    def __init__(self, config: VariationalConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        if config.sigma:
            self.register_buffer("log_sigma", torch.tensor(math.log(config.sigma)))
        else:
            self.log_sigma = nn.Parameter(torch.zeros(()))

    def configure_optimizers(self) -> Any:
        """Make AdamW, with a quicker step for the likelihood's width."""
        return self.with_quick_sigma(super().configure_optimizers())

    def with_quick_sigma(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Give the likelihood's width, where it is learnt, `SIGMA_RATE` times the step of the other parameters."""
        for group in optimizer.param_groups:
            if any(parameter is self.log_sigma for parameter in group["params"]):
                group["params"] = [parameter for parameter in group["params"] if parameter is not self.log_sigma]
                own = {"params": [self.log_sigma], "lr": SIGMA_RATE * group["lr"], "weight_decay": 0.0}
                optimizer.add_param_group(own)
                break
        return optimizer

    def lay_out_latents(self, cell: int, latents: int) -> None:
        """Say how many latents there are."""
        self.lay_out(cell, latents, ALPHABET, open=True)
        self.register_buffer("steps", torch.full((latents,), 0.5))

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log variances ``(B, D, h, w)`` of images whose sides are whole cells."""
        means, log_variances = self.encoder(image).chunk(2, dim=1)
        return means, log_variances.clamp(LEAST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)

    def latents(self, image: Tensor) -> Tensor:
        """Return the means."""
        return self.posterior(image)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Return stretched images."""
        made: Tensor = self.decoder(latents)
        return made

    def quantise(self, latents: Tensor) -> Tensor:
        """Round to whole steps."""
        return torch.round(latents.float() / self.steps[:, None, None]).long()

    def restore(self, symbols: Tensor) -> Tensor:
        """Return whole steps."""
        return symbols.float() * self.steps[:, None, None]

    def pass_on(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Draw from the posterior."""
        means, log_variances = self.posterior(image)
        return _drawn(means, log_variances), divergence(means, log_variances).flatten(1).sum(1)

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return what is made, the bound, and its parts; ``kl`` is in bits a pixel."""
        image = batch["image"]
        means, log_variances = self.posterior(self.whole(image))
        drawn = _drawn(means, log_variances)
        made = self.image_of(drawn, image.shape)
        near, parts = self.near(batch, made)
        each = divergence(means.float(), log_variances.float())
        cost = each.sum() / made.numel()  # a pixel's share, as the losses are means over pixels
        log_sigma = self.objective_log_sigma
        total = 0.5 * near * (-2 * log_sigma).exp() + log_sigma + self.config.beta * cost
        active = (each.mean(dim=(0, 2, 3)) > ACTIVE).float().mean()
        told = {"kl": cost / math.log(2), "sigma": log_sigma.exp(), "active-latents": active}
        return made, total, {**parts, **{name: value.detach() for name, value in told.items()}}

    @property
    def objective_log_sigma(self) -> Tensor:
        """The likelihood's width that is trained with."""
        fixed = self.config.sigma
        return self.log_sigma.new_tensor(math.log(fixed)) if fixed else self.log_sigma

    @torch.no_grad()
    def sample(self, indices: Tensor, seed: int, device: torch.device, condition: Batch | None = None) -> Tensor:
        """Decode latents that are drawn from the prior, a standard normal distribution."""
        height, width = (-(-side // self.cell) for side in (self.data.image.height, self.data.image.width))
        drawn = normal(seed, indices.cpu(), (self.maps, height, width)).to(device)
        return self.image_of(drawn, (self.data.image.height, self.data.image.width)).float()

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Measure the steps, then what all autoencoders measure."""
        deviations = [
            (0.5 * self.posterior(self.whole(batch["image"]))[1]).exp().flatten(2).median(2).values  # (B, D)
            for batch in batches()
        ]
        self.steps.copy_(self.config.step * torch.cat(deviations).median(0).values)
        super().settle(batches)


def _drawn(means: Tensor, log_variances: Tensor) -> Tensor:
    return means + (0.5 * log_variances).exp() * torch.randn_like(means)


def divergence(means: Tensor, log_variances: Tensor) -> Tensor:
    """Return KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1 - log s^2) / 2 of each latent, nats: appendix B of [1]_.

    References
    ----------
    .. [1] Kingma & Welling 2014, arXiv:1312.6114
    """
    return 0.5 * (means.square() + log_variances.exp() - 1 - log_variances)
