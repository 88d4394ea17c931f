"""What generators share: what they are asked for, the clipped background, and how far what they make is from real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.data.chance import normal, uniform
from rvtool.kinds import Batch, Side
from rvtool.learning.autoencoder import truth_of
from rvtool.learning.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rvtool.kinds import DataInfo
    from rvtool.learning.config import ModelConfig
    from rvtool.learning.losses import Losses

EXAMPLES = 1024
"""How many of the training's conditions a generator remembers, to draw from."""

CLIPPED = 0.3  # part of the pixels that have one value, from which on a background counts as clipped
FAINTEST = 0.05  # quantile of the pixels above a clipped background: what is fainter in a made image falls to it
GAP = 0.2  # in stretched units, by which sources are lifted above it
DIRECTIONS, PATCH, SCALES = 128, 7, 3  # of the sliced Wasserstein distance


class Generator(Model):
    """Makes images by chance: of a class, with numbers that are asked for, or from another image.

    A subclass writes `sample`, and in its steps calls `observe` with each batch.

    What is asked for is a prepared batch: ``label (B,)`` where `config.by_class` and the data has classes,
    ``condition (B, P)`` in its own units, and ``image`` with ``mask`` where the data has targets, which are then made.

    Where many pixels of the training's images have the value 0, because their background was clipped, a network would
    have to hit 0 exactly, and an image whose background is full of small numbers looks like none. So what is not 0 is
    lifted by a gap before it is learnt (`lift`), which what is made falls into on neither side (`snap`), and lowered
    again (`lower`).
    """

    task = "generation"
    stretch: ClassVar[dict[str, Any]] = {"kind": "asinh", "scale": "train"}
    example_labels: Tensor
    example_numbers: Tensor
    observed: Tensor
    gap: Tensor
    least: Tensor

    def __init__(self, config: ModelConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        counts = torch.tensor(data.class_counts or [1], dtype=torch.float64)
        middles = (torch.arange(EXAMPLES, dtype=torch.float64) + 0.5) / EXAMPLES
        shares = (counts / counts.sum()).cumsum(0)
        self.register_buffer("example_labels", torch.searchsorted(shares, middles).clamp_max(len(counts) - 1))
        means = torch.tensor(data.condition_means).expand(EXAMPLES, -1)
        self.register_buffer("example_numbers", means.clone())
        self.register_buffer("observed", torch.tensor(False))
        self.register_buffer("gap", torch.zeros(()))
        self.register_buffer("least", torch.zeros(()))

    @property
    def made(self) -> Side:
        """The side that is made."""
        return self.data.target or self.data.image

    @property
    def classes(self) -> int:
        """Of how many classes images are made; 0 where classes do not matter."""
        by_class = getattr(self.config, "by_class", True)
        return len(self.data.classes) if by_class and self.data.class_counts else 0

    @property
    def factor(self) -> int:
        """How many times finer the pixels are that are made of an image's."""
        return max(1, self.made.height // self.data.image.height)

    def asked(self, indices: Tensor, seed: int) -> Batch:
        """Draw what images of these indices ``(B,)`` are of: classes and numbers as in the training."""
        place = (uniform(seed, indices.cpu(), 1)[:, 0] * EXAMPLES).long().to(self.example_labels.device)
        found: Batch = {}
        if self.classes:
            found["label"] = self.example_labels[place]
        if self.data.conditions:
            found["condition"] = self.example_numbers[place]
        return found

    def whole_condition(self, indices: Tensor, seed: int, device: torch.device, condition: Batch | None) -> Batch:
        """Return what is asked for, and of what is left open what is drawn (`asked`), on a device."""
        every = {**self.asked(indices, seed), **(condition or {})}
        return {name: value.to(device) for name, value in every.items()}

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Remember what the training images are of; without numbers the shares of classes, which are known, say it."""
        labels, numbers = [], []
        for batch in batches():
            numbers.append(batch["condition"])
            labels.append(batch.get("label", torch.zeros(len(numbers[-1]), dtype=torch.int64)))
        every = torch.cat(numbers)
        chosen = torch.randint(len(every), (EXAMPLES,))
        self.example_numbers.copy_(every[chosen])
        self.example_labels.copy_(torch.cat(labels)[chosen])

    # ---------------------------------------------------------------- a background that was clipped

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Measure on the first batch whether backgrounds are clipped, and what is the faintest that is not."""
        if bool(self.observed):
            return
        pixels = truth_of(batch).float()
        if (pixels == 0).float().mean() > CLIPPED and bool((pixels > 0).any()):
            self.gap.fill_(GAP)
            self.least.copy_(torch.quantile(pixels[pixels > 0][: 1 << 20], FAINTEST))
        self.observed.fill_(True)

    def lift(self, image: Tensor) -> Tensor:
        """Lift what is not background by the gap."""
        return torch.where(image > 0, image + self.gap, image) if bool(self.gap > 0) else image

    def snap(self, made: Tensor) -> Tensor:
        """Bring lifted pixels out of the gap, to its nearer end; slopes pass as if they had stayed."""
        if not bool(self.gap > 0):
            return made
        out = torch.where(made < self.gap / 2, 0.0, torch.maximum(made, self.gap))
        return made + (out - made).detach()

    def lower(self, made: Tensor) -> Tensor:
        """Undo `lift`."""
        return self.cut_off(torch.where(made > 0, made - self.gap, made)) if bool(self.gap > 0) else made

    def cut_off(self, made: Tensor) -> Tensor:
        """Bring what is fainter than sources are to the background, where that was clipped."""
        return torch.where(made < self.least, 0.0, made) if bool(self.gap > 0) else made

    def tell(self, values: dict[str, Tensor]) -> None:
        """Log values of a training step."""
        for name, value in values.items():
            self.log(f"train/{name}", value.detach(), on_step=True, on_epoch=False)


class Asked(nn.Module):
    """A vector ``(B, D)`` of the class and the numbers that an image is asked for.

    A class without a name, the last one of the table, and numbers of 0 stand for "whatever".
    """

    means: Tensor
    stds: Tensor

    def __init__(self, classes: int, data: DataInfo, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.of_class = nn.Embedding(classes + 1, width) if classes else None
        self.of_numbers = nn.Linear(2 * len(data.conditions), width) if data.conditions else None
        self.register_buffer("means", torch.tensor(data.condition_means))
        self.register_buffer("stds", torch.tensor(data.condition_stds))

    def __bool__(self) -> bool:
        """Tell whether anything can be asked for."""
        return self.of_class is not None or self.of_numbers is not None

    def forward(self, condition: Batch, dropped: Tensor) -> Tensor:
        """Return the vector; of images ``(B,)`` that are dropped, that of "whatever"."""
        total = torch.zeros((), device=dropped.device)
        if self.of_class is not None:
            total = total + self.of_class(torch.where(dropped, self.classes, condition["label"]))
        if self.of_numbers is not None:
            numbers = (condition["condition"] - self.means) / self.stds
            known = (~dropped).to(numbers)[:, None]
            total = total + self.of_numbers(torch.cat([numbers * known, known.expand_as(numbers)], dim=1))
        return total


def sliced_wasserstein(real: Tensor, made: Tensor, seed: int = 0) -> Tensor:
    """Return how far made images are from real ones: the sliced Wasserstein distance of their patches.

    Patches of 7 px, at three scales of a pyramid, are looked at along random directions; along each the distance of two
    sets of numbers is the mean difference of the sorted ones. As section 5 of [1]_, but for the images' own brightness
    instead of normalised patches, over the standard deviation of the real ones' at each scale; the mean of the scales.

    Parameters
    ----------
    real, made : (N, C, H, W) and (M, C, H, W)
        Stretched.

    References
    ----------
    .. [1] Karras et al. 2018, progressive growing of GANs, arXiv:1710.10196
    """
    found = []
    count = min(len(real), len(made))
    sets = [images[:count].float() for images in (real, made)]
    generator = torch.Generator().manual_seed(seed)
    for scale in range(SCALES):
        if min(sets[0].shape[-2:]) < PATCH:
            break
        kernel = torch.randn(DIRECTIONS, sets[0].shape[1], PATCH, PATCH, generator=generator).to(sets[0])
        kernel = kernel / kernel.flatten(1).norm(dim=1)[:, None, None, None]
        one, other = (
            functional.conv2d(images, kernel, stride=3).transpose(0, 1).flatten(1).sort(dim=1).values for images in sets
        )  # (directions, patches of all images)
        found.append((one - other).abs().mean() / one.std().clamp_min(1e-6))
        if scale + 1 < SCALES:
            sets = [functional.avg_pool2d(images, 2) for images in sets]
    return torch.stack(found).mean()


def noise_of(seed: int, indices: Tensor, shape: tuple[int, ...], device: torch.device, draw: int = 0) -> Tensor:
    """Return normal numbers ``(B, *shape)`` that belong to the indices; another `draw`, other numbers."""
    size = 1
    for side in shape:
        size *= side
    return normal(seed, indices.cpu(), shape, start=1 + draw * (-(-size // 2))).to(device)
