"""What one way is worth against another: differences between trainings that share their fold and their seed."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text
from scipy.stats import t

from rvtool.report.figures import GREY, SERIES, STYLE, save
from rvtool.report.sweep import Result, is_repeat, names_of
from rvtool.report.tables import number, span, write_csv
from rvtool.runs.sweep import short_names, value_text

LEVEL = 0.95
WITHOUT = "without"


@dataclass(frozen=True)
class Difference:
    """How much a figure differs from that of the first way.

    Attributes
    ----------
    place
        The settings that are numbers, alike on both sides.
    way
        The settings that are words.
    figure
        Name.
    mean
        Over `units`.
    low, high
        Interval of the mean by Student's t; None where one unit is all there is.
    units
        Folds, seeds averaged; or seeds where no fold is swept. Folds share most of their training images, so that the
        interval is one for these images and not for others of the sky.
    """

    place: Mapping[str, Any]
    way: str
    figure: str
    mean: float
    low: float | None
    high: float | None
    units: int


class Pairing:
    """Results by way, place, fold and seed.

    Settings whose values are words tell the ways apart, of which the first is what the others are compared with;
    settings whose values are numbers tell the places, at each of which they are compared.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        settings, self.figures = names_of(results)
        repeats = [name for name in settings if is_repeat(name)]
        differ = [name for name in settings if len({value_text(one.settings.get(name, "")) for one in results}) > 1]
        apart = [name for name in differ if name not in repeats]
        folds = [name for name in repeats if name.endswith("fold") and name in differ]
        self._unit, self._repeats = folds or repeats, repeats
        words = [name for name in apart if not _numbers(results, name)]
        # a number that is the same wherever a way is tried is part of that way
        self.places = [name for name in apart if name not in words and not (words and _follows(results, name, words))]
        words = [name for name in apart if name not in self.places]
        short = short_names(words)
        self.found: dict[str, dict[tuple[Any, ...], dict[tuple[Any, ...], Mapping[str, float]]]] = {}
        for one in results:
            given = {short[name]: _plain(one.settings.get(name, "")) for name in words}
            way = ", ".join(f"{name} {value}" for name, value in given.items() if value) or WITHOUT
            place = tuple(one.settings[name] for name in self.places)
            repeat = tuple(one.settings.get(name) for name in [*self._unit, *self._repeats])
            self.found.setdefault(way, {}).setdefault(place, {})[repeat] = one.figures

    @property
    def ways(self) -> list[str]:
        """The ways in the order of the results; the first is what the others are compared with."""
        return list(self.found)

    def scores(self, way: str, place: tuple[Any, ...], figure: str) -> list[float]:
        """Return a figure of each training of a way at a place."""
        there = self.found[way].get(place, {}).values()
        return [figures[figure] for figures in there if figure in figures]

    def difference(self, way: str, place: tuple[Any, ...], figure: str) -> Difference | None:
        """Compare a way with the first one at a place; None where no training of both shares its fold and seed."""
        first, second = self.found[self.ways[0]].get(place, {}), self.found[way].get(place, {})
        by_unit: dict[tuple[Any, ...], list[float]] = {}
        for repeat in first.keys() & second.keys():
            if figure in first[repeat] and figure in second[repeat]:
                unit = repeat[: len(self._unit)]
                by_unit.setdefault(unit, []).append(second[repeat][figure] - first[repeat][figure])
        if not by_unit:
            return None
        values = [statistics.fmean(by_unit[unit]) for unit in sorted(by_unit, key=str)]
        mean, low, high = statistics.fmean(values), None, None
        if len(values) > 1:
            half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
            low, high = mean - half, mean + half
        return Difference(dict(zip(self.places, place, strict=True)), way, figure, mean, low, high, len(values))

    def differences(self, figures: Sequence[str]) -> list[Difference]:
        """Compare every other way with the first, at every place and of every figure that both have."""
        places = list(dict.fromkeys(place for there in self.found.values() for place in there))
        asked = ((way, place, name) for name in figures for place in places for way in self.ways[1:])
        return [one for one in (self.difference(*case) for case in asked) if one is not None]


def comparable(results: Sequence[Result]) -> bool:
    """Tell whether there are ways to compare, of which some fold and seed has more than one."""
    pairing = Pairing(results)
    return len(pairing.ways) > 1 and bool(pairing.differences(pairing.figures))


