"""Loads runs, asks them, judges their answers, and compares them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from rvtool.data.batches import Material
from rvtool.errors import ConfigError, DataError
from rvtool.report.classification import Answers, compare, judge
from rvtool.report.cost import cost
from rvtool.report.progress import counted
from rvtool.report.scores import METRICS
from rvtool.report.tables import class_table, comparison_table, metrics_table, runs_table
from rvtool.runs.apply import check_classifies, choose_device, probabilities
from rvtool.runs.run import Run, load_run
from rvtool.verbs.evaluate import Settings
from rvtool.verbs.evaluate.seen import choose_rows
from rvtool.verbs.evaluate.write import Judgement, write, write_comparison


@dataclass(frozen=True)
class Asked:
    """A run with what it answered, on which rows of which data, and what must be said of that."""

    run: Run
    name: str
    material: Material
    rows: np.ndarray
    answers: Answers
    where: str
    warnings: list[str]


def evaluate(settings: Settings, console: Console) -> dict[str, Any]:
    """Judge and compare runs (see `rvtool.verbs.evaluate.run`)."""
    if settings.workers:
        torch.set_num_threads(settings.workers)
    runs = [load_run(name) for name in settings.runs]
    paths = [run.path.resolve() for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if paths.count(path) > 1:
            raise ConfigError(f"{run.path} is named twice; name each run once.")
        check_classifies(run)
    if settings.ensemble and len(runs) < 2:
        raise ConfigError("An ensemble is of two runs or more; name them all.")
    device = choose_device(settings.device)
    asked = [_ask(run, name, settings, device, console) for run, name in zip(runs, _names(runs), strict=True)]
    if settings.ensemble:
        out = settings.out or runs[0].path / "evaluation-ensemble"
        metrics = _conclude(_together(asked), out, settings, console, ensemble=[one.name for one in asked])
        return {**metrics, "out": str(out)}
    if len(asked) == 1:
        out = settings.out or runs[0].path / "evaluation"
        metrics = _conclude(asked[0], out, settings, console, device=device)
        return {**metrics, "out": str(out)}
    judged = {}
    for one in asked:
        out = settings.out / one.name if settings.out else one.run.path / "evaluation"
        judged[one.name] = _conclude(one, out, settings, console, device=device)
    out = settings.out or runs[0].path / "evaluation"
    comparison = _compare(asked, judged, settings, console)
    write_comparison(comparison, judged, out)
    console.print(str(out / "comparison.html"), highlight=False, soft_wrap=True)
    return {"runs": judged, "comparison": comparison, "out": str(out)}


def _names(runs: list[Run]) -> list[str]:
    """Name runs by their folders, with the folders above where two are called the same."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [str(run.path.resolve()).strip("/").replace("/", "-") for run in runs]


def _ask(run: Run, name: str, settings: Settings, device: torch.device, console: Console) -> Asked:
    material = run.material(settings.data)
    rows, where, warnings = choose_rows(run, material, settings.split)
    run.model.to(device)
    with counted(console, f"judging {name}") as move:
        answered = probabilities(
            run,
            run.prepare.batches(material, rows, settings.batch_size, device),
            lambda done: move(done, len(rows)),
        )
    dataset = material.dataset
    assert material.labels is not None  # `choose_rows` refuses data without
    answers = Answers(
        [str(name) for name in dataset.column("id")[rows]],
        material.labels[rows],
        answered,
        run.data.classes,
        dataset.column("group")[rows] if "group" in dataset else None,
    )
    return Asked(run, name, material, rows, answers, where, warnings)


def _together(asked: list[Asked]) -> Asked:
    """Average the probabilities of several runs over the images that all answered."""
    first = asked[0]
    common = set(first.answers.ids).intersection(*(one.answers.ids for one in asked[1:]))
    if not common:
        raise DataError(
            "The runs held no common image out, so no ensemble of them can be judged; see --split and --data."
        )
    kept = []
    for one in asked:
        if one.answers.classes != first.answers.classes:
            raise DataError(f"{first.name} and {one.name} know different classes and make no ensemble.")
        place = {name: row for row, name in enumerate(one.answers.ids)}
        rows = np.array([place[name] for name in first.answers.ids if name in common])
        kept.append((one.answers.take(rows), one.rows[rows]))
    mean = np.mean([answers.probabilities for answers, _ in kept], axis=0)
    base, rows = kept[0]
    left_out = len(set().union(*(one.answers.ids for one in asked)) - common)
    warnings = list(dict.fromkeys(warning for one in asked for warning in one.warnings))
    if left_out:
        warnings.append(f"{left_out} images that not every run could be judged on are left out.")
    answers = Answers(base.ids, base.labels, mean, base.classes, base.groups)
    name = f"ensemble of {len(asked)} runs"
    return Asked(first.run, name, first.material, rows, answers, first.where, warnings)


def _conclude(
    one: Asked,
    out: Path,
    settings: Settings,
    console: Console,
    *,
    device: torch.device | None = None,
    ensemble: list[str] | None = None,
) -> dict[str, Any]:
    """Judge, write and print one run or ensemble."""
    metrics = judge(one.answers, one.run.data.class_counts, settings.bootstrap, settings.seed)
    metrics["warnings"] = one.warnings + metrics["warnings"]
    accuracy = metrics["accuracy"]
    metrics |= {
        "headline": f"accuracy {accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})",
        "judged_on": one.where,
        "split": settings.split,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
        "runs": ensemble or [one.name],
    }
    if device is not None:
        example = next(one.run.prepare.batches(one.material, one.rows[:64], 64, device))
        trained_on = one.run.record["dataset"]["images"]["train"]
        metrics["cost"] = cost(one.run.model, example, trained_on)
    write(Judgement(one.run, one.name, one.material, one.rows, one.answers, metrics), out, ensemble is None)
    console.print(metrics_table(metrics, one.name))
    console.print(class_table(metrics))
    for warning in metrics["warnings"]:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    console.print(str(out), highlight=False, soft_wrap=True)
    return metrics


def _compare(
    asked: list[Asked], judged: dict[str, dict[str, Any]], settings: Settings, console: Console
) -> dict[str, Any]:
    """Compare every run with the first, and give mean and standard deviation over the runs."""
    pairs, warnings = [], []
    first = asked[0]
    for other in asked[1:]:
        try:
            found = compare(first.answers, other.answers, settings.bootstrap, settings.seed)
        except DataError as error:
            warnings.append(f"{first.name} and {other.name}: {error}")
            continue
        pairs.append({"first": first.name, "second": other.name, **found})
        console.print(comparison_table(found, first.name, other.name))
    over = {}
    alike = len({one.answers.classes for one in asked}) == 1  # a mean over other questions says nothing
    for name in METRICS if alike else ():
        values = [metrics[name]["value"] for metrics in judged.values() if metrics[name]["value"] is not None]
        spread = statistics.stdev(values) if len(values) > 1 else None
        over[name] = {"mean": statistics.fmean(values) if values else None, "standard_deviation": spread}
    console.print(runs_table(judged, over))
    for warning in warnings:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    return {"runs": list(judged), "pairs": pairs, "over_runs": over, "warnings": warnings}
