"""What an autoencoder leaves out should be noise, and nothing but noise: a loss on the statistics of the residual."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo, LossContext
    from rvtool_plugins.losses import NoisePreservingConfig

LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # rows and columns, px
BACKGROUND_SIGMA = 3.0
LEAST_VARIANCE = 1e-4  # of the noise's, below which the divergence is no steeper


class NoisePreserving(nn.Module):
    """How far image minus prediction is from the image's own noise, where there is no source.

    Of each image the residual's mean m and variance s^2 over the background (within 3 sigma of the median) are held
    against N(0, sigma^2), sigma the image's noise, by the divergence

        KL(N(m, s^2) || N(0, sigma^2)) = ln(sigma / s) + (s^2 + m^2) / (2 sigma^2) - 1/2    [1]_, eq. for normals

    and its correlation at lags of one and two pixels against that of noise that a beam has shaped, a Gaussian of the
    beam's width: the mean square difference, times `correlation`. Zero means that what was left out looks like noise in
    strength, in mean and in grain; a residual that holds sources, or none of the noise, costs.

    Raises
    ------
    ConfigError
        The beam is not known and the width not given; or, once called, images lack their physical unit.

    References
    ----------
    .. [1] Kullback & Leibler 1951, Ann. Math. Statist. 22, 79
    """

    role: ClassVar[str] = "reconstruction"
    expected: Tensor

    def __init__(self, config: NoisePreservingConfig, data: DataInfo) -> None:
        super().__init__()
        self.correlation = config.correlation
        fwhm = config.fwhm_px
        if not fwhm and data.image.beam and data.image.pixel_arcsec:
            beam = data.image.beam
            fwhm = math.sqrt(beam.major_arcsec * beam.minor_arcsec) / data.image.pixel_arcsec
        if not fwhm and self.correlation:
            raise ConfigError(
                "Loss 'noise-preserving' needs the beam's width, which these images do not tell; give it with --set "
                "loss.noise-preserving.fwhm_px=3, or leave correlations out with ...correlation=0."
            )
        squares = torch.tensor([float(y * y + x * x) for y, x in LAGS])
        self.register_buffer("expected", torch.exp(-4 * math.log(2) * squares / (fwhm or 1.0) ** 2), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss from `context.physical`: ``image`` and ``prediction`` ``(B, C, H, W)`` of one grid."""
        if context.physical is None:
            raise ConfigError(
                "Loss 'noise-preserving' needs the images in their physical unit, and this model's stretch cannot be "
                "inverted; train without --clip-sigma or choose another loss."
            )
        image = context.physical["image"].float()
        median, sigma = (context.batch["image_statistics"][:, k].float()[:, None, None, None] for k in (0, 1))
        noisy = sigma > 0  # images without noise have none to keep
        unit = torch.where(noisy, sigma, 1.0)
        empty = (context.batch["mask"] & ((image - median).abs() < BACKGROUND_SIGMA * sigma)).float()
        residual = empty * (image - context.physical["prediction"].float()) / unit
        count = empty.sum(dim=(1, 2, 3)).clamp_min(1)
        mean = residual.sum(dim=(1, 2, 3)) / count
        centred = empty * (residual - mean[:, None, None, None])
        variance = (centred.square().sum(dim=(1, 2, 3)) / count).clamp_min(LEAST_VARIANCE)
        cost = 0.5 * (variance + mean.square() - 1 - variance.log())
        if self.correlation:
            found = torch.stack([_covariance(centred, empty, *lag) for lag in LAGS], dim=1) / variance[:, None]
            cost = cost + self.correlation * (found - self.expected).square().mean(dim=1)
        return torch.where(noisy[:, 0, 0, 0], cost, 0.0).mean()


def _covariance(centred: Tensor, empty: Tensor, rows: int, columns: int) -> Tensor:
    """Return the mean product of pixels a lag apart that are both background, ``(B,)``."""
    height, width = centred.shape[-2:]
    left, right = max(0, -columns), max(0, columns)
    parts = [
        (image[..., : height - rows, left : width - right], image[..., rows:, right : width - left])
        for image in (centred, empty)
    ]
    (one, other), (here, there) = parts
    return (one * other).sum(dim=(1, 2, 3)) / (here * there).sum(dim=(1, 2, 3)).clamp_min(1)
