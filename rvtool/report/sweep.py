"""What many trainings with different settings reached: one table and one figure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from rvtool.report.figures import BLUE, GREY, SERIES, STYLE, VERMILLION, save
from rvtool.report.tables import number, write_csv
from rvtool.runs.sweep import short_names, value_text

REPEATS = ("seed", "fold")
"""Settings over which a mean is taken: they say how often, and not what, was tried."""

WIDE_RANGE = 10  # beyond this ratio an axis is logarithmic
MOST_NAMED = 8  # values of a setting that are written under an axis


@dataclass(frozen=True)
class Result:
    """What one combination of settings reached.

    Attributes
    ----------
    name
        Of its folder.
    settings
        By dotted path.
    figures
        By name; empty where nothing came of it.
    cut
        Whether it was stopped before its end.
    """

    name: str
    settings: Mapping[str, Any]
    figures: Mapping[str, float]
    cut: bool = False


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Take the figures out of what `train` or `evaluate` returns, those that people are shown first."""
    if best := result.get("best"):
        return {**best["shown"], best["metric"]: best["value"]}
    if comparison := result.get("comparison"):  # of several runs: on all their images together, or the mean over them
        over_runs = {name: {"value": row["mean"]} for name, row in comparison["over_runs"].items()}
        return figures_of(comparison["pooled"] or over_runs)
    rows = {name: row for name, row in result.items() if isinstance(row, Mapping)}
    return {name: row["value"] for name, row in rows.items() if row.get("value") is not None}


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write a table of every setting and every figure, a row a result."""
    settings, figures = names_of(results)
    rows = []
    for one in results:
        cells = [value_text(one.settings.get(name, "")) for name in settings]
        rows.append([one.name, *cells, *(one.figures.get(name, "") for name in figures), "yes" if one.cut else "no"])
    write_csv(path, ["name", *settings, *figures, "stopped early"], rows)


@dataclass(frozen=True)
class Mean:
    """Results that differ in `REPEATS` only: their common settings, and the figures of each."""

    settings: dict[str, Any]
    figures: list[Mapping[str, float]]

    def of(self, name: str) -> tuple[float | None, float | None]:
        """Return mean and standard deviation of a figure; None where too few have it."""
        values = [one[name] for one in self.figures if name in one]
        return (
            statistics.fmean(values) if values else None,
            statistics.stdev(values) if len(values) > 1 else None,
        )


def means(results: Sequence[Result]) -> list[Mean]:
    """Put together what differs in `REPEATS` only, in the order of the results."""
    found: dict[str, Mean] = {}
    for one in results:
        common = {name: value for name, value in one.settings.items() if not is_repeat(name)}
        found.setdefault(str(common), Mean(common, [])).figures.append(one.figures)
    return list(found.values())


def write_means(path: Path, results: Sequence[Result]) -> None:
    """Write a table of means and standard deviations over `REPEATS`, a row for each combination of the others."""
    settings, figures = names_of(results)
    settings = [name for name in settings if not is_repeat(name)]
    columns = [*settings, "results", *(f"{name} {what}" for name in figures for what in ("mean", "standard deviation"))]
    rows = []
    for mean in means(results):
        cells = [value_text(mean.settings.get(name, "")) for name in settings]
        spread = ["" if value is None else value for name in figures for value in mean.of(name)]
        rows.append([*cells, len(mean.figures), *spread])
    write_csv(path, columns, rows)


def repeated(results: Sequence[Result]) -> bool:
    """Tell whether some results differ in `REPEATS` only."""
    settings, _ = names_of(results)
    return any(map(is_repeat, settings)) and len(means(results)) < len(results)


def results_table(results: Sequence[Result], scores: Sequence[str], title: str, best: Result | None = None) -> Table:
    """Tabulate results, the best in bold; where some differ in `REPEATS` only, their means and standard deviations."""
    settings, _ = names_of(results)
    together = repeated(results)
    if together:
        settings = [name for name in settings if not is_repeat(name)]
    rows = means(results) if together else [Mean(dict(one.settings), [one.figures]) for one in results]
    names = [str(len(row.figures)) for row in rows] if together else [one.name for one in results]
    table = Table(title=Text(title), title_justify="left")
    short = short_names(settings)
    for name in settings:
        table.add_column(Text(short[name]), overflow="fold")
    for name in scores:
        table.add_column(Text(name.replace(".", ".\n", 1)), justify="right")  # stage and figure
    table.add_column("results" if together else "name", overflow="fold")
    for told, row in zip(names, rows, strict=True):
        cells = [value_text(row.settings.get(name, "")) for name in settings]
        style = "bold" if best is not None and told == best.name else ""
        table.add_row(*map(Text, [*cells, *(_spread(*row.of(name)) for name in scores), told]), style=style)
    return table


def results_figure(results: Sequence[Result], scores: Sequence[str], path: Path, best: Result | None = None) -> Figure:
    """Draw each score against every setting that differs.

    Settings that were combined with each other have their means over `REPEATS`, with standard deviations, joined by a
    line for each combination of the others; where these are many, by thin ones and their mean.

    Parameters
    ----------
    scores
        Names of figures, a row of panels each.
    best
        The best of results whose settings were drawn by chance: each of them is a point then, and this one is marked.
    """
    settings, _ = names_of(results)
    differ = [name for name in settings if len({value_text(one.settings.get(name, "")) for one in results}) > 1]
    axes = [name for name in differ if not is_repeat(name)] or differ or settings
    short = short_names(settings)
    with matplotlib.rc_context(STYLE):
        size = (3.4 * len(axes) + 0.4, 2.7 * len(scores) + 0.2)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(scores), len(axes), squeeze=False, sharey="row")
        for row, score in zip(panels, scores, strict=True):
            known = [one for one in results if score in one.figures]
            y = np.array([one.figures[score] for one in known])
            for panel, name in zip(row, axes, strict=True):
                place = _set_axis(panel, [one.settings.get(name, "") for one in results])
                x = np.array([place[value_text(one.settings.get(name, ""))] for one in known])
                if best is None:
                    others = {other: short[other] for other in axes if other != name}
                    _draw_lines(panel, x, y, [_combination(one, others) for one in known])
                else:
                    marks = ["best" if one is best else "stopped early" if one.cut else "to the end" for one in known]
                    _draw_points(panel, x, y, np.array(marks))
                panel.set_xlabel(short[name])
                panel.grid(color="#e5e5e5")
                panel.set_axisbelow(True)
            row[0].set_ylabel(score)
            if y.size and y.min() > 0 and y.max() > WIDE_RANGE * y.min():
                row[0].set_yscale("log")
        for panel in panels[0]:
            if panel.get_legend_handles_labels()[0]:
                panel.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return save(figure, path)


def names_of(results: Sequence[Result]) -> tuple[list[str], list[str]]:
    """Return the names of all settings and of all figures, in the order in which they come."""
    return (
        list(dict.fromkeys(name for one in results for name in one.settings)),
        list(dict.fromkeys(name for one in results for name in one.figures)),
    )


def is_repeat(name: str) -> bool:
    """Tell whether a setting is one of `REPEATS`."""
    return name.rpartition(".")[2] in REPEATS


def _spread(mean: float | None, deviation: float | None) -> str:
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def _set_axis(panel: Axes, values: Sequence[Any]) -> dict[str, float]:
    """Make the axis of a setting's values, and return where each stands by its text."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        place = {value_text(value): float(value) for value in sorted(values)}
        low, high = min(place.values()), max(place.values())
        if low > 0 and high > WIDE_RANGE * low:
            panel.set_xscale("log")
        if len(place) <= MOST_NAMED:
            panel.set_xticks(list(place.values()), list(place))
            panel.minorticks_off()
        return place
    place = {text: float(number) for number, text in enumerate(dict.fromkeys(value_text(value) for value in values))}
    long = max(map(len, place)) * len(place) > 40
    panel.set_xticks(list(place.values()), list(place), rotation=30 if long else 0, ha="right" if long else "center")
    panel.set_xlim(-0.4, len(place) - 0.6)
    return place


