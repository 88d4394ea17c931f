"""What a trained model says of its own images, kept in the run: how sure it may be, and what it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from rvtool.data.batches import Material
from rvtool.runs.apply import Asking, Said, ask
from rvtool.runs.calibration import Calibration, write_calibration
from rvtool.runs.familiar import familiarise, write_familiar
from rvtool.runs.intervals import Intervals, write_intervals
from rvtool.runs.known import contents
from rvtool.runs.run import Run, load_run

MOST_IMAGES = 5000  # of each part: more would tell nothing new and cost hours on large data


def keep_answers(path: Path, material: Material, device: torch.device, batch_size: int, seed: int) -> None:
    """Ask a finished model of its validation images, and a classifier that shows features of its training images."""
    run = load_run(path)
    run.model.to(device)
    assert material.labels is not None
    rows = _some(material.rows("val"), seed)
    said = _ask(run, material, rows, device, batch_size)
    if run.task == "regression":
        limits = run.model.likelihood.limits
        write_intervals(path, Intervals(contents(material, rows), material.labels[rows], said.answers, limits))
        return
    kept = Calibration(contents(material, rows), material.labels[rows], said.answers)
    write_calibration(path, kept, run.data.classes)
    if said.features is not None:
        rows = _some(material.rows("train"), seed)
        known = _ask(run, material, rows, device, batch_size).features
        assert known is not None
        write_familiar(path, familiarise(known, material.labels[rows], said.features))


def _ask(run: Run, material: Material, rows: np.ndarray, device: torch.device, batch_size: int) -> Said:
    return ask(run, run.prepare.batches(material, rows, batch_size, device), Asking())


def _some(rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows, or `MOST_IMAGES` of them."""
    if len(rows) <= MOST_IMAGES:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_IMAGES, replace=False))
