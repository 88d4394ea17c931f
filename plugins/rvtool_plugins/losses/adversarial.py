"""Losses of a generator and its critic (discriminator), and the distance of what the critic saw on the way.

A critic answers with logits of any shape, or with a list of such, one a scale; the loss is the mean over the scales,
and of each scale over the batch and all places. All is computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from rvtool import Config
    from rvtool.kinds import DataInfo, LossContext
    from rvtool_plugins.losses import AdversarialConfig, BCEGANConfig, WGANConfig

Logits: TypeAlias = "Tensor | Sequence[Tensor]"


class Adversarial(nn.Module):
    """Two losses, one for each player, and the penalty R1 on the critic's slope.

    Called as other losses are, with the critic's answers to the generated and to the real images, it is the
    generator's loss. A subclass gives both losses of one scale.
    """

    role: ClassVar[str] = "adversarial"
    relative: ClassVar[bool] = False

    def __init__(self, config: AdversarialConfig | WGANConfig, data: DataInfo) -> None:
        super().__init__()
        self.gamma = config.gradient_penalty

    def forward(self, prediction: Logits, target: Logits, context: LossContext) -> Tensor:
        """Compute the generator's loss."""
        return self.generator(prediction, target)

    def generator(self, fake: Logits, real: Logits) -> Tensor:
        """Compute what the generator minimises, of the critic's logits."""
        return _over_scales(self.generator_at, fake, real)

    def discriminator(self, real: Logits, fake: Logits) -> Tensor:
        """Compute what the critic minimises, of its logits."""
        return _over_scales(self.discriminator_at, real, fake)

    def generator_at(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the generator's loss of one scale."""
        raise NotImplementedError

    def discriminator_at(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the critic's loss of one scale."""
        raise NotImplementedError

    def penalty(self, critic: Callable[[Tensor], Logits], real: Tensor, fake: Tensor) -> Tensor:
        """Compute R1, gamma / 2 times the mean of |grad D(x)|^2 over the real images x: eq. 9 of [1]_.

        D(x) is the mean of an image's logits, over places and scales. It keeps the critic from growing ever steeper
        about the real images, where the game should come to rest; the generated ones are not looked at. The critic is
        not asked where gamma is 0.

        Parameters
        ----------
        critic
            Makes logits of images.
        real, fake
            Images ``(B, C, H, W)``.

        References
        ----------
        .. [1] Mescheder, Geiger & Nowozin 2018, arXiv:1801.04406
        """
        if self.gamma == 0:
            return real.new_zeros(())
        return self.gamma / 2 * _squared_slopes(critic, real).mean()


class LSGAN(Adversarial):
    """Critic: 1/2 E (D(x) - 1)^2 + 1/2 E D(G)^2; generator: 1/2 E (D(G) - 1)^2. Eq. 9 of [1]_.

    References
    ----------
    .. [1] Mao et al. 2017, arXiv:1611.04076
    """

    def generator_at(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the generator's loss of one scale."""
        return 0.5 * (fake - 1).square().mean()

    def discriminator_at(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the critic's loss of one scale."""
        return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


class Hinge(Adversarial):
    """Critic: E max(0, 1 - D(x)) + E max(0, 1 + D(G)); generator: -E D(G). Eqs. 16 and 17 of [1]_.

    References
    ----------
    .. [1] Miyato et al. 2018, arXiv:1802.05957
    """

    def generator_at(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the generator's loss of one scale."""
        return -fake.mean()

    def discriminator_at(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the critic's loss of one scale."""
        return (1 - real).relu().mean() + (1 + fake).relu().mean()


class BCEGAN(Adversarial):
    """Critic: -E log p(x) - E log(1 - p(G)), p the sigmoid of its logit (eq. 1 of [1]_); generator: -E log p(G).

    The generator's is the non-saturating one (section 3 of [1]_): it has a slope where the critic is sure. With
    label smoothing e the critic's first part is -(1 - e) E log p(x) - e E log(1 - p(x)), for real images only [2]_:
    its best answer to them is then p = 1 - e, so that the loss never falls below the label's entropy.

    References
    ----------
    .. [1] Goodfellow et al. 2014, arXiv:1406.2661
    .. [2] Salimans et al. 2016, arXiv:1606.03498, section 3.4
    """

    def __init__(self, config: BCEGANConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.smoothing = config.label_smoothing

    def generator_at(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the generator's loss of one scale."""
        return softplus(-fake).mean()

    def discriminator_at(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the critic's loss of one scale."""
        # -log p(x) is softplus(-x), and -log(1 - p(x)) is softplus(-x) + x
        return (softplus(-real) + self.smoothing * real).mean() + softplus(fake).mean()


class Relativistic(Adversarial):
    """Whether real images look more real than generated ones do on average, and the other way round [1]_.

    With p(a, b) the sigmoid of D(a) - E D(b), the critic minimises -E log p(x, G) - E log(1 - p(G, x)) and the
    generator -E log p(G, x) - E log(1 - p(x, G)): eqs. 1 and 2 of [2]_. So the generator learns from real images too.

    References
    ----------
    .. [1] Jolicoeur-Martineau 2018, arXiv:1807.00734, the standard GAN's relativistic average
    .. [2] Wang et al. 2018 (ESRGAN), arXiv:1809.00219
    """

    relative = True

    def generator_at(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the generator's loss of one scale."""
        return self.discriminator_at(fake, real)  # the same with the parts exchanged

    def discriminator_at(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the critic's loss of one scale."""
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()


class WGAN(Adversarial):
    """Critic: E D(G) - E D(x), an estimate of minus the Wasserstein distance; generator: -E D(G). Eq. 2 of [1]_.

    The critic wants several steps for one of the generator, and no batch normalisation.

    References
    ----------
    .. [1] Gulrajani et al. 2017, arXiv:1704.00028
    """

    def generator_at(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the generator's loss of one scale."""
        return -fake.mean()

    def discriminator_at(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the critic's loss of one scale."""
        return fake.mean() - real.mean()

    def penalty(self, critic: Callable[[Tensor], Logits], real: Tensor, fake: Tensor) -> Tensor:
        """Compute lambda times the mean of (|grad D(z)| - 1)^2, z anywhere between a real and a made image: eq. 3."""
        if self.gamma == 0:
            return real.new_zeros(())
        places = torch.rand(len(real), 1, 1, 1, device=real.device)
        slopes = _squared_slopes(critic, torch.lerp(real.float(), fake.float(), places)).clamp_min(1e-12).sqrt()
        return self.gamma * (slopes - 1).square().mean()


class FeatureMatching(nn.Module):
    """The mean of |D_ki(x) - D_ki(G)| over the layers i and scales k of a critic: eq. 4 of [1]_, as a mean.

    Prediction and target are what the critic's layers made of the generated and of the real images: a list for each
    scale of a tensor for each layer. Each layer counts alike, whatever its size, and so does each scale; [1]_ sums
    them. Nothing flows back into the target.

    References
    ----------
    .. [1] Wang et al. 2018 (pix2pixHD), arXiv:1711.11585
    """

    role: ClassVar[str] = "features"

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__()

    def forward(
        self, prediction: Sequence[Sequence[Tensor]], target: Sequence[Sequence[Tensor]], context: LossContext
    ) -> Tensor:
        """Compute the loss of lists of lists of features."""
        return torch.stack([_over_scales(_distance, *scale) for scale in zip(prediction, target, strict=True)]).mean()


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return (one - other.detach()).abs().mean()


def _squared_slopes(critic: Callable[[Tensor], Logits], image: Tensor) -> Tensor:
    """Return |grad D(x)|^2 of each image ``(B,)``; D(x) is the mean of its logits, over places and scales."""
    with torch.autocast(image.device.type, enabled=False):
        image = image.detach().float().requires_grad_()
        # an image's score depends on that image only (but for batch normalisation), so one pass gives all slopes
        scores = [logits.reshape(len(image), -1).mean(dim=1) for logits in _scales(critic(image))]  # each (B,)
        (slope,) = torch.autograd.grad(torch.stack(scores).mean(dim=0).sum(), image, create_graph=True)
    return slope.square().flatten(1).sum(dim=1)


def _scales(logits: Logits) -> Sequence[Tensor]:
    return [logits] if isinstance(logits, Tensor) else logits


def _over_scales(loss: Callable[[Tensor, Tensor], Tensor], one: Logits, other: Logits) -> Tensor:
    """Return the mean of a loss over pairs of tensors."""
    pairs = zip(_scales(one), _scales(other), strict=True)
    return torch.stack([loss(a.float(), b.float()) for a, b in pairs]).mean()
