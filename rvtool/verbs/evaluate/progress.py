"""How trainings went, from what they logged: figures, an analysis and a summary, also while they are still going."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.data.files import write_bytes, write_error
from rvtool.errors import ConfigError
from rvtool.report import training
from rvtool.report.training_analysis import Course, analyse, course
from rvtool.report.training_log import Log, read_run_log, read_text_log
from rvtool.runs.run import load_run
from rvtool.verbs.evaluate import Settings

FOLDER = "training"
MOST_PICTURES = 4  # of a training of one phase; of more phases two each
SILENT_SECONDS = 600  # after which a run that says it is going may be none any more


def draw(settings: Settings, console: Console) -> dict[str, Any]:
    """Draw the training of each run, or of a text log.

    Raises
    ------
    ConfigError
        A log and runs are given at once, or runs of one name are to share a folder.
    DataError
        A run or a log cannot be read, or holds nothing.
    """
    if settings.log is not None:
        if settings.runs:
            raise ConfigError("--log draws a log that no run keeps; leave out the runs, or --log.")
        out = settings.out or settings.log.with_name(f"{settings.log.stem}-{FOLDER}")
        return _draw(read_text_log(settings.log), {"log": settings.log.name}, None, out, console)
    opened = [_open(name) for name in settings.runs]
    names = [path.resolve().name for path, _ in opened]
    if len(set(names)) < len(names) and settings.out:
        raise ConfigError("Two of these runs have the same name and cannot share --out; leave --out away.")
    drawn = {}
    for name, (path, record) in zip(names, opened, strict=True):
        out = path / "evaluation" / FOLDER
        if settings.out:
            out = settings.out / name if len(opened) > 1 else settings.out
        log = read_run_log(path / "metrics.csv")
        log = replace(log, total=_total(log, record))
        drawn[str(path)] = _draw(log, _facts(name, path, record), path / "samples", out, console)
    return next(iter(drawn.values())) if len(drawn) == 1 else {"runs": drawn}


def _open(name: str) -> tuple[Path, dict[str, Any]]:
    """Return a run's folder and record; a folder with a journal alone has an empty one."""
    path = Path(name)
    if (path / "metrics.csv").exists() and not (path / "run.json").exists():
        return path, {}
    run = load_run(name)
    return run.path, run.record


def _total(log: Log, record: dict[str, Any]) -> float | None:
    asked = record.get("settings", {})
    if asked.get("steps"):
        return float(asked["steps"])
    if log.epoch_steps and asked.get("epochs"):
        return float(round(log.epoch_steps * asked["epochs"]))
    return log.last if record.get("status") == "complete" else None


def _facts(name: str, path: Path, record: dict[str, Any]) -> dict[str, str]:
    facts = {"run": name}
    if record:
        facts |= {"model": str(record.get("model")), "status": str(record.get("status"))}
        facts["begun"] = str(record.get("started", ""))[:16].replace("T", " ")
        silent = time.time() - (path / "metrics.csv").stat().st_mtime
        if record.get("status") == "running" and silent > SILENT_SECONDS:
            facts["last heard of"] = f"{training.duration(silent)} ago"
        if best := record.get("best"):
            facts["weights kept"] = f"epoch {best['epoch'] + 1}, {best['metric']} {best['value']:.4g}"
    return facts


def _draw(log: Log, facts: dict[str, str], samples: Path | None, out: Path, console: Console) -> dict[str, Any]:
    """Write figures, analysis and summary into a folder."""
    gone = course(log)
    analysis: dict[str, Any] = _plain({**facts, **analyse(gone)})
    training.loss_parts(gone, out / "losses.png")
    training.comparison(gone, out / "comparison.png")
    training.learning_rate(gone, out / "learning_rate.png")
    training.dashboard(gone, {**facts, "warnings": str(len(analysis["warnings"]))}, out / "dashboard.png")
    if samples is not None:
        _show_samples(gone, samples, out)
    summary = _summary(facts, analysis)
    write_bytes(out / "training_analysis.json", json.dumps(analysis, indent=1, allow_nan=False).encode())
    write_bytes(out / "training_summary.txt", summary.encode())
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    console.print(str(out), highlight=False, soft_wrap=True)
    return {**analysis, "out": str(out)}


