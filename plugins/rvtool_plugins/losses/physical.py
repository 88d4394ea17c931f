"""What goes in must come out: a loss on fluxes, in the images' physical unit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.data.beams import covariance, per, spelled
from rvtool.errors import ConfigError
from rvtool_plugins.losses.pixels import known_pixels

if TYPE_CHECKING:
    from rvtool.kinds import Beam, DataInfo, LossContext, Side
    from rvtool_plugins.losses import FluxConfig

REACH = 4.0  # standard deviations beyond which a Gaussian is 0
COVERED = 0.95  # part of the input's beam that must lie on known pixels where what it makes of them is compared
SAME = 1e-4  # of the input's beam, by which axes and grids may differ and count as equal


class Flux(nn.Module):
    """Integrated flux, peak flux and consistency with the input: relative errors, each with its own weight.

    =============  ====================================================================================================
    `flux`         The sum over the known pixels, against the target's. Both lie on one grid, so that the areas of
                   pixel and beam, which would make janskys of the sums, cancel.
    `peak`         The largest known pixel, against the target's, wherever they lie.
    `consistency`  The prediction convolved to the input's beam and rebinned on to the input's grid, against the input:
                   the mean |difference|, over the mean |input|. The target is not asked. What counts are pixels that
                   the input knows and whose beam lies, by 95 %, on pixels that the target knows.
    =============  ====================================================================================================

    Each is 2 |p - t| / (|t| + <|t|>), where <> is the mean over the batch, and of it the mean over images and channels.
    Where images are alike this is the relative error; where one is far fainter than the others, its own relative error
    would be noise over next to nothing, and the error counts as a part of the batch's typical flux. Where all are 0
    nothing counts.

    All three are 0 for a resize that conserves flux. Noise in the input keeps `consistency` above 0, by its share of
    the mean |input|. `consistency` is left out where the sides differ in unit, the unit is not per beam, pixel or sr,
    a pixel scale or beam is not known, the input's beam does not contain the target's, or the input's grid is not the
    target's binned by a whole number. Give it the weight 0 where the two surveys see different flux of one source.

    Raises
    ------
    ConfigError
        Nothing is left to compare; or, once called, the model does not give the images in their physical unit.
    """

    role: ClassVar[str] = "reconstruction"

    def __init__(self, config: FluxConfig, data: DataInfo) -> None:
        super().__init__()
        self.flux, self.peak, self.consistency = config.flux, config.peak, config.consistency
        obstacle = _obstacle(data.image, data.target)
        self.back = None if obstacle or data.target is None else Back(data.image, data.target)
        if not (self.flux or self.peak or (self.consistency and self.back)):
            reason = f", and consistency cannot be asked: {obstacle}" if self.consistency else ""
            raise ConfigError(f"Loss 'flux' has nothing to compare: its weights are 0{reason}; set flux, peak or both.")

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss from `context.physical`: ``prediction`` and ``target`` ``(B, C, H, W)``, and ``image``."""
        if context.physical is None:
            raise ConfigError(
                "Loss 'flux' needs the images in their physical unit, and this model's stretch cannot be inverted; "
                "train without --clip-sigma or choose another loss."
            )
        known = known_pixels(target, context)
        ours, truth = (torch.where(known, context.physical[side].float(), 0.0) for side in ("prediction", "target"))
        total = ours.new_zeros(())
        if self.flux:
            flux, true_flux = ours.sum(dim=(2, 3)), truth.sum(dim=(2, 3))  # (B, C)
            total = total + self.flux * _relative((flux - true_flux).abs(), true_flux.abs())
        if self.peak:
            peak, true_peak = _peak(ours, known), _peak(truth, known)
            total = total + self.peak * _relative((peak - true_peak).abs(), true_peak.abs())
        if self.consistency and self.back is not None:
            image = context.physical["image"].float()
            seen = context.batch.get("mask", torch.ones_like(image[:, :1], dtype=torch.bool)) & self.back.covers(known)
            difference = torch.where(seen, self.back(ours) - image, 0.0).abs().sum(dim=(2, 3))
            total = total + self.consistency * _relative(
                difference, torch.where(seen, image, 0.0).abs().sum(dim=(2, 3))
            )
        return total


