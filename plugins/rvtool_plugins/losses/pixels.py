"""Losses that compare images pixel by pixel, as the network sees them; unknown pixels of the target do not count.

Prediction and target are ``(B, C, H, W)``, stretched. Everything is computed in float32, whatever the precision of the
training: a sum over an image in bfloat16 is good to 1 in 256.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rvtool import Config
    from rvtool.kinds import DataInfo, LossContext
    from rvtool_plugins.losses import CharbonnierConfig, MSEConfig, SSIMConfig

WINDOW, WIDTH = 11, 1.5  # of SSIM: side and standard deviation, px
K1, K2 = 0.01, 0.03
LIT_SIGMA = 4.0  # of the noise, above which a pixel belongs to a source
LEAST_PEAK = 0.01  # of a target, so that one of empty sky does not outweigh its batch
LEAST_ERROR = 1e-4  # where the root's slope would be infinite


class PixelLoss(nn.Module):
    """The mean over all known pixels and channels of a function of the error, prediction minus target."""

    role: ClassVar[str] = "reconstruction"

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__()

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, C, H, W)``."""
        known = known_pixels(target, context)
        error = torch.where(known, prediction.float() - target.float(), 0.0)
        return mean_where(known, self.of_error(error))

    def of_error(self, error: Tensor) -> Tensor:
        """Return what an error costs, of the error's shape."""
        raise NotImplementedError


class L1(PixelLoss):
    """|e|: its best answer is the median of what is possible, so it blurs less than `MSE`."""

    def of_error(self, error: Tensor) -> Tensor:
        """Return |e|."""
        return error.abs()


class MSE(PixelLoss):
    """e^2: its best answer is the mean of what is possible.

    With `lit` above 1 pixels that stand more than 4 sigma of the image's noise above its median count so much more than
    the sky: where bits are few, they go to sources first.
    """

    def __init__(self, config: MSEConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.lit = config.lit

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, C, H, W)``."""
        if self.lit == 1:
            return super().forward(prediction, target, context)
        if context.physical is None:
            raise ConfigError(
                "Loss 'mse' finds the lit pixels in the images' physical unit, and this model's stretch cannot be "
                "inverted; train without --clip-sigma, or leave loss.mse.lit out."
            )
        median, sigma = (context.batch["image_statistics"][:, k].float()[:, None, None, None] for k in (0, 1))
        known = known_pixels(target, context)
        weight = torch.where(context.physical["target"] > median + LIT_SIGMA * sigma, self.lit, 1.0)
        error = torch.where(known, prediction.float() - target.float(), 0.0)
        return mean_where(known, weight * error.square())

    def of_error(self, error: Tensor) -> Tensor:
        """Return e^2."""
        return error.square()


class Charbonnier(PixelLoss):
    """sqrt(e^2 + eps^2): an L1 loss that is smooth at 0, where its value is eps.

    References
    ----------
    Lai et al. 2017, arXiv:1704.03915, section 3.3
    """

    def __init__(self, config: CharbonnierConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.epsilon = config.epsilon

    def of_error(self, error: Tensor) -> Tensor:
        """Return sqrt(e^2 + eps^2)."""
        return (error.square() + self.epsilon**2).sqrt()


class RMS(nn.Module):
    """Root of each image's mean squared error over its target's peak, and of those the mean.

    Its -20 log10 is the image's PSNR with its own peak as range. Beside `MSE`, an image that is nearly right keeps
    teaching, and a faint one counts as much as a bright one. Peaks are of the known pixels of all channels, and at
    least 0.01, in stretched units.
    """

    role: ClassVar[str] = "reconstruction"

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__()

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, C, H, W)``."""
        known = known_pixels(target, context)
        target = torch.where(known, target.float(), 0.0)
        error = torch.where(known, prediction.float() - target, 0.0)
        count = (known.flatten(1).sum(1) * target.shape[1]).clamp_min(1)
        peak = target.flatten(1).amax(1).clamp_min(LEAST_PEAK)
        return ((error.square().flatten(1).sum(1) / count / peak**2 + LEAST_ERROR**2).sqrt() - LEAST_ERROR).mean()


