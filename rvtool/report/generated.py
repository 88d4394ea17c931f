"""What made images have in common with real ones, and whether they repeat those that they were learnt from.

Sizes and fluxes are measured on images in their physical unit; distances to training images on features or on small
stretched pictures.

References
----------
.. [1] Kantorovich & Rubinstein (1958), and Ramdas et al. (2017), Entropy 19, 47, eq. 7 (Wasserstein-1 of two samples)
.. [2] Kolmogorov (1933) and Smirnov (1939), by Hodges (1958), Ark. Mat. 3, 469 (the two-sample test)
.. [3] Meehan, Chaudhuri & Dasgupta (2020), arXiv:2004.05675 (copies by distances to training and to held-out images)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import ks_2samp, wasserstein_distance
from torch.nn import functional

from rvtool.data.stretch import measure
from rvtool.report.detections import SOURCE_SHARE, SOURCE_SIGMA, main_source
from rvtool.report.scores import interval, resamples

PEAK_BLUR, PEAK_WINDOW = 1.0, 5  # px: smoothing, and the square of which a peak is the brightest pixel
NEAR_PERCENT = 1.0  # of the distances of held-out images, below which one is a near-copy
SMALL = 32  # px, side of the pictures that are compared pixel by pixel

SHAPES = {
    "flux": "Total flux",
    "area": "Lit area",
    "axis_ratio": "Axis ratio",
    "peaks": "Number of peaks",
}


def shapes(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the main source of each image: every name of `SHAPES`, ``(N,)``, 0 where there is no source.

    The main source are the islands above 3 sigma that reach 5 sigma and a tenth of the image's peak. Of it the sum of
    the brightness above the background (unit times px), its pixels, the square root of the ratio of its second moments
    (each with the pixel's own 1/12 px^2), and the peaks: brightest pixels of 5 by 5 after a Gaussian of 1 px, in the
    source, above 5 sigma and a tenth of the image's peak.

    Parameters
    ----------
    images : (N, C, H, W)
        In any unit, NaN where not known; the mean of the channels is measured.
    """
    planes = images.astype(float).mean(axis=1)
    known = np.isfinite(planes)
    background = np.stack([measure(plane[None], mask)[:2] for plane, mask in zip(planes, known, strict=True)])
    light = np.where(known, planes - background[:, 0, None, None], 0)
    source = main_source(planes, known, background)
    inside = np.where(source, light, 0)
    flux = inside.sum(axis=(1, 2))
    share = inside / np.where(flux > 0, flux, 1)[:, None, None]
    y, x = np.indices(planes.shape[1:])
    mean_y, mean_x, yy, xx, xy = (np.einsum("nhw,hw->n", share, part) for part in (y, x, y * y, x * x, x * y))
    yy, xx, xy = yy - mean_y**2, xx - mean_x**2, xy - mean_x * mean_y
    middle, spread = (yy + xx) / 2 + 1 / 12, np.hypot((yy - xx) / 2, xy)
    smooth = ndimage.gaussian_filter(light, PEAK_BLUR, axes=(1, 2))
    level = np.maximum(SOURCE_SIGMA * background[:, 1], SOURCE_SHARE * smooth.max(axis=(1, 2)))[:, None, None]
    peaks = source & (smooth > level) & (smooth == ndimage.maximum_filter(smooth, PEAK_WINDOW, axes=(1, 2)))
    ratio = np.sqrt(np.maximum(middle - spread, 1 / 12) / (middle + spread))
    return {
        "flux": flux,
        "area": source.sum(axis=(1, 2)).astype(float),
        "axis_ratio": np.where(flux > 0, ratio, 0.0),
        "peaks": peaks.sum(axis=(1, 2)).astype(float),
    }


def wasserstein(real: np.ndarray, made: np.ndarray, bootstrap: int = 2000, seed: int = 0) -> dict[str, float | None]:
    """Distance of two distributions of numbers ``(N,)`` and ``(M,)``, in standard deviations of the real ones.

    What one has to be moved, on average, to become the other ([1]_). Never negative, so resamples sit above it: their
    mean distance from it is taken off its interval.

    Returns
    -------
    ``value``, ``low`` and ``high``, None where the real ones do not differ; ``real`` and ``made``, the two medians.
    """
    medians = {"real": float(np.median(real)), "made": float(np.median(made))}
    scale = float(real.std())
    if not scale > 0:
        return {"value": None, "low": None, "high": None, **medians}
    value = float(wasserstein_distance(real, made)) / scale
    random = np.random.default_rng(seed)
    drawn = ([random.choice(x, len(x)) for x in (real, made)] for _ in range(bootstrap))
    low, high = interval(np.array([wasserstein_distance(*pair) for pair in drawn]) / scale, value)
    return {"value": value, "low": low, "high": high, **medians}


# --------------------------------------------------------------------------- the nearest training image


class Nearest(NamedTuple):
    """The nearest of some images to others: its row, the distance, and by which turn it comes to lie on them.

    Attributes
    ----------
    row, distance, turn
        (N,) each; `turned` makes turn k of a picture.
    """

    row: np.ndarray
    distance: np.ndarray
    turn: np.ndarray


