"""Judges what is made of images that show no sky, such as maps of gain of a city and its transmitter."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import rvtool
from rvtool.data.batches import Material
from rvtool.data.files import write_bytes
from rvtool.kinds import Batch
from rvtool.report import fields, html, likeness, restored
from rvtool.report.likeness import Truth
from rvtool.report.tables import metrics_table, number, write_csv
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings, images
from rvtool.verbs.evaluate.asking import one_by_one

SHOWN = 6
MOST_FITTED = 200  # maps that a baseline is fitted on


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Judge runs one by one."""
    return one_by_one(
        settings, runs, console, fields.METRICS, lambda run, name, out: _judge(run, name, out, settings, console)
    )


def _judge(run: Run, name: str, out: Path, settings: Settings, console: Console) -> dict[str, Any]:
    seconds: list[float] = []

    def answer(batch: Batch) -> np.ndarray:
        begun = time.perf_counter()
        made: np.ndarray = run.prepare.restore(run.model.predict(batch), batch).cpu().numpy()
        seconds.append((time.perf_counter() - begun) / len(made))
        return made

    asked = images.ask(run, settings, console, answer)
    assert asked.material.target is not None
    assert run.data.target is not None
    true = asked.material.target.pixels[asked.rows].astype(np.float32)
    one = asked.beside(true, run.data.target)
    open_, span, told_span = _open(one.inputs), *_span(one.truth)
    measured = fields.measure(true, one.outputs, open_, span)
    rivals = {
        title: fields.measure(true, made, open_, span)
        for title, made in _baselines(asked.material, run, one.inputs, one.rows).items()
    }
    metrics = likeness.judge(one.truth, measured, rivals, settings.bootstrap, settings.seed, metrics=fields.METRICS)
    metrics["warnings"] = one.warnings + metrics["warnings"]
    main = metrics["rmse_open"]
    metrics |= {
        "headline": f"RMSE in the open {number(main['value'])}, that of {main['best']} {number(main['baseline'])}",
        "range": told_span,
        "seconds_an_image": float(np.median(seconds)),
        "judged_on": one.where,
        "split": settings.split,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
        "out": str(out),
    }
    chosen = np.unique(np.linspace(0, len(true) - 1, SHOWN).astype(int))
    order = np.argsort(-np.nan_to_num(measured["rmse_open"]), kind="stable")[chosen]
    titles = [f"RMSE {measured['rmse_open'][row]:.3f}" for row in order]
    restored.grid(one.inputs[order], true[order], one.outputs[order], out / "images.png", titles=titles, origin="upper")
    rows = zip(one.truth.ids, *measured.values(), strict=True)
    write_csv(out / "images.csv", ["id", *measured], ([row[0], *(f"{value:.6g}" for value in row[1:])] for row in rows))
    lead = f"Maps as made by {run.record['model']}, judged on {one.where}; nothing was fitted on them."
    said = f"PSNR and SSIM have {told_span} as their range."
    caption = "From the worst to the best: what was asked, truth, output, what it misses it by."
    parts = [
        html.warnings(metrics["warnings"]),
        html.metrics_section(metrics, fields.METRICS, "Best baseline", said),
        html.figure(out / "images.png", caption),
    ]
    html.write_page(out / "report.html", name, lead, parts, f"rvtool {rvtool.__version__}")
    write_bytes(out / "metrics.json", json.dumps(metrics, indent=1).encode())
    console.print(metrics_table(metrics, name, fields.METRICS, "best baseline"))
    console.print(f"{metrics['seconds_an_image']:.3g} s a map; range of PSNR and SSIM: {told_span}", highlight=False)
    for warning in metrics["warnings"]:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    console.print(str(out), highlight=False, soft_wrap=True)
    return metrics


def _open(inputs: np.ndarray) -> np.ndarray:
    """Tell where there is no building, ``(N, 1, H, W)``: the first plane of what is asked shows them."""
    outside: np.ndarray = ~(inputs[:, :1] > 0.5)
    return outside


def _span(truth: Truth) -> tuple[float, str]:
    """Return the range of PSNR and SSIM: 1 for gains, else that of the judged truths."""
    if truth.side.unit == "gain":
        return 1.0, "1 (gain)"
    span = float(np.nanmax(truth.pixels) - np.nanmin(truth.pixels)) or 1.0
    return span, f"{span:.4g} {truth.side.unit} (largest less smallest of all judged truths)"


def _baselines(material: Material, run: Run, inputs: np.ndarray, judged: np.ndarray) -> dict[str, np.ndarray]:
    """Make what needs no network: the mean of the training's open pixels, and a line in the logarithm of the distance.

    Buildings are 0, as the maps have them.
    """
    assert material.target is not None
    known = run.known.splits_of(material)
    rows = np.setdiff1d(np.flatnonzero(known == "train"), judged)[:MOST_FITTED]
    if not rows.size:
        return {}
    asked = material.image.pixels[rows].astype(np.float32)
    true, open_ = material.target.pixels[rows].astype(np.float32)[:, :1], _open(asked)
    constant = float(true[open_].mean())
    made = {"mean": np.where(_open(inputs), constant, 0.0).astype(np.float32)}
    if inputs.shape[1] > 1 and all((one[:, 1] > 0.5).any(axis=(1, 2)).all() for one in (asked, inputs)):
        slope, level = np.polyfit(_log_distance(asked)[open_], true[open_], 1)
        made["distance"] = np.where(_open(inputs), level + slope * _log_distance(inputs), 0.0).astype(np.float32)
    return made


def _log_distance(inputs: np.ndarray) -> np.ndarray:
    """Return the logarithm of the distance to the transmitter, the brightest pixel of the second plane, px."""
    height, width = inputs.shape[-2:]
    places = inputs[:, 1].reshape(len(inputs), -1).argmax(axis=1)
    y, x = (place[:, None, None] for place in np.unravel_index(places, (height, width)))
    away = np.hypot(np.arange(height)[:, None] - y, np.arange(width) - x)
    return np.log10(np.maximum(away, 1.0))[:, None]
