"""How like the truth restored images are: each figure a pure function of plain arrays in physical units.

A pixel of the truth that is NaN counts nowhere, neither in a sum nor in a window; what is not to be judged (where the
input was blank) is set to NaN there. Every figure is taken of each channel by itself, and the mean over the channels is
that of the image. Sigma is the noise of the truth: 1.4826 times the median absolute deviation, unless it is given.
*Lit* is what stands more than 3 sigma above the truth's median: of a sky that is nearly empty, the rest flatters every
answer.

References
----------
Wang et al. (2004), IEEE TIP 13, 600 (SSIM). Glaser et al. (2019), arXiv:1906.03874 (sizes and fluxes within 20 %).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage, sparse

from rvtool.data.beams import GAUSSIAN_AREA, area
from rvtool.data.stretch import measure as statistics
from rvtool.errors import DataError
from rvtool.kinds import Side
from rvtool.report.classification import FEW_GROUPS
from rvtool.report.detections import Sought, Sources, lengths, main_source, summits
from rvtool.report.scores import Metric, interval, resamples

LIT_SIGMA = 3.0
SOURCE_BEAMS = 2.0  # round the main source, whose flux is summed
TOLERANCE = 0.2
UNKNOWN_BEAM_PIXELS = 3.0  # taken for the beam where there is none
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
BLOCK_PIXELS = 4_000_000  # judged at once: 32 MB an array
FAINTEST_RATIO = 1e-10

METRICS = {
    "psnr": Metric("PSNR", True, "Mean of 10 log10(range^2 / mean squared error), dB, over all known pixels."),
    "psnr_lit": Metric("PSNR, lit", True, "The same over the lit pixels of the truth alone."),
    "ssim": Metric(
        "SSIM",
        True,
        "Mean structural similarity of images divided by their range: Gaussian windows of 11 pixels, sigma 1.5,"
        " constants 0.01 and 0.03, windows that lie in the known part.",
    ),
    "flux_error": Metric(
        "Total flux error",
        False,
        "Median of |sum of the output / sum of the truth - 1| over the truth's main source and two beams around it:"
        " islands above 3 sigma that reach 5 sigma and a tenth of the image's peak. Images without are left out.",
    ),
    "aperture_error": Metric(
        "Aperture flux error",
        False,
        "Median of |flux ratio - 1| within one beam (full width; 3 pixels where it is not known) of the truth's peak.",
    ),
    "peak_error": Metric("Peak error", False, "Median of |brightest pixel of the output / of the truth - 1|."),
    "offset_px": Metric(
        "Position error, px", False, "Median distance of the brightest pixels, by a parabola in ln brightness, px."
    ),
    "offset_arcsec": Metric("Position error, arcsec", False, "The same in arcsec."),
    "size_error": Metric(
        "Size error",
        False,
        "Median of |size ratio - 1|, of the major axis of the brightness' second moments, each over its image's own"
        " main source (as above, by the truth's sigma); 1 where the output has none.",
    ),
    "within": Metric("Within 20 %", True, "Share of the images whose total flux and size are both within 20 %."),
    "spectrum_error": Metric(
        "Power error, dB",
        False,
        "Median over images of the mean |10 log10 of the ratio of radially averaged power| up to one cycle a beam.",
    ),
    "coherence": Metric(
        "Coherence", True, "Mean cross-correlation of the Fourier modes in rings, up to one cycle a beam: 1 is perfect."
    ),
    "consistency": Metric(
        "Beam consistency",
        False,
        "Median rms of (the output seen with the input's beam and pixels - the input), in units of the input's noise."
        " To be compared with the truth's own, which is told beside: less explains the input's noise too.",
    ),
}
RATIOS = {
    "flux_ratio": "Total flux",
    "aperture_ratio": "Flux in one beam of the peak",
    "peak_ratio": "Peak",
    "size_ratio": "Size",
}
MEANS = frozenset(  # of all others the median is told
    {"psnr", "psnr_lit", "ssim", "within", "coherence", "rmse", "rmse_open", "nmse", "nmse_open"}
)


@dataclass(frozen=True)
class Truth:
    """What is true of some images.

    Attributes
    ----------
    ids
        (N,), a name of each image, unique.
    pixels
        (N, C, H, W), in the side's unit; NaN where a pixel is not known or not to be judged.
    side
        Unit, pixels and beam.
    groups
        (N,), the sky group of each image; None where every image stands for itself.
    peak
        The data range of PSNR and SSIM; None: each image's (and channel's) own brightest pixel.
    sigma
        The noise; None: measured on each image, 0 where its background was clipped away.
    """

    ids: Sequence[str]
    pixels: np.ndarray
    side: Side
    groups: np.ndarray | None = None
    peak: float | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise DataError("There are no images to judge; check the split and the dataset.")
        blank = ~np.isfinite(self.pixels).any(axis=(-2, -1)).all(axis=1)
        if blank.any():
            name = self.ids[int(np.flatnonzero(blank)[0])]
            raise DataError(f"The true image of {name} has not one known pixel to judge by; leave it out.")

    @property
    def members(self) -> np.ndarray:
        """(N,), the number of each image's sky group, 0 .. G-1."""
        if self.groups is None:
            return np.arange(len(self.ids))
        return np.unique(self.groups, return_inverse=True)[1]

    @cached_property
    def background(self) -> np.ndarray:
        """(N, C, 2), median and noise of the known pixels."""
        planes = self.pixels.reshape(-1, 1, *self.pixels.shape[-2:])
        found = np.array([statistics(plane, np.isfinite(plane[0]))[:2] for plane in planes], float)
        if self.sigma is not None:
            found[:, 1] = self.sigma
        return found.reshape(*self.pixels.shape[:2], 2)

    @property
    def beam_px(self) -> float:
        """Full width of the beam's major axis, px."""
        beam, pixel = self.side.beam, self.side.pixel_arcsec
        return beam.major_arcsec / pixel if beam and pixel else UNKNOWN_BEAM_PIXELS

    @property
    def beam_area_px(self) -> float:
        """The beam's area, px^2."""
        beam, pixel = self.side.beam, self.side.pixel_arcsec
        return area(beam) / pixel**2 if beam and pixel else GAUSSIAN_AREA * UNKNOWN_BEAM_PIXELS**2

    def sought(self, channel: int = 0, injected: Sources | None = None) -> Sought:
        """Return one channel as what sources are sought in."""
        planes, background = self.pixels[:, channel], self.background[:, channel]
        return Sought(planes, background, self.members, self.beam_px, self.beam_area_px, injected)


