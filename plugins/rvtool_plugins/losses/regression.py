"""Likelihoods of a label that is a number ``(B,)``, in its own unit, under two numbers of a network ``(B, 2)``.

An image's ``weight`` counts in the mean over the batch, where the batch has one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool_plugins.losses.classification import mean

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo, LossContext
    from rvtool_plugins.losses import GaussianConfig, VonMisesConfig

LEAST_SPREAD = 1e-3  # of the labels' standard deviation: else one image that fits exactly is worth any number
STEPS = 720  # of the grid on which a folded density is summed


class GaussianNLL(nn.Module):
    """log s + (y - m)^2 / (2 s^2), the mean over the batch: minus the log-likelihood of a normal distribution [1]_.

    The network's first number is m and its second softplus^-1 of s, both in standard deviations of the training
    labels from their mean. With beta > 0 each image's loss is weighed by s^(2 beta), held fixed [2]_, so that images
    of large s still teach m.

    References
    ----------
    .. [1] Nix & Weigend 1994, Proc. IEEE ICNN, 55, eq. 3
    .. [2] Seitzer et al. 2022, arXiv:2203.09168, eq. 5
    """

    role: ClassVar[str] = "regression"
    outputs: ClassVar[int] = 2
    limits: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def __init__(self, config: GaussianConfig, data: DataInfo) -> None:
        super().__init__()
        self.beta, self.centre, self.unit = config.beta, data.label_mean, data.label_std

    def _parts(self, prediction: Tensor) -> tuple[Tensor, Tensor]:
        middle, spread = prediction.unbind(dim=1)
        return middle, functional.softplus(spread) + LEAST_SPREAD

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, 2)``."""
        middle, spread = self._parts(prediction)
        losses = spread.log() + 0.5 * (((target - self.centre) / self.unit - middle) / spread) ** 2
        if self.beta:
            losses = losses * spread.detach() ** (2 * self.beta)
        return mean(losses, context)

    def answer(self, prediction: Tensor) -> Tensor:
        """Return m and s ``(B, 2)``, in the label's unit."""
        middle, spread = self._parts(prediction)
        return torch.stack([self.centre + self.unit * middle, self.unit * spread], dim=1)


class VonMisesNLL(nn.Module):
    """Minus the log-likelihood of an angle without a side, such as a bending angle, between 0 and the largest.

    With x the angle scaled to 0 .. pi, a von Mises distribution of mean direction mu and concentration k, folded at 0
    and pi, has the density (exp(k cos(x - mu)) + exp(k cos(x + mu))) / (2 pi I0(k)). The network's numbers are
    k cos(mu) and k sin(mu), so that it never meets the edge of an angle; 0, 0 is the even distribution.

    The estimate is the median, which makes the least absolute error.

    References
    ----------
    Mardia & Jupp 2000, Directional Statistics, section 3.5.4
    """

    role: ClassVar[str] = "regression"
    outputs: ClassVar[int] = 2

    def __init__(self, config: VonMisesConfig, data: DataInfo) -> None:
        super().__init__()
        self.largest = config.largest_deg
        self.limits = (0.0, config.largest_deg)

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, 2)``, of the density in x."""
        prediction = prediction.float()
        k = torch.linalg.vector_norm(prediction, dim=1)
        log_evidence = (torch.special.i0e(k)).log() + k + math.log(2 * math.pi)
        return mean(log_evidence - _log_folded(prediction, target * math.pi / self.largest), context)

    def answer(self, prediction: Tensor) -> Tensor:
        """Return median and standard deviation ``(B, 2)``, in degrees."""
        x = (torch.arange(STEPS, device=prediction.device) + 0.5) * math.pi / STEPS
        density = _log_folded(prediction.float()[:, None, :], x).softmax(dim=1)  # (B, STEPS)
        below = density.cumsum(dim=1)
        cell = (below < 0.5).sum(dim=1, keepdim=True).clamp_max(STEPS - 1)
        within = 0.5 - (below.gather(1, cell) - density.gather(1, cell))  # of the half that lies in the median's cell
        median = (cell + within / density.gather(1, cell)).squeeze(1) * math.pi / STEPS
        middle = density @ x
        spread = (density @ x**2 - middle**2).clamp_min(0).sqrt()
        return torch.stack([median, spread], dim=1) * self.largest / math.pi


def _log_folded(prediction: Tensor, x: Tensor) -> Tensor:
    """Return k cos(mu) cos(x) + log(2 cosh(k sin(mu) sin(x)))."""
    along, across = prediction.unbind(dim=-1)
    side = (across * x.sin()).abs()
    return along * x.cos() + side + functional.softplus(-2 * side)
