"""What images can be restored to without learning: the baselines of every translator, and what the known beams imply.

An input of larger beam and pixels is brought onto the target's pixels. A map in Jy/beam that is interpolated is still
the sky as the input's beam saw it, in Jy per *input* beam; times the ratio of the beams' areas it is in Jy per target
beam. That is right for emission larger than both beams and keeps every integrated flux, while peaks of what is smaller
stay too low by up to that same ratio. Undoing the difference of the beams, which the two deconvolutions do, brings them
back as far as the noise allows.

References
----------
Keys (1981), IEEE TASSP 29, 1153 (cubic convolution). Wiener (1949), Extrapolation, Interpolation, and Smoothing of
Stationary Time Series. Richardson (1972), JOSA 62, 55; Lucy (1974), AJ 79, 745. Biggs & Andrews (1997), Appl. Opt. 36,
1766 (the iteration's acceleration).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy import fft

from rvtool.data.stretch import resample
from rvtool.errors import DataError
from rvtool.kinds import Side
from rvtool.report.likeness import LIT_SIGMA
from rvtool.verbs.evaluate.degradation import (
    Degradation,
    beam_and_difference,
    brightness_ratio,
    plane_statistics,
    scale_factor,
    spread_out,
)

NOISE_TO_SIGNAL = tuple(10.0 ** np.arange(-7, 0.1, 0.5))
ITERATIONS = (2, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100)
PEDESTAL_SIGMA = 2.0
MOST_AHEAD = 0.95
SMALL_SIDE = 16


class Baseline(Protocol):
    """Something that makes outputs of inputs, after a look at examples.

    `tune` is given inputs ``(C, h, w)`` and truths ``(C, H, W)`` in physical units, NaN where not known: of the
    validation images for what has a parameter to choose, of the training images for what remembers them. `apply` gives
    ``(C, H, W)`` of one input, NaN where it is not known.
    """

    name: str

    def tune(self, inputs: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> None:
        """Choose what is to be chosen."""
        ...

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Make an output."""
        ...


def super_resolution(image: Side, target: Side) -> list[Baseline]:
    """Return the baselines from a larger beam and pixel to a smaller one, to be tuned on validation images.

    The two deconvolutions are left out where a beam is not known, or the target's is not the smaller one.
    """
    factor = scale_factor(image, target)
    # where no pixel changes, all four would be one
    kernels = KERNELS if factor > 1 else {"unchanged": KERNELS["nearest"]}
    found: list[Baseline] = [Interpolation(name, image, target) for name in kernels]
    with suppress(DataError):
        found += [Wiener(image, target), RichardsonLucy(image, target)]
    return found


def translation() -> list[Baseline]:
    """Return the baselines between unlike sides, to be tuned on training images."""
    return [MeanImage(), NearestNeighbour()]


