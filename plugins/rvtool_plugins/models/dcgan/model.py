"""A generator of transposed convolutions against a critic of strided ones.

References
----------
.. [1] Radford, Metz & Chintala 2016, DCGAN, arXiv:1511.06434
.. [2] Karras et al. 2018, progressive growing of GANs, arXiv:1710.10196 (fading in, section 2; batch deviation, 3)
.. [3] Miyato & Koyama 2018, projection discriminator, arXiv:1802.05637 (eq. 3)
.. [4] Zhao et al. 2020, differentiable augmentation, arXiv:2006.10738 (eqs. 3-5)
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from rvtool.errors import ConfigError
from rvtool.kinds import Batch
from rvtool.learning.autoencoder import truth_of
from rvtool.learning.critic import Judged, answers, are_relative, critic_loss, passing_loss
from rvtool.learning.generator import Asked, Generator, noise_of, sliced_wasserstein
from rvtool.learning.model import decay_groups
from rvtool.learning.schedule import steps_taken

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo, Side
    from rvtool.learning import Losses
    from rvtool_plugins.models.dcgan import DCGANConfig

COARSEST, LARGEST = 4, 256  # px
GROWING = 0.5  # part of the training in which a progressive one grows
SHOWN = 512  # images that are held against the validation's


def levels_of(side: Side) -> tuple[int, tuple[int, int]]:
    """Return how often the coarsest map is doubled, and its sides.

    Raises
    ------
    ConfigError
        The image has no such map.
    """
    count, height, width = 0, side.height, side.width
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 2 * COARSEST:
        count, height, width = count + 1, height // 2, width // 2
    if min(height, width) >= 2 * COARSEST or not 32 <= max(side.height, side.width) <= LARGEST:
        raise ConfigError(
            f"dcgan makes images of 32 to 256 px whose sides are 4 to 7 px doubled, such as 64, 96 or 128, and these "
            f"have {side.width}x{side.height}; use --crop and --resize."
        )
    return count, (height, width)


class Maker(nn.Module):
    """From numbers to an image, each level twice as fine as the one before."""

    def __init__(self, side: Side, asked: int, config: DCGANConfig) -> None:
        super().__init__()
        count, self.coarsest = levels_of(side)
        widths = [min(config.most, config.width * 2 ** (count - level)) for level in range(count + 1)]
        self.widest = widths[0]
        self.first = nn.Linear(config.latents + asked, widths[0] * self.coarsest[0] * self.coarsest[1])
        self.begin = nn.Sequential(nn.BatchNorm2d(widths[0]), nn.LeakyReLU(0.2))
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)
            )
            for before, after in pairwise(widths)
        )
        tops = range(count) if config.progressive else (count - 1,)
        self.pictures = nn.ModuleDict(
            {str(top): nn.Conv2d(widths[top + 1], side.channels, 3, padding=1) for top in tops}
        )

    def forward(self, numbers: Tensor, top: int, fade: float) -> Tensor:
        """Make images up to a level, of which `fade` comes in, as large as those of the last level."""
        maps = self.begin(self.first(numbers).view(-1, self.widest, *self.coarsest))
        made = maps
        for level, layer in enumerate(self.levels.children()):
            before, maps = maps, layer(maps)
            if level == top:
                made = self.pictures[str(level)](maps)
                if fade < 1:
                    coarse = functional.interpolate(self.pictures[str(level - 1)](before), scale_factor=2)
                    made = torch.lerp(coarse, made, fade)
                break
        return made


class Critic(nn.Module):
    """From an image to how true it looks, and how much like the class that it is said to be of: [3]_."""

    def __init__(self, side: Side, asked: int, config: DCGANConfig) -> None:
        super().__init__()
        count, coarsest = levels_of(side)
        hold: Any = spectral_norm if config.spectral_norm else nn.Identity()
        widths = [min(config.most, config.width * 2**level) for level in range(count + 1)]
        tops = range(count) if config.progressive else (count - 1,)
        self.count = count
        # the finest level comes first: levels are numbered as the maker numbers them
        self.pictures = nn.ModuleDict(
            {str(top): hold(nn.Conv2d(side.channels, widths[count - 1 - top], 3, padding=1)) for top in tops}
        )
        self.levels = nn.ModuleList(
            hold(nn.Conv2d(widths[count - 1 - top], widths[count - top], 4, 2, 1)) for top in range(count)
        )
        inner = widths[count]
        self.last = hold(nn.Conv2d(inner + 1, inner, 3, padding=1))
        self.out = hold(nn.Linear(inner * coarsest[0] * coarsest[1], 1))
        self.alike = hold(nn.Linear(asked, inner, bias=False)) if asked else None

    def forward(self, picture: Tensor, asked: Tensor | None, top: int, fade: float) -> Judged:
        """Judge pictures ``(B, C, H, W)`` of a level, of which `fade` has come in."""
        maps = functional.leaky_relu(self.pictures[str(top)](picture), 0.2)
        for level in range(top, -1, -1):
            maps = functional.leaky_relu(self.levels[level](maps), 0.2)
            if level == top and fade < 1:
                coarse = functional.leaky_relu(self.pictures[str(level - 1)](functional.avg_pool2d(picture, 2)), 0.2)
                maps = torch.lerp(coarse, maps, fade)
        spread = maps.std(dim=0, unbiased=False).mean().expand(len(maps), 1, *maps.shape[2:])  # section 3 of [2]_
        maps = functional.leaky_relu(self.last(torch.cat([maps, spread], dim=1)), 0.2)
        answer = self.out(maps.flatten(1))
        if asked is not None and self.alike is not None:
            answer = answer + (self.alike(asked) * maps.mean(dim=(2, 3))).sum(dim=1, keepdim=True)
        return [[answer]]


class DCGAN(Generator):
    """Two networks: one makes images, the other tells them from true ones.

    The critic sees true and made images moved by chance alike [4]_, so that few images do not become known by heart.

    Raises
    ------
    ConfigError
        Images are no 4 to 7 px doubled several times.
    """

    roles: ClassVar[dict[str, tuple[str, ...]]] = {"adversarial": ("bce-gan",)}
    monitor: ClassVar[tuple[str, str]] = ("val/distance", "min")
    exempt: ClassVar[dict[str, str]] = {"learns": "No figure of a generator against a critic falls step by step."}
    config: DCGANConfig

    def __init__(self, config: DCGANConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        self.automatic_optimization = False
        width = min(config.latents, 32)
        asked = Asked(self.classes, data, width)
        seen = Asked(self.classes, data, width)
        self.asked_of = asked if asked else None
        self.said_of = seen if seen else None
        self.maker = Maker(self.made, width if asked else 0, config)
        self.critic = Critic(self.made, width if asked else 0, config)
        self._seen: list[Tensor] = []

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Make Adam for each player."""
        config = self.config
        critics = ("critic.", "said_of.")
        mine = [p for name, p in self.named_parameters() if not name.startswith(critics)]
        others = [p for name, p in self.named_parameters() if name.startswith(critics)]
        return [
            torch.optim.AdamW(decay_groups(parameters, config.weight_decay), lr=rate, betas=(config.beta1, 0.99))
            for parameters, rate in (
                (mine, config.learning_rate),
                (others, config.learning_rate * config.critic_rate),
            )
        ]

    # ---------------------------------------------------------------- growing

    def stage(self, part: float) -> tuple[int, float]:
        """Return the finest level, and how much of it has come in, when `part` of the training is done.

        Each level takes an equal share of the growing, and fades in during the first half of its own: section 2 of
        [2]_.
        """
        top = self.critic.count - 1
        if not self.config.progressive or part >= GROWING:
            return top, 1.0
        place = part / GROWING * (top + 1)
        level = int(place)
        return level, 1.0 if level == 0 else min(1.0, 2 * (place - level))

    @property
    def judged_from_epoch(self) -> int:
        """The first epoch at full size."""
        epochs = int(self.trainer.max_epochs or 0)
        return -(-epochs // 2) if self.config.progressive else 0

    def _stage_now(self, batch_idx: int) -> tuple[int, float]:
        each = int(self.trainer.num_training_batches) // self.accumulate
        return self.stage(steps_taken(self.trainer, self, batch_idx) / max(1, each * int(self.trainer.max_epochs or 1)))

    # ---------------------------------------------------------------- the two players

    def make(self, numbers: Tensor, condition: Batch, top: int, fade: float) -> Tensor:
        """Make lifted images ``(B, C, h, w)`` of numbers ``(B, latents)``."""
        if self.asked_of is not None:
            dropped = torch.zeros(len(numbers), dtype=torch.bool, device=numbers.device)
            numbers = torch.cat([numbers, self.asked_of(condition, dropped)], dim=1)
        made: Tensor = self.maker(numbers, top, fade)
        return self.snap(made)

    def judge(self, picture: Tensor, condition: Batch, top: int, fade: float) -> Judged:
        """Ask the critic of images that are of what is asked for."""
        said = None
        if self.said_of is not None:
            dropped = torch.zeros(len(picture), dtype=torch.bool, device=picture.device)
            said = self.said_of(condition, dropped)
        judged: Judged = self.critic(_moved(picture, self.config.critic_shift), said, top, fade)
        return judged

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Teach the critic, and then the maker."""
        self.observe(batch)
        optimizers: Any = self.optimizers()
        maker, critic = optimizers
        top, fade = self._stage_now(batch_idx)
        true = functional.avg_pool2d(self.lift(truth_of(batch)), 2 ** (self.critic.count - 1 - top))
        judging = self.losses.of("adversarial")
        numbers = torch.randn(len(true), self.config.latents, device=self.device)
        made = self.make(numbers, batch, top, fade)

        def ask(picture: Tensor) -> Judged:
            return self.judge(picture, batch, top, fade)

        taught, told = critic_loss(judging, ask, true, made.detach())
        self.descend(critic, taught, batch_idx)
        if (steps_taken(self.trainer, self, batch_idx) + 1) % self.config.critic_steps == 0:
            fake = answers(ask(made))
            with torch.no_grad():
                real = answers(ask(true)) if are_relative(judging) else fake
            total, parts = passing_loss(judging, fake, real)
            self.descend(maker, total, batch_idx)
            told |= {"loss": total, **parts}
        self.tell({**told, "level": true.new_tensor(top + fade)})

    def on_validation_epoch_start(self) -> None:
        """Forget the images of the last epoch."""
        self._seen = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the true images."""
        if sum(map(len, self._seen)) < SHOWN:
            self._seen.append(truth_of(batch))

    def on_validation_epoch_end(self) -> None:
        """Log how far as many made images are from the true ones."""
        true = torch.cat(self._seen)
        indices = torch.arange(len(true))
        made = torch.cat([self.sample(some, 0, self.device) for some in indices.split(64)])
        self.log("val/distance", sliced_wasserstein(true, made), sync_dist=True)
        self._seen = []

    @torch.no_grad()
    def sample(self, indices: Tensor, seed: int, device: torch.device, condition: Batch | None = None) -> Tensor:
        """Make images of numbers that belong to the indices; of what the training's are of, unless it is said."""
        numbers = noise_of(seed, indices, (self.config.latents,), device)
        asked = self.whole_condition(indices, seed, device, condition)
        return self.lower(self.make(numbers, asked, self.critic.count - 1, 1.0)).float()


def _moved(picture: Tensor, part: float) -> Tensor:
    """Move each image by chance, at most by `part` of a side, filling with the background's 0: section 3 of [4]_."""
    if part == 0:
        return picture
    batch, _, height, width = picture.shape
    down, right = (
        ((torch.rand(batch, device=picture.device) * 2 - 1) * part * side).round().long() for side in (height, width)
    )
    rows = torch.arange(height, device=picture.device) - down[:, None]  # (B, H)
    columns = torch.arange(width, device=picture.device) - right[:, None]
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None, :]
    places = torch.arange(batch, device=picture.device)[:, None, None]
    moved = picture[places, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]].permute(
        0, 3, 1, 2
    )
    return torch.where(inside, moved, 0.0)
