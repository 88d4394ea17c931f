"""Run a recipe: its stages in order, the finished ones skipped, an interrupted one gone on with."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from rvtool.runs.recipe import Stage
    from rvtool.runs.sweep import Job, Member


class Settings(Config):
    """What `rvtool run` may be told."""

    recipe: Path = Field(description="The recipe, a TOML file.")
    set: dict[str, Any] = Field(
        {}, description="A recipe's value by its path, as train.epochs=3; wins over the recipe."
    )
    dry_run: bool = Field(False, description="Only check the recipe, and show what it would do.")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Run every stage that is not finished, and tell all in one table; of a sweep, what its members reached.

    Raises
    ------
    ConfigError
        The recipe or an override is wrong: told before any stage begins.
    RvtoolError
        A stage failed; the finished ones are kept, and the next call goes on from there.
    """
    from rvtool.runs.recipe import read_recipe
    from rvtool.runs.sweep import jobs_of, members_of

    members = members_of(read_recipe(settings.recipe), settings.set)
    jobs = jobs_of(members)
    _check([job.stage for job in jobs], settings.recipe)
    if settings.dry_run:
        return _plan(jobs, settings.recipe, console)
    if os.environ.get("LOCAL_RANK", "0") != "0" and "RVTOOL_RUN_PATH" in os.environ:
        return _join([job.stage for job in jobs], Path(os.environ["RVTOOL_RUN_PATH"]), console)
    sweeps = bool(members[0].name)
    outcomes = _run_jobs(jobs, sweeps, console)
    failures = [failure for outcome in outcomes for failure in outcome["result"].get("failures", ())]
    told = {"recipe": str(settings.recipe), "stages": outcomes, "failures": failures}
    if sweeps:
        return told | _conclude(members, jobs, outcomes, console)
    _tell(jobs, outcomes, console)
    return told


def _check(stages: Sequence[Stage], recipe: Path) -> None:
    """Refuse stages that are no work, or that have no output of their own."""
    taken: dict[Path, str] = {}
    for stage in stages:
        if stage.verb in ("run", "plugins"):
            raise ConfigError(f"Stage '{stage.name}' of {recipe} is 'rvtool {stage.verb}', which is no work.")
        out = getattr(stage.settings, "out", None)
        if out is None:
            raise ConfigError(f"Stage '{stage.name}' of {recipe} needs 'out', by which it is known when finished.")
        if taken.get(place := out.resolve()) == stage.name:
            raise ConfigError(
                f"The members of the sweep in {recipe} share the 'out' of '{stage.name}'; name {{member}} in it."
            )
        if place in taken:
            raise ConfigError(
                f"Stages '{taken[place]}' and '{stage.name}' of {recipe} have the same 'out', {out}; change one."
            )
        taken[place] = stage.name


def _plan(jobs: Sequence[Job], recipe: Path, console: Console) -> dict[str, Any]:
    """Tell what there is to do, as things are now."""
    from rvtool.runs.stages import Ledger

    plan = []
    for job in jobs:
        try:
            complete = Ledger(job.stage).finished()
        except DataError:  # it names a run that an earlier stage is to make
            complete = False
        status = "complete" if complete else "to do"
        plan.append({"name": job.stage.name, "members": job.members, "status": status})
        told = f"{status:8}  {job.stage.name}: {job.stage.settings.out}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    return {"recipe": str(recipe), "stages": plan}


def _run_jobs(jobs: Sequence[Job], sweeps: bool, console: Console) -> list[dict[str, Any]]:
    """Run stages in their order; a training that diverges ends its members of a sweep, and not the sweep."""
    from rich.text import Text

    outcomes: list[dict[str, Any]] = []
    ended: set[str] = set()
    for number, job in enumerate(jobs, 1):
        if set(job.members) <= ended:
            outcomes.append({"name": job.stage.name, "status": "left out", "seconds": 0.0, "result": {}})
            continue
        console.rule(Text(f"{number}/{len(jobs)} {job.stage.name} {_member(job)}".rstrip()), align="left")
        try:
            outcomes.append(_run_stage(job.stage, console))
        except DataError as error:
            if not (sweeps and _diverged(job.stage)):
                raise
            console.print(str(error), style="yellow", markup=False, highlight=False, soft_wrap=True)
            ended |= set(job.members)
            failed = {"failures": [f"{job.stage.settings.out}: {error}"]}
            outcomes.append({"name": job.stage.name, "status": "diverged", "seconds": 0.0, "result": failed})
    return outcomes


