"""Diffusion in the latents of a first stage, or in pixels: from noise to an image in a few steps.

References
----------
.. [1] Rombach et al. 2022, latent diffusion, arXiv:2112.10752
.. [2] Ho & Salimans 2022, classifier-free guidance, arXiv:2207.12598 (eq. 6)
.. [3] Wang et al. 2024, RadioDiff, arXiv:2408.08593
.. [4] Lugmayr et al. 2022, RePaint, arXiv:2201.09865 (known pixels, eq. 8)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch
from rvtool.learning import Autoencoder, borrow_autoencoder
from rvtool.learning.autoencoder import continued, known_of, truth_of
from rvtool.learning.generator import Asked, Generator, noise_of
from rvtool_plugins.models.latent_diffusion.network import Network
from rvtool_plugins.models.latent_diffusion.processes import LEAST_TIME, PROCESSES

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.latent_diffusion import LatentDiffusionConfig

Told = tuple[Tensor, list[Tensor] | None]
"""A vector of what is asked for, and maps of the image that is conditioned on, of each level."""

TIMES = 4  # at which validation looks at each image


@dataclass(frozen=True)
class _Way:
    """Which images are made ``(B,)``, of what seed, where, what they are of, and their sides, px."""

    indices: Tensor
    seed: int
    device: torch.device
    asked: Batch
    shape: tuple[int, int]


class LatentDiffusion(Generator):
    """Learns what noise has taken from images, and makes images of noise by it.

    The network works on maps: the latents of a first stage, which is kept as it is, or squares of `patch` pixels as
    channels. Maps are brought to mean 0 and deviation 1 by what the first batch has.

    `predict` completes and cleans images that have no target: unknown pixels are made, noise is taken out from the time
    on at which the process has as much of it. With targets it makes them of images.

    Raises
    ------
    ConfigError
        The first stage takes other images.
    """

    monitor: ClassVar[tuple[str, str]] = ("val/loss", "min")
    any_size: ClassVar[bool] = True
    config: LatentDiffusionConfig
    begun: Tensor
    means: Tensor
    stds: Tensor

    def __init__(self, config: LatentDiffusionConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        self.process = PROCESSES[config.objective]
        self.first_stage = _first_stage(config.first_stage, self.made.channels)
        self.cell = self.first_stage.cell if self.first_stage is not None else config.patch
        channels = self.made.channels * config.patch**2
        if self.first_stage is not None:
            with torch.no_grad():
                channels = self.first_stage.encode(torch.zeros(1, self.made.channels, self.cell, self.cell)).shape[1]
        conditioned = data.image.channels + 1 if data.target is not None else 0  # and where it is known
        if conditioned and self.factor > 1:
            raise ConfigError(
                f"latent-diffusion makes images as fine as those that it is given, and these targets have "
                f"{self.factor} times as many pixels along a side; use a translator (srgan)."
            )
        self.network = Network(channels, conditioned, self.cell, self.process.outputs, config)
        asked = Asked(self.classes, data, self.network.told_width)
        self.asked_of = asked if asked else None
        self.register_buffer("begun", torch.tensor(False))
        self.register_buffer("means", torch.zeros(channels))
        self.register_buffer("stds", torch.ones(channels))

    @classmethod
    def stretch_of(cls, config: Any) -> dict[str, Any]:
        """Return the stretch of the first stage, whose latents are of such images."""
        return json.loads(config.first_stage)["stretch"] if config.first_stage else cls.stretch

    @property
    def networks(self) -> list[nn.Module]:
        """The network and what looks at images, alone: a first stage is not trained."""
        return [part for part in (self.network, self.network.encoder) if part is not None]

    @property
    def grid(self) -> int:
        """What the sides of an image should be a multiple of, px."""
        return self.cell * 2 ** (self.config.levels - 1)

    @property
    def reach(self) -> int | None:
        """Every pixel depends on the whole image."""
        return None

    def start(self) -> str:
        """Take the first stage's weights out of its run."""
        if self.first_stage is None:
            return ""
        from rvtool import load_run

        run = load_run(json.loads(self.config.first_stage)["run"])
        if self.prepare is not None:
            side = self.prepare.image if self.data.target is None else self.prepare.target
            mine, its = ({**one.settings.model_dump(), "crop": 0, "resize": 0} for one in (side, run.stretch))  # type: ignore[union-attr]
            if mine != its:
                other = ", ".join(f"--{name.replace('_', '-')} {its[name]}" for name in its if its[name] != mine[name])
                raise ConfigError(f"{run.path} knows images of another stretch; train with {other}, as it was.")
        self.first_stage.load_state_dict(run.model.state_dict())
        return f"in the latents of {run.path}"

    # ---------------------------------------------------------------- maps of images

    def maps(self, image: Tensor) -> Tensor:
        """Return maps ``(B, C, h, w)`` of stretched images, as they are."""
        whole = continued(image, self.grid)
        if self.first_stage is None:
            return functional.pixel_unshuffle(self.lift(whole), self.config.patch)
        with torch.no_grad():
            return self.first_stage.encode(whole)

    def images(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        """Return stretched images of normalised maps."""
        maps = maps * self.stds[:, None, None] + self.means[:, None, None]
        if self.first_stage is None:
            made = self.lower(self.snap(functional.pixel_shuffle(maps, self.config.patch)))
        else:
            made = self.cut_off(self.first_stage.decode(maps))
        return made[..., : shape[0], : shape[1]].float()

    def normal(self, maps: Tensor) -> Tensor:
        """Bring maps to mean 0 and deviation 1."""
        return (maps - self.means[:, None, None]) / self.stds[:, None, None]

    @torch.no_grad()
    def _begin(self, maps: Tensor) -> None:
        """Measure the maps of the first batch; squares of pixels are alike wherever in the square."""
        if bool(self.begun):
            return
        parts = maps.float().transpose(0, 1).flatten(1)  # (C, everything)
        if self.first_stage is None:
            parts = parts.reshape(self.made.channels, -1)
        each = len(self.means) // len(parts)
        self.means.copy_(parts.mean(1).repeat_interleave(each))
        self.stds.copy_(parts.std(1).clamp_min(1e-6).repeat_interleave(each))
        self.begun.fill_(True)

    # ---------------------------------------------------------------- learning

    def told(self, condition: Batch, dropped: Tensor) -> Told:
        """Return what the network is told of a condition, whatever the time; of images ``(B,)`` that are dropped, none.

        A vector of class and numbers, and maps of the image with where it is known, of each level.
        """
        asked = self.asked_of(condition, dropped) if self.asked_of is not None else self.means.new_zeros(())
        if self.network.encoder is None:
            return asked, None
        image = torch.cat([condition["image"], condition["mask"].to(condition["image"])], dim=1)
        known = (~dropped).to(image)[:, None, None, None]
        return asked, self.network.encoder(continued(image, self.grid) * known)

    def estimate(self, seen: Tensor, time: Tensor, told: Told) -> tuple[Tensor, Tensor, Tensor]:
        """Return the estimates of maps and noise, and what the network made."""
        inner, ratio = self.process.inner(seen, time)
        made = self.network(inner, ratio, *told).float()
        return *self.process.estimates(seen, made, time), made

    def _loss(self, batch: Batch, maps: Tensor, noise: Tensor, even: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared difference of what the network makes from its aim, and each image's error."""
        time = self.process.draw(even)
        seen = self.process.noisy(maps, noise, time)
        found, _, made = self.estimate(seen, time, self.told(batch, dropped))
        loss = functional.mse_loss(made, self.process.aims(maps, noise, time))
        return loss, (found - maps).square().mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return what a step minimises."""
        self.observe(batch)
        maps = self.maps(truth_of(batch)).float()
        self._begin(maps)
        maps = self.normal(maps)
        even = torch.rand(len(maps), device=maps.device)
        even = (torch.arange(len(maps), device=maps.device) + even) / len(maps)  # each batch sees all times
        dropped = torch.rand(len(maps), device=maps.device) < self.config.drop_condition
        loss, error = self._loss(batch, maps, torch.randn_like(maps), even, dropped)
        self.tell({"loss": loss, "map-error": error})
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss at fixed times, with each image's own noise."""
        maps = self.maps(truth_of(batch)).float()
        self._begin(maps)
        maps = self.normal(maps)
        dropped = torch.zeros(len(maps), dtype=torch.bool, device=maps.device)
        losses = []
        for number in range(TIMES):
            noise = noise_of(0, batch["index"], tuple(maps.shape[1:]), maps.device, number)
            even = torch.full((len(maps),), (number + 0.5) / TIMES, device=maps.device)
            losses.append(self._loss(batch, maps, noise, even, dropped)[0])
        self.log("val/loss", torch.stack(losses).mean(), batch_size=len(maps), sync_dist=True)
        if self.data.target is not None:
            made, truth = self.sample(batch["index"], 0, self.device, batch), truth_of(batch)
            wrong = (made - truth).square() * known_of(batch)
            self.log("val/rmse", wrong.mean().sqrt(), batch_size=len(maps), sync_dist=True)

    # ---------------------------------------------------------------- making images

    @torch.no_grad()
    def sample(self, indices: Tensor, seed: int, device: torch.device, condition: Batch | None = None) -> Tensor:
        """Make images of noise that belongs to the indices, in `config.sampling_steps` steps."""
        asked = self.whole_condition(indices, seed, device, condition)
        side: Sequence[int] = (self.made.height, self.made.width)
        if self.data.target is not None:
            side = asked["image"].shape[-2:]
        shape = (side[0], side[1])
        maps = self._follow(_Way(indices, seed, device, asked, shape), self.process.times(self.config.sampling_steps))
        return self.images(maps, shape)

    @torch.no_grad()
    def predict(self, batch: Batch, seed: int = 0) -> Tensor:
        """Make the targets of images, or complete and clean the images themselves."""
        image = batch["image"]
        indices = torch.arange(len(image))
        if self.data.target is not None:
            return self.sample(indices, seed, image.device, batch)
        if self.first_stage is not None:
            raise DataError(
                "A diffusion in latents has no pixels to keep or to clean; train one without --first-stage."
            )
        asked = self.whole_condition(indices, seed, image.device, batch)
        known = self.maps(batch["mask"].expand_as(image).float()) > 0.5
        given = self.normal(self.maps(image))
        noise = self._noise_of(batch)
        shape = (image.shape[-2], image.shape[-1])
        maps = torch.cat(
            [
                self._complete(_Way(indices[[row]], seed, image.device, _row(asked, row), shape), *one)
                for row, one in enumerate(zip(given.split(1), known.split(1), noise.tolist(), strict=True))
            ]
        )
        return self.images(maps, image.shape[-2:])

    def _noise_of(self, batch: Batch) -> Tensor:
        """Return the deviation of each image's noise ``(B,)``, in normalised maps."""
        if self.prepare is None:
            return torch.zeros(len(batch["image"]))
        statistics = batch["image_statistics"].float()
        above = torch.stack([statistics[:, 1], 0 * statistics[:, 1]], dim=1)
        levels = statistics[:, :1] + above
        both = self.prepare.image.apply(levels[:, None, None, :].float(), statistics)[:, 0, 0]
        return (both[:, 0] - both[:, 1]).abs() / float(self.stds.mean())

    def _complete(self, way: _Way, given: Tensor, known: Tensor, noise: float) -> Tensor:
        """Make what is not known, and take the noise out of what is: eq. 8 of [4]_, with noise of its own kept."""
        process, steps = self.process, self.config.sampling_steps
        own = max(process.time_of(noise), LEAST_TIME)
        if bool(known.all()):
            return self._follow(way, [time * own for time in process.times(steps)], process.numbers(own)[0] * given)

        def keep(maps: Tensor, time: float, draw: int) -> Tensor:
            a, b = process.numbers(time)
            if time < own:
                return maps
            lacks = max(b**2 - (a * noise) ** 2, 0.0) ** 0.5  # noise that the given pixels do not have yet
            fresh = noise_of(way.seed, way.indices, tuple(maps.shape[1:]), maps.device, draw)
            return torch.where(known, a * given + lacks * fresh, maps)

        above = [own + (1 - own) * time for time in process.times(steps)]
        below = [own * time for time in process.times(math.ceil(own * steps))]
        return self._follow(way, [*above, *below[1:]], keep=keep)

    def _follow(
        self,
        way: _Way,
        times: Sequence[float],
        begin: Tensor | None = None,
        keep: Callable[[Tensor, float, int], Tensor] | None = None,
    ) -> Tensor:
        """Go from noise, or from maps at the first time, to maps at the last."""
        sides = [-(-side // self.grid) * self.grid // self.cell for side in way.shape]
        count = (len(self.means), *sides)
        dropped = torch.zeros(len(way.indices), dtype=torch.bool, device=way.device)
        told, untold = self.told(way.asked, dropped), None
        if self.config.guidance != 1 and (self.asked_of is not None or self.network.encoder is not None):
            untold = self.told(way.asked, ~dropped)
        maps = begin
        if maps is None:
            maps = noise_of(way.seed, way.indices, count, way.device) * self.process.numbers(times[0])[1]
        for number, (now, then) in enumerate(pairwise(times)):
            if keep is not None:
                maps = keep(maps, now, 2 * number + 2)
            found = self._guided(maps, torch.full((len(maps),), now, device=way.device), told, untold)
            fresh = torch.zeros_like(maps)
            if then > 0:
                fresh = noise_of(way.seed, way.indices, count, way.device, 2 * number + 1)
            maps = self.process.step(maps, found, (now, then), fresh)
        return maps

    def _guided(self, maps: Tensor, time: Tensor, told: Told, untold: Told | None) -> tuple[Tensor, Tensor]:
        """Return the estimates, moved from those without the condition through those with it: eq. 6 of [2]_."""
        found, noise, _ = self.estimate(maps, time, told)
        if untold is None:
            return found, noise
        without, other, _ = self.estimate(maps, time, untold)
        weight = self.config.guidance
        return without + weight * (found - without), other + weight * (noise - other)


def _first_stage(described: str, channels: int) -> Autoencoder | None:
    """Build the autoencoder that a run tells of, without its weights."""
    if not described:
        return None
    told = json.loads(described)
    stage = borrow_autoencoder(told["model"], told["config"], told["data_info"])
    have = stage.made.channels
    if have != channels:
        raise ConfigError(
            f"{told['run']} is of images of {have} channels, and these have {channels}; train one of these."
        )
    return stage


def _row(batch: Batch, row: int) -> Batch:
    return {name: value[row : row + 1] for name, value in batch.items()}
