"""What codecs make of the same images at rising rates: likeness, bright sources, and what is stacked of faint ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy import ndimage

from rvtool.report import detections
from rvtool.report.figures import GREY, SERIES, STYLE, save

BRIGHT_SIGMA = 7.0
PEAK_TOLERANCE, STACK_TOLERANCE = 0.05, 0.02
_MARKERS = "os^Dv<>P*X"


class Point(NamedTuple):
    """What a codec makes of some images at one setting.

    Attributes
    ----------
    asked
        The setting: a bound, a quality, or that nothing was asked.
    bits
        A pixel, of the coded pixels without headers.
    psnr, psnr_lit
        dB, as `rvtool.report.likeness`.
    peak_error
        Median over sources of 7 sigma and more of |brightest pixel / of the truth - 1|; NaN without such sources.
    stack, stack_error
        Peak of stacked sources of 0.3 sigma, in units of the true one, and its standard error; NaN where not asked.
    """

    asked: str
    bits: float
    psnr: float
    psnr_lit: float
    peak_error: float
    stack: float
    stack_error: float


def peak_errors(truths: np.ndarray, outputs: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return |brightest pixel within one of the place / truth's - 1| of each source of 7 sigma and more, (S,).

    Parameters
    ----------
    truths, outputs : (P, H, W)
        NaN where not known.
    background : (P, 2)
        Median and noise of each truth, which is what stands above is counted from.
    """
    there = detections.find(truths, background, BRIGHT_SIGMA)
    if not len(there.plane):
        return np.zeros(0)
    place = there.plane, there.row.astype(int), there.column.astype(int)
    brightest = ndimage.maximum_filter(np.nan_to_num(outputs, nan=-np.inf), (1, 3, 3))
    floor = background[there.plane, 0]
    ratio: np.ndarray = np.abs((brightest[place] - floor) / (truths[place] - floor) - 1)
    return ratio


def draw(points: Mapping[str, Sequence[Point]], path: Path) -> Figure:
    """Draw what each codec reaches over its bits; grey bands are what science asks for."""
    panels_of = (
        ("psnr", "PSNR, dB", None),
        ("peak_error", "error of peaks above 7 σ, median", (0.0, PEAK_TOLERANCE)),
        ("stack", "stack of 0.3 σ sources / true", (1 - STACK_TOLERANCE, 1 + STACK_TOLERANCE)),
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4), layout="constrained")
        panels = figure.subplots(1, 3)
        for panel, (key, label, band) in zip(panels, panels_of, strict=True):
            for number, name in enumerate(points):
                _line(panel, number, name, points[name], key)
            if band:
                panel.axhspan(*band, color=GREY, alpha=0.25, linewidth=0)
            panel.set_xscale("log", base=2)
            panel.set(xlabel="bits a pixel", ylabel=label)
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
        panels[1].set_yscale("log")
        panels[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        panels[1].yaxis.set_minor_formatter(NullFormatter())
        panels[2].set_ylim(0, 1.3)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize=8)
    return save(figure, path)


def _line(panel: Axes, number: int, name: str, points: Sequence[Point], key: str) -> None:
    ordered = sorted(points, key=lambda one: one.bits)
    values = [getattr(one, key) for one in ordered]
    colour, marker = SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)]
    panel.plot([one.bits for one in ordered], values, marker=marker, color=colour, linewidth=1, label=name)
