"""Judges the answers of regressors: one, several, several as an ensemble, or folds together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import rvtool
from rvtool.data.files import write_bytes
from rvtool.errors import DataError
from rvtool.report import html, regression
from rvtool.report.curves import training_curves
from rvtool.report.regression import METRICS, Estimates, judge, judge_intervals
from rvtool.report.tables import metrics_table, over_runs, runs_table, write_csv
from rvtool.runs.apply import check_alike
from rvtool.runs.intervals import Intervals, mean_answer, together
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings
from rvtool.verbs.evaluate.asking import Asked, ask_run, bring_together, names_of

LEVELS = np.arange(0.1, 0.96, 0.05)
BASELINE = "best constant"
MEANING = "The constant is the one answer to all images that does best on these very images, chosen with their truth."


@dataclass(frozen=True)
class Concluded:
    """What one run, an ensemble, or folds together say of some images.

    Attributes
    ----------
    ends
        For each of `LEVELS` and the asked coverage, lower and upper ends ``(L + 1, 2, N)``; None where no interval can
        be given.
    """

    run: Run
    name: str
    where: str
    estimates: Estimates
    ends: np.ndarray | None
    warnings: list[str]


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Judge and compare regressors."""
    if settings.ensemble:
        check_alike(runs)
    asked = [ask_run(run, name, settings, console) for run, name in zip(runs, names_of(runs), strict=True)]
    if settings.ensemble:
        members, warnings = bring_together(asked)
        one = _conclude(members, f"ensemble of {len(asked)} runs", settings, warnings)
        return _judge(one, settings.out or runs[0].path / "evaluation-ensemble", settings, console)
    each = [_conclude([one], one.name, settings, one.warnings) for one in asked]
    if len(each) == 1:
        return _judge(each[0], settings.out or runs[0].path / "evaluation", settings, console)
    judged = {}
    for one in each:
        out = settings.out / one.name if settings.out else one.run.path / "evaluation"
        judged[one.name] = _judge(one, out, settings, console)
    over = over_runs(judged, METRICS)
    console.print(runs_table(judged, over, METRICS))
    out = settings.out or runs[0].path / "evaluation"
    ids = [name for one in each for name in one.estimates.ids]
    pooled = None
    if len(set(ids)) == len(ids) and len({one.material.dataset.digest for one in asked}) == 1:
        pooled = _judge(_pool(each), out / "together", settings, console)
    write_bytes(out / "comparison.json", json.dumps({"over_runs": over, "pooled": pooled}, indent=1).encode())
    return {"runs": judged, "comparison": {"over_runs": over, "pooled": pooled}, "out": str(out)}


def _conclude(members: Sequence[Asked], name: str, settings: Settings, warnings: list[str]) -> Concluded:
    first = members[0]
    answers = mean_answer([one.said.answers for one in members])
    dataset = first.material.dataset
    assert first.material.labels is not None  # `choose_rows` refuses data without
    estimates = Estimates(
        first.ids,
        first.material.labels[first.rows].astype(float),
        answers[:, 0],
        answers[:, 1],
        dataset.column("group")[first.rows] if "group" in dataset else None,
    )
    intervals = together([one.run.intervals for one in members])
    return Concluded(first.run, name, first.where, estimates, _ends(intervals, answers, settings.coverage), warnings)


def _ends(intervals: Intervals | None, answers: np.ndarray, coverage: float) -> np.ndarray | None:
    if intervals is None:
        return None
    return np.stack([np.stack(intervals.around(answers, float(level))) for level in (*LEVELS, coverage)])


