"""Pixels to cells and back: the only place where anything is lost, and where the bound is kept.

A tile becomes integers in one of four ways, by what it holds:

=========  ==========================================================================================================
grid       floats on the fixed grid ``k * step``, within the bound; or exactly, where they lie on a grid of their own
palette    floats of few distinct values: the number of the value
integers   as they are
floats     bit by bit: cells whose width is a power of two, and which of the floats in the cell it is
=========  ==========================================================================================================

Pixels that do not fit (NaN, infinities, what rounding to the stored type moves beyond the bound, a value that is very
frequent such as a padding of zeros) are **special**: a mask tells where, and their bits are kept as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from rvtool.coding.dither import LEVELS, dither
from rvtool.coding.raw import unsigned
from rvtool_plugins.codecs.predictive.kernel import FLOAT32, FLOAT64, GRID

PALETTE = 3
"""The kind of a tile of few distinct values; the others are the kinds of `kernel`."""

MOST_CELLS = 1 << 36
MOST_COLOURS = 2048
FREQUENT = 0.02
"""A value that this part of the pixels has is special: predictors would only smear it."""

_NO_DITHER = np.zeros((0, 0, 0), np.int8)
_GRID_SAMPLE = 4096
_MOST_ON_GRID = 0.99
_MOST_FAR = 0.01  # with more pixels that are too many steps from zero, the bound asks for all bits


@dataclass(frozen=True)
class Cells:
    """A tile as integers.

    Attributes
    ----------
    kind
        `GRID`, `PALETTE`, `FLOAT32` or `FLOAT64`.
    number : (P, H, W) int64
        What is coded: multiples of `step`, numbers of the palette or integers, less `offset`, or the places of floats.
    special : (P, H, W) bool
        Pixels that are not coded.
    bits : (N,) unsigned
        The bits of the special pixels, in their order.
    step, offset
        The grid, and the number that counts as 0.
    seed
        Of the dither; 0 where there is none.
    palette
        The distinct values, rising.
    """

    kind: int
    number: np.ndarray
    special: np.ndarray
    bits: np.ndarray
    step: float = 0.0
    offset: int = 0
    seed: int = 0
    palette: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def shake(self) -> np.ndarray:
        """Return the dither, empty where there is none."""
        return dither(self.seed, self.special.shape) if self.seed else _NO_DITHER


def ordered(values: np.ndarray) -> np.ndarray:
    """Return the place of each float among all floats of its type, int64: -0.0 stands just below 0.0."""
    bits = values.view(f"i{values.dtype.itemsize}").astype(np.int64)
    largest = (1 << (8 * values.dtype.itemsize - 1)) - 1
    return np.where(bits >= 0, bits, -(bits & largest) - 1)


def from_ordered(places: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the floats of these places."""
    size = 8 * dtype.itemsize
    bits = np.where(places >= 0, places, -(places + 1) + np.int64(-(1 << (size - 1))))
    return bits.astype(f"i{dtype.itemsize}").view(dtype)


def restore(cells: Cells, dtype: np.dtype) -> np.ndarray:
    """Return the pixels: the one way in which numbers become pixels, for the encoder's checks and the decoder alike.

    Returns
    -------
    numpy.ndarray : (P, H, W), `dtype`
    """
    if cells.kind in (FLOAT32, FLOAT64):
        pixels = from_ordered(cells.number, dtype)
    elif cells.kind == PALETTE:
        pixels = cells.palette[np.clip(cells.number + cells.offset, 0, len(cells.palette) - 1)]
    elif dtype.kind in "iu":
        with np.errstate(over="ignore"):
            pixels = (cells.number + cells.offset).astype(dtype)
    else:
        pixels = _on_grid(cells.number + cells.offset, cells.step, cells.shake(), dtype)
    if cells.special.any():
        pixels.view(unsigned(dtype))[cells.special] = cells.bits
    return pixels


