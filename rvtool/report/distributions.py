"""Quantities of two sets of images as cumulative curves, from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from rvtool.report.figures import BLUE, ORANGE, STYLE, save

ACROSS = 3


def cumulative(panels: Sequence[tuple[str, Mapping[str, np.ndarray]]], path: Path) -> Figure:
    """Draw for each quantity what share of the images lies below, a curve a set; logarithmic where it spans decades.

    Parameters
    ----------
    panels
        What each quantity is, and its values ``(N,)`` by the names of the two sets, the same throughout.
    """
    down = -(-len(panels) // ACROSS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 2.4 * down + 0.4), layout="constrained")
        drawn = figure.subplots(down, ACROSS, squeeze=False).ravel()
        for panel in drawn[len(panels) :]:
            panel.set_axis_off()
        for panel, (title, sets) in zip(drawn, panels, strict=False):
            every = np.concatenate(list(sets.values()))
            for (name, values), colour in zip(sets.items(), (BLUE, ORANGE), strict=False):
                panel.ecdf(values, color=colour, label=name)
            low, high = np.percentile(every, (0.5, 99.5))
            if low > 0 and high > 30 * low:
                panel.set_xscale("log")
                panel.xaxis.set_minor_formatter(NullFormatter())  # of few decades they would run into each other
            if high > low:
                panel.set_xlim(low, high)
            panel.set(xlabel=title, ylim=(0, 1))
        for panel in drawn[::ACROSS]:
            panel.set_ylabel("Share of the images below")
        figure.legend(*drawn[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return save(figure, path)