def _pool(each: Sequence[Concluded]) -> Concluded:
    """Put together what folds said of their own parts of one dataset."""
    parts = [one.estimates for one in each]
    groups = [one.groups for one in parts if one.groups is not None]
    estimates = Estimates(
        [name for one in parts for name in one.ids],
        np.concatenate([one.truth for one in parts]),
        np.concatenate([one.values for one in parts]),
        np.concatenate([one.deviations for one in parts]),
        np.concatenate(groups) if len(groups) == len(parts) else None,
    )
    ends = [one.ends for one in each if one.ends is not None]
    pooled = np.concatenate(ends, axis=2) if len(ends) == len(each) else None
    warnings = list(dict.fromkeys(warning for one in each for warning in one.warnings))
    return Concluded(each[0].run, f"{len(each)} runs together", "what each held out", estimates, pooled, warnings)


def _judge(one: Concluded, out: Path, settings: Settings, console: Console) -> dict[str, Any]:
    """Judge, write and print."""
    estimates, run = one.estimates, one.run
    metrics = judge(estimates, settings.within, settings.bootstrap, settings.seed)
    metrics["warnings"] = one.warnings + metrics["warnings"]
    error = metrics["mean_error"]
    metrics |= {
        "headline": f"mean error {error['value']:.3g} ({error['low']:.3g} to {error['high']:.3g}), that of the best "
        f"constant {error['baseline']:.3g}",
        "judged_on": one.where,
        "split": settings.split,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
        "symmetries": settings.symmetries,
        "intervals": None,
        "out": str(out),
    }
    low = high = None
    label = run.data.label_column
    figures = [("estimates.png", "Estimates with their intervals against the truth, and what they miss it by.")]
    if one.ends is not None:
        low, high = one.ends[-1]
        metrics["intervals"] = judge_intervals(estimates.truth, low, high, settings.coverage)
        covered = ((estimates.truth >= one.ends[:-1, 0]) & (estimates.truth <= one.ends[:-1, 1])).mean(axis=1)
        regression.calibration(LEVELS, covered, len(estimates.ids), out / "calibration.png")
        figures.append(("calibration.png", "How often intervals hold the truth against how often they were to."))
    regression.scatter(estimates, low, high, label, out / "estimates.png")
    _write_table(estimates, low, high, out / "predictions.csv")
    if len(estimates.ids) and one.name == run.name:
        try:
            best = run.record.get("best") or {}
            training_curves(run.path / "metrics.csv", out / "training_curves.png", best.get("epoch"))
            figures.append(("training_curves.png", "The training; the dotted line marks the weights that were kept."))
        except DataError as problem:
            metrics["warnings"].append(str(problem))
    within = f"The tolerance is {settings.within:g}. {MEANING}"
    parts = [html.warnings(metrics["warnings"]), html.metrics_section(metrics, METRICS, BASELINE.capitalize(), within)]
    parts += [html.figure(out / name, caption) for name, caption in figures]
    lead = (
        f"{label} as estimated by {run.record['model']}, judged on {one.where}; nothing was augmented or fitted on it."
    )
    html.write_page(out / "report.html", one.name, lead, parts, f"rvtool {rvtool.__version__}")
    write_bytes(out / "metrics.json", json.dumps(metrics, indent=1).encode())

    console.print(metrics_table(metrics, one.name, METRICS, BASELINE))
    if metrics["intervals"]:
        told = metrics["intervals"]
        console.print(
            f"intervals that are to hold {told['asked']:.0%} of the truths hold {told['covered']:.1%} "
            f"({told['low']:.1%} to {told['high']:.1%}); median width {told['median_width']:.3g}",
            highlight=False,
        )
    for warning in metrics["warnings"]:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    console.print(str(out), highlight=False, soft_wrap=True)
    return metrics


def _write_table(estimates: Estimates, low: np.ndarray | None, high: np.ndarray | None, path: Path) -> None:
    columns = ["id", "truth", "estimate", "deviation"]
    numbers = [estimates.truth, estimates.values, estimates.deviations]
    if low is not None and high is not None:
        columns, numbers = [*columns, "low", "high"], [*numbers, low, high]
    rows = zip(estimates.ids, *numbers, strict=True)
    write_csv(path, columns, ((name, *(f"{value:.6g}" for value in values)) for name, *values in rows))