def write_differences(path: Path, results: Sequence[Result]) -> None:
    """Write a table of the differences of all figures from those of the first way."""
    pairing = Pairing(results)
    columns = [*pairing.places, "way", "against", "figure", "difference", "low", "high", "pairs"]
    rows = [
        [
            *one.place.values(),
            one.way,
            pairing.ways[0],
            one.figure,
            one.mean,
            _cell(one.low),
            _cell(one.high),
            one.units,
        ]
        for one in pairing.differences(pairing.figures)
    ]
    write_csv(path, columns, rows)


def differences_table(results: Sequence[Result], scores: Sequence[str]) -> Table:
    """Tabulate the differences of some figures; those whose interval excludes zero are bold."""
    pairing = Pairing(results)
    table = Table(title=Text(f"Differences from '{pairing.ways[0]}'"), title_justify="left")
    short = short_names(pairing.places)
    for heading in [*short.values(), "way", "figure", "difference", "95 % interval", "pairs"]:
        table.add_column(Text(heading), overflow="fold", justify="right" if heading == "difference" else "left")
    for one in pairing.differences(scores):
        beyond = one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)
        told = [number(one.mean, sign=True), span(one.low, one.high, sign=True), str(one.units)]
        cells = [*map(value_text, one.place.values()), one.way, one.figure, *told]
        table.add_row(*map(Text, cells), style="bold" if beyond else "")
    return table


def differences_figure(results: Sequence[Result], scores: Sequence[str], path: Path) -> Figure:
    """Draw each score of each way at each place, and beside it the differences from the first way.

    On the left each training is a dot, and their mean a line; on the right stand paired differences with intervals.
    """
    pairing = Pairing(results)
    places = list(dict.fromkeys(place for there in pairing.found.values() for place in there))
    ticks, axis = _ticks(pairing.places, places)
    step = 0.6 / len(pairing.ways)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 2.8 * len(scores) + 0.3), layout="constrained")
        panels = figure.subplots(len(scores), 2, squeeze=False)
        for (left, right), score in zip(panels, scores, strict=True):
            for number_, (way, colour) in enumerate(zip(pairing.ways, SERIES * len(pairing.ways), strict=False)):
                at = np.arange(len(places)) + (number_ - (len(pairing.ways) - 1) / 2) * step
                values = [pairing.scores(way, place, score) for place in places]
                for x, there in zip(at, values, strict=True):
                    left.plot([x] * len(there), there, ".", color=colour, alpha=0.4, markersize=4)
                means = [statistics.fmean(there) if there else np.nan for there in values]
                left.plot(at, means, "o-", color=colour, markersize=4, linewidth=0.8, label=way)
                told = [pairing.difference(way, place, score) if number_ else None for place in places]
                for x, one in zip(at, told, strict=True):
                    if one is not None:
                        low, high = (one.mean if side is None else side for side in (one.low, one.high))
                        right.plot([x, x], [low, high], color=colour, linewidth=1.5)
                        right.plot(x, one.mean, "o", color=colour, markersize=5)
            right.axhline(0, color=GREY, linewidth=0.8)
            left.set_ylabel(score)
            right.set_ylabel(f"difference from\n'{pairing.ways[0]}'")
            for panel in (left, right):
                panel.set_xticks(range(len(places)), ticks)
                panel.set_xlim(-0.6, len(places) - 0.4)
                panel.set_xlabel(axis)
                panel.grid(axis="y", color="#e5e5e5")
                panel.set_axisbelow(True)
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return save(figure, path)


def _numbers(results: Sequence[Result], name: str) -> bool:
    values = [one.settings.get(name) for one in results]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _plain(value: Any) -> str:
    """Write a word without what it names by other words, such as the folder that all share."""
    text = value_text(value)
    return re.sub(r"\{[^}]*\}/", "", text).strip("{}")


def _follows(results: Sequence[Result], name: str, words: Sequence[str]) -> bool:
    """Tell whether a number is given by the words beside it."""
    found: dict[str, set[str]] = {}
    for one in results:
        way = str([value_text(one.settings.get(word, "")) for word in words])
        found.setdefault(way, set()).add(value_text(one.settings.get(name, "")))
    return max(map(len, found.values())) == 1


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def _ticks(names: Sequence[str], places: Sequence[tuple[Any, ...]]) -> tuple[list[str], str]:
    """Name places by as few of their settings as tell them apart."""
    count = next(n for n in range(len(names) + 1) if len({place[:n] for place in places}) == len(places))
    told = [", ".join(map(value_text, place[:count])) for place in places]
    return told, ", ".join(short_names(names)[name] for name in names[:count])
