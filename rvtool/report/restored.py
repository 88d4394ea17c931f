"""Figures of restored and translated images beside their truths, from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter
from scipy.stats import binomtest

from rvtool.report.display import display, show
from rvtool.report.figures import BLUE, GREY, ORANGE, SERIES, STYLE, save
from rvtool.report.likeness import TOLERANCE

RESIDUAL_SIGMA = 10.0
HEADINGS = ("input", "truth", "output", "output - truth")


def grid(
    inputs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    path: Path,
    *,
    titles: Sequence[str] = (),
    origin: Literal["lower", "upper"] = "lower",
) -> Figure:
    """Draw a row for each image: input, truth, output on the truth's scale, and what the output misses it by.

    Parameters
    ----------
    inputs, truths, outputs
        Of each image ``(C, h, w)`` and twice ``(C, H, W)``, NaN where not known.
    titles
        What is said of each row.
    origin
        Where the first row of an image belongs: ``"lower"`` in FITS, ``"upper"`` in pictures.
    """
    rows = len(truths)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 1.78 * rows + 0.45), layout="constrained")
        panels = figure.subplots(rows, 4, squeeze=False)
        for row, (image, truth, answer) in enumerate(zip(inputs, truths, outputs, strict=True)):
            output = np.where(np.isfinite(truth), answer, np.nan)
            show(panels[row, 0], image, origin)
            # one scale: side by side they are one image
            both = display(np.concatenate([truth, output], axis=-1))
            for panel, picture in zip(panels[row, 1:3], np.split(both, 2, axis=1), strict=True):
                _draw(panel, picture, origin, "inferno", (0, 1))
            drawn = _draw(panels[row, 3], _in_noise(output - truth, truth), origin, "RdBu_r", (-1, 1))
            if row < len(titles):
                panels[row, 0].set_ylabel(titles[row], fontsize=8)
        for panel, heading in zip(panels[0], HEADINGS, strict=True):
            panel.set_title(heading)
        bar = figure.colorbar(drawn, ax=panels[:, 3], shrink=min(1, 1.6 / rows), ticks=(-1, 0, 1))
        bar.ax.set_yticklabels([f"{sign}{RESIDUAL_SIGMA:g} σ" if sign else "0" for sign in ("−", "", "+")])
    return save(figure, path)


def _in_noise(residual: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean over the channels ``(H, W)``, 1 at `RESIDUAL_SIGMA` of the truth's noise, or at its peak without any."""
    known = truth[np.isfinite(truth)]
    noise = 1.4826 * float(np.median(np.abs(known - np.median(known))))
    return residual.mean(axis=0) / (RESIDUAL_SIGMA * noise or float(np.abs(known).max()) or 1.0)


