"""The first stage of latent diffusion: a convolutional autoencoder, in a second phase against a critic of patches.

References
----------
.. [1] Rombach et al. 2022, latent diffusion, arXiv:2112.10752 (appendix G)
.. [2] Esser, Rombach & Ommer 2021, VQGAN, arXiv:2012.09841 (adaptive weight, eq. 7; delayed start)
.. [3] Isola et al. 2017, arXiv:1611.07004 (critic of patches, section 3.2.2)
.. [4] Kingma & Dhariwal 2018, Glow, arXiv:1807.03039 (ActNorm, section 3.1)
.. [5] Miyato et al. 2018, spectral normalisation, arXiv:1802.05957
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from rvtool.errors import ConfigError
from rvtool.kinds import Batch
from rvtool.learning import Variational
from rvtool.learning.autoencoder import truth_of
from rvtool.learning.critic import Judged, answers, are_relative, critic_loss, passing_loss
from rvtool.learning.model import decay_groups
from rvtool.learning.schedule import steps_taken

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.vae_gan import VAEGANConfig

GROUPS = 8  # of group normalisation
LARGEST_WEIGHT = 1e4  # of the critic, where the other losses outweigh it
CRITIC_LEVELS = 3


class Block(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))), with another number of channels where asked."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.GroupNorm(GROUPS, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)),
            *(nn.GroupNorm(GROUPS, after), nn.SiLU(), nn.Conv2d(after, after, 3, padding=1)),
        )
        self.past = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``(B, C', H, W)``."""
        added: Tensor = self.past(maps) + self.layers(maps)
        return added


class Attention(nn.Module):
    """Every place looks at every other, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.out = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, channels, 1)
        self.mix = nn.Conv2d(channels, 3 * channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Attend within ``(B, C, H, W)``."""
        query, key, value = self.mix(self.norm(maps)).flatten(2).mT.unsqueeze(1).contiguous().chunk(3, dim=-1)
        seen = functional.scaled_dot_product_attention(query, key, value)  # (B, 1, HW, C)
        attended: Tensor = maps + self.out(seen.squeeze(1).mT.reshape(maps.shape))
        return attended


def _encoder(channels: int, latents: int, widths: list[int], blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1)]
    for level, width in enumerate(widths):
        before = widths[max(level - 1, 0)]
        layers += [Block(before if number == 0 else width, width) for number in range(blocks)]
        if level < len(widths) - 1:
            layers.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
    inner = widths[-1]
    layers += [Block(inner, inner), Attention(inner), Block(inner, inner), nn.GroupNorm(GROUPS, inner), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(inner, 2 * latents, 3, padding=1), nn.Conv2d(2 * latents, 2 * latents, 1))


def _decoder(channels: int, latents: int, widths: list[int], blocks: int) -> nn.Sequential:
    inner = widths[-1]
    layers: list[nn.Module] = [nn.Conv2d(latents, latents, 1), nn.Conv2d(latents, inner, 3, padding=1)]
    layers += [Block(inner, inner), Attention(inner), Block(inner, inner)]
    before = inner
    for level in reversed(range(len(widths))):
        for _ in range(blocks + 1):
            layers.append(Block(before, widths[level]))
            before = widths[level]
        if level:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, before, 3, padding=1)]
    return nn.Sequential(
        *layers, nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], channels, 3, padding=1)
    )