def _show_samples(gone: Course, samples: Path, out: Path) -> None:
    """Draw the first and the last picture of each phase, and copy the film."""
    epoch = gone.log.epoch
    if epoch is None:
        return
    by_phase: list[list[tuple[str, Path]]] = [[] for _ in gone.phases]
    for path in sorted(samples.glob("epoch-*.png")):
        number = int(path.stem.removeprefix("epoch-"))
        steps = epoch.step[epoch.value == number]
        if not len(steps):
            continue  # not logged yet
        step = float(steps.max())
        phase = next(n for n, one in enumerate(gone.phases) if step <= one.last)
        title = f"epoch {number + 1} (step {step:g})"
        by_phase[phase].append((f"{gone.phases[phase].name}: {title}" if len(gone.phases) > 1 else title, path))
    chosen = []
    for pictures in by_phase:
        count = min(len(pictures), MOST_PICTURES if len(by_phase) == 1 else 2)
        chosen += [pictures[n] for n in np.linspace(0, len(pictures) - 1, count).round().astype(int)] if count else []
    if chosen:
        training.samples_by_phase(chosen, out / "samples_by_phase.png")
    film = samples / "training.gif"
    if film.exists():
        try:
            shutil.copyfile(film, out / film.name)
        except OSError as error:
            raise write_error(out / film.name, error) from error


def _plain(value: Any) -> Any:
    """Turn what JSON has no word for, NaN and infinities, into nothing."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summary(facts: dict[str, str], analysis: dict[str, Any]) -> str:
    """Write the analysis for people."""
    unit, total, seconds = analysis["unit"], analysis["total_steps"], analysis["seconds"]
    progress = f"{unit} {analysis['last_step']:,.10g}"
    if total:
        progress += f" of {total:,.10g} ({analysis['last_step'] / total:.1%})"
    if seconds is not None:
        progress += f", {training.duration(seconds)}"
    lines = [*(f"{key}: {value}" for key, value in facts.items()), f"progress: {progress}", ""]
    begins = [[], *(boundary["begins"] for boundary in analysis["boundaries"])]
    for phase, new in zip(analysis["phases"], begins, strict=True):
        took = "" if phase["seconds"] is None else f", {training.duration(phase['seconds'])}"
        told = f"; from here on: {', '.join(new)}" if new else ""
        lines.append(f"{phase['name']}: {unit} {phase['first']:,.10g} to {phase['last']:,.10g}{took}{told}")
    headings = ("first", "last", "best", f"best at {unit}", "mean", "deviation", "slope at the end")
    keys = ("first", "last", "best", "best_step", "mean", "std", "slope_of_last_tenth")
    width = max(map(len, analysis["quantities"]))
    lines += ["", " " * width + "".join(f"{heading:>18}" for heading in headings)]
    for name, told in analysis["quantities"].items():
        if name.partition("/")[2] not in analysis["constant"]:
            cells = ("–" if told.get(key) is None else _cell(key, told[key]) for key in keys)
            lines.append(name.ljust(width) + "".join(f"{cell:>18}" for cell in cells))
    if analysis["constant"]:
        lines += ["", "never changed: " + ", ".join(f"{name} ({v:g})" for name, v in analysis["constant"].items())]
    lines += ["", *(f"Mind: {warning}" for warning in analysis["warnings"])] if analysis["warnings"] else []
    return "\n".join(lines) + "\n"


def _cell(key: str, value: float) -> str:
    return f"{value:,.10g}" if key.endswith("_step") else f"{value:.5g}"
