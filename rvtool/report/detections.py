"""Sources in images: where they are, how large, and which of those that are there are found in an output.

A source is an island of connected pixels above a threshold, and lies at its peak. What is there is either known
(sources that were injected) or what the truth shows; then the truth's own completeness and reliability are 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from rvtool.report.scores import Metric, interval, resamples

ISLAND_SIGMA = 3.0
SOURCE_SIGMA = 5.0
LEAST_SIGMA = 7.0  # of what is to be found: noise takes fainter sources below the threshold in any image
SOURCE_SHARE = 0.1  # of a plane's peak, which an island must reach to be part of its main source
MATCH_BEAMS = 0.5
SNR_EDGES = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 14.0, 20.0, 40.0, np.inf)

METRICS = {
    "completeness": Metric(
        "Completeness",
        True,
        "Share of the sources of 7 sigma and more that are found above 5 sigma, within half a beam.",
    ),
    "reliability": Metric(
        "Reliability", True, "Share of what is found above 5 sigma that is there, whatever its own brightness."
    ),
    "false_sources": Metric("False sources a beam", False, "What is found and not there, for each beam area searched."),
}


class Sources(NamedTuple):
    """Places in planes, (S,) each: the plane's number, row and column (px), and brightness in units of the noise."""

    plane: np.ndarray
    row: np.ndarray
    column: np.ndarray
    snr: np.ndarray

    def only(self, chosen: np.ndarray) -> Sources:
        """Return those that are chosen, (S,) bool."""
        return Sources(self.plane[chosen], self.row[chosen], self.column[chosen], self.snr[chosen])


