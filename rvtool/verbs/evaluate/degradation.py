"""What the known beams and pixels of two sides imply: how the one sees what the other has seen."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from scipy import fft

from rvtool.data.beams import SIGMA_PER_FWHM, Covariance, area, covariance, per, spelled
from rvtool.data.stretch import measure
from rvtool.errors import DataError
from rvtool.kinds import Beam, Side

MARGIN_BEAMS = 1.0


def scale_factor(image: Side, target: Side) -> int:
    """Return how many target pixels stand along one of the image's.

    Raises
    ------
    DataError
        It is no whole number, or the two sides differ in it.
    """
    rows, columns = target.height / image.height, target.width / image.width
    if rows != columns or rows != int(rows):
        raise DataError(
            f"The target of {target.height} x {target.width} pixels is no whole multiple of the image of "
            f"{image.height} x {image.width}; crop both to sides with one whole ratio."
        )
    return int(rows)


def brightness_ratio(image: Side, target: Side) -> float:
    """Return what smooth emission in the image's unit is multiplied by to be in the target's.

    The ratio of beam areas where the unit is per beam, of pixel areas where it is per pixel, else 1.

    Raises
    ------
    DataError
        The units differ; or they are per beam, and a beam is not known.
    """
    if spelled(image.unit) != spelled(target.unit):
        raise DataError(f"The image is in '{image.unit}', the target in '{target.unit}'; bring both to one unit.")
    if per(image.unit) == "beam":
        if image.beam is None or target.beam is None:
            raise DataError(f"Images in {image.unit} cannot be compared without both beams; add BMAJ to their headers.")
        return area(target.beam) / area(image.beam)
    return 1 / scale_factor(image, target) ** 2 if per(image.unit) == "pixel" else 1.0


def _in_pixels(beam: Beam, pixel_arcsec: float) -> Covariance:
    """Return a beam's second moments, px^2."""
    return Covariance(*(part / pixel_arcsec**2 for part in covariance(beam)))


def beam_and_difference(image: Side, target: Side) -> tuple[Covariance, Covariance]:
    """Return the target's beam and the Gaussian that widens it to the image's, on the target's pixels.

    Raises
    ------
    DataError
        A beam or the pixels' side is not known, or the target's beam is not the smaller one in every direction.
    """
    if not (image.beam and target.beam and target.pixel_arcsec):
        raise DataError("Both beams and the target's pixel side must be known; add BMAJ and a WCS to the headers.")
    wide, narrow = (_in_pixels(beam, target.pixel_arcsec) for beam in (image.beam, target.beam))
    xx, xy, yy = (a - b for a, b in zip(wide, narrow, strict=True))
    if min(xx, yy) < 0 or xx * yy < xy**2:
        raise DataError(
            f"The target's beam ({target.beam.major_arcsec:g} x {target.beam.minor_arcsec:g} arcsec) is not smaller "
            f"than the image's ({image.beam.major_arcsec:g} x {image.beam.minor_arcsec:g}) in every direction."
        )
    return narrow, Covariance(xx, xy, yy)


@lru_cache(maxsize=8)
def transfer(height: int, width: int, xx: float, xy: float, yy: float) -> np.ndarray:
    """Return the Fourier transform of a Gaussian of unit sum on the grid of `scipy.fft.rfft2`, float32.

    Parameters
    ----------
    xx, xy, yy
        Its covariance over columns (x) and rows (y), px^2.
    """
    y, x = fft.fftfreq(height)[:, None], fft.rfftfreq(width)
    return np.exp(-2 * np.pi**2 * (xx * x**2 + 2 * xy * x * y + yy * y**2)).astype(np.float32)


