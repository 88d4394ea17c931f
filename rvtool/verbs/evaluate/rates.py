"""Puts codecs beside each other on the same images: a run's codes alone and within bounds, and what others make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import inf, nan
from typing import Any

import numpy as np

from rvtool.compressed.coder import Coder
from rvtool.compressed.coding import installed_codec
from rvtool.data.stretch import measure as statistics
from rvtool.errors import ConfigError, PluginError
from rvtool.plugins import component
from rvtool.report import faint, likeness
from rvtool.report.likeness import Truth
from rvtool.report.tradeoff import Point, peak_errors
from rvtool.runs.run import Run

LEARNED = "learned"  # the codec of runs
RIVALS = ("predictive", "rice", "jpegxl")
BOUNDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # of the noise
OWN_BOUNDS = (0.25, 0.5, 1.0)
QUALITIES = (0.5, 1.0, 2.0, 4.0, 8.0)  # distances of lossy JPEG-XL
NO_NOISE = 0.01  # of the peak above the median stands for the noise of images that have none
ENOUGH = 0.01  # standard error of the stack: coarser than the gate of compare-codecs, for many more points
STACKED = 16  # images that sources are put into
OWN_SEEDS, RIVALS_SEEDS = 8, 2  # times, at most

LOSSY = "jpegxl, lossy"
_SOFT = 20.0  # noise up to which brightness is kept linear, as the autoencoders do
_LEVELS = 65535.0

Code = Callable[[np.ndarray, float], tuple[np.ndarray, int]]
"""Codes an image ``(H, W)`` of known noise and gives it back, with the bytes that it took."""


@dataclass
class Tradeoff:
    """Measures codecs on the planes of a truth.

    Attributes
    ----------
    points
        What was measured, by the codec's name.
    """

    truth: Truth
    points: dict[str, list[Point]] = field(default_factory=dict)

    def measure(self, name: str, asked: str, code: Code, seeds: int) -> np.ndarray:
        """Measure one codec at one setting; return what it makes, ``(N, 1, H, W)``."""
        planes, background = self.truth.pixels[:, 0], self.truth.background[:, 0]
        sigmas = background[:, 1]
        units = np.where(sigmas > 0, sigmas, NO_NOISE * (np.nanmax(planes, axis=(1, 2)) - background[:, 0]))
        made = [code(np.ascontiguousarray(plane), float(unit)) for plane, unit in zip(planes, units, strict=True)]
        outputs = np.stack([image for image, _ in made])
        found = likeness.measure(self.truth, outputs[:, None].astype(np.float32))
        pixels = np.isfinite(planes).sum()
        quiet = np.flatnonzero(sigmas > 0)
        some = quiet[np.linspace(0, len(quiet) - 1, min(STACKED, len(quiet))).astype(int)]
        stack = faint.stacked_ratio(
            [planes[number] for number in some],
            [float(sigmas[number]) for number in some],
            self.truth.beam_px,
            lambda image: code(image, _sigma_of(image))[0],
            enough=ENOUGH,
            most_seeds=seeds,
        )
        errors = peak_errors(planes, outputs, background)
        self.points.setdefault(name, []).append(
            Point(
                asked,
                8 * sum(size for _, size in made) / float(pixels),
                float(np.mean(found["psnr"])),
                float(np.nanmean(found["psnr_lit"])),
                float(np.median(errors)) if errors.size else nan,
                stack.value if stack else nan,
                stack.error if stack else nan,
            )
        )
        return outputs[:, None].astype(np.float32)


def _sigma_of(image: np.ndarray) -> float:
    return float(statistics(image[None], np.isfinite(image))[1])


def codec_of(run: Run) -> Any | None:
    """Return the codec of a run; None where it cannot be one, for it makes other images than it is given."""
    chosen = component("codec", LEARNED)
    try:
        return chosen.load()(chosen.configure({"run": str(run.path)}))
    except ConfigError:
        return None


def alone(run: Run) -> str:
    """Name a run's codes without anything beside them."""
    return f"{run.record['model']}, codes alone"


def bounded(codec: Any, sigmas: float) -> Code:
    """Let a codec keep a bound of so many times the noise."""

    def code(image: np.ndarray, sigma: float) -> tuple[np.ndarray, int]:
        coder = Coder(codec, sigmas * sigma if np.isfinite(sigmas) else inf)
        parts = coder.encode(image)
        return coder.decode(parts, image.shape, image.dtype), coder.payload(parts)

    return code


def own(tradeoff: Tradeoff, run: Run, codec: Any) -> None:
    """Measure a run's codes alone, and with what they leave within bounds."""
    tradeoff.measure(alone(run), "none", bounded(codec, inf), OWN_SEEDS)
    for bound in OWN_BOUNDS:
        setting = f"{bound:g}sigma"
        tradeoff.measure(f"{run.record['model']} within a bound", setting, bounded(codec, bound), OWN_SEEDS)


def others(tradeoff: Tradeoff) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """Measure the rivals: name, images, and what must be said of one that is not here."""
    for name in RIVALS:
        try:
            codec = installed_codec(name)
        except PluginError as error:
            yield name, None, f"{name} is left out: {error}"
            continue
        for bound in BOUNDS:
            yield name, tradeoff.measure(name, f"{bound:g}sigma", bounded(codec, bound), RIVALS_SEEDS), ""
    if find_spec("imagecodecs") is None:
        yield LOSSY, None, f"{LOSSY} is left out: it needs imagecodecs (pip install 'rvtool[baselines]')."
        return
    for distance in QUALITIES:
        yield LOSSY, tradeoff.measure(LOSSY, f"distance {distance:g}", _lossy(distance), RIVALS_SEEDS), ""


def _lossy(distance: float) -> Code:
    """Let JPEG-XL transform what it is told to: 16-bit numbers of the stretch that autoencoders have by default."""

    def code(image: np.ndarray, sigma: float) -> tuple[np.ndarray, int]:
        import imagecodecs

        known = np.isfinite(image)
        middle = float(np.median(image[known])) if known.any() else 0.0
        stretched = np.arcsinh(np.where(known, image - middle, 0.0) / ((sigma or 1.0) * _SOFT))
        low, span = float(stretched.min()), float(np.ptp(stretched)) or 1.0
        levels = np.rint((stretched - low) / span * _LEVELS).astype(np.uint16)
        data = imagecodecs.jpegxl_encode(levels, distance=distance, effort=7)
        back = imagecodecs.jpegxl_decode(data).astype(np.float64).reshape(image.shape) / _LEVELS * span + low
        made = np.where(known, np.sinh(back) * (sigma or 1.0) * _SOFT + middle, np.nan)
        return made.astype(image.dtype), len(data)

    return code


def nearest(found: Sequence[tuple[float, np.ndarray]], bits: float) -> tuple[float, np.ndarray]:
    """Return the images of the least rate that is no lower than this, else of the highest there is."""
    above = [one for one in found if one[0] >= bits]
    return min(above, key=lambda one: one[0]) if above else max(found, key=lambda one: one[0])