def _peak(image: Tensor, known: Tensor) -> Tensor:
    """Return the largest known pixel ``(B, C)``; 0 where none is known."""
    largest = image.masked_fill(~known, torch.finfo(image.dtype).min).amax(dim=(2, 3))
    return torch.where(known.any(dim=3).any(dim=2), largest, 0.0)


def _relative(error: Tensor, size: Tensor) -> Tensor:
    """Return the mean of 2 e / (s + <s>) over ``(B, C)``, <> the mean over the batch."""
    scale = size + size.mean(dim=0)
    return torch.where(scale > 0, 2 * error / scale.where(scale > 0, 1.0), 0.0).mean()


class Back(nn.Module):
    """From the target's beam and grid to the input's: a convolution, the unit's change, a rebinning.

    The convolution's Gaussian has the difference C of the two beams' covariances. It is done by its transform,
    exp(-2 pi^2 k C k), which is right for any ellipse, one narrower than a pixel too.

    Parameters
    ----------
    image, target
        The sides; `_obstacle` sees nothing between them.
    """

    covariance: Tensor

    def __init__(self, image: Side, target: Side) -> None:
        super().__init__()
        wide, narrow, pixel = _covariance(image.beam), _covariance(target.beam), float(target.pixel_arcsec or 0)
        self.alike = bool((wide - narrow).abs().max() <= SAME * wide.max())
        self.register_buffer("covariance", (wide - narrow) / pixel**2, persistent=False)  # px^2, x before y
        self.reach = math.ceil(REACH * float(self.covariance.diagonal().max().clamp_min(0)) ** 0.5)
        self.bins = round(float(image.pixel_arcsec or 0) / pixel)
        beams = float((wide.det() / narrow.det()).sqrt())  # how many of the target's beams one of the input's covers
        self.unit = {"beam": beams, "area": 1.0, "pixel": float(self.bins**2)}[per(image.unit)]

    def forward(self, image: Tensor) -> Tensor:
        """Bring ``(B, C, H, W)`` to the input's ``(B, C, H / s, W / s)``; beyond the image is nothing."""
        return self.unit * self._spread(image)

    def covers(self, known: Tensor) -> Tensor:
        """Return which of the input's pixels ``(B, 1, H / s, W / s)`` have their beam on known ones."""
        return self._spread(known.float()) >= COVERED

    def _spread(self, image: Tensor) -> Tensor:
        if not self.alike:
            height, width = image.shape[-2:]
            size = (height + self.reach, width + self.reach)  # what leaves the image does not come in at its other end
            y = torch.fft.fftfreq(size[0], device=image.device)[:, None]
            x = torch.fft.rfftfreq(size[1], device=image.device)
            (xx, xy), (_, yy) = self.covariance.unbind()
            gain = torch.exp(-2 * math.pi**2 * (xx * x**2 + 2 * xy * x * y + yy * y**2))
            image = torch.fft.irfft2(torch.fft.rfft2(image, size) * gain, size)[..., :height, :width]
        return functional.avg_pool2d(image, self.bins)


def _obstacle(image: Side, target: Side | None) -> str:
    """Say why a target cannot be brought to the input's beam and grid; empty where it can."""
    if target is None or spelled(image.unit) != spelled(target.unit) or not per(image.unit):
        return "it needs an input and a target of one unit, per beam, pixel or sr"
    if not (image.beam and target.beam and image.pixel_arcsec and target.pixel_arcsec):
        return "it needs the beam and the pixel scale of both sides"
    wide, narrow = _covariance(image.beam), _covariance(target.beam)
    if float(torch.linalg.eigvalsh(wide - narrow).min()) < -SAME * float(wide.max()):
        return "the input's beam does not contain the target's"
    bins = round(image.pixel_arcsec / target.pixel_arcsec)
    same_scale = bins > 0 and abs(image.pixel_arcsec / target.pixel_arcsec / bins - 1) < SAME
    if not same_scale or (target.height, target.width) != (bins * image.height, bins * image.width):
        return "the input's pixels are not the target's binned by a whole number"
    return ""


def _covariance(beam: Beam | None) -> Tensor:
    """Return a beam's covariance ``(2, 2)``, arcsec^2: x to the west, along rows, before y to the north."""
    if beam is None:
        return torch.zeros(2, 2)
    xx, xy, yy = covariance(beam)
    return torch.tensor([[xx, xy], [xy, yy]])
