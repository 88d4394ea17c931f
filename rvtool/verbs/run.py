"""Run a recipe: its stages in order, the finished ones skipped, an interrupted one gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError

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
    from rvtool.runs.recipe import read_recipe, stages_of

    stages = stages_of(read_recipe(settings.recipe), settings.set)
    for stage in stages:
        if stage.verb in ("run", "plugins"):
            raise ConfigError(f"Stage '{stage.name}' of {settings.recipe} is 'rvtool {stage.verb}', which is no work.")
        if getattr(stage.settings, "out", None) is None:
            raise ConfigError(
                f"Stage '{stage.name}' of {settings.recipe} needs 'out', by which it is known when finished."
            )
    outcomes = []
    for number, stage in enumerate(stages, 1):
        console.rule(f"{number}/{len(stages)} {stage.name}", align="left")
        outcomes.append(_run_stage(stage, console))
    _tell(stages, outcomes, console)
    failures = [failure for outcome in outcomes for failure in outcome["result"].get("failures", ())]
    return {"recipe": str(settings.recipe), "stages": outcomes, "failures": failures}


def _run_stage(stage: Stage, console: Console) -> dict[str, Any]:
    import time

    from rvtool.runs.stages import Ledger
    from rvtool.runs.verbs import verb

    ledger = Ledger(stage)
    if ledger.finished():
        console.print(f"unchanged and complete: {stage.settings.out}", highlight=False)
        return {"name": stage.name, "status": "skipped", "seconds": 0.0, "result": ledger.result}
    ready = ledger.begin(console)
    begun = time.monotonic()
    result = verb(stage.verb).load().run(ready, console)
    ledger.complete(result)
    return {"name": stage.name, "status": "ran", "seconds": round(time.monotonic() - begun, 1), "result": result}


def _tell(stages: list[Stage], outcomes: list[dict[str, Any]], console: Console) -> None:
    from rich.table import Table

    table = Table(title="Recipe", title_justify="left", header_style="bold")
    for heading in ("stage", "status", "seconds", "output", "result"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left", overflow="fold")
    for stage, outcome in zip(stages, outcomes, strict=True):
        table.add_row(
            stage.name,
            outcome["status"],
            f"{outcome['seconds']:.1f}",
            str(stage.settings.out),
            str(outcome["result"].get("headline", "")),
        )
    console.print()
    console.print(table)