def rebin(planes: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of squares of `factor` pixels of ``(..., H, W)``."""
    height, width = (side // factor for side in planes.shape[-2:])
    return planes.reshape(*planes.shape[:-2], height, factor, width, factor).mean(axis=(-3, -1))


def spread_out(planes: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every pixel of ``(..., h, w)`` over a square of `factor`."""
    return planes.repeat(factor, axis=-2).repeat(factor, axis=-1)


class Degradation:
    """What the image's beam and pixels make of a sky seen with the target's: widened, and the mean of squares.

    Works on planes with a margin round them, so that what wraps around the edges is not seen.

    Attributes
    ----------
    image, target
        The part of a plane inside its margin, on the image's pixels and on the target's: to index ``(..., H, W)``.
    """

    def __init__(self, image: Side, target: Side, shape: tuple[int, ...]) -> None:
        """Be made for images ``(h, w)``."""
        self.factor = scale_factor(image, target)
        beam, spread = beam_and_difference(image, target)
        # no Gaussian is wider than one of both variances together
        least = int(np.ceil(MARGIN_BEAMS * np.sqrt(spread[0] + spread[2]) / SIGMA_PER_FWHM / self.factor))
        # one side's margin is what makes the whole a length whose transform is fast
        self.margins = tuple((least, fft.next_fast_len(side + 2 * least, real=True) - side - least) for side in shape)
        self.padded = tuple((side + sum(m)) * self.factor for side, m in zip(shape, self.margins, strict=True))
        self.transfer = transfer(*self.padded, *spread)
        self.beam = transfer(*self.padded, *beam)
        self.image: Any = (..., *(slice(least, least + side) for side in shape))
        self.target: Any = (..., *(slice(least * self.factor, (least + side) * self.factor) for side in shape))

    def pad(self, planes: np.ndarray, fine: bool = False, mode: Literal["constant", "symmetric"] = "constant") -> Any:
        """Put the margin round planes ``(C, h, w)``, or round `fine` ones of the target's pixels."""
        scale = self.factor if fine else 1
        return np.pad(planes, ((0, 0), *((a * scale, b * scale) for a, b in self.margins)), mode)

    def widen(self, planes: np.ndarray) -> np.ndarray:
        """Convolve padded fine planes with the difference of the beams."""
        return fft.irfft2(fft.rfft2(planes) * self.transfer, s=self.padded)

    def forward(self, planes: np.ndarray) -> np.ndarray:
        """Bring padded fine planes to the image's beam and pixels."""
        return rebin(self.widen(planes), self.factor)

    def backward(self, planes: np.ndarray) -> np.ndarray:
        """Apply the transpose of `forward` to padded planes."""
        return self.widen(spread_out(planes, self.factor)) / self.factor**2


def plane_statistics(plane: np.ndarray) -> np.ndarray:
    """Median, noise and peak of the known pixels of ``(H, W)``."""
    return measure(plane[None], np.isfinite(plane)).astype(float)


def consistency(outputs: np.ndarray, inputs: np.ndarray, image: Side, target: Side) -> np.ndarray:
    """Measure how far outputs, seen as the input was, are from the input: no truth is needed.

    Parameters
    ----------
    outputs : (N, C, H, W)
        In the target's unit, NaN where not known.
    inputs : (N, C, h, w)
        In the image's unit, NaN where not known.

    Returns
    -------
    (N,), root mean square of the difference in units of the input's noise (1.48 times the median absolute deviation;
    mean over the channels); NaN where the input shows no noise or no pixel stands clear of what is not known.
    """
    seen = Degradation(image, target, inputs.shape[-2:])
    ratio = brightness_ratio(image, target)
    found = np.full(inputs.shape[:2], np.nan)
    for number, (output, given) in enumerate(zip(outputs, inputs, strict=True)):
        known = np.isfinite(output)
        shown = seen.forward(seen.pad(np.where(known, output, 0), fine=True))[seen.image] / ratio
        # hardly touched by what is not known, or beyond the edge
        clear = (seen.forward(seen.pad(known.astype(float), fine=True))[seen.image] > 0.999) & np.isfinite(given)
        for channel, plane in enumerate(given):
            error = (shown[channel] - plane)[clear[channel]]
            noise = plane_statistics(plane)[1]
            if error.size and noise > 0:
                found[number, channel] = np.sqrt((error**2).mean()) / noise
    return found.mean(axis=1)