def _on_grid(number: np.ndarray, step: float, shake: np.ndarray, dtype: np.dtype) -> np.ndarray:
    # in float64 only one product is rounded, and its factors are the same on every machine
    with np.errstate(over="ignore", invalid="ignore"):
        if shake.size:  # the middle of the dither's levels is half a level above them
            half_levels = 2 * LEVELS * number - (2 * shake.astype(np.int64) + 1)
            return (half_levels.astype(np.float64) * (step / (2 * LEVELS))).astype(dtype)
        return (number.astype(np.float64) * step).astype(dtype)


def integers(tile: np.ndarray) -> Cells | None:
    """Take integers as they are; None where they do not fit into 62 bits."""
    low, high = int(tile.min()), int(tile.max())
    if max(abs(low), abs(high)) >= 1 << 61:
        return None
    offset = int(np.median(tile))
    none = np.zeros(tile.shape, bool)
    return Cells(GRID, tile.astype(np.int64) - offset, none, np.zeros(0, unsigned(tile.dtype)), offset=offset)


def exact(tile: np.ndarray) -> list[Cells]:
    """Return the ways to keep floats bit by bit, the most promising first.

    Parameters
    ----------
    tile : (P, H, W), native floats
    """
    special = _special(tile)
    ways = [_palette(tile, special), _own_grid(tile, special, 0.0)]
    kind = FLOAT32 if tile.dtype.itemsize == 4 else FLOAT64
    return [way for way in ways if way] or [
        Cells(kind, ordered(tile), special, tile.view(unsigned(tile.dtype))[special])
    ]


def within(tile: np.ndarray, bound: float, sigma: float, dither_from: float) -> list[Cells]:
    """Return the ways to keep floats within a bound; which is the smallest is seen when they are coded.

    Parameters
    ----------
    tile : (P, H, W), native floats
    bound, sigma
        The largest error, and the noise of the tile (0 where it is not known), in the unit of the tile.
    dither_from
        How many times the noise the bound must be for a subtractive dither, without which faint flux would be rounded
        away.
    """
    special = _special(tile)
    step = 2 * bound
    seed = 0
    if bound >= dither_from * sigma and not _is_smooth(tile, special, step):
        seed = 1 + int(np.bitwise_xor.reduce(tile.view(unsigned(tile.dtype)).ravel()) % np.uint64(60000))
    return [way for way in (_palette(tile, special), _own_grid(tile, special, bound)) if way] + [
        way for way in [_rounded(tile, special, bound, step, seed)] if way
    ]


def _is_smooth(tile: np.ndarray, special: np.ndarray, step: float) -> bool:
    """Whether all pixels lie in one cell: then there is nothing for a dither to protect."""
    values = tile[~special]
    return values.size == 0 or bool(np.all(np.abs(values) <= step / 2))


