"""Images as points among a model's features: a scatter, and each image beside those that are most alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rvtool.report.display import show
from rvtool.report.figures import GREY, SERIES, STYLE, save

MARKERS = "osD^vP"
MOST_WORDS = len(SERIES) * 2  # the second half with hollow markers
OTHERS = "others"


def scatter(
    places: np.ndarray, values: np.ndarray, name: str, axes: tuple[str, str], path: Path, *, title: str = ""
) -> Figure:
    """Draw images as points, coloured by what a column says of each.

    Parameters
    ----------
    places : (N, 2)
    values : (N,)
        Numbers, which get a colour bar, NaN where not known; or words, None where not known, of which the most
        frequent get a colour and a marker each, and the rest are grey.
    name
        Of the column.
    axes
        What the two coordinates are.
    """
    x, y = places.T
    size = float(np.clip(15000 / max(len(places), 1), 6, 30))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 5.0), layout="constrained")
        panel = figure.subplots()
        if values.dtype.kind == "f":
            known = np.isfinite(values)
            panel.scatter(x[~known], y[~known], s=size, color=GREY, alpha=0.4, linewidths=0)
            drawn = panel.scatter(x[known], y[known], s=size, c=values[known], cmap="viridis", linewidths=0)
            if known.any():
                drawn.set_clim(*np.percentile(values[known], (1, 99)))  # one outlier shall not eat all colours
                figure.colorbar(drawn, ax=panel, label=name, extend="both")
        else:
            told, rest = _frequent(values)
            panel.scatter(x[rest], y[rest], s=size, color=GREY, alpha=0.4, linewidths=0, label=f"{OTHERS} {rest.sum()}")
            for number, word in enumerate(told):
                rows = values == word
                colour, hollow = SERIES[number % len(SERIES)], number >= len(SERIES)
                panel.scatter(
                    x[rows],
                    y[rows],
                    s=size,
                    marker=MARKERS[number % len(MARKERS)],
                    facecolors="none" if hollow else colour,
                    edgecolors=colour,
                    linewidths=0.8 if hollow else 0,
                    alpha=0.75,
                    label=f"{word} {rows.sum()}",
                )
            handles = panel.get_legend_handles_labels()
            first = 0 if rest.any() else 1
            figure.legend(handles[0][first:], handles[1][first:], loc="outside right upper", title=name)
        panel.set(xlabel=axes[0], ylabel=axes[1], title=title)
    return save(figure, path)


def _frequent(words: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the words that get a colour, and which rows have none of them."""
    kinds, counts = np.unique([word for word in words if word is not None], return_counts=True)
    told = sorted(kinds[np.argsort(-counts, kind="stable")][:MOST_WORDS].tolist())
    return told, ~np.isin(words, told)


@dataclass(frozen=True)
class Shown:
    """An image ``(C, H, W)`` with the line above it, and where its first row belongs."""

    image: np.ndarray
    title: str
    origin: Literal["lower", "upper"] = "lower"


def beside(rows: Sequence[tuple[Shown, Sequence[Shown]]], path: Path) -> Figure:
    """Draw a row an image: the image itself in a frame, then those that are like it."""
    across = 1 + max(len(others) for _, others in rows)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.5 * across, 1.75 * len(rows) + 0.2), layout="constrained")
        panels = figure.subplots(len(rows), across, squeeze=False)
        for line, (first, others) in zip(panels, rows, strict=True):
            for panel in line[1 + len(others) :]:
                panel.set_axis_off()
            for panel, one in zip(line, (first, *others), strict=False):
                show(panel, one.image, one.origin)
                panel.set_title(one.title, fontsize=8)
            line[0].spines[:].set(visible=True, color="black", linewidth=2)
    return save(figure, path)
