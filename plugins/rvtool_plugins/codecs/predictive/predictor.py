"""Linear predictors: least squares fitted to a tile, as integers.

The normal equations of what predicts the noise come from the autocorrelation of the tile (by FFT), with everything
masked that stands out of the noise, so that bright sources do not decide how noise is predicted. Bright pixels have a
predictor of their own, fitted to them alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from rvtool.coding.numbers import CONTEXTS, decode_numbers, encode_numbers
from rvtool_plugins.codecs.predictive.kernel import SHIFT
from rvtool_plugins.codecs.predictive.solving import normal_equations, solution

REACHES = (14, 10, 7, 5, 3, 2)
"""Reaches that are tried, pixels."""

BRIGHT_REACH = 3
EDGE_REACH = 5
BEFORE_REACH = 2
"""Reach in the plane before, pixels."""

_PLANES_REACH = 5  # where there is a plane before to look at
_OUTLIER = 4.0  # times the median difference: what is no noise
_FAR = 8.0  # times the median distance from the median
_SMOOTH = 12  # side of the blocks whose means are the smooth part of an image, pixels
_SMALL = 1 << 17  # pixels: of smaller tiles the noise is known too little to foresee which reach is best
_TRIES = 3
_LITTLE = 0.05  # cells squared: less than this left saves hardly a bit
_RIDGE = 1e-6
_LARGEST = (1 << 17) - 1
_QUICK_SIDE = 192
_FARTHEST = 1e6  # cells: what is farther has nothing to do with the noise
_FEW_BRIGHT = 200  # with fewer bright pixels it does not pay to describe them
_MOST_BRIGHT = 12000
_WELL_PREDICTED = 0.02  # of the variance is left
_SAMPLES_PER_WEIGHT = 100
_REFINED = (10, 7, 5, 3)  # reaches that are tried with pixels

Offset = tuple[int, int, int]


@dataclass(frozen=True)
class Window:
    """Which pixels a predictor looks at.

    Attributes
    ----------
    reach
        How far to the sides and to the left.
    rows
        How many rows above.
    before
        How far in the plane before, in both axes; -1 for not at all.
    """

    reach: int
    rows: int
    before: int = -1

    def offsets(self) -> list[Offset]:
        """Return (plane, row, column) of each: row by row upwards, then to the left, then in the plane before."""
        wide, near = range(-self.reach, self.reach + 1), range(-self.before, self.before + 1)
        above = [(0, -dy, dx) for dy in range(1, self.rows + 1) for dx in wide]
        left = [(0, 0, -dx) for dx in range(1, self.reach + 1)]
        return above + left + ([(-1, dy, dx) for dy in near for dx in near] if self.before >= 0 else [])

    @property
    def west(self) -> int:
        """The number of the pixel to the left."""
        return self.rows * (2 * self.reach + 1)

    def contexts(self) -> np.ndarray:
        """Return for each weight the ring about the pixel in which it lies: those of a ring are alike in size."""
        rings = np.array([max(abs(dy), abs(dx)) - 8 * dp for dp, dy, dx in self.offsets()])
        return np.minimum(rings, CONTEXTS - 1)


@dataclass(frozen=True)
class Predictor:
    """Weights in the order of the window, in 2^-`SHIFT`; all but the one to the left are multiples of 2^`coarse`."""

    window: Window
    weights: np.ndarray
    coarse: int

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the weights above (rows, 2 reach + 1), to the left (reach,), and before (side, side) or empty."""
        w, west = self.window, self.window.west
        side = 2 * w.before + 1 if w.before >= 0 else 0
        floats = self.weights.astype(np.float64)
        above = floats[:west].reshape(w.rows, 2 * w.reach + 1)
        return above, floats[west : west + w.reach], floats[west + w.reach :].reshape(side, side)


@dataclass(frozen=True)
class Predictors:
    """All predictors of a tile: for the first plane, and for those that have a plane before.

    Attributes
    ----------
    noise
        A, and what stands in its place in the first row and in the second; then the same for planes that have a plane
        before.
    bright
        B, or None for what bright sources usually need.
    """

    noise: tuple[Predictor, ...]
    bright: Predictor | None


BRIGHT = Window(BRIGHT_REACH, BRIGHT_REACH)


def noise_windows(reach: int, planes: int) -> list[Window]:
    """Return the windows of `Predictors.noise`."""
    kinds = (-1, BEFORE_REACH) if planes > 1 else (-1,)
    return [Window(r, n, before) for before in kinds for r, n in ((reach, reach), (EDGE_REACH, 0), (EDGE_REACH, 1))]


