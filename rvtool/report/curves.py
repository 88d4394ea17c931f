"""Figures of a training: what was logged over time, and the search for a learning rate."""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rvtool.errors import DataError
from rvtool.report.figures import BLUE, GREY, ORANGE, SERIES, STYLE, VERMILLION, save

COLUMNS = 3
MANY_POINTS = 100  # more are drawn faint under their running mean
LEARNING_RATE = re.compile(r"lr([\d-].*)?")
WIDE_RANGE = 50  # beyond this ratio an axis is logarithmic


class Curve(NamedTuple):
    """One logged quantity: (n,) steps and (n,) values, NaN and infinities included."""

    step: np.ndarray
    value: np.ndarray


def read_metrics(path: Path) -> tuple[dict[str, Curve], float | None]:
    """Read a ``metrics.csv`` of a run: one row an epoch or some steps, blank where nothing was logged.

    Rows that a killed run left incomplete are read as far as they go.

    Returns
    -------
    The logged quantities by column, and steps in an epoch (None where there was no more than one epoch).

    Raises
    ------
    DataError
        There is no such file, or it has no rows or no column ``step``.
    """
    columns: dict[str, tuple[list[float], list[float]]] = {}
    epochs, epoch_steps = 0.0, 0.0
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                numbers = {name: _number(text) for name, text in row.items() if isinstance(name, str)}
                step, epoch = numbers.pop("step", None), numbers.get("epoch")
                if step is None:
                    continue
                if epoch is not None:
                    epochs = max(epochs, epoch + 1)
                    epoch_steps = max(epoch_steps, step / (epoch + 1))  # reached at the end of an epoch
                for name, number in numbers.items():
                    if number is not None:
                        steps, values = columns.setdefault(name, ([], []))
                        steps.append(step)
                        values.append(number)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; the run has logged nothing.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}); it should be a table with a column 'step'.") from error
    if not columns:
        raise DataError(f"{path} holds no logged numbers beside a column 'step'.")
    curves = {name: Curve(np.array(steps), np.array(values)) for name, (steps, values) in columns.items()}
    return curves, epoch_steps if epochs > 1 else None


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def training_curves(metrics_csv: Path, path: Path, kept_epoch: int | None = None) -> Figure:
    """Draw every quantity logged for training and validation, the gap between the two, and the learning rate.

    Parameters
    ----------
    metrics_csv
        Columns ``step``, ``epoch`` (from 0), ``train/NAME``, ``val/NAME``, and ``lr`` (``lr1``, ``lr-Adam``, ...)
        for each optimiser; others are not drawn.
    kept_epoch
        The epoch whose weights were kept, from 0; marked in every panel.

    Raises
    ------
    DataError
        As `read_metrics`; or nothing was logged under ``train/`` or ``val/``.
    """
    curves, epoch_steps = read_metrics(metrics_csv)
    sides = {name: name.partition("/")[2] for name in curves if name.startswith(("train/", "val/"))}
    names = distinct(curves, list(dict.fromkeys(sides.values())))
    if not names:
        raise DataError(f"{metrics_csv} has no columns train/... or val/...; nothing was logged while training.")
    rates = {name: curve for name, curve in curves.items() if LEARNING_RATE.fullmatch(name)}
    shared = [name for name in names if f"train/{name}" in curves and f"val/{name}" in curves]
    count = len(names) + bool(shared) + bool(rates)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    scale = epoch_steps or 1
    marked = kept_epoch + 1 if kept_epoch is not None and epoch_steps else None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.3 * columns, 2.4 * rows + 0.4), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for panel in panels[count:]:
            panel.set_axis_off()
        for name, panel in zip(names, panels, strict=False):
            for side, colour, label in (("train", BLUE, "training"), ("val", ORANGE, "validation")):
                if f"{side}/{name}" in curves:
                    _draw(panel, curves[f"{side}/{name}"], scale, colour, label)
            panel.set_title(name)
            set_scale(panel, [curves[column] for column, short in sides.items() if short == name])
        if shared:
            _draw_gaps(panels[len(names)], curves, shared, scale)
        if rates:
            panel = panels[count - 1]
            for colour, (name, curve) in zip(SERIES * len(rates), rates.items(), strict=False):
                _line(panel, curve.step / scale, curve.value, colour, name.removeprefix("lr-"))
            panel.set_title("learning rate")
            set_scale(panel, list(rates.values()))
            if len(rates) > 1:
                panel.legend(fontsize=7)
        for panel in panels[:count]:
            panel.set_xlabel("epoch" if epoch_steps else "step")
            panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
            if marked:
                panel.axvline(marked, color=GREY, linestyle=":", linewidth=1.2)
        handles = {
            label: handle
            for panel in panels[: len(names)]
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        if marked:
            handles["weights kept"] = panels[0].lines[-1]
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    return save(figure, path)


def distinct(curves: dict[str, Curve], names: list[str]) -> list[str]:
    """Leave out what repeats another quantity: a loss of one part is that part."""
    kept: dict[tuple[bytes, ...], str] = {}
    for name in names:
        both = [curves[f"{side}/{name}"] for side in ("train", "val") if f"{side}/{name}" in curves]
        kept.setdefault(tuple(array.tobytes() for curve in both for array in curve), name)
    return list(kept.values())


def _draw(panel: Axes, curve: Curve, scale: float, colour: str, label: str) -> None:
    x, y = curve.step / scale, curve.value
    if len(x) > MANY_POINTS:
        panel.plot(x, y, color=colour, alpha=0.25, linewidth=0.7)
        window = len(x) // (MANY_POINTS // 2)
        means = np.convolve(y, np.full(window, 1 / window), mode="valid")
        x, y = x[window // 2 : window // 2 + len(means)], means
    _line(panel, x, y, colour, label)


def _line(panel: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str) -> None:
    # a single point makes no line
    panel.plot(x, y, color=colour, label=label, linewidth=1.4, marker="o" if len(x) == 1 else None)


def _draw_gaps(panel: Axes, curves: dict[str, Curve], shared: list[str], scale: float) -> None:
    """Draw validation minus training, the training curve averaged over the steps since the last validation."""
    for colour, name in zip(SERIES * len(shared), shared, strict=False):
        train, val = curves[f"train/{name}"], curves[f"val/{name}"]
        edges: np.ndarray = np.searchsorted(train.step, np.append(-1, val.step), side="right")
        means = [train.value[a:b].mean() if b > a else np.nan for a, b in pairwise(edges)]
        panel.plot(val.step / scale, val.value - np.array(means), color=colour, label=name, linewidth=1.2, marker=".")
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.set_title("gap: validation − training")
    panel.legend(fontsize=7)


def set_scale(panel: Axes, curves: list[Curve]) -> None:
    """Make the axis of values logarithmic where they are above 0 and range widely."""
    values = np.concatenate([curve.value for curve in curves])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > WIDE_RANGE * values.min():
        panel.set_yscale("log")


def learning_rate_curve(rates: np.ndarray, losses: np.ndarray, suggestion: float | None, path: Path) -> Figure:
    """Draw the loss against the learning rate of a search, and the rate that is suggested.

    Parameters
    ----------
    rates : (n,)
    losses : (n,)
    suggestion
        The learning rate to mark; None where the search found none.
    """
    rates, losses = np.asarray(rates, dtype=float), np.asarray(losses, dtype=float)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        panel = figure.subplots()
        panel.plot(rates, losses, color=BLUE)
        title = "No learning rate can be suggested"
        if suggestion is not None:
            nearest = int(np.argmin(np.abs(np.log(rates / suggestion))))
            panel.plot(suggestion, losses[nearest], "o", color=VERMILLION, markersize=7)
            panel.axvline(suggestion, color=VERMILLION, linestyle=":", linewidth=1)
            title = f"Suggested learning rate: {suggestion:.2g}"
        known = losses[np.isfinite(losses)]
        if known.size:
            # where it diverges, the end of the search would hide the rest
            start, least = float(known[0]), float(known.min())
            room = 0.1 * (start - least) or 0.1 * abs(start) or 1.0
            panel.set_ylim(least - room, max(start + 5 * room, float(np.median(known)) + room))
        panel.set(xscale="log", xlabel="Learning rate", ylabel="Loss", title=title)
    return save(figure, path)
