"""How well numbers are estimated, beside the best constant: the one answer to all images that does best on them.

The constants know the truth of the judged images, and so are stronger than any that could be chosen before: the median
for the absolute errors, the mean for the squared ones, and for the share within a tolerance the best of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import binomtest

from rvtool.errors import DataError
from rvtool.report.classification import FEW_GROUPS
from rvtool.report.figures import BLUE, GREY, ORANGE, STYLE, save
from rvtool.report.scores import Metric, interval, resamples

SOME = "the label's own unit"
METRICS = {
    "mean_error": Metric("Mean error", False, f"Mean of |estimate - truth|, in {SOME}."),
    "rmse": Metric("RMSE", False, f"Root of the mean of (estimate - truth)^2, in {SOME}."),
    "median_error": Metric("Median error", False, f"Median of |estimate - truth|, in {SOME}."),
    "within": Metric("Within tolerance", True, "Share of the images whose error is at most the tolerance."),
    "gain": Metric(
        "Gain over a constant", True, "1 - mean error / mean error of the best constant: 0 is no better, 1 is perfect."
    ),
    "correlation": Metric("Correlation", True, "Pearson's, of estimate and truth."),
}


@dataclass(frozen=True)
class Estimates:
    """What was estimated of some images, and what is true of them, in the label's unit.

    Attributes
    ----------
    ids
        (N,), a name of each image, unique.
    truth, values, deviations
        (N,).
    groups
        (N,), the sky group of each image; None where every image stands for itself.
    """

    ids: Sequence[str]
    truth: np.ndarray
    values: np.ndarray
    deviations: np.ndarray
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise DataError("There are no images to judge; check the split and the dataset.")
        for numbers in (self.values, self.deviations):
            if not np.isfinite(numbers).all():
                bad = self.ids[int(np.flatnonzero(~np.isfinite(numbers))[0])]
                raise DataError(f"The model's answer to image {bad} is not finite; its training may have diverged.")

    @property
    def members(self) -> np.ndarray:
        """(N,), the number of each image's sky group, 0 .. G-1."""
        if self.groups is None:
            return np.arange(len(self.ids))
        return np.unique(self.groups, return_inverse=True)[1]


def best_within(truth: np.ndarray, tolerance: float) -> float:
    """Return the constant within whose reach most truths lie."""
    ordered = np.sort(truth)
    counts = np.searchsorted(ordered, ordered + 2 * tolerance, side="right") - np.arange(len(ordered))
    return float(ordered[counts.argmax()] + tolerance)


def scores(truth: np.ndarray, values: np.ndarray, weights: np.ndarray, tolerance: float) -> dict[str, np.ndarray]:
    """Every figure of `METRICS`, ``(R,)``, for each row of weights ``(R, N)``; NaN where one is not defined."""
    error = np.abs(values - truth)
    total = weights.sum(axis=1)
    mean = weights @ error / total
    constant = weights @ np.abs(np.median(truth) - truth) / total
    order = np.argsort(error)
    below = weights[:, order].cumsum(axis=1) < total[:, None] / 2
    centred = [x - (weights @ x / total)[:, None] for x in (values, truth)]  # (R, N)
    cross, own, true = (
        (weights * a * b).sum(axis=1) for a, b in ((centred[0], centred[1]), (centred[0],) * 2, (centred[1],) * 2)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "mean_error": mean,
            "rmse": np.sqrt(weights @ error**2 / total),
            "median_error": error[order][below.sum(axis=1)],
            "within": weights @ (error <= tolerance) / total,
            "gain": 1 - mean / constant,
            "correlation": cross / np.sqrt(own * true),
        }