# --------------------------------------------------------------------------- as bytes


def encode_predictors(predictors: Predictors) -> bytes:
    """Return the weights as bytes."""
    return _bytes_of([*predictors.noise, *([predictors.bright] if predictors.bright else [])])


def _bytes_of(predictors: list[Predictor]) -> bytes:
    numbers, contexts = [], []
    for one in predictors:
        scaled = one.weights >> one.coarse
        scaled[one.window.west] = one.weights[one.window.west]
        numbers += [np.array([one.coarse]), scaled]
        contexts += [np.array([CONTEXTS - 1]), _contexts(one.window)]
    return encode_numbers(np.concatenate(numbers), np.concatenate(contexts))


def decode_predictors(data: bytes, reach: int, planes: int, with_bright: bool) -> Predictors:
    """Return the weights that `encode_predictors` wrote.

    Raises
    ------
    DataError
        There are too few bytes.
    """
    shapes = noise_windows(reach, planes) + [BRIGHT] * with_bright
    contexts = [part for w in shapes for part in (np.array([CONTEXTS - 1]), _contexts(w))]
    numbers = np.split(decode_numbers(data, np.concatenate(contexts)), np.cumsum([len(c) for c in contexts])[:-1])
    found = []
    for window, coarse, scaled in zip(shapes, numbers[::2], numbers[1::2], strict=True):
        shift = int(coarse[0]) & 15  # damage must not lead to more than wrong weights
        weights = scaled << shift
        weights[window.west] = scaled[window.west]
        found.append(Predictor(window, np.clip(weights, -_LARGEST, _LARGEST), shift))
    return Predictors(tuple(found[: len(found) - with_bright]), found[-1] if with_bright else None)


def _contexts(window: Window) -> np.ndarray:
    contexts = window.contexts()
    contexts[window.west] = CONTEXTS - 2
    return contexts


# --------------------------------------------------------------------------- fitting


