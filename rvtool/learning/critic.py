"""What models with a critic share: how it is taught, and what it makes of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rvtool.learning.losses import Part

Judged = list[list[Tensor]]
"""What a critic made of images: for each of its scales what each layer made, the last of which are its answers."""


def answers(judged: Judged) -> list[Tensor]:
    """Return the answers of each scale."""
    return [scale[-1] for scale in judged]


def are_relative(judging: Sequence[Part]) -> bool:
    """Tell whether an adversarial loss of a generator looks at the answers to true images too."""
    return any(getattr(part.loss, "relative", True) for part in judging)


def passing_loss(judging: Sequence[Part], fake: list[Tensor], real: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return what a generator learns from a critic's answers, weighted, and each loss by name without its weight."""
    total = fake[0].new_zeros(())
    found: dict[str, Tensor] = {}
    for part in judging:
        value = part.loss.generator(fake, real)  # type: ignore[operator]
        total, found[part.name] = total + part.weight * value, value.detach()
    return total, found


def critic_loss(
    judging: Sequence[Part], ask: Callable[[Tensor], Judged], true: Tensor, made: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return what a critic learns from, and how well it does.

    Parameters
    ----------
    judging
        The adversarial losses; their weights are the generator's matter.
    ask
        The critic.
    true, made : (B, C, H, W)
        Images; `made` without a gradient.

    Returns
    -------
    total
        Scalar.
    told
        ``critic-loss``; ``critic-accuracy``, 0.5 where it cannot tell them apart and 1 where it always can;
        ``critic-real`` and ``critic-fake``, its mean answers; ``gradient-penalty`` where there is one.
    """
    real, fake = (answers(ask(picture)) for picture in (true, made))
    total = made.new_zeros(())
    told: dict[str, Tensor] = {}
    for part in judging:
        loss = part.loss.discriminator(real, fake)  # type: ignore[operator]
        if hasattr(part.loss, "penalty"):
            penalty = part.loss.penalty(lambda seen: answers(ask(seen)), true, made)  # type: ignore[operator]
            told["gradient-penalty"] = penalty.detach()
            loss = loss + penalty
        total = total + loss
    with torch.no_grad():
        wins = [(one > other).float().mean() for one, other in zip(real, fake, strict=True)]
        told["critic-accuracy"] = torch.stack(wins).mean()
        told["critic-real"] = torch.stack([one.float().mean() for one in real]).mean()
        told["critic-fake"] = torch.stack([one.float().mean() for one in fake]).mean()
    return total, {"critic-loss": total.detach(), **told}
