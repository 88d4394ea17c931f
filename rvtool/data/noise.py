"""The noise of a map, measured so that a beam does not hide it.

Differences of neighbouring pixels, which fpack measures, see only a fraction of noise that a beam has smoothed. Here
the map is cut into blocks of many beams, and each block gives the scatter about its own median.
"""

from __future__ import annotations

import numpy as np

# Side of a block: so many beams that the noise does not move the median with it (a beam of 12 pixels costs 1 % of
# sigma, and would cost 4 % in blocks of 64), and yet small against the changes of a mosaic's noise.
# Where no such block tells, because padding reaches into all of them, smaller ones may.
BLOCK_PIXELS = (128, 64, 32)
CLIP_SIGMA = 3.0
MOST_PLANES = 64  # planes of a cube that are looked at

# sigma / MAD of a Gaussian cut at CLIP_SIGMA: 1 / Phi^-1((1 + erf(3 / sqrt 2) / 2) / 2)
_SIGMA_PER_MAD = 1.4873


def noise_map(plane: np.ndarray, block_pixels: int = BLOCK_PIXELS[0]) -> np.ndarray:
    """Measure the noise in blocks of about `block_pixels` by `block_pixels`.

    Each block gives the sigma-clipped median absolute deviation about its own median. Blank pixels are left out, and
    so are blocks that are mostly blank (three quarters) or padded or clipped to one value (a tenth).

    Parameters
    ----------
    plane : (H, W)

    Returns
    -------
    numpy.ndarray : (rows, columns), unit of the image
        Standard deviation of the noise; NaN where a block does not tell.
    """
    rows, columns = (_edges(length, block_pixels) for length in plane.shape)
    sigma = np.full((len(rows) - 1, len(columns) - 1), np.nan)
    for row in range(len(rows) - 1):  # a row of blocks at a time: a memory map is never read whole
        above = int(rows[row] > 0)  # squares of one value reach over the edges
        band = np.asarray(plane[rows[row] - above : rows[row + 1] + 1])
        height = rows[row + 1] - rows[row]
        flat = _flat(band)[above : above + height]
        band = band[above : above + height]
        known = np.isfinite(band)
        for column in range(len(columns) - 1):
            block = np.s_[:, columns[column] : columns[column + 1]]
            inside = known[block]
            count = inside.sum()
            if count >= max(16, inside.size / 4) and (flat[block] & inside).sum() <= count / 10:
                sigma[row, column] = _clipped_mad(band[block][inside].astype(np.float64))
    return sigma


def noise_sigma(data: np.ndarray) -> float:
    """Return the noise of an image or a cube: the median over the blocks of its planes.

    Parameters
    ----------
    data : (..., H, W)
        Up to 64 planes, evenly spread over the further axes, are measured.

    Returns
    -------
    float
        Standard deviation in the unit of the image; 0.0 where no block tells (blank, constant or clipped background).
    """
    planes = data.reshape(-1, *data.shape[-2:])
    chosen = np.unique(np.linspace(0, len(planes) - 1, min(len(planes), MOST_PLANES)).astype(int))
    for side in BLOCK_PIXELS:
        sigmas = np.concatenate([noise_map(planes[i], side).ravel() for i in chosen])
        if np.isfinite(sigmas).any():
            return float(np.nanmedian(sigmas))
    return 0.0


def _edges(length: int, step: int) -> np.ndarray:
    return np.linspace(0, length, max(1, round(length / step)) + 1).astype(int)


def _flat(plane: np.ndarray) -> np.ndarray:
    """Mark the pixels of every 2 x 2 square of one value, which noise hardly ever makes, even quantised noise."""
    beside = plane[:, :-1] == plane[:, 1:]
    square = beside[:-1] & beside[1:] & (plane[:-1, 1:] == plane[1:, 1:])
    flat = np.zeros(plane.shape, bool)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            flat[rows, columns] |= square
    return flat


def _clipped_mad(values: np.ndarray) -> float:
    for _ in range(20):
        deviation = np.abs(values - np.median(values))
        sigma = _SIGMA_PER_MAD * float(np.median(deviation))
        inside = deviation <= CLIP_SIGMA * sigma
        if inside.all():
            break
        values = values[inside]
    return sigma