# --------------------------------------------------------------------------- interpolation


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys (1981), eq. 15: a = -1/2."""
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of the distance in input pixels
    "nearest": lambda x: (x < 0.5).astype(float),
    "bilinear": lambda x: np.maximum(1 - x, 0),
    "bicubic": _cubic,
    "Lanczos": lambda x: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0),
}


def _weights(kernel: Callable[[np.ndarray], np.ndarray], length: int, factor: int) -> np.ndarray:
    """What each of `length` input pixels gives to each output pixel, ``(length * factor, length)``; edges repeat."""
    places = (np.arange(length * factor) + 0.5) / factor - 0.5
    near = np.floor(places).astype(int)[:, None] + np.arange(-2, 4)
    given = kernel(np.abs(places[:, None] - near))
    weights = np.zeros((len(places), length))
    np.add.at(weights, (np.arange(len(places))[:, None], near.clip(0, length - 1)), given)
    return weights / weights.sum(axis=1, keepdims=True)


class Interpolation:
    """The input on finer pixels, in the target's unit; unknown pixels give nothing to their neighbours."""

    def __init__(self, name: str, image: Side, target: Side) -> None:
        self.name = name
        self.kernel = KERNELS.get(name, KERNELS["nearest"])
        self.factor = scale_factor(image, target)
        self.ratio = brightness_ratio(image, target)

    def tune(self, inputs: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> None:
        """Nothing is to be chosen."""

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Interpolate ``(C, h, w)``."""
        down, across = (_weights(self.kernel, length, self.factor) for length in image.shape[-2:])
        known = np.isfinite(image)
        total = down @ np.where(known, image, 0) @ across.T
        share = down @ known @ across.T
        inside = spread_out(known, self.factor)
        return np.where(inside, total * self.ratio / np.where(inside, share, 1), np.nan)


# --------------------------------------------------------------------------- deconvolution


@dataclass
class _Tuned:
    """A deconvolution with one number to choose: that of the least mean squared error on lit pixels, in dB.

    Lit pixels are those above 3 sigma of the truth, each image's own peak is the range, as PSNR on lit pixels has it.
    """

    image: Side
    target: Side
    chosen: float = field(default=np.nan, init=False)

    def __post_init__(self) -> None:
        beam_and_difference(self.image, self.target)

    def _candidates(self, image: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        raise NotImplementedError

    def tune(self, inputs: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> None:
        """Choose the number on pairs of which at least one has lit pixels.

        Raises
        ------
        DataError
            No truth has a lit pixel.
        """
        score: dict[float, float] = {}
        for image, truth in zip(inputs, truths, strict=True):
            planes = [(plane, *plane_statistics(plane)) for plane in truth]
            for value, output in self._candidates(image):
                for answer, (plane, background, noise, peak) in zip(output, planes, strict=True):
                    error = (answer - plane)[plane > background + LIT_SIGMA * noise]
                    error = error[np.isfinite(error)]
                    if error.size and peak > 0:
                        score[value] = score.get(value, 0.0) + float(np.log((error**2).mean() / peak**2))
        if not score:
            raise DataError("No validation image has a pixel above 3 sigma to tune a deconvolution on; give others.")
        self.chosen = min(score, key=lambda value: score[value])

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Deconvolve ``(C, h, w)`` with the chosen number.

        Raises
        ------
        DataError
            It was not tuned.
        """
        for value, output in self._candidates(image):
            if value == self.chosen:
                return output
        raise DataError("A deconvolution was asked before it was tuned on validation images.")


class Wiener(_Tuned):
    """Wiener's filter of the bicubic map: the least squared error of a flat sky in white noise.

    With T the transfer of the beams' difference and B that of the target's beam, the filter ``T B^2 / (T^2 B^2 + nu)``
    gives the sky as the target's beam sees it; the noise-to-signal ratio nu is what is tuned.
    """

    name = "Wiener"

    def _candidates(self, image: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        seen = Degradation(self.image, self.target, image.shape[-2:])
        planes = Interpolation("bicubic", self.image, self.target).apply(image)
        known = np.isfinite(planes)
        # an edge that is mirrored adds no step; what is not known is as the background
        empty = np.array([plane_statistics(plane)[0] for plane in planes])[:, None, None]
        modes = fft.rfft2(seen.pad(np.where(known, planes, empty), fine=True, mode="symmetric"))
        signal = seen.beam**2
        for ratio in NOISE_TO_SIGNAL:
            answer = fft.irfft2(modes * (seen.transfer * signal / (seen.transfer**2 * signal + ratio)), s=seen.padded)
            yield ratio, np.where(known, answer[seen.target], np.nan)


class RichardsonLucy(_Tuned):
    """Richardson's and Lucy's iteration, accelerated after Biggs & Andrews; how often is what is tuned.

    It undoes the beams' difference and the pixels' averaging, so that its answer has the target's beam. It holds for
    what is never negative, and a map's noise is: a pedestal of 2 sigma is added before and taken off after. Pixels that
    are not known, and those beyond the edge, are left free.
    """

    name = "Richardson-Lucy"

    def _candidates(self, image: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        seen = Degradation(self.image, self.target, image.shape[-2:])
        scaled = image * brightness_ratio(self.image, self.target)
        statistics = np.array([plane_statistics(plane) for plane in scaled])[:, :, None, None]  # (C, 3, 1, 1)
        pedestal = PEDESTAL_SIGMA * statistics[:, 1] - statistics[:, 0]
        tiny = 1e-6 * float(np.abs(statistics).max()) or 1.0
        known = np.isfinite(scaled)
        data = seen.pad(np.where(known, np.maximum(scaled + pedestal, 0), 0)).astype(np.float32)
        weight = seen.pad(known).astype(np.float32)
        reached = np.maximum(seen.backward(weight), 1e-3 / seen.factor**2)
        shown = spread_out(known, seen.factor)

        start = data.sum(axis=(1, 2), keepdims=True) / np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1)
        now = ahead = np.broadcast_to(np.maximum(start, tiny), reached.shape)
        step = np.zeros_like(reached)
        for turn in range(1, ITERATIONS[-1] + 1):
            ratio = weight * data / np.maximum(seen.forward(ahead), tiny)
            before, now = now, ahead * np.maximum(seen.backward(ratio), 0) / reached
            last, step = step, now - ahead
            # Biggs & Andrews: how far the last two steps agree is how far the next may reach ahead
            pace = float((step * last).sum() / max((last**2).sum(), tiny**2))
            ahead = np.maximum(now + min(max(pace, 0), MOST_AHEAD) * (now - before), 0)
            if turn in ITERATIONS:
                yield turn, np.where(shown, now[seen.target] - pedestal, np.nan)


# --------------------------------------------------------------------------- between unlike sides


class MeanImage:
    """The mean of the training targets: what is answered where the input tells nothing."""

    name = "mean image"

    def tune(self, inputs: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> None:
        """Take the mean of the truths, ``(C, H, W)``, of the training images over their known pixels; else 0."""
        total, count = np.zeros(truths[0].shape), np.zeros(truths[0].shape)
        for truth in truths:
            known = np.isfinite(truth)
            total[known] += truth[known]
            count += known
        self.mean = total / np.maximum(count, 1)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return the mean image, whatever the input."""
        return self.mean


class NearestNeighbour:
    """The target of the training image whose input is most like this one.

    Inputs are compared as means over 16 x 16 parts, on a curve (asinh, linear up to the training parts' own scatter)
    that keeps the brightest from deciding alone. Unknown pixels of a target are 0.
    """

    name = "nearest neighbour"

    def tune(self, inputs: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> None:
        """Remember the training images: small versions of the inputs, and the truths."""
        small = np.stack([self._small(image) for image in inputs])
        self.scale = 1.4826 * float(np.median(np.abs(small - np.median(small)))) or float(small.std()) or 1.0
        self.known, self.truths = np.arcsinh(small / self.scale), truths

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return the target of the most like training input."""
        distance = ((self.known - np.arcsinh(self._small(image) / self.scale)) ** 2).sum(axis=1)
        return np.nan_to_num(self.truths[int(distance.argmin())])

    @staticmethod
    def _small(image: np.ndarray) -> np.ndarray:
        return np.nan_to_num(resample(image, SMALL_SIDE)).astype(float).ravel()
