"""Figures of how a training went, also while it is still going; each is written to a path and returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from PIL import Image

from rvtool.report.curves import Curve, set_scale
from rvtool.report.figures import BLUE, GREY, ORANGE, SERIES, STYLE, save
from rvtool.report.training_analysis import CONTESTED, TOTALS, Course, Phase, losses, rates, shown, statistics
from rvtool.report.training_log import Log

COLUMNS = 3
MOST_PANELS = 24
MOST_AXES = 3  # more cannot be read beside one panel
LEAST_SMOOTHED = 12  # values of a phase
BOUNDARY: Any = {"color": "#333333", "linestyle": "--", "linewidth": 1.1}
SHADES = ("#dbe9f4", "#f7e6c4", "#d5efe6", "#f3dcea")
LONGEST_NAME = 22


def smooth(curve: Curve, parts: Sequence[Phase]) -> Curve:
    """Return the running mean over about a tenth of each phase, with gaps where values are no numbers.

    No mean crosses a boundary, for what changes there is what the figures are to show.
    """
    means = np.full(len(curve.value), np.nan)
    for phase in parts:
        inside = phase.of(curve)
        value = curve.value[inside]
        if not len(value):
            continue
        window = np.ones(max(1, len(value) // 10) if len(value) >= LEAST_SMOOTHED else 1)
        known = np.isfinite(value)
        count = np.convolve(known, window, "same")
        total = np.convolve(np.where(known, value, 0.0), window, "same")
        means[inside] = np.divide(total, count, out=np.full(len(value), np.nan), where=known)
    return Curve(curve.step, means)


def loss_parts(course: Course, path: Path) -> Figure:
    """Draw each quantity, smoothed over raw, for training and validation; boundaries of phases in every panel."""
    log, _, parts = course
    names = shown(log)[:MOST_PANELS]
    columns = max(1, min(COLUMNS, len(names)))
    rows = max(1, -(-len(names) // columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(3.4 * columns, 5), 2.4 * rows + 0.5), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        for name, panel in zip(names, panels, strict=False):
            drawn = []
            for side, colour, label in (("train", BLUE, "training"), ("val", ORANGE, "validation")):
                if (curve := log.curves.get(f"{side}/{name}")) is not None:
                    _draw(panel, curve, parts, colour, label)
                    drawn.append(curve)
            panel.set_title(_short(name))
            set_scale(panel, drawn)
            _finish(panel, course)
        _legend(figure, panels)
    return save(figure, path)


def comparison(course: Course, path: Path) -> Figure:
    """Draw losses together: the first three each on an axis of its own, and up to six in parts of their ranges."""
    log, _, parts = course
    names = sorted(losses(log), key=lambda name: name not in TOTALS and not CONTESTED.search(name))  # the most unlike
    curves = [(name, log.curves.get(f"train/{name}", log.curves.get(f"val/{name}"))) for name in names]
    smoothed = [(name, smooth(curve, parts)) for name, curve in curves if curve is not None]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 6.8), layout="constrained")
        above, below = figure.subplots(2, 1)
        for number, (name, curve) in enumerate(smoothed[:MOST_AXES]):
            colour = SERIES[number]
            panel = above.twinx() if number else above
            panel.plot(curve.step, curve.value, color=colour, linewidth=1.4, marker=_marker(curve))
            panel.set_ylabel(_short(name), color=colour)
            panel.tick_params(axis="y", colors=colour)
            set_scale(panel, [curve])
            if number:
                panel.spines["right"].set(visible=True, color=colour, position=("outward", 62 * (number - 1)))
        for colour, (name, curve) in zip(SERIES, smoothed, strict=False):
            low, high = _range(curve.value)
            scaled = (curve.value - low) / ((high - low) or 1.0)
            label = f"{_short(name)}: {low:.3g} … {high:.3g}"
            below.plot(curve.step, scaled, color=colour, linewidth=1.4, marker=_marker(curve), label=label)
        above.set_title("Each on its own axis")
        below.set_title("Each in parts of its own range")
        below.set_ylim(-0.04, 1.04)
        for panel in (above, below):
            _finish(panel, course)
        if smoothed:
            below.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return save(figure, path)


def learning_rate(course: Course, path: Path) -> Figure:
    """Draw the learning rate of each optimiser."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 3.2), layout="constrained")
        panel = figure.subplots()
        every = rates(course.log)
        groups: dict[bytes, tuple[list[str], Curve]] = {}
        for name, curve in every.items():
            groups.setdefault(curve.value.tobytes(), ([], curve))[0].append(name)
        for colour, (names, curve) in zip(SERIES * len(groups), groups.values(), strict=False):
            panel.plot(curve.step, curve.value, color=colour, marker=_marker(curve), label=", ".join(names))
        panel.set(title="Learning rate" if every else "No learning rate was logged")
        panel.yaxis.set_major_formatter(EngFormatter(sep="") if not every else "{x:.3g}")
        _finish(panel, course)
        _legend(figure, [panel])
    return save(figure, path)