def islands(above: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the islands of connected pixels (by an edge or a corner) of planes ``(P, H, W)``, never across planes."""
    joined = np.zeros((3, 3, 3), bool)
    joined[1] = True
    labels, count = ndimage.label(above, joined)
    return labels, int(count)


def find(planes: np.ndarray, background: np.ndarray, threshold: float = SOURCE_SIGMA) -> Sources:
    """Find the islands above a threshold.

    Parameters
    ----------
    planes : (P, H, W)
        NaN where a pixel is not known.
    background : (P, 2)
        Median and noise of each plane, in its unit; where the noise is 0, nothing is found.
    threshold
        In units of the noise.
    """
    floor, sigma = background.T[:, :, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(np.isfinite(planes) & (sigma > 0), (planes - floor) / sigma, -np.inf)
    labels, count = islands(snr > threshold)
    within = np.nonzero(labels)
    order = np.lexsort((snr[within], labels[within]))  # island by island, the brightest last
    last = np.searchsorted(labels[within][order], np.arange(1, count + 1), side="right") - 1
    plane, row, column = (axis[order[last]] for axis in within)
    return Sources(plane, row.astype(float), column.astype(float), snr[plane, row, column])


def matched(first: Sources, second: Sources, radius_px: float) -> np.ndarray:
    """Tell which of the first have one of the second within a radius, in the same plane, ``(S,)`` bool."""
    if not len(first.plane) or not len(second.plane):
        return np.zeros(len(first.plane), bool)
    # planes stand so far apart in a third dimension that no radius reaches the next
    points = [np.c_[source.plane * 4 * radius_px, source.row, source.column] for source in (first, second)]
    return np.isfinite(cKDTree(points[1]).query(points[0], distance_upper_bound=radius_px * (1 + 1e-9))[0])


@dataclass(frozen=True)
class Sought:
    """Planes in which sources are sought, and what is there.

    Attributes
    ----------
    planes : (P, H, W)
        The truths, NaN where not known or not to be judged.
    background : (P, 2)
        Median and noise of each. The noise of the truth is the measure for the outputs too: an output that shows none
        of its own would otherwise have its least ripple taken for a source.
    members : (P,)
        The number of each plane's sky group, 0 .. G-1.
    beam_px, beam_area_px
        Full width and area of the beam, px and px^2.
    injected
        What is known to be there; None: what the truth shows.
    """

    planes: np.ndarray
    background: np.ndarray
    members: np.ndarray
    beam_px: float
    beam_area_px: float
    injected: Sources | None = None

    @cached_property
    def there(self) -> Sources:
        """What is there, in the known part."""
        if self.injected is None:
            return find(self.planes, self.background)
        height, width = self.planes.shape[1:]
        row, column = (np.round(x).astype(int) for x in (self.injected.row, self.injected.column))
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        inside[inside] = np.isfinite(self.planes[self.injected.plane[inside], row[inside], column[inside]])
        return self.injected.only(inside)

    @cached_property
    def hinted(self) -> Sources:
        """What a truth shows only above 3 sigma: to find that is no mistake, to miss it neither."""
        if self.injected is not None:
            return self.injected.only(np.zeros(len(self.injected.plane), bool))
        return find(self.planes, self.background, ISLAND_SIGMA)


class Recovery(NamedTuple):
    """What was found in some planes.

    Attributes
    ----------
    there, found
        What is there, and what was found above the threshold.
    recovered
        (S,), of each source that is there whether it was found.
    real
        (F,), of each that was found whether it is there.
    """

    there: Sources
    found: Sources
    recovered: np.ndarray
    real: np.ndarray


def recover(sought: Sought, outputs: np.ndarray, threshold: float = SOURCE_SIGMA) -> Recovery:
    """Find sources in outputs ``(P, H, W)``, where the truth is known, and match them with what is there."""
    there = sought.there
    found = find(np.where(np.isfinite(sought.planes), outputs, np.nan), sought.background, threshold)
    radius = MATCH_BEAMS * sought.beam_px
    real = matched(found, there, radius) | matched(found, sought.hinted, radius)
    return Recovery(there, found, matched(there, found, radius), real)


def judge(sought: Sought, outputs: np.ndarray, bootstrap: int, seed: int, least: float = LEAST_SIGMA) -> dict[str, Any]:
    """Judge which sources outputs show, beside those that the truths themselves show.

    Parameters
    ----------
    outputs : (P, H, W)
        In the truths' unit and on their pixels.
    least
        Brightness in units of the noise from which a source is to be found.

    Returns
    -------
    For each name of `METRICS` ``value``, ``low``, ``high`` and ``baseline``, the truth's own (None where not defined);
    ``sources`` there of `least` sigma and more, ``found`` in the output, and ``curves``: `by_snr` of the ``output`` and
    of the ``truth``.
    """
    beams = np.isfinite(sought.planes).sum(axis=(1, 2)) / sought.beam_area_px
    both = {"output": recover(sought, outputs), "truth": recover(sought, sought.planes)}
    counted = {name: _counts(one, beams, least) for name, one in both.items()}
    draws = [_rates(counted["output"], weights) for weights in resamples(sought.members, bootstrap, seed)]
    one = np.ones((1, len(beams)))
    value, baseline = (_rates(counted[name], one) for name in ("output", "truth"))
    result: dict[str, Any] = {}
    for name in METRICS:
        low, high = interval(np.concatenate([part[name] for part in draws]))
        plain = {"value": value[name][0], "low": low, "high": high, "baseline": baseline[name][0]}
        result[name] = {key: float(x) if x is not None and np.isfinite(x) else None for key, x in plain.items()}
    totals = counted["output"].sum(axis=1)
    result |= {"sources": int(totals[1]), "found": int(totals[3])}
    return result | {"curves": {name: by_snr(recovery) for name, recovery in both.items()}}


def by_snr(recovery: Recovery) -> list[dict[str, Any]]:
    """Completeness against the brightness of what is there, and reliability against that of what was found.

    Returns
    -------
    For each bin of `SNR_EDGES` ``least``, ``most`` (None: no end), ``there``, ``recovered``, ``found`` and ``real``.
    """
    counts = {
        "there": recovery.there.snr,
        "recovered": recovery.there.snr[recovery.recovered],
        "found": recovery.found.snr,
        "real": recovery.found.snr[recovery.real],
    }
    binned = {name: np.histogram(snr, SNR_EDGES)[0] for name, snr in counts.items()}
    return [
        {"least": low, "most": None if np.isinf(high) else high} | {name: int(n[k]) for name, n in binned.items()}
        for k, (low, high) in enumerate(pairwise(SNR_EDGES))
    ]


def _counts(recovery: Recovery, beams: np.ndarray, least: float) -> np.ndarray:
    """(5, P): recovered and there of `least` sigma and more, real and found, and beams searched."""
    there, found = recovery.there, recovery.found
    bright = there.snr >= least
    chosen = (there.plane[bright & recovery.recovered], there.plane[bright], found.plane[recovery.real], found.plane)
    return np.stack([*(np.bincount(plane, minlength=len(beams)) for plane in chosen), beams])


def _rates(counts: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every figure of `METRICS`, ``(R,)``, for each row of weights ``(R, P)``."""
    recovered, there, real, found, beams = counts @ weights.T  # (R,) each
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "completeness": recovered / there,
            "reliability": real / found,
            "false_sources": (found - real) / beams,
        }


