"""Asks runs about the images that they may be judged on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.data.batches import Material
from rvtool.data.files import write_bytes
from rvtool.errors import ConfigError, DataError
from rvtool.report.progress import counted
from rvtool.report.scores import Metric
from rvtool.report.tables import over_runs, runs_table
from rvtool.runs.apply import Asking, Said, ask, choose_device
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings
from rvtool.verbs.evaluate.seen import choose_rows


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
        said = Said(self.said.answers[rows], features)
        return Asked(self.run, self.name, self.material, self.rows[rows], said, self.where, self.warnings)

    @property
    def ids(self) -> list[str]:
        """The names of the images."""
        return [str(name) for name in self.material.dataset.column("id")[self.rows]]


def names_of(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, with the folders above where two are called the same."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [str(run.path.resolve()).strip("/").replace("/", "-") for run in runs]


def asking_of(settings: Settings) -> Asking:
    """Return how the settings want models to be asked."""
    return Asking(settings.symmetries, settings.dropout_passes)


def ask_run(run: Run, name: str, settings: Settings, console: Console) -> Asked:
    """Ask one run."""
    device = choose_device(settings.device)
    material = run.material(settings.data)
    rows, where, warnings = choose_rows(run, material, settings.split)
    run.model.to(device)
    with counted(console, f"judging {name}") as move:
        batches = run.prepare.batches(material, rows, settings.batch_size, device)
        said = ask(run, batches, asking_of(settings), lambda done: move(done, len(rows)))
    if (run.intervals if run.task == "regression" else run.calibration) is None:
        warnings = [*warnings, f"{name} keeps no answers on validation images: nothing tells how sure it may be."]
    return Asked(run, name, material, rows, said, where, warnings)


def bring_together(asked: Sequence[Asked]) -> tuple[list[Asked], list[str]]:
    """Return the members of an ensemble on the images that all answered, and what must be said of that."""
    if len({one.material.dataset.pixels_digest for one in asked}) > 1:
        raise DataError(
            "The runs were judged on different datasets, and ids do not tell images apart; name one --data."
        )
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
    return members, warnings


def one_by_one(
    settings: Settings,
    runs: Sequence[Run],
    console: Console,
    metrics: Mapping[str, Metric],
    judge: Callable[[Run, str, Path], dict[str, Any]],
) -> dict[str, Any]:
    """Judge runs that make images, each into a folder of its own; set several beside each other.

    Parameters
    ----------
    metrics
        What several are compared in.
    judge
        ``(run, name, out) -> metrics``.
    """
    if settings.ensemble:
        raise ConfigError("Images that several runs make are not averaged; leave --ensemble out.")
    judged = {}
    for run, name in zip(runs, names_of(runs), strict=True):
        out = run.path / "evaluation"
        if settings.out is not None:
            out = settings.out if len(runs) == 1 else settings.out / name
        judged[name] = judge(run, name, out)
    if len(runs) == 1:
        return judged[runs[0].name]
    over = over_runs(judged, metrics)
    console.print(runs_table(judged, over, metrics))
    out = settings.out or runs[0].path / "evaluation"
    write_bytes(out / "comparison.json", json.dumps({"over_runs": over, "pooled": None}, indent=1).encode())
    return {"runs": judged, "comparison": {"over_runs": over, "pooled": None}, "out": str(out)}