def turned(images: np.ndarray, turn: int) -> np.ndarray:
    """Return one of the eight turns and mirror images of pictures ``(..., H, W)``; from the fifth on mirrored."""
    mirrored = images[..., ::-1] if turn >= 4 else images
    return np.rot90(mirrored, turn % 4, (-2, -1))


def shrunk(images: np.ndarray, side: int) -> np.ndarray:
    """Bring ``(N, C, H, W)`` to pictures of a longer side of `side` px at most, by the mean over what each covers."""
    longest = max(images.shape[-2:])
    if longest <= side:
        return images
    height, width = (max(1, round(length * side / longest)) for length in images.shape[-2:])
    small: np.ndarray = functional.adaptive_avg_pool2d(torch.from_numpy(images), (height, width)).numpy()
    return small


def centred(pictures: np.ndarray) -> np.ndarray:
    """Move each of ``(N, C, H, W)`` by whole pixels, round its edges, so that its brightest parts lie in the middle.

    An image that was learnt by heart is still the same where it is moved. The middle is the mean place, weighted by the
    square of the brightness above the median.
    """
    planes = pictures.astype(float).mean(axis=1)
    light = np.maximum(planes - np.median(planes, axis=(1, 2), keepdims=True), 0) ** 2
    total = light.sum(axis=(1, 2))
    moved = np.empty_like(pictures)
    middle = (np.array(planes.shape[1:]) - 1) / 2
    for row, (picture, weights) in enumerate(zip(pictures, light, strict=True)):
        if not total[row] > 0:
            moved[row] = picture
            continue
        place = [(weights.sum(axis=1 - axis) @ np.arange(weights.shape[axis])) / total[row] for axis in (0, 1)]
        moved[row] = np.roll(picture, np.floor(np.round(middle - place, 6) + 0.5).astype(int), axis=(-2, -1))
    return moved


def nearest(points: np.ndarray, among: np.ndarray) -> Nearest:
    """Find for each of ``(N, F)`` features the nearest of ``(M, F)``, by Euclid's distance."""
    points, among = points.astype(float), among.astype(float)
    square = (points**2).sum(axis=1)[:, None] + (among**2).sum(axis=1) - 2 * points @ among.T
    row = square.argmin(axis=1)
    return Nearest(row, np.linalg.norm(points - among[row], axis=1), np.zeros(len(points), int))


def nearest_pictures(pictures: np.ndarray, among: np.ndarray, symmetric: bool = True) -> Nearest:
    """Find for each of ``(N, C, H, W)`` pictures the nearest of ``(M, C, H, W)``: root mean square difference.

    Pictures are compared with `SMALL` px a side at most.

    Parameters
    ----------
    symmetric
        Whether a picture is the same thing where it is turned, mirrored and moved, as on the sky: the best of the
        eight counts, all `centred`.
    """
    square = pictures.shape[-1] == pictures.shape[-2]

    def flat(images: np.ndarray) -> np.ndarray:
        small = shrunk(centred(images) if symmetric else images, SMALL)
        return small.reshape(len(small), -1)

    asked = flat(pictures)
    tried = [nearest(asked, flat(turned(among, turn))) for turn in (range(8) if symmetric and square else (0,))]
    turn = np.argmin([one.distance for one in tried], axis=0)
    row, distance = (np.choose(turn, [getattr(one, name) for one in tried]) for name in ("row", "distance"))
    return Nearest(row, distance / np.sqrt(asked.shape[1]), turn)


def memorised(
    made: np.ndarray, held_out: np.ndarray, members: np.ndarray, bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Compare distances to the nearest training image: of made images, ``(N,)``, and of held-out ones, ``(M,)``.

    A generator that repeats what it has seen lies nearer to it than new real images do ([3]_).

    Parameters
    ----------
    members : (M,)
        The number of each held-out image's sky group, 0 .. G-1.

    Returns
    -------
    ``statistic`` and ``p`` of the Kolmogorov-Smirnov test that both are of one distribution ([2]_); the ``medians`` of
    both; ``near_copies``, the share of made images that lie nearer than 99 % of the held-out ones, with ``low`` and
    ``high`` (both sets resampled); ``images`` of each.
    """
    test = ks_2samp(made, held_out)
    threshold = np.percentile(held_out, NEAR_PERCENT)
    draws = []
    random = np.random.default_rng(seed)
    for weights in resamples(members, bootstrap, seed):
        edges = [np.percentile(np.repeat(held_out, row.astype(int)), NEAR_PERCENT) for row in weights]
        draws += [(random.choice(made, len(made)) < edge).mean() for edge in edges]
    low, high = interval(np.array(draws))
    return {
        "statistic": float(test.statistic),
        "p": float(test.pvalue),
        "medians": {"made": float(np.median(made)), "held_out": float(np.median(held_out))},
        "near_copies": {"value": float((made < threshold).mean()), "low": low, "high": high},
        "images": {"made": len(made), "held_out": len(held_out)},
    }
