"""The figure of what bounds cost: bits a pixel against the bound, a line for each codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from rvtool.report.figures import SERIES, STYLE, save

_MARKERS = "os^Dv<>P*X"


class Point(NamedTuple):
    """What one codec makes of an image at one bound.

    Attributes
    ----------
    bound
        In units of the noise.
    bits, payload_bits
        A pixel: of the whole file, and of the coded pixels alone.
    passed
        Whether it passes the gate of `rvtool compare-codecs`.
    """

    bound: float
    bits: float
    payload_bits: float
    passed: bool


def rate_distortion(points: Mapping[str, Sequence[Point]], path: Path, title: str) -> Figure:
    """Draw bits a pixel of each codec over the bound, with and without headers; hollow marks fail the gate.

    Parameters
    ----------
    points
        By the codecs' names.
    title
        Above the figure, for example the image's name.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(1, 2)
        for panel, key, what in zip(panels, ("bits", "payload_bits"), ("whole file", "pixels alone"), strict=True):
            handles = [_line(panel, number, name, points[name], key) for number, name in enumerate(points)]
            panel.set_xscale("log", base=2)
            panel.set(xlabel="largest error of a pixel, σ", ylabel=f"bits a pixel, {what}", ylim=(0, None))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
        handles.append(Line2D([], [], color="black", marker="o", mfc="none", linestyle="", label="fails the gate"))
        figure.legend(handles=handles, loc="outside right center", fontsize=8)
    return save(figure, path)


def _line(panel: Axes, number: int, name: str, points: Sequence[Point], key: str) -> Line2D:
    """Draw one codec, and return what stands for it in the legend."""
    colour, marker = SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)]
    line: Literal["-", "--"] = "-" if number < len(SERIES) else "--"  # more codecs than colours
    ordered = sorted(points)
    panel.plot([one.bound for one in ordered], [getattr(one, key) for one in ordered], line, color=colour, linewidth=1)
    for passed, face in ((True, colour), (False, "none")):
        marks = [one for one in ordered if one.passed is passed]
        at = [one.bound for one in marks], [getattr(one, key) for one in marks]
        panel.plot(*at, marker, color=colour, markerfacecolor=face)
    return Line2D([], [], color=colour, marker=marker, linestyle=line, label=name)