def _combination(result: Result, short: Mapping[str, str]) -> str:
    return ", ".join(f"{told} {value_text(result.settings.get(name, ''))}" for name, told in short.items())


def _draw_lines(panel: Axes, x: np.ndarray, y: np.ndarray, combinations: Sequence[str]) -> None:
    """Draw every result, and for each combination of the other settings a line through the means at each place."""
    names = np.array(combinations)
    lines = {name: names == name for name in dict.fromkeys(combinations)}
    many = len(lines) > len(SERIES)
    if many:
        for of in lines.values():
            at, mean, _ = _means(x[of], y[of])
            panel.plot(at, mean, color=GREY, linewidth=0.6, alpha=0.6)
        lines = {"mean of all": np.full(len(x), True)}
    for colour, (name, of) in zip(SERIES, lines.items(), strict=False):
        at, mean, spread = _means(x[of], y[of])
        panel.plot(x[of], y[of], ".", color=colour, alpha=0.4, markersize=4)
        panel.errorbar(
            at, mean, None if many else spread, color=colour, marker="o", markersize=4, capsize=2, label=name
        )


def _means(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each place once, from left to right, with the mean and the standard deviation there (0 of one value)."""
    places = np.unique(x)
    there = [y[x == at] for at in places]
    spread = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in there]
    return places, np.array([values.mean() for values in there]), np.array(spread)


def _draw_points(panel: Axes, x: np.ndarray, y: np.ndarray, marks: np.ndarray) -> None:
    for mark, colour, fill in (
        ("to the end", BLUE, BLUE),
        ("stopped early", BLUE, "none"),
        ("best", VERMILLION, VERMILLION),
    ):
        of = marks == mark
        if of.any():
            panel.plot(x[of], y[of], "o", color=colour, markerfacecolor=fill, markersize=5, label=mark)