class SSIM(nn.Module):
    """1 - SSIM, the mean over all windows without an unknown pixel: eq. 13 of the reference.

    Windows are Gaussians of standard deviation 1.5 px on 11 x 11 px that lie within the image (no padding), K1 is 0.01
    and K2 0.03; `data_range` is L, the brightness range that these are parts of.

    Raises
    ------
    ConfigError
        The images are smaller than a window.

    References
    ----------
    Wang et al. 2004, IEEE Trans. Image Process., 13, 600
    """

    role: ClassVar[str] = "reconstruction"

    def __init__(self, config: SSIMConfig, data: DataInfo) -> None:
        super().__init__()
        self.range = config.data_range
        heights = [math.exp(-((k - WINDOW // 2) ** 2) / (2 * WIDTH**2)) for k in range(WINDOW)]
        self.window = [height / sum(heights) for height in heights]

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, C, H, W)``."""
        if min(target.shape[-2:]) < WINDOW:
            raise ConfigError(
                f"Loss 'ssim' looks through windows of {WINDOW} px, and these images have {target.shape[-1]}x"
                f"{target.shape[-2]} px; train on larger ones or choose another loss."
            )
        known = known_pixels(target, context)
        x, y = (torch.where(known, image.float(), 0.0) for image in (prediction, target))
        mean_x, mean_y, xx, yy, xy = self._blur(torch.stack([x, y, x * x, y * y, x * y]))
        variances, covariance = xx + yy - mean_x**2 - mean_y**2, xy - mean_x * mean_y
        c1, c2 = (K1 * self.range) ** 2, (K2 * self.range) ** 2
        ssim = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        ssim = ssim / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
        whole = functional.max_pool2d((~known).float(), WINDOW, stride=1) == 0
        return mean_where(whole, 1 - ssim)

    def _blur(self, images: Tensor) -> Tensor:
        """Return the windows' means of ``(..., H, W)``, ten pixels less each way.

        By hand, since convolutions are rounded to 10 bits or less on a GPU, and a variance is a small difference of
        large numbers.
        """
        for axis in (-2, -1):
            length = images.shape[axis] - WINDOW + 1
            shifted = (weight * images.narrow(axis, k, length) for k, weight in enumerate(self.window))
            images = sum(shifted, start=images.new_zeros(()))
        return images


class TotalVariation(nn.Module):
    """|x[i+1, j] - x[i, j]| + |x[i, j+1] - x[i, j]| of the prediction, each the mean over neighbours that are known.

    The target only says where pixels are known. It smooths, and so takes flux from peaks: a small weight is enough.

    References
    ----------
    Rudin, Osher & Fatemi 1992, Physica D, 60, 259 (there with the gradient's length)
    """

    role: ClassVar[str] = "reconstruction"

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__()

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, C, H, W)``."""
        known = known_pixels(target, context)
        image = torch.where(known, prediction.float(), 0.0)
        down = mean_where(known[..., 1:, :] & known[..., :-1, :], image.diff(dim=-2).abs())
        return down + mean_where(known[..., 1:] & known[..., :-1], image.diff(dim=-1).abs())


def known_pixels(target: Tensor, context: LossContext) -> Tensor:
    """Return where the target is known, ``(B, 1, H, W)`` bool: everywhere if the batch does not say."""
    mask = context.batch.get("target_mask")
    return torch.ones_like(target[:, :1], dtype=torch.bool) if mask is None else mask


def mean_where(known: Tensor, values: Tensor) -> Tensor:
    """Return the mean of ``(B, C, H, W)`` over known pixels ``(B, 1, H, W)`` and all channels; of none it is 0."""
    return (values * known).sum() / (known.sum() * values.shape[1]).clamp_min(1)
