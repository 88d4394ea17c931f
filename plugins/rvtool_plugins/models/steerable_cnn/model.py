"""Group convolutions over the eight symmetries of a square, and a classifier made of them.

References
----------
.. [1] Cohen & Welling 2016, arXiv:1602.07576
.. [2] Scaife & Porter 2021, MNRAS 503, 2369, arXiv:2102.08252 (radio galaxies)
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.errors import ConfigError
from rvtool.learning import Classifier

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.steerable_cnn import SteerableCNNConfig

ORIENTATIONS = 8


def orbit(kernels: Tensor) -> list[Tensor]:
    """Return kernels ``(..., k, k)`` in the four turns of each of their two mirror images."""
    return [torch.rot90(side, turns, (-2, -1)) for side in (kernels, kernels.flip(-1)) for turns in range(4)]


def _orientations_seen() -> Tensor:
    """Return ``(8, 8)``: g^-1 h for the elements g (rows) and h of the group, as numbers in the order of `orbit`.

    Worked out on a square whose nine pixels differ, so that it follows from `orbit` alone.
    """
    views = [view.flatten().tolist() for view in orbit(torch.arange(9).view(3, 3))]
    number = {tuple(view): g for g, view in enumerate(views)}
    after = [
        [number[tuple(view.flatten().tolist())] for view in orbit(torch.tensor(views[h]).view(3, 3))] for h in range(8)
    ]  # after[h][g] = g h
    inverse = [next(g for g in range(8) if after[h][g] == 0) for h in range(8)]
    return torch.tensor([[after[h][inverse[g]] for h in range(8)] for g in range(8)])


class Lift(nn.Module):
    """From an image to one map for each channel and orientation: eq. 10 of [1]_, ``(B, C, H, W) -> (B, O * 8, H, W)``.

    The orientations of a channel lie beside each other.
    """

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(after, before, kernel, kernel))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Convolve with every kernel in every orientation."""
        weight = torch.stack(orbit(self.weight), dim=1).flatten(0, 1)  # (O * 8, C, k, k)
        return functional.conv2d(image, weight, padding="same")