def dashboard(course: Course, facts: Mapping[str, str], path: Path) -> Figure:
    """Draw all at one glance: progress, what was reached, how the loss is spread, the phases, convergence, figures.

    Parameters
    ----------
    facts
        What else is to be told, by headings; with ``status``, other than ``"running"`` where nothing more will come.
    """
    log, _, parts = course
    main = next(iter(losses(log)), "")
    curve = log.curves.get(f"train/{main}", next(iter(log.curves.values())))
    draw: tuple[Callable[[Axes], None], ...] = (
        lambda panel: _progress(panel, log, facts.get("status")),
        lambda panel: _reached(panel, log),
        lambda panel: _spread(panel, curve, parts),
        lambda panel: _timeline(panel, course),
        lambda panel: _convergence(panel, course, main, curve),
        lambda panel: _facts(panel, {**facts, **_figures(curve, main, parts)}),
    )
    name = _short(main)
    titles = ("Progress", "Reached", f"How {name} is spread", "Phases", f"Convergence of {name}", "Statistics")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 6.6), layout="constrained")
        for panel, title, fill in zip(figure.subplots(2, 3).ravel(), titles, draw, strict=True):
            fill(panel)
            panel.set_title(title, fontweight="bold", loc="left")
    return save(figure, path)


def samples_by_phase(pictures: Sequence[tuple[str, Path]], path: Path) -> Figure:
    """Draw pictures that were made while training beside each other, with what is said of each."""
    images = []
    for _, picture in pictures:
        with Image.open(picture) as opened:
            images.append(np.asarray(opened.convert("RGB")))
    height, width = images[0].shape[:2]
    columns = len(images) if height > width else min(2, len(images))
    rows = -(-len(images) // columns)
    with matplotlib.rc_context(STYLE):
        size = 4.2 * columns, (4.2 * height / width + 0.35) * rows
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, image, (title, _) in zip(panels, images, pictures, strict=False):
            panel.imshow(image, interpolation="antialiased")
            panel.set_title(title)
    return save(figure, path)


def _draw(panel: Axes, curve: Curve, parts: Sequence[Phase], colour: str, label: str) -> None:
    panel.plot(curve.step, curve.value, color=colour, alpha=0.3, linewidth=0.8)
    mean = smooth(curve, parts)
    panel.plot(mean.step, mean.value, color=colour, linewidth=1.5, label=label, marker=_marker(mean))


def _marker(curve: Curve) -> str | None:
    """Mark values where there are few: one makes no line."""
    return "." if np.isfinite(curve.value).sum() < LEAST_SMOOTHED else None


def _finish(panel: Axes, course: Course) -> None:
    """Mark the boundaries, and count steps."""
    log = course.log
    for boundary in course.boundaries:
        told = f"{boundary.told} ({log.unit} {boundary.step:g})"
        panel.axvline(boundary.step, label=told, **BOUNDARY)
    panel.set_xlabel(log.unit)
    panel.set_xlim(log.begin, log.last + 0.02 * ((log.last - log.begin) or 1))
    panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=log.last - log.begin > 5))
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)


def _range(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}…{name[-8:]}"


def _progress(panel: Axes, log: Log, status: str | None) -> None:
    panel.set_axis_off()
    done = min(1.0, log.last / log.total) if log.total else None
    panel.set(xlim=(0, 1), ylim=(0, 1))
    panel.barh(0.72, 1, 0.16, color="#e8e8e8")
    panel.barh(0.72, 1 if done is None else done, 0.16, color=GREY if done is None else BLUE)
    panel.text(0, 0.9, "of how many is not known" if done is None else f"{done:.1%}", fontsize=14, va="center")
    lines = [f"{log.unit} {log.last:,.10g}" + (f" of {log.total:,.10g}" if log.total else "")]
    if log.elapsed is not None:
        taken = float(log.elapsed.value[-1])
        going = status in (None, "running") and done != 1
        lines.append(f"{duration(taken)} {'so far' if going else 'in all'}")
        if going and log.total and log.last > log.begin:
            left = taken * (log.total - log.last) / (log.last - log.begin)
            lines.append(f"about {duration(left)} left at this pace")
    panel.text(0, 0.52, "\n".join(lines), va="top", linespacing=1.6)


