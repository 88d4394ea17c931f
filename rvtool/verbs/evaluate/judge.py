"""Judges the answers of classifiers, and compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.errors import DataError
from rvtool.report.classification import Answers, compare, judge
from rvtool.report.cost import cost
from rvtool.report.pooling import disjoint, judge_pooled
from rvtool.report.progress import counted
from rvtool.report.scores import METRICS
from rvtool.report.tables import class_table, comparison_table, metrics_table, over_runs, robustness_table, runs_table
from rvtool.report.verdicts import judge_sets
from rvtool.runs.apply import Jury, Verdict, check_alike, check_classifies
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings, robustness
from rvtool.verbs.evaluate.asking import Asked, ask_run, asking_of, bring_together, names_of
from rvtool.verbs.evaluate.write import Judgement, write, write_comparison


@dataclass(frozen=True)
class Concluded:
    """One run, or the members of an ensemble, with their verdict on the same images."""

    members: Sequence[Asked]
    name: str
    verdict: Verdict
    answers: Answers
    warnings: list[str]


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Judge and compare classifiers."""
    for run in runs:
        check_classifies(run)
    if settings.ensemble:
        check_alike(runs)
    asked = [ask_run(run, name, settings, console) for run, name in zip(runs, names_of(runs), strict=True)]
    if settings.ensemble:
        out = settings.out or runs[0].path / "evaluation-ensemble"
        metrics = _judge(_together(asked, settings), out, settings, console)
        return {**metrics, "out": str(out)}
    each = [_conclude([one], one.name, settings, one.warnings) for one in asked]
    if len(each) == 1:
        out = settings.out or runs[0].path / "evaluation"
        metrics = _judge(each[0], out, settings, console)
        return {**metrics, "out": str(out)}
    judged = {}
    for one in each:
        out = settings.out / one.name if settings.out else one.members[0].run.path / "evaluation"
        judged[one.name] = _judge(one, out, settings, console)
    out = settings.out or runs[0].path / "evaluation"
    comparison = _compare(each, judged, settings, console)
    write_comparison(comparison, judged, [one.answers for one in each], out)
    console.print(str(out / "comparison.html"), highlight=False, soft_wrap=True)
    return {"runs": judged, "comparison": comparison, "out": str(out)}


def _together(asked: list[Asked], settings: Settings) -> Concluded:
    members, warnings = bring_together(asked)
    found = _conclude(members, f"ensemble of {len(asked)} runs", settings, warnings)
    if found.verdict.calibration is None and all(one.run.calibration is not None for one in asked):
        found.warnings.append("Too few images validated all runs, so the ensemble's probabilities are as they came.")
    return found


def _conclude(members: Sequence[Asked], name: str, settings: Settings, warnings: list[str]) -> Concluded:
    first = members[0]
    verdict = Jury([one.run for one in members], settings.prior).conclude([one.said for one in members])
    dataset = first.material.dataset
    assert first.material.labels is not None  # `choose_rows` refuses data without
    answers = Answers(
        first.ids,
        first.material.labels[first.rows],
        verdict.probabilities,
        first.run.data.classes,
        dataset.column("group")[first.rows] if "group" in dataset else None,
    )
    return Concluded(members, name, verdict, answers, list(warnings))


def _judge(one: Concluded, out: Any, settings: Settings, console: Console) -> dict[str, Any]:
    """Judge, write and print one run or ensemble."""
    first = one.members[0]
    metrics = judge(one.answers, first.run.data.class_counts, settings.bootstrap, settings.seed)
    metrics["warnings"] = one.warnings + metrics["warnings"]
    accuracy = metrics["accuracy"]
    calibration = one.verdict.calibration
    metrics |= {
        "headline": f"accuracy {accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})",
        "judged_on": first.where,
        "split": settings.split,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
        "runs": [member.name for member in one.members],
        "symmetries": settings.symmetries,
        "dropout_passes": settings.dropout_passes,
        "prior": settings.prior,
        "temperature": None if calibration is None else calibration.temperature,
        "sets": judge_sets(one.verdict, one.answers.labels, one.answers.classes, settings.coverage),
    }
    if settings.robustness:
        metrics["robustness"] = _robustness(one, settings, console)
    if len(one.members) == 1:
        device = next(first.run.model.parameters()).device
        example = next(first.run.prepare.batches(first.material, first.rows[:64], 64, device))
        trained_on = first.run.record["dataset"]["images"]["train"]
        metrics["cost"] = cost(first.run.model, example, trained_on)
    judgement = Judgement(first.run, one.name, first.material, first.rows, one.answers, one.verdict, metrics)
    write(judgement, out, settings.coverage, len(one.members) == 1)
    console.print(metrics_table(metrics, one.name))
    console.print(class_table(metrics))
    if settings.robustness:
        console.print(robustness_table(metrics["robustness"]))
    for warning in metrics["warnings"]:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    console.print(str(out), highlight=False, soft_wrap=True)
    return metrics


def _robustness(one: Concluded, settings: Settings, console: Console) -> dict[str, Any]:
    """Try some of the judged images, chosen by the seed, under disturbances."""
    count = len(one.answers.ids)
    chosen = np.arange(count)
    if settings.robustness < count:
        chosen = np.sort(np.random.default_rng(settings.seed).choice(count, settings.robustness, replace=False))
    members = [(member.run, member.material.dataset, member.rows[chosen]) for member in one.members]
    with counted(console, "disturbing") as move:
        found = robustness.measure(
            members,
            one.answers.take(chosen),
            asking_of(settings),
            prior=settings.prior,
            seed=settings.seed,
            moved=move,
        )
    return {"images": len(chosen), "kinds": found}


def _compare(
    each: list[Concluded], judged: dict[str, dict[str, Any]], settings: Settings, console: Console
) -> dict[str, Any]:
    """Compare every run with the first, and give mean and standard deviation over the runs.

    Runs that were judged on different images of one dataset, as in cross-validation, are judged together instead.
    """
    pairs, warnings = [], []
    first = each[0]
    pooled = None
    one_dataset = len({one.members[0].material.dataset.digest for one in each}) == 1
    if one_dataset and disjoint([one.answers for one in each]):
        counts = [one.members[0].run.data.class_counts for one in each]
        answers = [one.answers for one in each]
        pooled = judge_pooled(answers, counts, list(judged.values()), settings.bootstrap, settings.seed)
        console.print(metrics_table(pooled, f"{len(each)} runs together"))
        console.print(class_table(pooled))
        if "robustness" in pooled:
            console.print(robustness_table(pooled["robustness"]))
    for other in each[1:] if pooled is None else ():
        if other.members[0].material.dataset.pixels_digest != first.members[0].material.dataset.pixels_digest:
            warnings.append(f"{first.name} and {other.name} were judged on different data and are not compared.")
            continue
        try:
            found = compare(first.answers, other.answers, settings.bootstrap, settings.seed)
        except DataError as error:
            warnings.append(f"{first.name} and {other.name}: {error}")
            continue
        pairs.append({"first": first.name, "second": other.name, **found})
        console.print(comparison_table(found, first.name, other.name))
    alike = len({one.answers.classes for one in each}) == 1  # a mean over other questions says nothing
    over = over_runs(judged, METRICS if alike else ())
    console.print(runs_table(judged, over))
    for warning in warnings:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    return {"runs": list(judged), "pairs": pairs, "pooled": pooled, "over_runs": over, "warnings": warnings}