def measure(truth: Truth, outputs: np.ndarray) -> dict[str, np.ndarray]:
    """Measure every figure of `METRICS` but the consistency, and of `RATIOS`, on each image.

    Parameters
    ----------
    outputs : (N, C, H, W)
        In the truth's unit and on its pixels.

    Returns
    -------
    (N,) each; NaN where a figure is not defined.

    Raises
    ------
    DataError
        The shapes differ, or an output is not finite where the truth is known.
    """
    if outputs.shape != truth.pixels.shape:
        raise DataError(f"The outputs have shape {outputs.shape}, the truths {truth.pixels.shape}; they must be equal.")
    count, channels = outputs.shape[:2]
    step = max(1, BLOCK_PIXELS // outputs[0].size)
    parts = []
    for start in range(0, count, step):
        some = slice(start, start + step)
        true, output = truth.pixels[some].astype(float), outputs[some].astype(float)
        known = np.isfinite(true)
        bad = (known & ~np.isfinite(output)).any(axis=(1, 2, 3))
        if bad.any():
            name = truth.ids[start + int(np.flatnonzero(bad)[0])]
            raise DataError(f"The model's answer to image {name} is not finite; its training may have diverged.")
        shape = (-1, *true.shape[-2:])  # (P, H, W)
        true, output = (np.where(known, image, 0).reshape(shape) for image in (true, output))
        parts.append(_measure(truth, true, output, known.reshape(shape), truth.background[some].reshape(-1, 2)))
    return {
        name: np.concatenate([part[name] for part in parts]).reshape(count, channels).mean(axis=1) for name in parts[0]
    }


def _measure(
    truth: Truth, true: np.ndarray, output: np.ndarray, known: np.ndarray, background: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure planes ``(P, H, W)`` that are 0 where not `known`; `background` is ``(P, 2)``."""
    floor, sigma = background.T[:, :, None, None]  # (P, 1, 1) each
    pixel, beam = truth.side.pixel_arcsec, truth.beam_px
    places = summits(true, known), summits(output, known)  # (P, 2) each
    peaks = [np.where(known, image, -np.inf).max(axis=(1, 2)) for image in (true, output)]
    span = np.where(peaks[0] > 0, peaks[0] if truth.peak is None else truth.peak, np.nan)

    square = (output - true) ** 2
    grid = np.indices(true.shape[1:])[:, None]  # (2, 1, H, W)
    near = known & (np.hypot(*(grid - places[0].T[:, :, None, None])) <= beam)
    sources = [main_source(image, known, background) for image in (true, output)]
    around = known & ndimage.maximum_filter(sources[0], 2 * round(SOURCE_BEAMS * beam) + 1, axes=(1, 2))
    sums, discs = ([(image * mask).sum(axis=(1, 2)) for image in (true, output)] for mask in (around, near))
    axes = [lengths(image, source, background) for image, source in zip((true, output), sources, strict=True)]
    modes = spectra(true, output)
    told = slice(0, max(1, int(np.searchsorted(modes.frequency, 1 / beam, side="right"))))
    offset = np.hypot(*(places[1] - places[0]).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "psnr": _psnr(square, known, span),
            "psnr_lit": _psnr(square, known & (true > floor + LIT_SIGMA * sigma), span),
            "ssim": ssim(true / span[:, None, None], output / span[:, None, None], known),
            "flux_ratio": np.where(sums[0] > 0, sums[1] / sums[0], np.nan),
            "aperture_ratio": np.where(discs[0] > 0, discs[1] / discs[0], np.nan),
            "peak_ratio": np.where(peaks[0] > 0, peaks[1] / peaks[0], np.nan),
            "size_ratio": np.where(axes[0] > 0, axes[1] / axes[0], np.nan),
            "offset_px": offset,
            "offset_arcsec": offset * (pixel or np.nan),
            "coherence": modes.coherence[:, told].mean(axis=1),
            "spectrum_error": np.abs(10 * np.log10(np.maximum(modes.ratio, FAINTEST_RATIO)))[:, told].mean(axis=1),
        }
    errors = {name.replace("ratio", "error"): np.abs(found[name] - 1) for name in RATIOS}
    both = np.maximum(errors["flux_error"], errors["size_error"])
    return found | errors | {"within": np.where(np.isfinite(both), both <= TOLERANCE, np.nan)}


def _psnr(square: np.ndarray, counted: np.ndarray, span: np.ndarray) -> np.ndarray:
    return 10 * np.log10(span**2 * counted.sum(axis=(1, 2)) / (square * counted).sum(axis=(1, 2)))


def ssim(true: np.ndarray, output: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Structural similarity at a data range of 1, ``(P,)``: the mean over the windows that lie in the known part.

    Parameters
    ----------
    true, output, known : (P, H, W)

    References
    ----------
    Wang et al. (2004), IEEE TIP 13, 600, eq. 13.
    """

    def blur(planes: np.ndarray) -> np.ndarray:
        options: Any = {"radius": SSIM_RADIUS, "axes": (1, 2), "mode": "constant"}
        return ndimage.gaussian_filter(planes, SSIM_SIGMA, **options)

    counted = ndimage.minimum_filter(known, 2 * SSIM_RADIUS + 1, axes=(1, 2), mode="constant")
    a, b = blur(true), blur(output)
    variances = blur(true**2) - a**2 + blur(output**2) - b**2
    covariance = blur(true * output) - a * b
    low, high = 0.01**2, 0.03**2
    likeness = (2 * a * b + low) * (2 * covariance + high) / ((a**2 + b**2 + low) * (variances + high))
    return (likeness * counted).sum(axis=(1, 2)) / counted.sum(axis=(1, 2))


class Spectra(NamedTuple):
    """Power of two stacks of planes in rings of Fourier space.

    Attributes
    ----------
    frequency
        (K,), middle of each ring in cycles a pixel, up to Nyquist's 1/2; the mean of the image is left out.
    ratio
        (P, K), the output's power over the truth's.
    coherence
        (P, K), Re <O T*> / sqrt(<|O|^2> <|T|^2>): 1 where the modes are the truth's but for their strength.
    """

    frequency: np.ndarray
    ratio: np.ndarray
    coherence: np.ndarray


def spectra(true: np.ndarray, output: np.ndarray) -> Spectra:
    """Compare the power of planes ``(P, H, W)``, 0 where a pixel is not known, in rings as wide as one mode."""
    height, width = true.shape[1:]
    side = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    ring = np.round(radius * side).astype(int).ravel() - 1
    rings = side // 2
    twice = np.full(radius.shape, 2.0)  # a real image's other half
    twice[:, 0] = 1
    if width % 2 == 0:
        twice[:, -1] = 1
    inside = (ring >= 0) & (ring < rings)
    sums = sparse.csr_array((twice.ravel()[inside], (ring[inside], np.flatnonzero(inside))), (rings, ring.size))
    a, b = (np.fft.rfft2(planes).reshape(len(planes), -1) for planes in (true, output))
    cross, own, others = ((sums @ (x * y.conj()).real.T).T for x, y in ((a, b), (b, b), (a, a)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return Spectra(np.arange(1, rings + 1) / side, own / others, cross / np.sqrt(own * others))


# --------------------------------------------------------------------------- over many images


def reduce(name: str, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bring one figure of many images ``(N,)`` to one number, ``(R,)``, for each row of weights ``(R, N)``.

    The mean of what is in `MEANS`, the median of everything else; images for which it is not defined are left out.
    """
    defined = ~np.isnan(values)
    values, weights = values[defined], weights[:, defined]
    total = weights.sum(axis=1)
    known = total > 0
    if not known.any():
        return np.full(len(weights), np.nan)
    if name in MEANS:
        with np.errstate(invalid="ignore", divide="ignore"):
            return weights @ values / total
    order = np.argsort(values)
    rising = weights[:, order].cumsum(axis=1)
    middle = [(rising < total[:, None] / 2).sum(axis=1), (rising <= total[:, None] / 2).sum(axis=1)]
    ends = [values[order][at.clip(max=len(values) - 1)] for at in middle]
    return np.where(known, (ends[0] + ends[1]) / 2, np.nan)


def judge(
    truth: Truth,
    measured: Mapping[str, np.ndarray],
    baselines: Mapping[str, Mapping[str, np.ndarray]],
    bootstrap: int,
    seed: int,
    *,
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, Any]:
    """Judge what was measured of a model's outputs beside what was measured of the baselines'.

    Parameters
    ----------
    measured
        What `measure` gave, and further figures of each image ``(N,)`` by the names of `metrics`.
    baselines
        The same of each baseline.

    Returns
    -------
    For each name of `metrics` ``value`` with its 95 % interval ``low`` and ``high``, ``baseline`` the best of the
    baselines' values, ``best`` which it is, and ``gain``, ``gain_low``, ``gain_high``: how much better than that the
    model is, on the same images, with its interval (None where not defined or not finite). ``ratios``: of each of
    `RATIOS` that was measured ``median``, ``low``, ``high``, and ``p16`` and ``p84`` of the images. ``range``,
    ``images``, ``groups`` and ``warnings``.
    """
    members = truth.members
    one = np.ones((1, len(members)))
    drawn = np.concatenate([one, *resamples(members, bootstrap, seed)])  # the first row counts every image once
    found: dict[str, Any] = {}
    warnings = []
    for name, metric in metrics.items():
        sign = 1 if metric.higher_is_better else -1
        value, *draws = reduce(name, measured[name], drawn) if name in measured else (np.nan,)
        rivals = {key: reduce(name, values[name], one)[0] for key, values in baselines.items() if name in values}
        rivals = {key: rival for key, rival in rivals.items() if np.isfinite(rival)}
        row: dict[str, Any] = dict(zip(("value", "low", "high"), (value, *interval(np.array(draws))), strict=True))
        row |= dict.fromkeys(("baseline", "best", "gain", "gain_low", "gain_high"))
        if rivals:
            best = max(rivals, key=lambda key: sign * rivals[key])
            row |= {"baseline": rivals[best], "best": best}
            if name in measured:
                gains = sign * (np.array([value, *draws]) - reduce(name, baselines[best][name], drawn))
                row |= dict(zip(("gain", "gain_low", "gain_high"), (gains[0], *interval(gains[1:])), strict=True))
                if gains[0] < 0:
                    warnings.append(f"{metric.title}: the model ({value:.3g}) loses to {best} ({rivals[best]:.3g}).")
        found[name] = {key: _plain(number) for key, number in row.items()}
    found["ratios"] = {}
    for name in filter(measured.__contains__, RATIOS):
        median, *draws = reduce(name, measured[name], drawn)
        known = measured[name][~np.isnan(measured[name])]
        spread = np.percentile(known, (16, 84)) if known.size else (None, None)
        ends = (median, *interval(np.array(draws)), *spread)
        named = zip(("median", "low", "high", "p16", "p84"), ends, strict=True)
        found["ratios"][name] = {key: _plain(number) for key, number in named}
    groups = int(members.max()) + 1
    if groups < FEW_GROUPS:
        warnings.append(f"Only {groups} independent sky groups were judged: the intervals are rough and too narrow.")
    span = "each image's own peak" if truth.peak is None else f"{truth.peak:g} {truth.side.unit}".strip()
    return found | {"range": span, "images": len(members), "groups": groups, "warnings": warnings}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else float(value) if np.isfinite(value) else None