def _reached(panel: Axes, log: Log) -> None:
    """Write each quantity's last value in training and validation, and the best."""
    rows: list[Sequence[str]] = [("", "training", "validation", "best")]
    for name in shown(log)[:11]:
        cells = []
        best: float | None = None
        for side in ("train", "val"):
            told = statistics(log.curves[f"{side}/{name}"], name, []) if f"{side}/{name}" in log.curves else {}
            cells.append(f"{told['last']:.4g}" if "last" in told else "–")
            best = told.get("best", best)
        rows.append((_short(name), *cells, "–" if best is None else f"{best:.4g}"))
    _table(panel, rows, (0, 0.58, 0.8, 1))


def _figures(curve: Curve, name: str, parts: Sequence[Phase]) -> dict[str, str]:
    told = statistics(curve, name, [])
    if "first" not in told:
        return {}
    slope = told["slope_of_last_tenth"]
    return {
        f"{_short(name)}, first → last": f"{told['first']:.4g} → {told['last']:.4g}",
        "least … most": f"{told['least']:.4g} … {told['most']:.4g}",
        "mean ± deviation": f"{told['mean']:.4g} ± {told['std']:.2g}",
        "slope at the end, a step": "–" if slope is None else f"{slope:+.2g}",
        "rows, phases": f"{told['values']}, {len(parts)}",
    }


def _facts(panel: Axes, facts: Mapping[str, str]) -> None:
    _table(panel, [(key, value) for key, value in facts.items()], (0, 1))


def _table(panel: Axes, rows: Sequence[Sequence[str]], at: Sequence[float]) -> None:
    """Write rows of cells, the first to the left and the others to the right of where they stand."""
    panel.set_axis_off()
    for number, row in enumerate(rows):
        y = 0.95 - number * min(0.1, 0.95 / len(rows))
        for x, cell in zip(at, row, strict=True):
            aside = "left" if x == 0 else "right"
            panel.text(x, y, cell, ha=aside, va="center", fontsize=8.5, color="black" if number or cell else GREY)


def _spread(panel: Axes, curve: Curve, parts: Sequence[Phase]) -> None:
    """Draw the histogram of a quantity in each phase."""
    low, high = _range(curve.value)
    wide = low > 0 and high > 50 * low
    high = high if high > low else low + 1
    bins = np.geomspace(low, high, 31) if wide else np.linspace(low, high, 31)
    for colour, phase in zip(SERIES * len(parts), parts, strict=False):
        value = curve.value[phase.of(curve)]
        value = value[np.isfinite(value)]
        panel.hist(value, bins.tolist(), color=colour, alpha=0.6, label=f"{phase.name} ({len(value)})")
    panel.set(ylabel="rows", xscale="log" if wide else "linear")
    if len(parts) > 1:
        panel.legend(fontsize=8, frameon=True, edgecolor="none")


def _timeline(panel: Axes, course: Course) -> None:
    """Draw a bar for each phase over its steps."""
    log, found, parts = course
    for row, (phase, begins) in enumerate(zip(parts, ("", *(one.told for one in found)), strict=True)):
        width = phase.last - phase.first
        panel.barh(row, width, 0.5, left=phase.first, color=SHADES[row % len(SHADES)], edgecolor=GREY, linewidth=0.6)
        lines = [f"{phase.name}: {begins}" if begins else phase.name, f"{width:,.10g} {log.unit}s"]
        lines[1] += "" if phase.seconds is None else f", {duration(phase.seconds)}"
        panel.text(log.begin, row - 0.3, ", ".join(lines), va="bottom", fontsize=8)
    panel.set(xlabel=log.unit, ylim=(len(parts) - 0.5, -0.8), yticks=[])
    panel.set_xlim(log.begin, log.last + 0.02 * ((log.last - log.begin) or 1))
    panel.spines["left"].set_visible(False)
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def _convergence(panel: Axes, course: Course, name: str, curve: Curve) -> None:
    """Draw a quantity smoothed, and the least that validation had reached."""
    _draw(panel, curve, course.phases, BLUE, "training, smoothed")
    drawn = [curve]
    if (val := course.log.curves.get(f"val/{name}")) is not None and np.isfinite(val.value).any():
        least = np.fmin.accumulate(val.value)
        panel.step(val.step, least, color=ORANGE, where="post", linewidth=1.4, label="validation, least so far")
        drawn.append(val)
    set_scale(panel, drawn)
    _finish(panel, course)
    panel.legend(fontsize=8, frameon=True, edgecolor="none")


def duration(seconds: float) -> str:
    """Write a duration as people do: ``"1 h 02 min"``, ``"2 min 05 s"`` or ``"7.3 s"``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if seconds < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
