"""Figures of how far a classifier can be trusted: how sure and how right it is, and what unsettles it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import beta, binomtest

from rvtool.report.figures import BLUE, GREY, SKY, STYLE, save
from rvtool.report.scores import CALIBRATION_BINS, calibration_bins


def reliability(labels: np.ndarray, probabilities: np.ndarray, path: Path) -> Figure:
    """Draw how often the answer is right against how sure the model is, and how many images that rests on.

    Bars are exact 95 % intervals (Clopper-Pearson); the bins are those of the calibration error, and hold equally many
    images.

    Parameters
    ----------
    labels : (N,)
    probabilities : (N, K)
    """
    sureness = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = calibration_bins(sureness)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as sure as right")
        error = 0.0
        points = []
        for number in np.unique(bins):
            inside = bins == number
            hits, images = int(right[inside].sum()), int(inside.sum())
            mean = float(sureness[inside].mean())
            error += abs(hits - images * mean) / len(labels)
            low, high = binomtest(hits, images).proportion_ci(0.95, "exact")
            upper.plot([mean, mean], [low, high], color=BLUE, linewidth=1)
            points.append((mean, hits / images))
        upper.plot(*zip(*points, strict=True), color=BLUE, marker="o", markersize=4, label="this model")
        upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="Share that is right", title=f"Calibration error {error:.3f}")
        figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        lower.hist(sureness, np.linspace(0, 1, 2 * CALIBRATION_BINS + 1), color=SKY, edgecolor="white")
        lower.set(xlabel="Probability of the answer", ylabel="Images")
        lower.xaxis.set_major_formatter(PercentFormatter(1))
        upper.yaxis.set_major_formatter(PercentFormatter(1))
    return save(figure, path)


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray, path: Path) -> Figure:
    """Draw the share of wrong answers where only the surest images are answered (El-Yaniv & Wiener 2010).

    Parameters
    ----------
    labels : (N,)
    probabilities : (N, K)
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    answered = np.arange(1, len(labels) + 1)
    hits = np.cumsum(wrong)
    risk = hits / answered
    low, high = (beta.ppf(0.025, hits, answered - hits + 1), beta.ppf(0.975, hits + 1, answered - hits))  # exact
    low, high = np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)
    few = max(len(labels) // 20, 1)  # so many say little: they may lie outside the figure
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        panel = figure.subplots()
        share = answered / len(labels)
        panel.fill_between(share, low, high, color=SKY, alpha=0.4, linewidth=0, label="95 % interval")
        panel.plot(share, risk, color=BLUE, label="this model")
        panel.axhline(risk[-1], color=GREY, linestyle="--", linewidth=1, label="answering all")
        panel.set(xlim=(0, 1), xlabel="Share of the images that is answered, the surest first", ylabel="Share wrong")
        panel.set_ylim(0, max(1.5 * float(risk[few - 1 :].max()), 0.05))
        panel.xaxis.set_major_formatter(PercentFormatter(1))
        panel.yaxis.set_major_formatter(PercentFormatter(1))
        panel.set_title(f"Mean risk over all shares {risk.mean():.3f}")
        panel.legend(loc="upper left")
    return save(figure, path)


def robustness(kinds: Sequence[Mapping[str, Any]], path: Path) -> Figure:
    """Draw what balanced accuracy gains or loses on disturbed images, with 95 % intervals.

    Parameters
    ----------
    kinds
        ``kind``, ``difference``, ``low`` and ``high`` of each disturbance.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.42 * len(kinds) + 1.1), layout="constrained")
        panel = figure.subplots()
        for row, one in enumerate(kinds):
            if one["low"] is not None:
                panel.plot([100 * one["low"], 100 * one["high"]], [row, row], color=BLUE, linewidth=2)
            panel.plot(100 * one["difference"], row, "o", color=BLUE, markersize=5)
        panel.axvline(0, color=GREY, linewidth=1)
        panel.set_yticks(range(len(kinds)), [one["kind"] for one in kinds])
        panel.set_ylim(len(kinds) - 0.5, -0.5)
        panel.grid(axis="x", color="#e5e5e5")
        panel.set_axisbelow(True)
        panel.set_xlabel("Change of balanced accuracy, in points of 100")
    return save(figure, path)
