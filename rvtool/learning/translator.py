"""What translators share: images made of images, under pixel losses and against a critic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch, LossContext, Side
from rvtool.learning.critic import answers, are_relative, critic_loss, passing_loss
from rvtool.learning.model import Model
from rvtool.learning.physical import FARTHEST, mean_psnr

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning.config import AdversarialConfig
    from rvtool.learning.losses import Losses, Part


class Translator(Model):
    """Makes the target ``(B, C', H', W')`` of an image ``(B, C, H, W)``: a subclass builds `generator` and `critic`.

    Generator and critic have an optimiser each. A step first teaches the critic to tell true targets from made ones,
    then the generator to be near the truth (``reconstruction``, ``perceptual``) and to pass for it (``adversarial``,
    ``features``). In the first part of the epochs, `config.pretrain`, the critic is left out.

    Attributes
    ----------
    generator
        ``(B, C, H, W) -> (B, C', H', W')``, both stretched.
    critic
        ``(image, picture) -> Judged``: what it makes of a target, true or made, beside the image.
    reach
        How far from a pixel of the image what is made of it can depend on others, px; None where it depends on the
        whole image.
    grid
        What the sides of an image should be a multiple of, so that nothing is padded, px.

    Raises
    ------
    DataError
        The data has no targets, or of another size than the model can make.
    """

    task = "translation"
    roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "reconstruction": ("l1:100",),
        "perceptual": (),
        "adversarial": ("lsgan",),
        "features": (),
    }
    monitor = ("val/loss", "min")
    shown = "val/psnr"
    stretch: ClassVar[dict[str, Any]] = {"kind": "asinh", "scale": "train"}
    config: AdversarialConfig
    reach: int | None = None
    grid: int = 1
    generator: nn.Module
    critic: nn.Module

    def __init__(self, config: AdversarialConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        self.automatic_optimization = False
        if data.target is None:
            raise DataError("A translator learns from pairs, and these images have no targets (column 'target_path').")
        if not any(part.weight for role in self.roles for part in losses.of(role)):
            raise ConfigError("All losses have the weight 0, so that nothing would be learnt; give one another weight.")

        features, judged = (any(part.weight for part in losses.of(role)) for role in ("features", "adversarial"))
        if features and not judged:
            raise ConfigError(
                "The critic's features mean nothing unless it learns; give an adversarial loss a weight too."
            )

    @property
    def backbone(self) -> list[nn.Module]:
        """All of the generator: a network that learnt on simulated pairs goes on with real ones."""
        return list(self.generator.children())

    @property
    def target(self) -> Side:
        """The side that is made."""
        assert self.data.target is not None
        return self.data.target

    @property
    def factor(self) -> int:
        """How many times finer the target's pixels are, a whole number.

        Raises
        ------
        DataError
            It is none, or not the same along both axes.
        """
        have, want = self.data.image, self.target
        factor, rest = divmod(want.height, have.height)
        if rest or factor < 1 or have.width * factor != want.width:
            raise DataError(
                f"Targets of {want.width}x{want.height} px are no whole multiple of images of {have.width}x"
                f"{have.height} px; cut or resample one of them."
            )
        return factor

    def forward(self, image: Tensor) -> Tensor:
        """Return the stretched target of stretched images."""
        made: Tensor = self.generator(image.to(memory_format=torch.channels_last))
        return made

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Make Adam for the generator and for the critic."""
        config = self.config
        # quicker, but it would undo the scale of 16-bit gradients itself, after they were clipped
        fused = getattr(self._trainer, "precision", "") != "16-mixed"
        return [
            torch.optim.Adam(module.parameters(), lr=rate, betas=(config.beta1, 0.999), fused=fused)
            for module, rate in (
                (self.generator, config.learning_rate),
                (self.critic, config.learning_rate * config.critic_rate),
            )
        ]

    @property
    def judged_from_epoch(self) -> int:
        """The first epoch with a critic: only epochs from it on are compared with each other."""
        return int(self.config.pretrain * (self.trainer.max_epochs or 0)) if self._critical else 0

    @property
    def _judging(self) -> list[Part]:
        return [part for part in self.losses.of("adversarial") if part.weight]

    @property
    def _critical(self) -> bool:
        return bool(self._judging)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Teach the critic, once it takes part, and then the generator."""
        optimizers: Any = self.optimizers()
        generator, critic = optimizers
        made = self._known(self(batch["image"]), batch)
        judges = self._critical and self.current_epoch >= self.judged_from_epoch
        if judges:
            self.descend(critic, self._critic_loss(batch, made.detach()), batch_idx)
        loss, parts = self._near(batch, made)
        self.critic.requires_grad_(False)  # its gradients of the generator's loss would be thrown away
        if judges:
            passing, further = self._passing(batch, made)
            loss, parts = loss + passing, {**parts, **further}
        self.descend(generator, loss, batch_idx)
        self.critic.requires_grad_(True)
        self._tell({"loss": loss.detach(), **parts})

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log how far from the truth the validation images are."""
        made = self._known(self(batch["image"]), batch)
        loss, parts = self._near(batch, made)
        size = len(made)
        for name, value in {"loss": loss, **parts, "psnr": self._psnr(batch, made)}.items():
            self.log(f"val/{name}", value, batch_size=size, sync_dist=True)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return the stretched targets of a batch."""
        return self(batch["image"]).float()

    def _known(self, made: Tensor, batch: Batch) -> Tensor:
        """Blank what is not known of the target, so that nobody can tell truth and made by it."""
        return torch.where(batch["target_mask"], made, torch.zeros_like(made)) if "target_mask" in batch else made

    def _near(self, batch: Batch, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the losses that compare with the truth, and each by name."""
        context = LossContext(batch, self.physical(batch, made))
        total = made.new_zeros(())
        found: dict[str, Tensor] = {}
        for role in ("reconstruction", "perceptual"):
            loss, parts = self.losses(role, made, batch["target"], context)
            total, found = total + loss, {**found, **parts}
        return total, found

    def physical(self, batch: Batch, made: Tensor) -> Batch | None:
        """Return what is made, the truth and the image in their physical units; None where that cannot be had."""
        prepare = self.prepare
        if prepare is None or prepare.target is None or not prepare.target.invertible:
            return None
        return {
            "prediction": prepare.restore(made.clamp(-FARTHEST, FARTHEST), batch),
            "target": prepare.restore(batch["target"], batch),
            "image": prepare.image.invert(batch["image"].float(), batch["image_statistics"]),
        }

    def _critic_loss(self, batch: Batch, made: Tensor) -> Tensor:
        """Return what the critic learns from: true targets and made ones beside the images that they belong to."""
        image = batch["image"]
        total, told = critic_loss(self._judging, lambda picture: self.critic(image, picture), batch["target"], made)
        self._tell(told)
        return total

    def _passing(self, batch: Batch, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the losses of what is made in the eyes of the critic, and each by name."""
        fake = self.critic(batch["image"], made)
        real = fake
        judging = self.losses.of("adversarial")
        if are_relative(judging) or self.losses.of("features"):
            with torch.no_grad():
                real = self.critic(batch["image"], batch["target"])
        total, found = passing_loss(judging, answers(fake), answers(real))
        layers = [[scale[:-1] for scale in judged] for judged in (fake, real)]
        for part in self.losses.of("features"):
            value = part.loss(*layers, LossContext(batch))
            total, found[part.name] = total + part.weight * value, value.detach()
        return total, found

    def _psnr(self, batch: Batch, made: Tensor) -> Tensor:
        """Return the mean peak signal-to-noise ratio, dB, of the physical images, each with its own peak as range."""
        physical = self.physical(batch, made) or {"prediction": made, "target": batch["target"]}
        known = batch.get("target_mask", torch.ones_like(made[:, :1], dtype=torch.bool))
        return mean_psnr(physical["prediction"], physical["target"], known)

    def _tell(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.log(f"train/{name}", value, on_step=True, on_epoch=False)