class ActNorm(nn.Module):
    """A scale and a shift for each channel, by which the first batch has mean 0 and deviation 1: [4]_."""

    begun: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``."""
        if self.training and not bool(self.begun):
            with torch.no_grad():
                deviation, mean = torch.std_mean(maps.float(), dim=(0, 2, 3))
                self.scale.copy_(1 / (deviation + 1e-6))
                self.shift.copy_(-mean * self.scale)
                self.begun.fill_(True)
        return maps * self.scale[:, None, None] + self.shift[:, None, None]


class Critic(nn.Module):
    """One answer for each patch of 70 pixels: [3]_."""

    def __init__(self, channels: int, config: VAEGANConfig) -> None:
        super().__init__()
        norm: Any = {"none": lambda _: nn.Identity(), "batch": nn.BatchNorm2d, "actnorm": ActNorm}[config.critic_norm]
        hold: Any = spectral_norm if config.spectral_norm else nn.Identity()
        widths = [config.critic_width * 2**level for level in range(CRITIC_LEVELS + 1)]
        self.layers = nn.ModuleList()
        before = channels
        for level, after in enumerate(widths):
            convolution = nn.Conv2d(before, after, 4, 2 if level < CRITIC_LEVELS else 1, 1)
            self.layers.append(
                nn.Sequential(hold(convolution), norm(after) if level else nn.Identity(), nn.LeakyReLU(0.2))
            )
            before = after
        self.layers.append(hold(nn.Conv2d(before, 1, 4, padding=1, bias=False)))

    def forward(self, picture: Tensor) -> Judged:
        """Judge pictures ``(B, C, H, W)``."""
        made = []
        for layer in self.layers.children():
            picture = layer(picture)
            made.append(picture)
        return [made]


class VAEGAN(Variational):
    """First an autoencoder alone; from `discriminator_start` on a critic learns, and the decoder to pass for real.

    The critic's part of the loss is weighted so that it moves the decoder's last layer `critic_weight` times as much as
    all other losses together: eq. 7 of [2]_.

    Raises
    ------
    ConfigError
        Images are too small for the critic.
    """

    # what features of images are compared by expects brightness from 0 to about 1
    stretch: ClassVar[dict[str, Any]] = {"kind": "asinh", "scale": "train"}
    roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "reconstruction": ("l1", "mse"),
        "perceptual": ("radio-perceptual",),
        "adversarial": ("hinge",),
    }
    config: VAEGANConfig

    def __init__(self, config: VAEGANConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        self.automatic_optimization = False
        if min(data.image.height, data.image.width) < 32:
            raise ConfigError(
                f"Images of {data.image.width}x{data.image.height} px are smaller than a critic judges, 32 px; use "
                "larger ones."
            )
        widths = [config.width * min(2**level, 4) for level in range(config.factor.bit_length())]
        self.encoder = _encoder(data.image.channels, config.latents, widths, config.blocks)
        self.decoder = _decoder(self.made.channels, config.latents, widths, config.blocks)
        self.critic = Critic(self.made.channels, config)
        self.lay_out_latents(config.factor, config.latents)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Make AdamW for the autoencoder, the likelihood's width among its parameters, and for the critic."""
        config = self.config
        others = [parameter for name, parameter in self.named_parameters() if not name.startswith("critic.")]
        autoencoder, judge = (
            torch.optim.AdamW(decay_groups(parameters, config.weight_decay), lr=rate, betas=(0.5, 0.9))
            for parameters, rate in (
                (others, config.learning_rate),
                (self.critic.parameters(), config.learning_rate * config.critic_rate),
            )
        )
        return [self.with_quick_sigma(autoencoder), judge]

    @property
    def critic_start(self) -> int:
        """The first step, from 0, in which the critic takes part."""
        trainer = self.trainer
        each = -(-int(trainer.num_training_batches) // self.accumulate)
        return self.config.discriminator_start or each * int(trainer.max_epochs or 0) // 2

    @property
    def judged_from_epoch(self) -> int:
        """The first epoch that the critic took part in from its beginning: others followed another aim."""
        each = -(-int(self.trainer.num_training_batches) // self.accumulate)
        first = -(-self.critic_start // each)
        return first if self._judging and first < int(self.trainer.max_epochs or 0) else 0

    @property
    def _judging(self) -> list[Any]:
        return [part for part in self.losses.of("adversarial") if part.weight]

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        """Teach the critic, once it takes part, and then the autoencoder."""
        optimizers: Any = self.optimizers()
        autoencoder, critic = optimizers
        made, loss, told = self.judge(batch)
        judges = bool(self._judging) and steps_taken(self.trainer, self, batch_idx) >= self.critic_start
        if judges:
            taught, found = critic_loss(self._judging, self.critic, truth_of(batch), made.detach())
            self.descend(critic, taught, batch_idx)
            told |= found
        self.critic.requires_grad_(False)  # its gradients of the decoder's loss would be thrown away
        told["loss"] = loss.detach()
        if judges:
            passing, parts = self._passing(truth_of(batch), made)
            weight = self.adaptive_weight(loss, passing)
            loss = loss + weight * passing
            told |= {**parts, "adaptive-weight": weight}
        self.descend(autoencoder, loss, batch_idx)
        self.critic.requires_grad_(True)
        self.tell({**told, "critic-takes-part": loss.new_tensor(float(judges))})

    def _passing(self, true: Tensor, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the losses of what is made in the eyes of the critic, and each by name."""
        fake = answers(self.critic(made))
        with torch.no_grad():
            real = answers(self.critic(true)) if are_relative(self._judging) else fake
        return passing_loss(self._judging, fake, real)

    def adaptive_weight(self, near: Tensor, passing: Tensor) -> Tensor:
        """Return `critic_weight` |d near| / (|d passing| + 1e-4), the slopes by the decoder's last layer.

        The weights of the adversarial losses would cancel, so that their sum stands before it.
        """
        last = self.decoder[-1].weight  # type: ignore[index]
        slopes = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (near, passing)]
        weight = (slopes[0] / (slopes[1] + 1e-4)).clamp(0, LARGEST_WEIGHT)
        return self.config.critic_weight * sum(part.weight for part in self._judging) * weight.detach()