def _special(tile: np.ndarray) -> np.ndarray:
    """Mark what is not finite, and what is one and the same value all too often."""
    special = ~np.isfinite(tile)
    values = tile.view(unsigned(tile.dtype))[~special]
    if values.size:
        sample = np.sort(values.ravel()[:: max(1, values.size // _GRID_SAMPLE)])
        starts = np.flatnonzero(np.r_[True, sample[1:] != sample[:-1]])
        runs = np.diff(np.r_[starts, sample.size])
        frequent = sample[starts[runs.argmax()]]
        if runs.max() > max(FREQUENT * sample.size, 8) and len(starts) > 1 and runs.max() > 4 * np.sort(runs)[-2]:
            special |= tile.view(unsigned(tile.dtype)) == frequent
    return special


def _palette(tile: np.ndarray, special: np.ndarray) -> Cells | None:
    values = tile[~special]
    most = min(MOST_COLOURS, values.size // 16)
    if np.unique(values[:: max(1, values.size // _GRID_SAMPLE)]).size > most:
        return None
    palette = np.unique(values.view(unsigned(tile.dtype))).view(tile.dtype)
    if not 0 < palette.size <= most:
        return None
    palette = palette[np.argsort(ordered(palette))]
    number = np.searchsorted(ordered(palette), ordered(tile))
    number[special] = 0
    return _centred(Cells(PALETTE, number, special, np.zeros(0, unsigned(tile.dtype)), palette=palette), tile)


def _own_grid(tile: np.ndarray, special: np.ndarray, bound: float) -> Cells | None:
    """Find the grid that pixels lie on already (an image that was quantised before), and keep them on it.

    Where the bound is wide enough for an odd number of its steps, these are merged: their middle is one of them.
    """
    values = tile[~special].astype(np.float64)
    step = _grid_step(values, tile.dtype)
    if step is None:
        return None
    number = np.zeros(tile.shape, np.int64)
    number[~special] = np.rint(values / step).astype(np.int64)
    with np.errstate(over="ignore"):
        back = (number * step).astype(tile.dtype)
    # bit by bit -0.0 is another number than 0.0
    same = back == tile if bound else back.view(unsigned(tile.dtype)) == tile.view(unsigned(tile.dtype))
    missed = ~special & ~same
    if missed.sum() > FREQUENT * tile.size:
        return None
    merged = 2 * int(min(bound / step * (1 - 1e-9), 1 << 20)) + 1
    if merged > 1:
        return _rounded(tile, special, bound, merged * step, 0)
    return _centred(Cells(GRID, number, special | missed, np.zeros(0, unsigned(tile.dtype)), step=step), tile)


def _grid_step(values: np.ndarray, dtype: np.dtype) -> float | None:
    """Return the largest step of which a sample of the values are multiples, but for the rounding of their type."""
    sample = np.unique(np.abs(values[:: max(1, values.size // _GRID_SAMPLE)]))
    if sample.size < 16 or sample[-1] == 0:
        return None
    gaps = np.diff(sample)
    largest = float(sample[-1])
    gaps = gaps[gaps > largest * 2.0**-21]
    if gaps.size < 8:
        return None
    step = float(np.median(np.sort(gaps)[: max(1, gaps.size // 8)]))
    for _ in range(3):  # the more steps a value is away, the better it tells how large they are
        for reach in (16.0, 256.0, 4096.0, 1e9):
            near = sample[(sample > 0.5 * step) & (sample < reach * step)]
            if near.size:
                number = np.rint(near / step)
                step = float((near * number).sum() / (number * number).sum())
    if largest / step > 1 << 22 or largest / step < 8:
        return None
    if not _share_on(sample, step, 2.0**-22) > _MOST_ON_GRID:
        return None
    # the step that a programmer wrote has few digits, and gives the very floats
    written = [float(f"{step:.{digits}g}") for digits in range(3, 9)]
    return max([*written, step], key=lambda s: ((np.rint(sample / s) * s).astype(dtype) == sample.astype(dtype)).mean())


def _share_on(sample: np.ndarray, step: float, tolerance: float) -> float:
    """Return which part of the sample are multiples of the step, within a part of themselves."""
    return float((np.abs(sample - np.rint(sample / step) * step) <= sample * tolerance).mean())


def _rounded(tile: np.ndarray, special: np.ndarray, bound: float, step: float, seed: int) -> Cells | None:
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.where(special, 0.0, tile.astype(np.float64) / step)
    far = ~(np.abs(scaled) < MOST_CELLS)
    if far.mean() > _MOST_FAR:
        return None
    special = special | far
    shake = dither(seed, tile.shape) if seed else _NO_DITHER
    if shake.size:
        scaled = scaled + (shake + 0.5) / LEVELS
    number = np.floor(np.where(special, 0.0, scaled) + 0.5).astype(np.int64)
    restored = _on_grid(number, step, shake, tile.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        kept = np.abs(restored.astype(np.float64) - tile.astype(np.float64)) <= bound
    cells = Cells(GRID, number, special | ~kept, np.zeros(0, unsigned(tile.dtype)), step=step, seed=seed)
    return _centred(cells, tile)


def _centred(cells: Cells, tile: np.ndarray) -> Cells:
    """Count cells from the middle one, and take the bits of the special pixels."""
    usual = cells.number[~cells.special]
    offset = int(np.median(usual[:: max(1, usual.size // _GRID_SAMPLE)])) if usual.size else 0
    bits = tile.view(unsigned(tile.dtype))[cells.special]
    return replace(cells, number=cells.number - offset, offset=offset, bits=bits)