def _draw(
    panel: Axes, picture: np.ndarray, origin: Literal["lower", "upper"], colours: str, limits: tuple[float, float]
) -> Any:
    """Draw an image that is scaled already, unknown pixels grey."""
    scale = matplotlib.colormaps[colours].with_extremes(bad="#9a9a9a")
    low, high = limits
    drawn = panel.imshow(picture, cmap=scale, vmin=low, vmax=high, origin=origin, interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    return drawn


def power(
    frequency: np.ndarray,
    ratios: Mapping[str, np.ndarray],
    coherences: Mapping[str, np.ndarray],
    path: Path,
    *,
    beam_px: float | None = None,
) -> Figure:
    """Draw the output's power over the truth's and their coherence, against frequency up to Nyquist's.

    Parameters
    ----------
    frequency : (K,)
        Cycles a pixel.
    ratios, coherences
        ``(P, K)`` each, as `rvtool.report.likeness.spectra` gives, by the names to show; the first, the model's, with
        its 16 to 84 %.
    beam_px
        Full width of the truth's beam, to mark one cycle a beam.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 3.4), layout="constrained")
        panels = figure.subplots(1, 2)
        for panel, every in zip(panels, (ratios, coherences), strict=True):
            for number, (name, values) in enumerate(every.items()):
                low, middle, high = np.nanpercentile(values, (16, 50, 84), axis=0)
                colour = SERIES[number % len(SERIES)]
                panel.plot(frequency, middle, color=colour, label=name, linewidth=1.1 if number else 2)
                if not number:
                    panel.fill_between(frequency, low, high, color=colour, alpha=0.2, linewidth=0)
            panel.axhline(1, color=GREY, linestyle="--", linewidth=1)
            if beam_px:
                panel.axvline(1 / beam_px, color=GREY, linestyle=":", linewidth=1)
            panel.set(xlim=(0, 0.5), xlabel="Cycles a pixel")
        panels[0].set(yscale="log", ylim=(1e-3, 1e2), ylabel="Power of output / of truth")
        panels[1].set(ylim=(-0.1, 1.05), ylabel="Coherence of output and truth")
        if beam_px:
            panels[1].annotate(
                "one cycle a beam", (1 / beam_px, 1.03), ha="center", va="bottom", fontsize=8, color=GREY
            )
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return save(figure, path)


def flux_and_size(flux: np.ndarray, size: np.ndarray, path: Path) -> Figure:
    """Draw the ratio of sizes against that of fluxes, ``(N,)`` each, with the band of 20 %.

    References
    ----------
    Glaser et al. (2019), arXiv:1906.03874.
    """
    known = np.isfinite(flux) & np.isfinite(size)
    flux, size = flux[known], size[known]
    inside = (np.abs(flux - 1) <= TOLERANCE) & (np.abs(size - 1) <= TOLERANCE)
    ends = 0.2, 5.0
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.6), layout="constrained")
        panel = figure.subplots()
        for span in (panel.axvspan, panel.axhspan):
            span(1 - TOLERANCE, 1 + TOLERANCE, color=GREY, alpha=0.15, linewidth=0)
        # what lies beyond the axes is drawn on their edge
        x, y = flux.clip(*ends), size.clip(*ends)
        for chosen, marker, colour, name in (
            (inside, "o", BLUE, f"both within {TOLERANCE:.0%}"),
            (~inside, "x", ORANGE, "not"),
        ):
            label = f"{name}: {chosen.sum()} of {len(flux)}"
            panel.plot(x[chosen], y[chosen], marker, color=colour, markersize=4, label=label, clip_on=False)
        panel.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        panel.set(xlabel="Total flux of output / of truth", ylabel="Size of output / of truth")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(ScalarFormatter())
            axis.set_ticks([0.2, 0.5, 1, 2, 5], minor=False)
            axis.set_ticks([], minor=True)
        figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return save(figure, path)


def detections(curves: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> Figure:
    """Draw completeness and reliability against signal-to-noise with their exact 95 % intervals (Clopper-Pearson).

    Parameters
    ----------
    curves
        The ``curves`` of `rvtool.report.detections.judge`, or several of those, by the names to show.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 3.4), layout="constrained")
        panels = figure.subplots(1, 2)
        for panel, (hits, total), words in zip(
            panels,
            (("recovered", "there"), ("real", "found")),
            (("Completeness", "S/N of what is there"), ("Reliability", "S/N of what is found")),
            strict=True,
        ):
            for number, (name, bins) in enumerate(curves.items()):
                told = [one for one in bins if one[total]]
                # of the open last bin the lower end
                at = np.array([np.sqrt(one["least"] * (one["most"] or one["least"])) for one in told])
                share = np.array([one[hits] / one[total] for one in told])
                ends = [binomtest(one[hits], one[total]).proportion_ci(0.95, "exact") for one in told]
                around = np.array([(e.low, e.high) for e in ends]).reshape(-1, 2).T
                aside = at * 1.02 ** (number - (len(curves) - 1) / 2)
                bars = np.abs(around - share)
                colour = SERIES[number % len(SERIES)]
                panel.errorbar(aside, share, bars, color=colour, marker="o", markersize=4, linewidth=1, label=name)
            panel.set(xscale="log", ylim=(-0.03, 1.03), ylabel=words[0], xlabel=words[1])
            panel.xaxis.set_major_formatter(ScalarFormatter())
            panel.set_xticks([3, 5, 7, 10, 20, 40], minor=False)
            panel.set_xticks([], minor=True)
            panel.yaxis.set_major_formatter(PercentFormatter(1))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return save(figure, path)