def judge(estimates: Estimates, tolerance: float, bootstrap: int, seed: int) -> dict[str, Any]:
    """Judge estimates: every figure with its 95 % interval and that of the best constant.

    Returns
    -------
    For each name of `METRICS` ``value``, ``low``, ``high`` and ``baseline`` (None where not defined); ``tolerance``,
    ``images``, ``groups`` and ``warnings``.
    """
    truth, values, members = estimates.truth, estimates.values, estimates.members
    one = np.ones((1, len(truth)))
    found = scores(truth, values, one, tolerance)
    parts = [scores(truth, values, weights, tolerance) for weights in resamples(members, bootstrap, seed)]
    constants = {"rmse": truth.mean(), "within": best_within(truth, tolerance)}
    metrics: dict[str, Any] = {}
    for name in METRICS:
        constant = np.full_like(truth, constants.get(name, np.median(truth)))
        base = scores(truth, constant, one, tolerance)[name][0] if name != "correlation" else np.nan
        low, high = interval(np.concatenate([part[name] for part in parts]))
        plain = {"value": found[name][0], "low": low, "high": high, "baseline": base}
        metrics[name] = {key: float(x) if x is not None and np.isfinite(x) else None for key, x in plain.items()}
    groups = int(members.max()) + 1
    metrics |= {"tolerance": tolerance, "images": len(truth), "groups": groups, "warnings": []}
    if groups < FEW_GROUPS:
        metrics["warnings"].append(
            f"Only {groups} independent sky groups were judged: the intervals are rough and too narrow."
        )
    if metrics["gain"]["low"] is not None and metrics["gain"]["low"] <= 0:
        metrics["warnings"].append("The estimates are not clearly better than one constant for all images.")
    return metrics


def judge_intervals(truth: np.ndarray, low: np.ndarray, high: np.ndarray, coverage: float) -> dict[str, Any]:
    """Count how often intervals hold the truth, with the exact 95 % interval of that (Clopper-Pearson)."""
    hits = int(((truth >= low) & (truth <= high)).sum())
    ends = binomtest(hits, len(truth)).proportion_ci(0.95, "exact")
    return {
        "asked": coverage,
        "covered": hits / len(truth),
        "low": ends.low,
        "high": ends.high,
        "median_width": float(np.median(high - low)),
    }


# --------------------------------------------------------------------------- figures


def scatter(estimates: Estimates, low: np.ndarray | None, high: np.ndarray | None, label: str, path: Path) -> Figure:
    """Draw estimates against truths with their intervals, and below the residuals."""
    truth, values = estimates.truth, estimates.values
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        ends = (min(truth.min(), values.min()), max(truth.max(), values.max()))
        if low is not None and high is not None:
            upper.vlines(
                truth, np.maximum(low, ends[0]), np.minimum(high, ends[1]), color=BLUE, alpha=0.15, linewidth=1
            )
        upper.plot(truth, values, "o", color=BLUE, markersize=2.5, alpha=0.6, label="estimate")
        upper.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="truth")
        upper.axhline(np.median(truth), color=ORANGE, linewidth=1, label="best constant")
        upper.set(ylabel=f"Estimate of {label}")
        figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=3)
        lower.plot(truth, values - truth, "o", color=BLUE, markersize=2.5, alpha=0.6)
        lower.axhline(0, color=GREY, linestyle="--", linewidth=1)
        lower.set(xlabel=label, ylabel="Estimate - truth")
    return save(figure, path)


def calibration(asked: np.ndarray, covered: np.ndarray, images: int, path: Path) -> Figure:
    """Draw how often intervals hold the truth against how often they were to, with the spread that chance allows."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        panel = figure.subplots()
        chance = 1.96 * np.sqrt(asked * (1 - asked) / images)
        panel.fill_between(asked, asked - chance, asked + chance, color=GREY, alpha=0.2, label="by chance, 95 %")
        panel.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as asked")
        panel.plot(asked, covered, color=BLUE, marker="o", markersize=4, label="these intervals")
        panel.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Intervals are to hold the truth", ylabel="They hold it")
        panel.xaxis.set_major_formatter(PercentFormatter(1))
        panel.yaxis.set_major_formatter(PercentFormatter(1))
        figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return save(figure, path)
