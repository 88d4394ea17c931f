"""Run a recipe: its stages in order, the finished ones skipped, an interrupted one gone on with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from rvtool.runs.recipe import Stage


class Settings(Config):
    """What `rvtool run` may be told."""

    recipe: Path = Field(description="The recipe, a TOML file.")
    set: dict[str, Any] = Field(
        {}, description="A recipe's value by its path, as train.epochs=3; wins over the recipe."
    )


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Run every stage that is not finished, and tell all in one table.

    Raises
    ------
    ConfigError
        The recipe or an override is wrong: told before any stage begins.
    RvtoolError
        A stage failed; the finished ones are kept, and the next call goes on from there.
    """
    from rich.text import Text

    from rvtool.runs.recipe import read_recipe, stages_of

    stages = stages_of(read_recipe(settings.recipe), settings.set)
    _check(stages, settings.recipe)
    if os.environ.get("LOCAL_RANK", "0") != "0" and "RVTOOL_RUN_PATH" in os.environ:
        return _join(stages, Path(os.environ["RVTOOL_RUN_PATH"]), console)
    outcomes = []
    for number, stage in enumerate(stages, 1):
        console.rule(Text(f"{number}/{len(stages)} {stage.name}"), align="left")
        outcomes.append(_run_stage(stage, console))
    _tell(stages, outcomes, console)
    failures = [failure for outcome in outcomes for failure in outcome["result"].get("failures", ())]
    return {"recipe": str(settings.recipe), "stages": outcomes, "failures": failures}


def _check(stages: list[Stage], recipe: Path) -> None:
    """Refuse stages that are no work, or that have no output of their own."""
    taken: dict[Path, str] = {}
    for stage in stages:
        if stage.verb in ("run", "plugins"):
            raise ConfigError(f"Stage '{stage.name}' of {recipe} is 'rvtool {stage.verb}', which is no work.")
        out = getattr(stage.settings, "out", None)
        if out is None:
            raise ConfigError(f"Stage '{stage.name}' of {recipe} needs 'out', by which it is known when finished.")
        if (place := out.resolve()) in taken:
            raise ConfigError(
                f"Stages '{taken[place]}' and '{stage.name}' of {recipe} have the same 'out', {out}; change one."
            )
        taken[place] = stage.name


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


def _join(stages: list[Stage], run: Path, console: Console) -> dict[str, Any]:
    """Take part in the training of another process, which started this one for a GPU of its own; do nothing else."""
    from rvtool.runs.verbs import verb

    for stage in stages:
        if stage.verb == "train" and stage.settings.out.resolve() == run.resolve():
            verb("train").load().run(type(stage.settings)(resume=run), console)
    return {}


def _tell(stages: list[Stage], outcomes: list[dict[str, Any]], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Recipe", title_justify="left", header_style="bold")
    for heading in ("stage", "status", "seconds", "output", "result"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left", overflow="fold")
    for stage, outcome in zip(stages, outcomes, strict=True):
        result = str(outcome["result"].get("headline", ""))
        cells = (stage.name, outcome["status"], f"{outcome['seconds']:.1f}", str(stage.settings.out), result)
        table.add_row(*map(Text, cells))
    console.print()
    console.print(table)
