"""Bootstrap your own latent: a network learns to foresee what a slower copy of it makes of another view of an image.

References
----------
.. [1] Grill et al. 2020, arXiv:2006.07733
.. [2] Slijepcevic et al. 2024, RASTI 3, 19, arXiv:2305.16127 (radio galaxies)
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.learning import Model, borrow_network

if TYPE_CHECKING:
    from rvtool.kinds import Batch, DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.byol import ByolConfig


def perceptron(before: int, hidden: int, after: int) -> nn.Sequential:
    """Return the two dense layers of projector and predictor (appendix F.1 of [1]_)."""
    return nn.Sequential(
        nn.Linear(before, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, after)
    )


class Byol(Model):
    """An online network with projector and predictor, and a target network that follows it.

    The online network sees one augmented view of an image and predicts the target's projection of the other, in both
    directions. The target's weights are an exponential mean of the online ones, and get no gradient. The run's weights
    have the names of the encoder's own, so that ``rvtool train ENCODER --from RUN`` takes them.

    The loss says nothing of how useful the features are, and is least where all images give the same: so the last
    weights are kept, and ``val/spread`` tells how far apart projections lie (1: in all directions, 0: collapsed).
    """

    task = "self-supervision"
    monitor = ("val/epochs", "max")  # the last is best: the loss tells nothing of the use of the features
    shown = "val/loss"
    views: ClassVar[int] = 2
    stretch: ClassVar[dict[str, Any]] = {
        "crop": 160,
        "clip_sigma": 3.0,
        "clip_to": "level",
        "kind": "asinh",
        "scale": "image",
    }
    exempt: ClassVar[dict[str, str]] = {
        "gradients": "the target network follows the online one and has no gradient",
        "learns": "it compares two augmented views, and what it monitors is how long it has learnt",
    }
    config: ByolConfig

    def __init__(self, config: ByolConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        settings = dict(word.partition("=")[::2] for word in config.encoder_settings.split())
        self.network, features, layers = borrow_network(config.encoder, settings, data)
        self.layers = layers
        self.projector = perceptron(features, config.hidden, config.projection)
        self.predictor = perceptron(config.projection, config.hidden, config.projection)
        self.target = copy.deepcopy(nn.Sequential(self.network, self.projector)).requires_grad_(False)

    @property
    def backbone(self) -> list[nn.Module]:
        """The encoder's."""
        return [self.network.get_submodule(name) for name in self.layers]

    def forward(self, image: Tensor) -> Tensor:
        """Return features ``(B, F)`` of stretched images ``(B, C, H, W)``."""
        return self.network(image.to(memory_format=torch.channels_last)).flatten(1)

    def _compare(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss (eq. 2 of [1]_, both ways) and the spread of the projections."""
        one, other = batch["image"], batch.get("view", batch["image"])
        online = [self.projector(self(view)) for view in (one, other)]
        with torch.no_grad():
            aims = [self.target(view.to(memory_format=torch.channels_last)) for view in (other, one)]
        pairs = zip(online, aims, strict=True)
        losses = [2 - 2 * functional.cosine_similarity(self.predictor(seen), aim) for seen, aim in pairs]
        directions = functional.normalize(online[0].detach().float(), dim=1)
        return torch.stack(losses).mean(), directions.std(dim=0).mean() * math.sqrt(directions.shape[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of two views of a batch."""
        loss, spread = self._compare(batch)
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=False)
        self.log("train/spread", spread, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and spread of two views of the validation images, and how long the training has gone on."""
        loss, spread = self._compare(batch)
        size = len(batch["image"])
        self.log("val/loss", loss, batch_size=size, sync_dist=True)
        self.log("val/spread", spread, batch_size=size, sync_dist=True)
        self.log("val/epochs", float(self.current_epoch + 1), batch_size=size, sync_dist=True)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the target follow: its decay climbs from the config's to 1 as half a cosine (section 3.2 of [1]_)."""
        done = self.global_step / max(self.trainer.estimated_stepping_batches, 1)
        decay = 1 - (1 - self.config.momentum) * (math.cos(math.pi * min(done, 1.0)) + 1) / 2
        online = nn.Sequential(self.network, self.projector)
        with torch.no_grad():
            for follower, leader in zip(self.target.parameters(), online.parameters(), strict=True):
                follower.lerp_(leader, 1 - decay)

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return the encoder's features ``(B, F)``."""
        return self(batch["image"])
