"""Figures of how a classifier answers, from plain arrays; each is written to a path and returned.

Drawn without pyplot, so that nothing is shared between threads and no display is needed. The ending of the path
chooses the format (``.png``, ``.pdf``, ``.svg``). Colours are Okabe & Ito's (2008), which colour-blind readers can
tell apart; what matters is never told by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvtool.data.files import writing
from rvtool.report.display import show
from rvtool.report.scores import METRICS

BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, MISTAKE = "#777777", "#CC0000"
SERIES = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # letters stay letters in vector files
    "svg.fonttype": "none",
}
DPI = 150
COLUMNS = 6
MOST_CELLS_WITH_TEXT = 20
LONGEST_NAME = 16


def save(figure: Figure, path: Path) -> Figure:
    """Write a figure, making its folder, and return it."""
    with matplotlib.rc_context(STYLE), writing(path) as stream:
        figure.savefig(stream, dpi=DPI, format=path.suffix.removeprefix(".") or "png")
    return figure


def examples(labels: np.ndarray, probabilities: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose which answers to show: the surest mistakes, and right answers from the least to the most sure.

    Half of them are mistakes where there are that many, half right; what one side lacks the other fills.

    Returns
    -------
    Rows of mistakes and rows of right answers.
    """
    sureness = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    mistakes = np.flatnonzero(~right)
    mistakes = mistakes[np.argsort(-sureness[mistakes], kind="stable")]
    hits = np.flatnonzero(right)
    hits = hits[np.argsort(sureness[hits], kind="stable")]
    wanted = max(count // 2, count - len(hits))
    mistakes = mistakes[:wanted]
    wanted = min(len(hits), count - len(mistakes))
    return mistakes, hits[np.linspace(0, len(hits) - 1, wanted).round().astype(int)] if wanted else hits[:0]


def predictions_grid(
    images: Any,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    path: Path,
    *,
    count: int = 4 * COLUMNS,
    origin: Literal["lower", "upper"] = "lower",
) -> Figure:
    """Draw images with the truth and the answer; mistakes first, in red frames.

    Parameters
    ----------
    images
        Gives image ``(C, H, W)`` or ``(H, W)`` of row number i as ``images[i]``; asked only for those that are shown.
    labels : (N,)
    probabilities : (N, K)
    count
        Images to show.
    origin
        Where the first row of an image belongs: ``"lower"`` in FITS, ``"upper"`` in pictures.
    """
    mistakes, hits = examples(labels, probabilities, count)
    total = int((probabilities.argmax(axis=1) != labels).sum())
    parts = [
        (mistakes, f"Wrong: {total} of {len(labels)}, the surest first", MISTAKE),
        (hits, f"Right: {len(labels) - total} of {len(labels)}, from the least to the most sure", "black"),
    ]
    parts = [part for part in parts if len(part[0])]
    heights = [-(-len(rows) // COLUMNS) for rows, _, _ in parts]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.5 * COLUMNS, 1.84 * sum(heights) + 0.4 * len(parts) + 0.3), layout="constrained")
        figure.suptitle("Truth, then answer and its probability", fontsize=9, color=GREY)
        bands = figure.subfigures(len(parts), 1, height_ratios=[h + 0.2 for h in heights], squeeze=False)[:, 0]
        for band, height, (rows, heading, colour) in zip(bands, heights, parts, strict=True):
            band.suptitle(heading, x=0.01, ha="left", fontweight="bold", color=colour)
            panels = band.subplots(height, COLUMNS, squeeze=False).ravel()
            for panel in panels[len(rows) :]:
                panel.set_axis_off()
            for panel, row in zip(panels, rows, strict=False):
                answer = int(probabilities[row].argmax())
                show(panel, np.asarray(images[int(row)]), origin)
                truth, said = _short(classes[labels[row]]), _short(classes[answer])
                panel.set_title(f"{truth}\n→ {said} {probabilities[row, answer]:.0%}", fontsize=8, color=colour)
                if answer != labels[row]:
                    panel.spines[:].set(visible=True, color=MISTAKE, linewidth=2.5)
    return save(figure, path)


def _short(name: str) -> str:
    return (
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 8]}…{name[-7:]}"
    )  # names often differ in their ends


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], path: Path) -> Figure:
    """Draw the confusion matrix twice: counts, and the share of each true class.

    Parameters
    ----------
    confusion : (K, K)
        Rows are the truth, columns the answer.
    """
    confusion = np.asarray(confusion)
    support = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, support, out=np.full(confusion.shape, np.nan), where=support > 0)
    names = [_short(name) for name in classes]
    side = float(np.clip(0.75 * len(names) + 0.8, 3.2, 12))
    sparse = len(names) > 5 or max(map(len, names)) > 9
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2 * side + 1.6, side + 0.6), layout="constrained")
        for panel, cells, title, form, top in zip(
            figure.subplots(1, 2),
            (confusion.astype(float), share),
            (f"Counts of {int(support.sum())} images", "Share of each true class"),
            ("{:.0f}", "{:.0%}"),
            (max(1, int(confusion.max())), 1),
            strict=True,
        ):
            colours = matplotlib.colormaps["Blues"].with_extremes(bad="#dddddd")
            drawn = panel.imshow(cells, cmap=colours, vmin=0, vmax=top)
            ticks = range(len(names))
            panel.set_xticks(ticks, names, rotation=45 if sparse else 0, ha="right" if sparse else "center")
            panel.set_yticks(ticks, names)
            panel.set(title=title, xlabel="Answer", ylabel="Truth")
            panel.spines[:].set_visible(False)
            panel.tick_params(length=0)
            if len(names) <= MOST_CELLS_WITH_TEXT:
                _write_cells(panel, cells, form, top)
            else:
                figure.colorbar(drawn, ax=panel, shrink=0.8)
    return save(figure, path)