class GroupConvolution(nn.Module):
    """From maps in eight orientations to such maps: eq. 11 of [1]_, ``(B, C * 8, H, W) -> (B, O * 8, H, W)``.

    A kernel is turned in the plane, and its eight slices change places as the orientations that they look at turn too.
    """

    seen: Tensor

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(after, before * ORIENTATIONS, kernel, kernel))
        nn.init.kaiming_normal_(self.weight)
        self.register_buffer("seen", _orientations_seen(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve with every kernel in every orientation."""
        after, _, kernel, _ = self.weight.shape
        slices = self.weight.view(after, -1, ORIENTATIONS, kernel, kernel)
        turned = [view[:, :, self.seen[g]] for g, view in enumerate(orbit(slices))]
        weight = torch.stack(turned, dim=1).reshape(after * ORIENTATIONS, -1, kernel, kernel)  # (O * 8, C * 8, k, k)
        return functional.conv2d(maps, weight, padding="same")


class Normalise(nn.BatchNorm2d):
    """Batch normalisation whose scale, shift and running statistics are shared by the orientations of a channel."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise ``(B, C * 8, H, W)``."""
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, variance, weight, bias = (
            values.repeat_interleave(ORIENTATIONS)
            for values in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        # in a batch every orientation has statistics of its own, alike but for chance; what is kept is their mean
        out = functional.batch_norm(maps, mean, variance, weight, bias, self.training, self.momentum or 0.0, self.eps)
        if self.training:
            self.running_mean.copy_(mean.view(-1, ORIENTATIONS).mean(dim=1))
            self.running_var.copy_(variance.view(-1, ORIENTATIONS).mean(dim=1))
        return out


class Halve(nn.Module):
    """Max pooling whose windows lie symmetrically on sides of even and of odd length."""

    def forward(self, maps: Tensor) -> Tensor:
        """Pool ``(B, C, H, W)`` to half the size, rounded up."""
        odd = [side % 2 for side in maps.shape[-2:]]
        kernel, padding = [2 + one for one in odd], odd
        return functional.max_pool2d(maps, kernel, stride=2, padding=padding)


def _disc(rows: int, columns: int) -> Tensor:
    """Return 1 within the circle that touches the sides of a square, or the ellipse of an oblong, and 0 without."""
    y, x = (2 * (torch.arange(side) + 0.5) / side - 1 for side in (rows, columns))
    return (y[:, None] ** 2 + x**2 <= 1).float()


class MarkCentre(nn.Module):
    """A further channel that shows where the centre of an image is: a round Gaussian of unit height.

    Convolutions and pooling tell what is in an image and not where. Where the centre means something, as the host
    galaxy from which bending angles are measured, the mark lets them see it.
    """

    def __init__(self, sigma_px: float) -> None:
        super().__init__()
        self.sigma_px = sigma_px

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(B, C + 1, H, W)`` of ``(B, C, H, W)``."""
        y, x = (torch.arange(side).to(image) - (side - 1) / 2 for side in image.shape[-2:])
        mark = torch.exp(-0.5 * (y[:, None] ** 2 + x**2) / self.sigma_px**2)
        return torch.cat([image, mark.expand(len(image), 1, -1, -1)], dim=1)


class Look(nn.Module):
    """The middle of an image at full resolution beside the whole of it, averaged to the same size.

    Sources are small, and yet some have lobes far out: two looks cost little more than one, and a wide image at full
    resolution would cost `zoom` squared. The whole is seen through a round hole, for its corners are unknown as often
    as training turns it.
    """

    def __init__(self, zoom: int) -> None:
        super().__init__()
        self.zoom = zoom

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(B, 2 C, about H / zoom, about W / zoom)`` of ``(B, C, H, W)``; the image itself where zoom is 1."""
        if self.zoom == 1:
            return image
        height, width = image.shape[-2:]
        # margins are even, so that the middle stays the middle
        rows, columns = (side // self.zoom + (side - side // self.zoom) % 2 for side in (height, width))
        top, left = (height - rows) // 2, (width - columns) // 2
        middle = image[..., top : top + rows, left : left + columns]
        whole = functional.adaptive_avg_pool2d(image, (rows, columns)) * _disc(rows, columns).to(image)
        looks = torch.cat([middle, whole], dim=1)
        return looks.contiguous(memory_format=torch.channels_last)


class Features(nn.Module):
    """The largest and the mean value of each channel over the image and the orientations, ``(B, 2 C)``."""

    def forward(self, maps: Tensor) -> Tensor:
        """Pool ``(B, C * 8, H, W)``."""
        values = maps.float().unflatten(1, (-1, ORIENTATIONS)).flatten(2)  # (B, C, 8 H W)
        return torch.cat([values.amax(dim=2), values.mean(dim=2)], dim=1)


class SteerableCNN(Classifier):
    """Levels of group convolutions with pooling between them, features that no turn changes, one logit a class.

    The first convolution works at full resolution on the middle of the image, as radio sources are often only a few
    beams wide, and on the whole of it at half of that.

    Raises
    ------
    ConfigError
        A kernel has no central pixel.
    """

    invariant = True
    stretch: ClassVar[dict[str, Any]] = {
        "crop": 160,
        "clip_sigma": 3.0,
        "clip_to": "level",
        "kind": "asinh",
        "scale": "image",
    }

    def __init__(self, config: SteerableCNNConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        if config.kernel % 2 == 0 or config.stem_kernel % 2 == 0:
            raise ConfigError("The kernels of steerable-cnn turn about a central pixel: give them odd sides.")
        marked = config.mark_centre_px > 0
        looks = (data.image.channels + marked) * (1 if config.zoom == 1 else 2)
        levels: list[list[nn.Module]] = [[Lift(looks, config.channels[0], config.stem_kernel)]]
        for before, after in pairwise(config.channels):
            further = [GroupConvolution(after, after, config.kernel) for _ in range(config.depth - 1)]
            levels.append([GroupConvolution(before, after, config.kernel), *further])
        layers: list[nn.Module] = [MarkCentre(config.mark_centre_px)] if marked else []
        layers += [Look(config.zoom), *([Halve()] if config.stride == 2 else [])]
        for channels, level in zip(config.channels, levels, strict=True):
            for convolution in level:
                layers.append(convolution)
                if convolution is level[-1] and level is not levels[-1]:
                    layers.append(Halve())  # here it spares three quarters of the work that follows
                layers += [Normalise(channels), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(
            OrderedDict(
                body=nn.Sequential(*layers),
                features=Features(),
                dropout=nn.Dropout(config.dropout),
                head=nn.Linear(2 * config.channels[-1], len(data.classes)),
            )
        )