def _diverged(stage: Stage) -> bool:
    """Tell whether a stage was a training that came to no numbers, as settings of a sweep may."""
    from rvtool.runs.run import is_run, load_run

    out = stage.settings.out
    return stage.verb == "train" and is_run(out) and load_run(out).record["status"] == "stopped"


def _run_stage(stage: Stage, console: Console) -> dict[str, Any]:
    import time

    from rvtool.runs.stages import Ledger, locked
    from rvtool.runs.verbs import verb

    with locked(stage.settings.out):
        ledger = Ledger(stage)
        if ledger.finished():
            told = f"unchanged and complete: {stage.settings.out}"
            console.print(told, markup=False, highlight=False, soft_wrap=True)
            return {"name": stage.name, "status": "skipped", "seconds": 0.0, "result": ledger.result}
        ready = ledger.begin(console)
        begun = time.monotonic()
        try:
            result = verb(stage.verb).load().run(ready, console)
        except BaseException:
            ledger.abandon()
            raise
        if result.get("unfinished"):
            raise DataError(f"Stage '{stage.name}' was stopped before its end; the same command goes on with it.")
        ledger.complete(result)
    return {"name": stage.name, "status": "ran", "seconds": round(time.monotonic() - begun, 1), "result": result}


def _join(stages: Sequence[Stage], run: Path, console: Console) -> dict[str, Any]:
    """Take part in the training of another process, which started this one for a GPU of its own; do nothing else."""
    from rvtool.runs.verbs import verb

    for stage in stages:
        if stage.verb == "train" and stage.settings.out.resolve() == run.resolve():
            verb("train").load().run(type(stage.settings)(resume=run), console)
    return {}


def _member(job: Job) -> str:
    """Name the member that a stage is of, or say of how many."""
    return job.members[0] if len(job.members) == 1 else f"({len(job.members)} members)"


def _tell(jobs: Sequence[Job], outcomes: Sequence[dict[str, Any]], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Recipe", title_justify="left", header_style="bold")
    for heading in ("stage", "status", "seconds", "output", "result"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left", overflow="fold")
    for job, outcome in zip(jobs, outcomes, strict=True):
        result = str(outcome["result"].get("headline", ""))
        cells = (job.stage.name, outcome["status"], f"{outcome['seconds']:.1f}", str(job.stage.settings.out), result)
        table.add_row(*map(Text, cells))
    console.print()
    console.print(table)


def _conclude(
    members: Sequence[Member], jobs: Sequence[Job], outcomes: Sequence[dict[str, Any]], console: Console
) -> dict[str, Any]:
    """Put what the members of a sweep reached into one table and one figure."""
    from rvtool.report import paired, sweep
    from rvtool.runs.sweep import sweep_folder

    figures: dict[str, dict[str, float]] = {member.name: {} for member in members}
    scores: dict[str, str] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        found = {f"{job.stage.name}.{name}": value for name, value in sweep.figures_of(outcome["result"]).items()}
        for name in job.members:
            figures[name] |= found
        shared = len(job.members) == len(members) > 1  # by all members, so that it tells nothing of their settings
        if found and not shared:
            balanced = f"{job.stage.name}.balanced_accuracy"
            scores[job.stage.name] = balanced if balanced in found else next(iter(found))
    results = [sweep.Result(member.name, member.values, figures[member.name]) for member in members]
    files = {"table": sweep_folder(members[0]) / "sweep.csv"}
    sweep.write_results(files["table"], results)
    if sweep.repeated(results):
        files["means"] = files["table"].with_name("sweep_means.csv")
        sweep.write_means(files["means"], results)
    if scores:
        files["figure"] = files["table"].with_suffix(".png")
        sweep.results_figure(results, list(scores.values()), files["figure"])
    compares = sweep.repeated(results) and paired.comparable(results)
    if compares:
        files["differences"] = files["table"].with_name("sweep_differences.csv")
        paired.write_differences(files["differences"], results)
        files["pairs"] = files["differences"].with_suffix(".png")
        paired.differences_figure(results, list(scores.values()), files["pairs"])
    counts = Counter(outcome["status"] for outcome in outcomes)
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    console.print()
    console.print(f"{len(jobs)} stages of {len(members)} members: {told}", highlight=False, markup=False)
    console.print(sweep.results_table(results, list(scores.values()), "Sweep"))
    if compares:
        console.print(paired.differences_table(results, list(scores.values())))
    for path in files.values():
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    reached = [{"name": member.name, "values": member.values, "figures": figures[member.name]} for member in members]
    return {"members": reached, **{what: str(path) for what, path in files.items()}}
