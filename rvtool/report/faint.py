"""What a codec does to what lies in the noise: faint sources, put in at known places, and the noise itself.

Every estimate is of the difference between restored and given pixels, so that the noise of the map cancels and the
standard errors are those of what the codec has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

STACKED_SIGMA, MEASURED_SIGMA = 0.3, 5.0  # peaks of the injected sources
MOST_SOURCES = 2500  # in one image
APART_FWHM = 2.5  # of neighbours at least
NEAREST_PX = 0.5
ENOUGH = 0.005  # standard error of the stacked ratio; injections are repeated until it is reached
MOST_SEEDS = 40
BLOCK_PX = 32  # of background, in which the noise is compared
GROWTH_SLACK = 0.002  # a dithered quantiser adds just what is permitted, as far as a map can tell
QUIET = 1.5  # a block of more than so many times the noise is no background

_SAME = 0.01  # of a step: how well the numbers of a quantised map lie on their grid

Restore = Callable[[np.ndarray], np.ndarray]
"""Codes and decodes an image of the shape that it was made for."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Sources:
    """Point sources of one peak, seen by a circular Gaussian beam.

    Attributes
    ----------
    rows, columns : (N, K)
        Pixels round each source; the first axis counts sources.
    profile : (N, K)
        The beam there, 1 at its peak.
    east, north : (N, K)
        How far each pixel lies from the source along the columns and the rows, px.
    """

    rows: np.ndarray
    columns: np.ndarray
    profile: np.ndarray
    east: np.ndarray
    north: np.ndarray
    fwhm_px: float

    def __len__(self) -> int:
        return len(self.rows)

    def into(self, image: np.ndarray, peak: float, sigma: float) -> np.ndarray:
        """Return the image with the sources added; a map that lies on a grid of its own lies on it again.

        Between its grid's numbers it is filled as its noise would fill it, for that is what its makers rounded.
        """
        added = image.astype(np.float64)
        step, origin = own_grid(image, sigma)
        if step:
            added += np.random.default_rng(len(self)).uniform(-step / 2, step / 2, image.shape)
        np.add.at(added, (self.rows, self.columns), peak * self.profile)
        if step:
            added = origin + step * np.rint((added - origin) / step)
        return added.astype(image.dtype)

    def amplitudes(self, image: np.ndarray, reach_px: float) -> np.ndarray:
        """Fit the beam, at its known place, to the pixels within `reach_px` along each axis: peaks, (N,)."""
        weight = self.profile * ((abs(self.east) <= reach_px) & (abs(self.north) <= reach_px))
        return (weight * image[self.rows, self.columns]).sum(1) / (weight**2).sum(1)

    def shifts(self, image: np.ndarray, peak: float) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much an image of differences moves sources of that peak, px along columns and rows, (N,)."""
        moved = []
        for along in (self.east, self.north):
            slope = self.profile * along * (8 * np.log(2) / self.fwhm_px**2)
            moved.append((slope * image[self.rows, self.columns]).sum(1) / (peak * (slope**2).sum(1)))
        return moved[0], moved[1]


def own_grid(image: np.ndarray, sigma: float) -> tuple[float, float]:
    """Return step and origin of the grid on which a quantised map lies; a step of 0 where it lies on none."""
    values = image[np.isfinite(image)].astype(np.float64)
    middle = np.median(values)
    near = np.unique(values[np.abs(values - middle) < 3 * sigma])
    if len(near) < 3 or 8 * len(near) > len(values):  # noise hardly repeats a number
        return 0.0, 0.0
    step = float(np.median(np.diff(near)))
    steps = (near - near[0]) / step
    step *= steps[-1] / np.rint(steps[-1])
    steps = (near - near[0]) / step
    return (step, float(near[0])) if np.abs(steps - np.rint(steps)).max() < _SAME else (0.0, 0.0)


def place(image: np.ndarray, fwhm_px: float, seed: int) -> Sources:
    """Choose places all over an image, each at its own part of a pixel, and none near blank pixels."""
    rng = np.random.default_rng(seed)
    height, width = image.shape
    reach = int(np.ceil(1.5 * fwhm_px)) + 1
    least = APART_FWHM * fwhm_px
    apart = max(least + 1, sqrt(height * width / MOST_SOURCES))
    # a grid laid anywhere, and each anywhere in its cell: codecs work in blocks and scales of their own
    down, across = (np.arange(rng.uniform(0, apart), length, apart) for length in image.shape)
    y, x = (axis.ravel() for axis in np.meshgrid(down, across, indexing="ij"))
    y, x = (axis + rng.uniform(-0.5, 0.5, axis.shape) * (apart - least) for axis in (y, x))
    row, column = np.rint(y).astype(int), np.rint(x).astype(int)
    inside = (row >= reach) & (row < height - reach) & (column >= reach) & (column < width - reach)
    y, x, row, column = y[inside], x[inside], row[inside], column[inside]
    offset = np.arange(-reach, reach + 1)
    north, east = (axis.ravel() for axis in np.meshgrid(offset, offset, indexing="ij"))
    rows, columns = row[:, None] + north, column[:, None] + east
    known = np.isfinite(image[rows, columns]).all(1)
    rows, columns, y, x = rows[known], columns[known], y[known], x[known]
    north, east = rows - y[:, None], columns - x[:, None]
    profile = np.exp(-4 * np.log(2) * (north**2 + east**2) / fwhm_px**2)
    return Sources(rows, columns, profile, east, north, fwhm_px)


def stacked_ratio(
    images: Sequence[np.ndarray],
    sigmas: Sequence[float],
    fwhm_px: float,
    restore: Restore,
    *,
    enough: float = ENOUGH,
    most_seeds: int = MOST_SEEDS,
) -> Estimate | None:
    """Stack sources of 0.3 sigma and return the restored peak in units of the true one.

    The peak is told by the one pixel nearest to the source's place: what a codec moves from there to the pixels around
    is lost to a peak as to a stack of peaks.

    Parameters
    ----------
    images : (H, W) each
        Floats; NaN where blank.
    sigmas
        The noise of each, unit of the images.
    enough, most_seeds
        Injections are repeated until the standard error is below this, at most so often.

    Returns
    -------
    Estimate or None
        None where the images have no room for sources.
    """
    found: list[np.ndarray] = []
    for seed in range(most_seeds):
        for number, (image, sigma) in enumerate(zip(images, sigmas, strict=True)):
            sources, peak = place(image, fwhm_px, seed + most_seeds * number), STACKED_SIGMA * sigma
            if len(sources):
                given = sources.into(image, peak, sigma)
                changed = restore(given).astype(np.float64) - given
                found.append(1 + sources.amplitudes(changed, NEAREST_PX) / peak)
        if not found:
            return None
        ratio = _mean(np.concatenate(found))
        if ratio.error < enough:
            break
    return ratio


def bright_biases(
    image: np.ndarray, sigma: float, fwhm_px: float, restore: Restore
) -> tuple[Estimate, Estimate] | None:
    """Return the relative change of flux of 5-sigma sources, and by how much they move together, px."""
    peak = MEASURED_SIGMA * sigma
    sources = place(image, fwhm_px, seed=MOST_SEEDS)
    if not len(sources):
        return None
    given = sources.into(image, peak, sigma)
    changed = restore(given).astype(np.float64) - given
    east, north = map(_mean, sources.shifts(changed, peak))
    position = Estimate(hypot(east.value, north.value), hypot(east.error, north.error))
    return _mean(sources.amplitudes(changed, fwhm_px) / peak), position


def noise_growth(image: np.ndarray, restored: np.ndarray, sigma: float, bound: float) -> tuple[float, float] | None:
    """Compare the noise of background blocks before and after.

    Parameters
    ----------
    image, restored : (H, W)
    bound
        Largest error of a pixel, unit of the image.

    Returns
    -------
    tuple or None
        Restored over given rms, and the most that a quantiser of step D = 2 bound may make of it,
        sqrt(1 + D^2 / (12 rms^2)), and `GROWTH_SLACK` of that. None where there is no background.
    """
    blocks = [_blocks(one) for one in (image, restored)]
    before, after = (np.var(one, axis=1) for one in blocks)
    quiet = before <= (QUIET * sigma) ** 2  # NaN is not
    if not quiet.any():
        return None
    given, kept = before[quiet].mean(), after[quiet].mean()
    return sqrt(kept / given), sqrt(1 + (2 * bound) ** 2 / 12 / given) * (1 + GROWTH_SLACK)


def _blocks(image: np.ndarray) -> np.ndarray:
    """Cut an image into blocks: (blocks, pixels); smaller images are one block."""
    height, width = (min(BLOCK_PX, length) for length in image.shape)
    down, across = image.shape[0] // height, image.shape[1] // width
    cut = image[: down * height, : across * width].astype(np.float64)
    return cut.reshape(down, height, across, width).swapaxes(1, 2).reshape(down * across, -1)


def _mean(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), float(values.std() / sqrt(len(values))))
