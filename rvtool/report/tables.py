"""Tables, for the terminal and as CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from rvtool.data.files import write_bytes
from rvtool.report.scores import METRICS, Metric

UNDEFINED = "–"


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def number(value: float | None, sign: bool = False) -> str:
    """Write a figure to three decimals; a dash where it is not defined."""
    if value is None:
        return UNDEFINED
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def span(low: float | None, high: float | None, sign: bool = False) -> str:
    """Write an interval; a dash where it is not defined."""
    return UNDEFINED if low is None or high is None else f"{number(low, sign)} … {number(high, sign)}"


def arrow(metric: Metric) -> str:
    """Return a metric's title with the better direction."""
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def metrics_table(
    metrics: Mapping[str, Any], title: str, kinds: Mapping[str, Metric] = METRICS, baseline: str = "majority class"
) -> Table:
    """Tabulate what was found of some kinds of metric, beside a baseline."""
    groups = f", {metrics['groups']} sky groups" if metrics["groups"] != metrics["images"] else ""
    table = Table(title=Text(f"{title}: {metrics['images']} images{groups}"), title_justify="left")
    for heading in ("metric", "value", "95 % interval", baseline):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, metric in kinds.items():
        row = metrics[name]
        table.add_row(
            arrow(metric),
            number(row["value"]),
            span(row["low"], row["high"]),
            number(row["baseline"]),
            style=_style(metric, row),
        )
    return table


def _style(metric: Metric, row: Mapping[str, Any]) -> str | None:
    """Mark a figure that is worse than the baseline's; calibration is not compared, as a constant answer has it."""
    if metric.is_biased or row["value"] is None or row["baseline"] is None:
        return None
    worse = row["value"] < row["baseline"] if metric.higher_is_better else row["value"] > row["baseline"]
    return "red" if worse else None


def robustness_table(robustness: Mapping[str, Any]) -> Table:
    """Tabulate what disturbed images cost."""
    table = Table(title=f"robustness, on {robustness['images']} images", title_justify="left")
    table.add_column("image")
    for heading in ("balanced accuracy", "difference", "95 % interval", "answers that change"):
        table.add_column(heading, justify="right")
    for row in robustness["kinds"]:
        table.add_row(
            row["kind"],
            number(row["balanced_accuracy"]),
            number(row["difference"], sign=True),
            span(row["low"], row["high"], sign=True),
            f"{row['changed']:.1%}",
        )
    return table


def class_table(metrics: Mapping[str, Any]) -> Table:
    """Tabulate precision, recall and F1 of each class with their intervals."""
    table = Table(title="each class (95 % intervals)", title_justify="left")
    table.add_column("class")
    for heading in ("images", "precision", "recall", "F1"):
        table.add_column(heading, justify="right")
    for name, row in metrics["classes"].items():
        cells = []
        for key in ("precision", "recall", "f1"):
            low, high = row[f"{key}_low"], row[f"{key}_high"]
            cells.append(f"{row[key]:.2f}" + ("" if low is None else f" ({low:.2f}–{high:.2f})"))  # fits 80 columns
        table.add_row(Text(name), str(row["support"]), *cells)
    return table


def over_runs(judged: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, dict[str, float | None]]:
    """Return mean and standard deviation over runs of each figure; None where too few have it."""
    over = {}
    for name in names:
        values = [found[name]["value"] for found in judged.values() if found[name]["value"] is not None]
        spread = statistics.stdev(values) if len(values) > 1 else None
        over[name] = {"mean": statistics.fmean(values) if values else None, "standard_deviation": spread}
    return over


def runs_table(
    runs: Mapping[str, Mapping[str, Any]],
    over_runs: Mapping[str, Mapping[str, float | None]],
    kinds: Mapping[str, Metric] = METRICS,
) -> Table:
    """Tabulate several runs side by side, the best value of each metric in bold, and the mean of all.

    Parameters
    ----------
    runs
        Results of `rvtool.report.classification.judge` by the names to show.
    over_runs
        ``mean`` and ``standard_deviation`` of each metric over the runs; empty where a mean would say nothing.
    """
    table = Table(title="runs", title_justify="left")
    table.add_column("run")
    for metric in kinds.values():
        table.add_column(arrow(metric), justify="right")
    table.add_column("images", justify="right")
    best = {}
    for name, metric in kinds.items():
        known = [run[name]["value"] for run in runs.values() if run[name]["value"] is not None]
        best[name] = (max(known) if metric.higher_is_better else min(known)) if known else None
    for title, run in runs.items():
        cells = []
        for name in kinds:
            value = run[name]["value"]
            top = value is not None and value == best[name]
            cells.append(Text(number(value), style="bold" if top else ""))
        table.add_row(Text(title), *cells, str(run["images"]))
    if not over_runs:
        return table
    table.add_section()
    spreads = [f"{number(over['mean'])}\n± {number(over['standard_deviation'])}" for over in over_runs.values()]
    table.add_row("mean\n± st. dev.", *spreads, "")
    return table


def comparison_table(comparison: Mapping[str, Any], first: str, second: str) -> Table:
    """Tabulate a paired comparison of two runs; a difference whose interval excludes zero is bold."""
    test = comparison["mcnemar"]
    table = Table(
        title=Text(f"{second} minus {first}: {comparison['images']} images that both answered"),
        caption=Text(
            f"only {first} right: {test['only_first_right']}, only {second} right: {test['only_second_right']};"
            f" McNemar's exact p = {test['p']:.2g}"
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("metric")
    for heading in (Text(first), Text(second), "difference", "95 % interval"):
        table.add_column(heading, justify="right")
    for name in METRICS:
        row = comparison["metrics"][name]
        clear = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
        table.add_row(
            arrow(METRICS[name]),
            number(row["first"]),
            number(row["second"]),
            Text(number(row["difference"], sign=True), style="bold" if clear else ""),
            span(row["low"], row["high"], sign=True),
        )
    return table
