"""A simulated sky: things and pixels that depend on the seed and the position alone, so that what comes can be checked.

The sky is cut into strips of declination and these into cells; a hash of seed and cell puts one thing into the middle
of each. So what is near a position is found without a list, and no two things lie within 6 arcmin of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, cos, hypot, log, pi, radians, sin, sqrt

import numpy as np

from rvtool.errors import DataError
from rvtool.kinds import Box
from rvtool.services.positions import j_name
from rvtool.testing.sky.geometry import (
    CELL_DEG,
    CELLS,
    box_around,
    cells_of,
    deproject,
    project,
    separation_deg,
    within,
)

WHERE = Box(130, 230, 0, 50)
"""Where `Sky.catalogue` looks by default: FIRST and NVSS have seen all of it."""

SIGMA_PER_FWHM = 1 / sqrt(8 * log(2))
NOISE_SIDE = 1024  # pixels

Part = tuple[float, float, float, float]
"""A Gaussian: its place along and across the thing's axis and its full width at half maximum, all in halves of the
largest size, and its share of the flux density."""


@dataclass(frozen=True)
class Kind:
    """What the things of a class look like: ranges of flux density and of largest size, and their Gaussians."""

    flux_jy: tuple[float, float]
    size_arcsec: tuple[float, float]
    parts: tuple[Part, ...]


def _arms(*parts: tuple[float, float, float], opening_deg: float = 180.0) -> tuple[Part, ...]:
    """Lay parts (distance from the core, width, share of the flux) along two arms."""
    along, across = sin(radians(opening_deg / 2)), cos(radians(opening_deg / 2))
    return tuple((side * r * along, r * across, width, share) for r, width, share in parts for side in (-1, 1))


_ROUND = ((0.0, 0.0, 1.0, 1.0),)
_FADING = _arms((0.35, 0.15, 0.15), (0.65, 0.2, 0.1), (0.9, 0.25, 0.05))
_HOT_SPOTS = _arms((0.55, 0.25, 0.1), (0.9, 0.1, 0.35))
_BENT = _arms((0.4, 0.15, 0.15), (0.7, 0.2, 0.12), (0.95, 0.25, 0.08), opening_deg=100)
_SHELL = tuple((0.7 * cos(turn * pi / 6), 0.7 * sin(turn * pi / 6), 0.6, 1 / 12) for turn in range(12))
KINDS = {
    "FRI": Kind((0.05, 0.5), (40, 90), ((0, 0, 0, 0.4), *_FADING)),
    "FRII": Kind((0.05, 0.5), (30, 90), ((0, 0, 0, 0.1), *_HOT_SPOTS)),
    "Bent": Kind((0.05, 0.5), (40, 90), ((0, 0, 0, 0.3), *_BENT)),
    "Compact": Kind((0.01, 0.5), (0.5, 2), _ROUND),
    "quasar": Kind((0.01, 0.2), (0.5, 2), _ROUND),
    "spiral_galaxy": Kind((0.02, 0.1), (20, 60), _ROUND),
    "emission_nebula": Kind((0.1, 1.0), (30, 90), _SHELL),
    "pulsar": Kind((0.005, 0.05), (0.01, 0.02), _ROUND),
}
LABELS = tuple(KINDS)
RADIO_GALAXIES = ("FRI", "FRII", "Bent", "Compact")
LARGEST_ARCSEC = max(kind.size_arcsec[1] for kind in KINDS.values())


@dataclass(frozen=True)
class Thing:
    """Something in the sky.

    Attributes
    ----------
    flux_jy
        Its flux density, the same at every frequency.
    size_arcsec, angle_deg
        Its largest size, and the position angle of its axis, from north to east.
    """

    ra_deg: float
    dec_deg: float
    label: str
    flux_jy: float
    size_arcsec: float
    angle_deg: float
    name: str


class Sky:
    """The sky that belongs to a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def things(self, ra_deg: float, dec_deg: float, radius_arcmin: float) -> list[Thing]:
        """Return what lies within a radius of a position, the nearest first."""
        found = _Population(self.seed, box_around(ra_deg, dec_deg, radius_arcmin / 60))
        apart = separation_deg(ra_deg, dec_deg, found.ra_deg, found.dec_deg)
        order = np.argsort(apart)
        return [found.thing(row) for row in order[apart[order] <= radius_arcmin / 60]]

    def catalogue(self, label: str | None, count: int, box: Box | None = None) -> list[Thing]:
        """Return `count` things of a class (None: of any) spread over a part of the sky, the first always the same.

        Raises
        ------
        DataError
            That part has fewer.
        """
        found, rows = _shuffled(self.seed, box or WHERE)
        if label is not None:
            rows = rows[found.label[rows] == LABELS.index(label)]
        if len(rows) < count:
            raise DataError(
                f"This part of the simulated sky holds {len(rows)} of {label or 'any class'}, not {count}: "
                "ask for fewer, or for a wider box."
            )
        return [found.thing(row) for row in rows[:count]]

    def cutout(  # noqa: PLR0917 - a grid, then an instrument
        self,
        ra_deg: float,
        dec_deg: float,
        height: int,
        width: int,
        pixel_arcsec: float,
        beam_arcsec: float,
        rms_jy: float,
        *,
        projection: str = "SIN",
        crpix: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Draw the sky as a survey sees it: ``(height, width) float32`` in Jy/beam, north up and east left.

        The given position falls on the FITS pixel `crpix` (x, y, counted from 1), by default on the centre
        ``((width + 1) / 2, (height + 1) / 2)``; `rvtool.testing.sky.fits.sky_cards` says the same. The noise, of
        `rms_jy`, is correlated as the beam is. It belongs to the request: overlapping cutouts differ in it.
        """
        x0, y0 = crpix or ((width + 1) / 2, (height + 1) / 2)
        pixel_deg = pixel_arcsec / 3600
        east_deg, north_deg = (x0 - (width + 1) / 2) * pixel_deg, ((height + 1) / 2 - y0) * pixel_deg
        centre = deproject(east_deg, north_deg, ra_deg, dec_deg, projection)
        reach_arcsec = hypot(height, width) / 2 * pixel_arcsec + LARGEST_ARCSEC / 2 + 2 * beam_arcsec
        gaussians = []
        for thing in self.things(*centre, reach_arcsec / 60):
            east_deg, north_deg = project(thing.ra_deg, thing.dec_deg, ra_deg, dec_deg, projection)
            to_east, to_north = sin(radians(thing.angle_deg)), cos(radians(thing.angle_deg))
            half_px = thing.size_arcsec / 2 / pixel_arcsec
            for along, across, width_, share in KINDS[thing.label].parts:
                x = x0 - east_deg / pixel_deg - half_px * (along * to_east + across * to_north)
                y = y0 + north_deg / pixel_deg + half_px * (along * to_north - across * to_east)
                seen_arcsec = hypot(width_ * thing.size_arcsec / 2, beam_arcsec)
                peak_jy = thing.flux_jy * share * (beam_arcsec / seen_arcsec) ** 2
                gaussians.append((x, y, seen_arcsec * SIGMA_PER_FWHM / pixel_arcsec, peak_jy))
        which = hash((self.seed, round(ra_deg * 1e5), round(dec_deg * 1e5), round(x0), round(y0)))
        image = np.float32(rms_jy) * _noise(self.seed, round(beam_arcsec / pixel_arcsec, 2), height, width, which)
        if gaussians:
            x, y, sigma, peak = np.array(gaussians).T[:, :, None]
            across_x = np.exp(-0.5 * ((np.arange(1, width + 1) - x) / sigma) ** 2)
            across_y = peak * np.exp(-0.5 * ((np.arange(1, height + 1) - y) / sigma) ** 2)
            image += (across_y.T @ across_x).astype(np.float32)
        return image


class _Population:
    """The things in the cells that a box touches, in columns."""

    def __init__(self, seed: int, box: Box) -> None:
        strip, cell = cells_of(box)
        east, north, label, self.order, *self._drawn = _uniform(seed, strip, cell, 7)
        self.ra_deg = ((cell + 0.25 + east / 2) * 360 / CELLS[strip]).round(6)
        self.dec_deg = ((strip + 0.25 + north / 2) * CELL_DEG - 90).round(6)
        self.label = (label * len(LABELS)).astype(int)

    def thing(self, row: int) -> Thing:
        label = LABELS[self.label[row]]
        (faintest, brightest), (smallest, largest) = KINDS[label].flux_jy, KINDS[label].size_arcsec
        flux, size, turn = (float(drawn[row]) for drawn in self._drawn)
        ra_deg, dec_deg = float(self.ra_deg[row]), float(self.dec_deg[row])
        return Thing(
            ra_deg,
            dec_deg,
            label,
            flux_jy=faintest * (brightest / faintest) ** flux,
            size_arcsec=smallest + (largest - smallest) * size,
            angle_deg=180 * turn,
            name=j_name(ra_deg, dec_deg),
        )


@lru_cache(maxsize=8)
def _shuffled(seed: int, box: Box) -> tuple[_Population, np.ndarray]:
    """Return what lies in a box, and its rows in an order that is spread over it."""
    found = _Population(seed, box)
    rows = np.flatnonzero(within(box, found.ra_deg, found.dec_deg))
    return found, rows[np.argsort(found.order[rows])]


def _uniform(seed: int, strip: np.ndarray, cell: np.ndarray, count: int) -> np.ndarray:
    """Draw `count` numbers within [0, 1) for each cell: ``(count, cells)``."""
    keys = _mixed(strip.astype(np.uint64) << np.uint64(32) | cell.astype(np.uint64)) + np.uint64(seed)
    drawn = _mixed(_mixed(keys) + np.arange(1, count + 1, dtype=np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15))
    return (drawn >> np.uint64(11)) / 2.0**53


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Hash 64-bit numbers (the last steps of splitmix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _noise(seed: int, beam_px: float, height: int, width: int, which: int) -> np.ndarray:
    """Cut one of many pieces out of the noise of a beam; pieces larger than the tile repeat it, which has no seams."""
    tile = _noise_tile(seed, beam_px)
    if height > NOISE_SIDE or width > NOISE_SIDE:
        tile = np.tile(tile, (ceil(height / NOISE_SIDE), ceil(width / NOISE_SIDE)))
    y, x = which % (tile.shape[0] - height + 1), which // NOISE_SIDE % (tile.shape[1] - width + 1)
    return tile[y : y + height, x : x + width]


@lru_cache(maxsize=16)
def _noise_tile(seed: int, beam_px: float) -> np.ndarray:
    """Return periodic noise of standard deviation 1 that is correlated as a Gaussian beam is."""
    white = np.random.default_rng(seed).standard_normal((NOISE_SIDE, NOISE_SIDE))
    frequency = np.hypot(np.fft.fftfreq(NOISE_SIDE)[:, None], np.fft.rfftfreq(NOISE_SIDE))
    beam = np.exp(-2 * (pi * beam_px * SIGMA_PER_FWHM * frequency) ** 2)
    tile = np.fft.irfft2(np.fft.rfft2(white) * beam)
    return (tile / tile.std()).astype(np.float32)