def _write_cells(panel: Axes, cells: np.ndarray, form: str, top: float) -> None:
    size = float(np.interp(len(cells), (4, MOST_CELLS_WITH_TEXT), (10, 6)))
    for (row, column), cell in np.ndenumerate(cells):
        text = form.format(cell) if np.isfinite(cell) else "–"
        white = np.isfinite(cell) and cell > 0.55 * top
        panel.text(column, row, text, ha="center", va="center", fontsize=size, color="white" if white else "black")


def per_class_metrics(by_class: Mapping[str, Mapping[str, Any]], path: Path) -> Figure:
    """Draw precision, recall and F1 of each class with their 95 % intervals, and the number of images.

    Parameters
    ----------
    by_class
        The ``classes`` of `rvtool.report.classification.judge`.
    """
    names = list(by_class)
    many = len(names) > 8
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(float(np.clip(1.5 * len(names) + 1, 6, 20)), 3.6), layout="constrained")
        panel = figure.subplots()
        for offset, (key, title), colour in zip(
            (-0.27, 0, 0.27), (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1")), SERIES, strict=False
        ):
            values = np.array([by_class[name][key] for name in names])
            at = np.arange(len(names)) + offset
            panel.bar(at, values, 0.25, color=colour, label=title)
            for x, name, value in zip(at, names, values, strict=True):
                low, high = by_class[name].get(f"{key}_low"), by_class[name].get(f"{key}_high")
                if low is not None and high is not None:
                    panel.plot([x, x], [low, high], color="black", linewidth=1)
                if not many:
                    # inside the foot of the bar, where no interval reaches it
                    inside = value > 0.12
                    colour_of_text = "white" if inside and colour == BLUE else "black"
                    y = 0.02 if inside else value + 0.02
                    panel.text(x, y, f"{value:.2f}", ha="center", va="bottom", fontsize=7, color=colour_of_text)
        labels = [f"{_short(name)}\nn = {by_class[name]['support']}" for name in names]
        panel.set_xticks(range(len(names)), labels, rotation=45 if many else 0, ha="right" if many else "center")
        panel.set(ylim=(0, 1.02), title="Each class, with 95 % intervals")
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return save(figure, path)


def summary(runs: Mapping[str, Mapping[str, Any]], path: Path) -> Figure:
    """Draw every metric of one or more runs with its 95 % interval beside the majority-class baseline.

    Parameters
    ----------
    runs
        Results of `rvtool.report.classification.judge` by the names to show.
    """
    with matplotlib.rc_context(STYLE):
        height = 0.3 * len(METRICS) * (len(runs) + 0.6) + 1.1
        figure = Figure(figsize=(7, height), layout="constrained")
        panel = figure.subplots()
        step = 0.7 / len(runs)
        for number, (name, metrics) in enumerate(runs.items()):
            colour = SERIES[number % len(SERIES)]
            for row, key in enumerate(METRICS):
                metric = metrics[key]
                y = row + (number - (len(runs) - 1) / 2) * step
                if metric["value"] is None:
                    continue
                if metric["low"] is not None:
                    panel.plot([metric["low"], metric["high"]], [y, y], color=colour, linewidth=2)
                panel.plot(metric["value"], y, "o", color=colour, markersize=5, label=name if not row else None)
                panel.plot(metric["baseline"], y, "D", color=GREY, markersize=4, markerfacecolor="none")
                panel.annotate(
                    f"{metric['value']:.3f}", (1.01, y), xycoords=("axes fraction", "data"), va="center", color=colour
                )
        panel.plot([], [], "D", color=GREY, markersize=4, markerfacecolor="none", label="majority class")
        panel.set_yticks(
            range(len(METRICS)), [f"{m.title} {'↑' if m.higher_is_better else '↓'}" for m in METRICS.values()]
        )
        panel.set_ylim(len(METRICS) - 0.4, -0.6)
        panel.set_xlim(left=0)
        panel.grid(axis="x", color="#e5e5e5")
        panel.set_axisbelow(True)
        figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=min(4, len(runs) + 1))
    return save(figure, path)
