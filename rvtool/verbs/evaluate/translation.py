"""Judges what translators make: against the truth, and beside what needs no training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.errors import DataError
from rvtool.kinds import Batch
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings, images
from rvtool.verbs.evaluate.classical import Baseline, Interpolation, super_resolution, translation
from rvtool.verbs.evaluate.images import Made, Rival

MOST_TUNED = 100  # images that a baseline is tuned on


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Judge translators, one by one."""
    return images.evaluate(settings, runs, console, _make)


def _make(run: Run, settings: Settings, console: Console) -> Made:
    """Ask a run for the targets of the images that it may be judged on."""

    def answer(batch: Batch) -> np.ndarray:
        made: np.ndarray = run.prepare.restore(run.model.predict(batch), batch).cpu().numpy()
        return made

    asked = images.ask(run, settings, console, answer)
    assert asked.material.target is not None
    assert run.data.target is not None
    true = asked.material.target.pixels[asked.rows].astype(np.float32)
    true = np.where(_known(asked.inputs, true.shape), true, np.nan)
    one = asked.beside(true, run.data.target)
    return replace(one, rivals=rivals(one))


def _known(inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Tell for which pixels of targets ``(N, 1, H, W)`` the input is known; all where the grids do not nest."""
    known = np.isfinite(inputs).all(axis=1, keepdims=True)
    rows, columns = (fine // coarse for fine, coarse in zip(shape[-2:], inputs.shape[-2:], strict=True))
    if (rows * inputs.shape[-2], columns * inputs.shape[-1]) != shape[-2:]:
        return np.ones((len(inputs), 1, *shape[-2:]), bool)
    return known.repeat(rows, axis=-2).repeat(columns, axis=-1)


def rivals(one: Made) -> Iterator[Rival]:
    """Give what the model is to beat, each tuned on images that are not judged; and what must be said of it."""
    run, material = one.run, one.material
    image, target = one.image, one.truth.side
    assert material.target is not None
    known = run.known.splits_of(material)
    mine = np.where(known == "", material.split, known)  # what the run never saw is where its dataset puts it
    alike = image.unit.lower() == target.unit.lower() and image.channels == target.channels
    found: list[tuple[Baseline, str]] = []
    if alike:
        with suppress(DataError):  # of images in Jy/beam without beams nobody can say how bright they would be
            found += [(baseline, "val") for baseline in super_resolution(image, target)]
    if image.height == target.height:
        found += [(baseline, "train") for baseline in translation()]
    for baseline, part in found:
        rows = np.flatnonzero((mine == part) & ~np.isin(np.arange(len(mine)), one.rows))
        rows = rows[:: max(1, len(rows) // MOST_TUNED)] if part == "val" else rows
        inputs, truths = material.image.pixels[rows], material.target.pixels[rows]
        try:
            if not rows.size and not isinstance(baseline, Interpolation):
                raise DataError(f"this dataset holds no {part} images of {run.name}")
            baseline.tune(list(inputs.astype(np.float32)), list(truths.astype(np.float32)))
        except DataError as problem:
            yield baseline.name, None, [f"{baseline.name} is left out: {problem}"]
            continue
        made = np.stack([np.nan_to_num(baseline.apply(image)) for image in one.inputs]).astype(np.float32)
        yield baseline.name, made, []