# --------------------------------------------------------------------------- where a plane's main source is, how large


def summits(planes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Find the brightest pixel of each plane to a fraction of a pixel, ``(P, 2)``: row and column.

    A parabola through ln brightness of it and its two neighbours on each axis: exact for a Gaussian. The pixel itself
    is given where a neighbour is not known.

    Parameters
    ----------
    planes, known : (P, H, W)
    """
    number = np.arange(len(planes))
    flat = np.where(known, planes, -np.inf).reshape(len(planes), -1).argmax(axis=1)
    brightest = np.stack(np.unravel_index(flat, planes.shape[1:]))  # (2, P)
    top = planes[number, *brightest]
    place = brightest.T.astype(float)
    last = np.array(planes.shape[1:])[:, None] - 1
    for axis in range(2):
        step = np.eye(2, dtype=int)[axis][:, None]
        usable, sides = top > 0, []
        for beside in (brightest - step, brightest + step):
            at = (number, *beside.clip(0, last))
            usable = usable & known[at] & ((beside >= 0) & (beside <= last)).all(axis=0)
            sides.append(np.log(np.maximum(planes[at], 1e-3 * top), where=usable, out=np.zeros(len(planes))))
        curve = sides[0] + sides[1] - 2 * np.log(top, where=usable, out=np.zeros(len(planes)))
        usable &= curve < 0
        place[:, axis] += np.divide(sides[0] - sides[1], 2 * curve, where=usable, out=np.zeros(len(planes)))
    return place


def main_source(planes: np.ndarray, known: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Mark what clearly belongs to a plane's main source, ``(P, H, W)`` bool.

    The islands above 3 sigma whose peak reaches 5 sigma and a tenth of the plane's peak: neither noise, nor faint
    neighbours.

    Parameters
    ----------
    planes, known : (P, H, W)
    background : (P, 2)
        Median and noise of each plane.
    """
    floor, sigma = background.T[:, :, None, None]
    light = np.where(known, planes - floor, 0)
    labels, count = islands(light > ISLAND_SIGMA * sigma)
    within = np.nonzero(labels)
    tops = np.full(count + 1, -np.inf)
    np.maximum.at(tops, labels[within], light[within])
    enough = np.maximum(SOURCE_SIGMA * sigma, SOURCE_SHARE * light.max(axis=(1, 2), keepdims=True))
    return tops[labels] >= enough


def lengths(planes: np.ndarray, source: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Standard deviation of a source's brightness along its major axis, ``(P,)`` px; 0 where there is no source.

    The square root of the largest eigenvalue of the second moments; the pixels' own width (1/12 px^2) is part of it.

    Parameters
    ----------
    planes, source : (P, H, W)
        Brightness, and which pixels are the source's.
    background : (P, 2)
        Median and noise of each plane.
    """
    light = np.where(source, planes - background[:, 0, None, None], 0)
    total = light.sum(axis=(1, 2))
    share = light / np.where(total > 0, total, 1)[:, None, None]
    y, x = np.indices(planes.shape[1:])
    mean_y, mean_x, yy, xx, xy = (np.einsum("phw,hw->p", share, part) for part in (y, x, y * y, x * x, x * y))
    yy, xx, xy = yy - mean_y**2, xx - mean_x**2, xy - mean_x * mean_y
    return np.where(total > 0, np.sqrt((yy + xx) / 2 + np.hypot((yy - xx) / 2, xy) + 1 / 12), 0)
