"""Loads runs, asks them, judges their answers, and compares them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console

from rvtool.data.batches import Material
from rvtool.errors import ConfigError, DataError
from rvtool.report.classification import Answers, compare, judge
from rvtool.report.cost import cost
from rvtool.report.pooling import disjoint, judge_pooled
from rvtool.report.progress import counted
from rvtool.report.scores import METRICS
from rvtool.report.tables import class_table, comparison_table, metrics_table, robustness_table, runs_table
from rvtool.report.verdicts import judge_sets
from rvtool.runs.apply import Asking, Jury, Said, Verdict, ask, check_alike, check_classifies, choose_device
from rvtool.runs.run import Run, load_run
from rvtool.verbs.evaluate import Settings, robustness
from rvtool.verbs.evaluate.seen import choose_rows
from rvtool.verbs.evaluate.write import Judgement, write, write_comparison


@dataclass(frozen=True)
class Asked:
    """A run with what it said, of which rows of which data, and what must be said of that."""

    run: Run
    name: str
    material: Material
    rows: np.ndarray
    said: Said
    where: str
    warnings: list[str]

    def take(self, rows: np.ndarray) -> Asked:
        """Return what was said of these of the rows, in this order."""
        features = None if self.said.features is None else self.said.features[rows]
        said = Said(self.said.probabilities[rows], features)
        return Asked(self.run, self.name, self.material, self.rows[rows], said, self.where, self.warnings)

    @property
    def ids(self) -> list[str]:
        """The names of the images."""
        return [str(name) for name in self.material.dataset.column("id")[self.rows]]


@dataclass(frozen=True)
class Concluded:
    """One run, or the members of an ensemble, with their verdict on the same images."""

    members: Sequence[Asked]
    name: str
    verdict: Verdict
    answers: Answers
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
    if settings.ensemble:
        check_alike(runs)
    device = choose_device(settings.device)
    asked = [_ask(run, name, settings, device, console) for run, name in zip(runs, _names(runs), strict=True)]
    if settings.ensemble:
        out = settings.out or runs[0].path / "evaluation-ensemble"
        metrics = _judge(_together(asked), out, settings, console)
        return {**metrics, "out": str(out)}
    each = [_conclude([one], one.name, one.warnings) for one in asked]
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


def _names(runs: list[Run]) -> list[str]:
    """Name runs by their folders, with the folders above where two are called the same."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [str(run.path.resolve()).strip("/").replace("/", "-") for run in runs]


def _asking(settings: Settings) -> Asking:
    return Asking(settings.symmetries, settings.dropout_passes)


def _ask(run: Run, name: str, settings: Settings, device: torch.device, console: Console) -> Asked:
    material = run.material(settings.data)
    rows, where, warnings = choose_rows(run, material, settings.split)
    run.model.to(device)
    with counted(console, f"judging {name}") as move:
        batches = run.prepare.batches(material, rows, settings.batch_size, device)
        said = ask(run, batches, _asking(settings), lambda done: move(done, len(rows)))
    if run.calibration is None:
        warnings = [*warnings, f"{name} keeps no answers on validation images: its probabilities are as they came."]
    return Asked(run, name, material, rows, said, where, warnings)


def _together(asked: list[Asked]) -> Concluded:
    """Bring the members of an ensemble to the images that all answered."""
    common = set(asked[0].ids).intersection(*(one.ids for one in asked[1:]))
    if not common:
        raise DataError(
            "The runs held no common image out, so no ensemble of them can be judged; see --split and --data."
        )
    wanted = [name for name in asked[0].ids if name in common]
    members = []
    for one in asked:
        place = {name: row for row, name in enumerate(one.ids)}
        members.append(one.take(np.array([place[name] for name in wanted])))
    warnings = list(dict.fromkeys(warning for one in asked for warning in one.warnings))
    left_out = len(set().union(*(one.ids for one in asked)) - common)
    if left_out:
        warnings.append(f"{left_out} images that not every run could be judged on are left out.")
    found = _conclude(members, f"ensemble of {len(asked)} runs", warnings)
    if found.verdict.calibration is None and all(one.run.calibration is not None for one in asked):
        found.warnings.append("No image validated all runs, so the ensemble's probabilities are as they came.")
    return found


def _conclude(members: Sequence[Asked], name: str, warnings: list[str]) -> Concluded:
    first = members[0]
    verdict = Jury([one.run for one in members]).conclude([one.said for one in members])
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
        "temperature": None if calibration is None else calibration.temperature,
        "sets": judge_sets(one.verdict, one.answers.labels, settings.coverage),
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
        found = robustness.measure(members, one.answers.take(chosen), _asking(settings), settings.seed, move)
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
        try:
            found = compare(first.answers, other.answers, settings.bootstrap, settings.seed)
        except DataError as error:
            warnings.append(f"{first.name} and {other.name}: {error}")
            continue
        pairs.append({"first": first.name, "second": other.name, **found})
        console.print(comparison_table(found, first.name, other.name))
    over = {}
    alike = len({one.answers.classes for one in each}) == 1  # a mean over other questions says nothing
    for name in METRICS if alike else ():
        values = [metrics[name]["value"] for metrics in judged.values() if metrics[name]["value"] is not None]
        spread = statistics.stdev(values) if len(values) > 1 else None
        over[name] = {"mean": statistics.fmean(values) if values else None, "standard_deviation": spread}
    console.print(runs_table(judged, over))
    for warning in warnings:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    return {"runs": list(judged), "pairs": pairs, "pooled": pooled, "over_runs": over, "warnings": warnings}
