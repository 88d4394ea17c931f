"""What autoencoders share: images as maps of symbols under a prior, what that costs, and images of them again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.coding.maps import Prior
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch, LossContext
from rvtool.learning.model import Model
from rvtool.learning.physical import FARTHEST, FARTHEST_NOISE, mean_psnr

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo, Side
    from rvtool.learning.config import ModelConfig
    from rvtool.learning.losses import Losses

RINGS, RING_PX, WAVES = 6, 8.0, 4  # where features look, and how finely around the middle
LEAST_POWER = 1e-4  # of a latent, that of one that never leaves its usual value


class Autoencoder(Model):
    """Makes latents of images, symbols of latents, and images again; where the data has targets, those.

    A subclass builds `encoder` and `decoder`, calls `lay_out` once it knows its maps, offers `latents`, `quantise`,
    `restore`, `decode` and `pass_on`, and says in `judge` what a training step minimises. Everything is convolutional,
    so that images of any size do; they are continued at the right and at the bottom to whole cells.

    Attributes
    ----------
    cell
        Side of the square of pixels that a place of the maps stands for.
    maps, alphabet, open
        How many maps of symbols there are, how many symbols, and whether there are others (`rvtool.coding.maps.Prior`).
    log_sigma
        Logarithm of the standard deviation of the Gaussian likelihood, in stretched units: measured on the training
        images, or learnt.

    Raises
    ------
    DataError
        Targets are of another size or have other channels than the images.
    """

    task = "autoencoding"
    roles: ClassVar[dict[str, tuple[str, ...]]] = {"reconstruction": ("mse",), "perceptual": ()}
    monitor = ("val/loss", "min")
    shown = "val/psnr"
    any_size = True
    # brightness in units of the image's own noise: linear in it up to 20 times, then logarithmic
    stretch: ClassVar[dict[str, Any]] = {"kind": "asinh", "scale": "noise", "softening": 20.0}
    encoder: nn.Module
    decoder: nn.Module
    cell: int
    maps: int
    alphabet: int
    open: bool
    log_sigma: Tensor
    prior_classes: Tensor
    prior_tables: Tensor

    def __init__(self, config: ModelConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        image, target = data.image, data.target
        if target is not None and (image.height, image.width) != (target.height, target.width):
            raise DataError(
                f"Targets of {target.width}x{target.height} px are no cleaner images of {image.width}x{image.height} "
                "px; an autoencoder makes both on one grid, a translator (srgan) finer ones."
            )
        if not any(part.weight for part in losses.of("reconstruction")):
            raise ConfigError("No loss compares with the image; give one for reconstruction a weight (--loss mse).")

    def lay_out(self, cell: int, maps: int, alphabet: int, *, open: bool) -> None:
        """Say how images become maps of symbols, and make room for what `settle` learns of these.

        Parameters
        ----------
        alphabet
            How many symbols there are, from 0 on; or, where it is `open`, how many whole numbers about 0 are common.
        """
        self.cell, self.maps, self.alphabet, self.open = cell, maps, alphabet, open
        flat = Prior.flat(maps, alphabet, open=open)
        self.register_buffer("prior_classes", torch.from_numpy(flat.classes.astype(np.uint8)))
        self.register_buffer("prior_tables", torch.from_numpy(flat.tables))

    @property
    def networks(self) -> list[nn.Module]:
        """Encoder and decoder; what counts codes on the way stays as it is."""
        return [self.encoder, self.decoder]

    @property
    def factor(self) -> int:
        """How many times finer the pixels are that are made."""
        return 1

    @property
    def grid(self) -> int:
        """What the sides of an image should be a multiple of, so that nothing is continued, px."""
        return self.cell

    @property
    def reach(self) -> int | None:
        """How far from a pixel of the image what is made of it can depend on others, px; None: on the whole image."""
        return None

    @property
    def made(self) -> Side:
        """The side that is made: cleaner images where the data has them, else the image itself."""
        return self.data.target or self.data.image

    @property
    def prior(self) -> Prior:
        """How probable symbols are."""
        classes, tables = self.prior_classes.cpu().numpy().astype(np.int64), self.prior_tables.cpu().numpy()
        return Prior(classes, tables, self.open)

    # ---------------------------------------------------------------- what a subclass offers

    def latents(self, image: Tensor) -> Tensor:
        """Return ``(B, D, h, w)`` of images whose sides are whole cells."""
        raise NotImplementedError

    def quantise(self, latents: Tensor) -> Tensor:
        """Return the symbols ``(B, maps, h, w)`` int64 of latents."""
        raise NotImplementedError

    def restore(self, symbols: Tensor) -> Tensor:
        """Return the latents that symbols stand for."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Return stretched images ``(B, C, cell h, cell w)``."""
        raise NotImplementedError

    def pass_on(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents as the decoder gets them in training, drawn or quantised, and what they cost, nats ``(B,)``.

        The cost is a bound that holds for the model as it is: a divergence from the prior, or the length of a code.
        """
        raise NotImplementedError

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return what is made of a batch, what a training step minimises, and its parts by name."""
        raise NotImplementedError

    # ---------------------------------------------------------------- what all do

    def whole(self, image: Tensor) -> Tensor:
        """Continue images to whole cells by their last lines and columns."""
        return continued(image, self.cell)

    def encode(self, image: Tensor) -> Tensor:
        """Return the latents ``(B, D, h, w)`` of stretched images of any size."""
        return self.latents(self.whole(image))

    def symbols(self, image: Tensor) -> Tensor:
        """Return the symbols ``(B, maps, h, w)`` of stretched images of any size."""
        return self.quantise(self.encode(image))

    def image_of(self, latents: Tensor, shape: Sequence[int]) -> Tensor:
        """Decode, and cut off what the images of this shape, ``(..., H, W)``, were continued by."""
        return self.decode(latents)[..., : shape[-2], : shape[-1]]

    def forward(self, image: Tensor) -> Tensor:
        """Return what is made of stretched images without drawing or rounding anything that need not be."""
        return self.image_of(self.encode(image), image.shape)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return the stretched images that are made of a batch."""
        return self(batch["image"]).float()

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return what an image holds and where, ``(B, D + RINGS (WAVES + 1))``, alike however it is turned.

        First the logarithm of each latent's power, its mean square about its median over the places. Then the strength
        of all latents at a place, asinh of the root of their summed squares, about the image's middle: on rings
        `RING_PX` apart its mean, and the size of its waves exp(i m phi) around them, m up to `WAVES`. Two lobes
        opposite each other are m = 2, a bend is m = 1 and 3.
        """
        height, width = batch["image"].shape[-2:]
        latents = self.encode(batch["image"]).float()
        squares = (latents - latents.flatten(2).median(dim=2).values[..., None, None]).square()
        powers = (squares.mean(dim=(2, 3)) + LEAST_POWER).log()
        down, right = (
            torch.arange(count, device=latents.device) * self.cell - (side - self.cell) / 2
            for count, side in zip(latents.shape[-2:], (height, width), strict=True)
        )  # px from the middle of the image to those of the cells
        radius, angle = torch.hypot(down[:, None], right), torch.atan2(down[:, None], right)
        rings = torch.arange(RINGS, device=latents.device)[:, None, None]
        near = (1 - (radius / RING_PX - rings).abs()).clamp_min(0)  # (RINGS, h, w)
        near = near / near.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        waves = torch.polar(near[:, None], torch.arange(WAVES + 1, device=latents.device)[:, None, None] * angle)
        strength = squares.sum(dim=1).sqrt().asinh().to(waves.dtype)
        around = torch.einsum("rmhw,bhw->brm", waves, strength).abs()
        return torch.cat([powers, around.flatten(1)], dim=1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return what a step minimises."""
        _, total, parts = self.judge(batch)
        self.tell({"loss": total.detach(), **parts})
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss, its parts, and how near the physical images are."""
        made, total, parts = self.judge(batch)
        for name, value in {"loss": total, **parts, "psnr": self.psnr(batch, made)}.items():
            self.log(f"val/{name}", value, batch_size=len(made), sync_dist=True)

    def tell(self, values: dict[str, Tensor]) -> None:
        """Log values of a training step."""
        for name, value in values.items():
            self.log(f"train/{name}", value, on_step=True, on_epoch=False)

    def near(self, batch: Batch, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted losses that compare with the truth, a mean over pixels, and each by name."""
        context = LossContext(batch, self.physical(batch, made))
        total = made.new_zeros(())
        found: dict[str, Tensor] = {}
        for role in ("reconstruction", "perceptual"):
            loss, parts = self.losses(role, made, truth_of(batch), context)
            total, found = total + loss, {**found, **parts}
        return total, found

    def physical(self, batch: Batch, made: Tensor) -> Batch | None:
        """Return what is made, the truth and the image in their physical units; None where that cannot be had."""
        prepare = self.prepare
        if prepare is None or not (prepare.target or prepare.image).invertible:
            return None
        image = prepare.image.invert(batch["image"].float(), batch["image_statistics"])
        farthest = FARTHEST_NOISE if prepare.image.settings.scale == "noise" else FARTHEST
        made = prepare.restore(made.float().clamp(-farthest, farthest), batch)
        return {"prediction": made, "target": prepare.restore(truth_of(batch), batch), "image": image}

    def psnr(self, batch: Batch, made: Tensor) -> Tensor:
        """Return the mean peak signal-to-noise ratio, dB, of the physical images."""
        physical = self.physical(batch, made) or {"prediction": made, "target": truth_of(batch)}
        return mean_psnr(physical["prediction"], physical["target"], known_of(batch))

    @torch.no_grad()
    def nats(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bound the negative log-likelihood of stretched images: what the latents cost and what is then missing.

        The likelihood is a normal distribution of deviation ``exp(log_sigma)`` about what is made, for each known
        pixel. For a variational model this is the negative evidence lower bound of Kingma & Welling 2014, eq. 3
        (arXiv:1312.6114), with one draw.

        Returns
        -------
        latents, pixels : (B,), nats
        """
        image = batch["image"]
        latents, cost = self.pass_on(self.whole(image))
        made = self.image_of(latents, image.shape)
        sigma = self.log_sigma.exp()
        errors = (made - truth_of(batch)).float() / sigma
        each = 0.5 * (errors.square() + math.log(2 * math.pi)) + self.log_sigma
        known = known_of(batch).expand_as(each)
        return cost, torch.where(known, each, 0.0).flatten(1).sum(1)

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Measure on training images what is measured once a training is done: the prior, and the likelihood's width.

        Parameters
        ----------
        batches
            Serves prepared batches, as often as it is called.
        """
        maps: list[np.ndarray] = []
        squares, count = 0.0, 0
        for batch in batches():
            image = batch["image"]
            symbols = self.symbols(image)
            maps += list(symbols.cpu().numpy().astype(np.int32))
            made = self.image_of(self.restore(symbols), image.shape)
            known = known_of(batch).expand_as(made)
            squares += float(((made - truth_of(batch)).double().square() * known).sum())
            count += int(known.sum())
        prior = Prior.fitted(maps, self.alphabet, open=self.open)
        self.prior_classes.copy_(torch.from_numpy(prior.classes.astype(np.uint8)))
        self.prior_tables.copy_(torch.from_numpy(prior.tables))
        if not self.log_sigma.requires_grad:
            self.log_sigma.fill_(0.5 * math.log(max(squares / max(count, 1), 1e-12)))


def continued(image: Tensor, cell: int) -> Tensor:
    """Continue images by their last lines and columns until their sides are multiples of a cell, px."""
    lacks = [-side % cell for side in image.shape[-2:]]
    return functional.pad(image, (0, lacks[1], 0, lacks[0]), mode="replicate") if any(lacks) else image


def truth_of(batch: Batch) -> Tensor:
    """Return what an autoencoder is to make: the target where there is one, else the image."""
    return batch.get("target", batch["image"])


def known_of(batch: Batch) -> Tensor:
    """Return where that is known, ``(B, 1, H, W)``."""
    return batch["target_mask"] if "target" in batch else batch["mask"]