def fit(values: np.ndarray, special: np.ndarray, quick: bool) -> list[tuple[Predictors, float]]:
    """Fit all predictors to a tile, in the ways that promise most: one for a large tile, some for a small one.

    Parameters
    ----------
    values : (P, H, W) float64, cells
    special : (P, H, W) bool
        Pixels that tell nothing.
    quick
        Look at the middle of the tile only, for one predictor of small reach.

    Returns
    -------
    list of (Predictors, float)
        With the variance that A leaves of the noise, cells squared.
    """
    if quick:
        middle = tuple(
            slice((n - _QUICK_SIDE) // 2, (n + _QUICK_SIDE) // 2) if n > _QUICK_SIDE else slice(None)
            for n in values.shape[1:]
        )
        values, special = values[:, *middle], special[:, *middle]
    planes, *shape = values.shape
    values = np.where(special, 0.0, np.clip(values, -_FARTHEST, _FARTHEST))
    masks = np.stack([noise_mask(plane) for plane in values]) & ~special
    if masks.sum() < masks.size / 8:
        masks = ~special
    most = min(REACHES[0] if planes == 1 and not quick else _PLANES_REACH, max(2, min(shape) // 4))
    reaches = [r for r in REACHES if r <= most]
    products, spread = autocorrelation(values, masks, reaches[0])
    before = BEFORE_REACH if planes > 1 else -1  # of most planes, whose predictor decides on the reach
    count = max(int(masks.sum()), 1)
    tried = {r: solve(products, Window(r, r, before), spread, count) for r in reaches}
    order = sorted(
        tried, key=lambda r: 0.5 * count * np.log2(tried[r][1] + _LITTLE) + 8 * len(_bytes_of([tried[r][0]]))
    )
    bright = _fit_bright(values, ~masks & ~special)
    found = []
    for nominee in order[: 1 if quick or values.size > _SMALL else _TRIES]:
        best, left = tried[nominee]
        if left < _WELL_PREDICTED * spread:
            best, left = _refined(values, masks, best, spread)
        reach = best.window.reach
        others = [solve(products, w, spread, max(shape))[0] for w in noise_windows(reach, planes) if w != best.window]
        others.insert(0 if planes == 1 else 3, best)
        found.append((Predictors(tuple(others), bright), left))
    return found


def noise_mask(plane: np.ndarray) -> np.ndarray:
    """Mark the pixels that look like noise: small second differences about them, and no great value.

    Parameters
    ----------
    plane : (H, W) float64, cells
        0 where blank.
    """
    if min(plane.shape) < 3:
        return np.ones(plane.shape, bool)
    rough = np.zeros(plane.shape, np.float32)
    rough[1:, 1:] = np.abs(plane[1:, 1:] - plane[:-1, 1:] - plane[1:, :-1] + plane[:-1, :-1])
    level = float(np.median(rough[1::2, 1::2]))
    quiet = ndimage.uniform_filter(rough, 5, mode="nearest") <= _OUTLIER * max(level, 0.5)
    middle = float(np.median(plane[::2, ::2]))
    away = np.abs(plane - middle)
    quiet &= away <= _FAR * max(float(np.median(away[::2, ::2])), 0.5)
    return quiet if quiet.mean() > 0.3 else np.ones(plane.shape, bool)


def autocorrelation(values: np.ndarray, masks: np.ndarray, reach: int) -> tuple[np.ndarray, float]:
    """Return the mean product of pixels a lag apart, and the variance of the noise.

    The noise is taken as stationary; the smooth part beneath it counts as one that changes over some blocks, so that a
    background, however bright, neither swamps the noise nor is forgotten.

    Parameters
    ----------
    values, masks : (P, H, W)

    Returns
    -------
    products : (1 or 2, L, L)
        By lag in planes, rows and columns, as far as a window of this reach spans; negative lags wrap.
    spread : float
        The variance about the smooth part.
    """
    planes, *shape = values.shape
    most = 2 * max(reach, EDGE_REACH)  # the farthest lag
    full = [fft.next_fast_len(max(n, most + 1) + most + 1, real=True) for n in shape]
    lags = min(planes, 2)
    sums = np.zeros((2, lags, full[0], full[1] // 2 + 1), np.complex64)  # of pixels, of pairs
    earlier = None
    power = spread = 0.0
    for plane, mask in zip(values, masks, strict=True):
        smooth = smooth_part(plane, mask)
        noise = np.where(mask, plane - smooth, 0.0).astype(np.float32)
        power += float((smooth[mask] ** 2).sum())
        spread += float((noise**2).sum(dtype=np.float64))
        spectra = fft.rfft2(np.stack([noise, mask]).astype(np.float32), full)
        if earlier is not None:
            sums[:, 1] += spectra * earlier.conj()
        sums[:, 0] += spectra.real**2 + spectra.imag**2
        earlier = spectra if lags > 1 else None
    near = np.r_[: most + 1, -most:0]
    products, counts = (np.stack([fft.irfft2(one, full)[np.ix_(near, near)] for one in part]) for part in sums)
    decay = np.exp(-0.5 * (near / _SMOOTH) ** 2)
    count = max(int(masks.sum()), 1)
    products = products.astype(np.float64) / np.maximum(counts, 1.0) + power / count * np.multiply.outer(decay, decay)
    return products, max(spread / count, 1e-3)


def smooth_part(plane: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean of the masked pixels in blocks, interpolated."""
    shape = [-(-n // _SMOOTH) for n in plane.shape]
    padded = np.zeros((2, *(n * _SMOOTH for n in shape)))
    padded[0, : plane.shape[0], : plane.shape[1]] = plane * mask
    padded[1, : plane.shape[0], : plane.shape[1]] = mask
    blocks = padded.reshape(2, shape[0], _SMOOTH, shape[1], _SMOOTH).sum(axis=(2, 4))
    blocks = blocks + 0.1 * ndimage.uniform_filter(blocks, (1, 3, 3), mode="nearest")  # for blocks with few pixels
    level = blocks[0] / np.maximum(blocks[1], 1e-9)
    for n in plane.shape:
        places = np.clip((np.arange(n) + 0.5) / _SMOOTH - 0.5, 0, len(level) - 1)
        first = np.minimum(places.astype(int), max(len(level) - 2, 0))
        part = (places - first)[:, None]
        level = (level[first] * (1 - part) + level[np.minimum(first + 1, len(level) - 1)] * part).T
    return level


def solve(products: np.ndarray, window: Window, spread: float, count: int) -> tuple[Predictor, float]:
    """Solve the normal equations; return the predictor, and the variance that it leaves."""
    t = np.array(window.offsets())
    difference = t[:, None, :] - t[None, :, :]
    difference = np.where(difference[..., :1] < 0, -difference, difference)  # only later planes against earlier ones
    matrix = products[difference[..., 0], difference[..., 1], difference[..., 2]]
    right = products[-t[:, 0], -t[:, 1], -t[:, 2]]
    weights = solution(matrix, right, _RIDGE)
    left = float(products[0, 0, 0] - 2 * right @ weights + weights @ matrix @ weights)
    return _rounded(window, weights, max(left, 1e-3 * spread), spread, count), max(left, 1e-6 * spread)


def _rounded(window: Window, weights: np.ndarray, left: float, spread: float, count: int) -> Predictor:
    """Round weights as far as that pays; the pixel to the left takes what rounding changed of their sum.

    A step twice as wide saves a bit a weight. It pays up to where rounding adds 1 / `count` of the variance a weight,
    with so many pixels to code.
    """
    step = np.sqrt(12 * left / (max(count, 1) * spread))
    coarse = int(np.clip(np.floor(np.log2(step)) + SHIFT, 0, SHIFT - 3))
    scaled = np.clip(np.nan_to_num(weights) * (1 << SHIFT), -_LARGEST, _LARGEST)
    whole = np.rint(scaled / (1 << coarse)).astype(np.int64) << coarse
    most = _LARGEST >> coarse << coarse
    whole = np.clip(whole, -most, most)
    others = whole.sum() - whole[window.west]
    whole[window.west] = np.clip(np.rint(scaled.sum()) - others, -_LARGEST, _LARGEST)
    return Predictor(window, whole, coarse)


def _refined(values: np.ndarray, masks: np.ndarray, first: Predictor, spread: float) -> tuple[Predictor, float]:
    """Fit to pixels themselves: where little is left, the edges of a tile blur its autocorrelation too much.

    Half of the pixels of a sample are fitted to, the other half tells which reach is best.
    """
    best, best_cost, best_left = first, np.inf, np.inf
    count = int(masks.sum())
    for reach in [first.window.reach, *(r for r in _REFINED if r < first.window.reach)]:
        window = Window(reach, reach, first.window.before)
        places = _sample(masks, window)
        if len(places) < 8 * window.west:
            continue
        p, y, x = np.unravel_index(places, masks.shape)
        pixels = np.stack([values[p + dp, y + dy, x + dx] for dp, dy, dx in window.offsets()], axis=1)
        wanted = values[p, y, x]
        fitted, judged = slice(None, None, 2), slice(1, None, 2)
        matrix, right = normal_equations(pixels[fitted], wanted[fitted], np.ones(len(wanted[fitted])))
        weights = solution(matrix, right, 1e-11)
        tried = [first] if window == first.window else []
        for one in [*tried, _rounded(window, weights, 1e-9 * spread, spread, count)]:
            errors = wanted[judged] - pixels[judged] @ (one.weights / (1 << SHIFT))
            left = float(np.median(np.abs(errors)) / 0.6745) ** 2 + 1e-12 * spread
            cost = 0.5 * count * np.log2(left) + 12 * len(one.weights)
            if cost < best_cost:
                best, best_cost, best_left = one, cost, left
    return best, best_left


def _sample(masks: np.ndarray, window: Window) -> np.ndarray:
    """Return (flat) which pixels of the noise to look at: not all, and none whose window an edge would cut."""
    inner = masks.copy()
    inner[:, : window.reach], inner[:, :, : window.reach], inner[:, :, -window.reach :] = False, False, False
    if window.before >= 0:
        inner[:1], inner[:, -window.reach :] = False, False
    places = np.flatnonzero(inner)
    return places[:: max(1, len(places) // (_SAMPLES_PER_WEIGHT * window.west))]


def _fit_bright(values: np.ndarray, bright: np.ndarray) -> Predictor | None:
    """Fit B to the pixels that are no noise; None where these are few."""
    bright[:, :BRIGHT_REACH], bright[:, :, :BRIGHT_REACH], bright[:, :, -BRIGHT_REACH:] = False, False, False
    p, y, x = np.nonzero(bright)
    if len(p) < _FEW_BRIGHT:
        return None
    every = max(1, len(p) // _MOST_BRIGHT)
    p, y, x = p[::every], y[::every], x[::every]
    pixels = np.stack([values[p, y + dy, x + dx] for _, dy, dx in BRIGHT.offsets()], axis=1)
    usual = 1 / (1 + (pixels**2).mean(axis=1))  # a bright source has many pixels to one peak
    weights = solution(*normal_equations(pixels, values[p, y, x], usual), 1e-5)
    left = float(np.mean(usual * pixels[:, 0] ** 2)) + 1e-6
    return _rounded(BRIGHT, weights, 0.02 * left, left, len(p) * every)
