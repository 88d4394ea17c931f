"""Judges images that a run made: against the truth, and beside what others make of the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import rvtool
from rvtool.data.batches import Material, stack
from rvtool.data.beams import per
from rvtool.data.files import write_bytes
from rvtool.data.fits import Image
from rvtool.errors import DataError
from rvtool.kinds import Batch, Side
from rvtool.report import detections, features, html, likeness, restored
from rvtool.report.curves import training_curves
from rvtool.report.likeness import Truth
from rvtool.report.progress import counted
from rvtool.report.tables import metrics_table, number, span, write_csv
from rvtool.runs.apply import as_read, choose_device
from rvtool.runs.run import Run, load_run
from rvtool.runs.unlike import unlike
from rvtool.verbs.evaluate import Settings, injected
from rvtool.verbs.evaluate.asking import one_by_one
from rvtool.verbs.evaluate.degradation import consistency
from rvtool.verbs.evaluate.seen import choose_rows

SHOWN = 6  # images in the grid

Rival = tuple[str, np.ndarray | None, list[str]]
"""What is to be beaten: its name, its images (None where it cannot make any), and what must be said of it."""


@dataclass(frozen=True)
class Further:
    """What is said of a run beside its images: lines for the terminal, and parts of the report."""

    lines: Sequence[str]
    parts: Sequence[str]


@dataclass(frozen=True)
class Made:
    """What a run made of some rows, in the target's unit, beside the truth.

    Attributes
    ----------
    inputs, outputs
        ``(N, C, h, w)`` and ``(N, C', H, W)``; inputs are NaN where not known.
    image
        The side of the inputs; that of the outputs is the truth's.
    rivals, rivals_title
        What the outputs are held against, and what the best of them is called.
    further
        Adds to the metrics what belongs to a task alone, drawing into a folder.
    """

    run: Run
    material: Material
    rows: np.ndarray
    truth: Truth
    inputs: np.ndarray
    outputs: np.ndarray
    image: Side
    where: str
    warnings: list[str]
    rivals: Iterable[Rival] = ()
    rivals_title: str = "best baseline"
    further: Callable[[dict[str, Any], Path], Further] | None = None


@dataclass(frozen=True)
class Asked:
    """What a run made of some rows of a dataset, before it is held against anything."""

    run: Run
    material: Material
    rows: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    where: str
    warnings: list[str]

    def beside(self, true: np.ndarray, side: Side) -> Made:
        """Put the truth ``(N, C, H, W)`` beside it, NaN where it does not count."""
        dataset = self.material.dataset
        ids = [str(name) for name in dataset.column("id")[self.rows]]
        groups = dataset.column("group")[self.rows] if "group" in dataset else None
        # a network that takes any size may be judged on another one than it was trained on
        image, target = (
            replace(one, height=pixels.shape[-2], width=pixels.shape[-1])
            for one, pixels in ((self.run.data.image, self.inputs), (side, true))
        )
        truth = Truth(ids, true, target, groups)
        made = self.run, self.material, self.rows, truth, self.inputs, self.outputs
        return Made(*made, image, self.where, self.warnings)


def ask(run: Run, settings: Settings, console: Console, answer: Callable[[Batch], np.ndarray]) -> Asked:
    """Ask a run of the images that it may be judged on, batch by batch."""
    material = run.material(settings.data)
    rows, where, warnings = choose_rows(run, material, settings.split)
    device = choose_device(settings.device)
    run.model.to(device)
    made: list[np.ndarray] = []
    with counted(console, f"judging {run.name}") as move, torch.inference_mode():
        for batch in run.prepare.batches(material, rows, settings.batch_size, device):
            made.append(answer(batch))
            move(sum(map(len, made)), len(rows))
    inputs = material.image.pixels[rows].astype(np.float32)
    return Asked(run, material, rows, inputs, np.concatenate(made), where, warnings)


def evaluate(
    settings: Settings, runs: Sequence[Run], console: Console, make: Callable[[Run, Settings, Console], Made]
) -> dict[str, Any]:
    """Judge what runs make, one by one."""
    return one_by_one(
        settings,
        runs,
        console,
        likeness.METRICS,
        lambda run, name, out: _judge(make(run, settings, console), name, out, settings, console),
    )


def _judge(one: Made, name: str, out: Path, settings: Settings, console: Console) -> dict[str, Any]:
    """Judge, write and print."""
    run, truth = one.run, one.truth
    measured = {**likeness.measure(truth, one.outputs), "consistency": _consistency(one, one.outputs)}
    warnings = list(one.warnings)
    rivals: dict[str, dict[str, np.ndarray]] = {}
    outputs = {run.record["model"]: one.outputs}
    with counted(console, "baselines") as move:
        for place, (rival, made, said) in enumerate(one.rivals):
            move(place, place + 1)
            warnings += said
            if made is not None:
                rivals[rival] = likeness.measure(one.truth, made)
                outputs[rival] = made
    metrics = likeness.judge(truth, measured, rivals, settings.bootstrap, settings.seed)
    losses = [line for line in metrics["warnings"] if "loses to" in line]
    metrics["warnings"] = warnings + metrics["warnings"]
    found = detections.judge(truth.sought(), one.outputs[:, 0], settings.bootstrap, settings.seed)
    main = metrics["psnr_lit"]
    told = "" if main["baseline"] is None else f", that of {main['best']} {main['baseline']:.2f}"
    metrics |= {
        "headline": f"PSNR of lit pixels {number(main['value'])}{told} dB",
        "sources": found,
        "injected": injected.judge(one, settings.batch_size, settings.bootstrap, settings.seed),
        "features": _features(one, settings.encoder),
        "consistency_of_truth": _median(_consistency(one, truth.pixels)),
        "judged_on": one.where,
        "split": settings.split,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
        "out": str(out),
    }
    figures = _draw(one, metrics, measured, outputs, out)
    further = one.further(metrics, out) if one.further else Further((), ())
    columns = list(measured)
    rows = zip(truth.ids, *(measured[column] for column in columns), strict=True)
    write_csv(out / "images.csv", ["id", *columns], ([row[0], *(f"{value:.6g}" for value in row[1:])] for row in rows))
    drawn = [html.figure(out / file, caption) for file, caption in figures]
    _write(one, name, metrics, [*further.parts, *drawn], out)
    console.print(metrics_table(metrics, name, likeness.METRICS, one.rivals_title))
    _print(metrics, losses, further.lines, console)
    console.print(str(out), highlight=False, soft_wrap=True)
    return metrics


def _consistency(one: Made, outputs: np.ndarray) -> np.ndarray:
    """Measure how well outputs explain their inputs; NaN where the two sides cannot be compared."""
    known = np.where(np.isfinite(one.truth.pixels), outputs, np.nan)
    try:
        return consistency(known, one.inputs, one.image, one.truth.side)
    except DataError:  # of other units, or without beams
        return np.full(len(outputs), np.nan)


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _features(one: Made, name: str) -> dict[str, Any] | None:
    """Compare outputs and truths as sets, in the features of a classifier of radio images.

    None where that is blind (other images than it knows), where the run learnt from these very features, and of too
    few images.
    """
    encoder, side = load_run(name), one.truth.side
    learnt_from_it = any(loss.startswith("radio-perceptual") for loss in one.run.record["losses"])
    strange = unlike(side, as_read(encoder), encoder.stretch.settings) or per(side.unit) != "beam"
    if side.channels != 1 or side.axes != "sky" or strange or learnt_from_it:
        return None
    known = np.isfinite(one.truth.pixels)
    sets = []
    for images in (one.truth.pixels, np.where(known, one.outputs, np.nan)):
        raws = [encoder.raw(Image(image.astype(np.float32), side.unit)) for image in images]
        with torch.inference_mode():
            parts = [
                encoder.model.features(encoder.prepare(stack(raws[start : start + 64], torch.device("cpu"))))
                for start in range(0, len(raws), 64)
            ]
        sets.append(torch.cat(parts).double().numpy())
    true, made = sets
    try:
        return {
            "encoder": name,
            "kid": features.kid(true, made),
            "fid": features.fid(true, made),
            "distance": float(np.median(features.apart(made, true))),
        }
    except DataError:  # too few images
        return None


def _draw(
    one: Made,
    metrics: Mapping[str, Any],
    measured: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    out: Path,
) -> list[tuple[str, str]]:
    """Draw the figures; return their names and captions."""
    truth = one.truth
    chosen = np.unique(np.linspace(0, len(truth.ids) - 1, SHOWN).astype(int))
    order = np.argsort(np.nan_to_num(measured["psnr_lit"], nan=-np.inf), kind="stable")[chosen]
    titles = [f"{measured['psnr_lit'][row]:.1f} dB" for row in order]
    restored.grid(one.inputs[order], truth.pixels[order], one.outputs[order], out / "images.png", titles=titles)
    known = np.isfinite(truth.pixels[:, 0])
    planes = np.where(known, truth.pixels[:, 0], 0)
    best = metrics["psnr_lit"]["best"]
    shown = {title: made for title, made in outputs.items() if title in (one.run.record["model"], best)}
    every = {title: likeness.spectra(planes, np.where(known, made[:, 0], 0)) for title, made in shown.items()}
    first = next(iter(every.values()))
    ratios, coherences = ({t: getattr(s, part) for t, s in every.items()} for part in ("ratio", "coherence"))
    beam = truth.beam_px if truth.side.beam else None
    restored.power(first.frequency, ratios, coherences, out / "power.png", beam_px=beam)
    restored.flux_and_size(measured["flux_ratio"], measured["size_ratio"], out / "flux_and_size.png")
    restored.detections(metrics["sources"]["curves"], out / "detections.png")
    figures = []
    if metrics["injected"]:
        restored.detections(metrics["injected"]["curves"], out / "injected.png")
        figures.append(
            (
                "injected.png",
                "Of point sources that were put into the images, what is found, against their brightness in the "
                "input's noise; and of all that is found, what is there.",
            )
        )
    return [
        *figures,
        (
            "images.png",
            "From the worst to the best by the lit pixels' PSNR: input, truth, output, what it misses it by.",
        ),
        ("flux_and_size.png", "Total flux and size of each image's main source against the truth's."),
        ("power.png", "Power of the output over the truth's, and their coherence, by scale."),
        ("detections.png", "Sources found in the output, and in the truth itself, against their brightness."),
    ]


def _write(one: Made, name: str, metrics: dict[str, Any], parts: Sequence[str], out: Path) -> None:
    """Write the report and the figures' numbers."""
    run = one.run
    try:
        best = run.record.get("best") or {}
        training_curves(run.path / "metrics.csv", out / "training_curves.png", best.get("epoch"))
        curves = "The training; the dotted line marks the weights that were kept."
        parts = [*parts, html.figure(out / "training_curves.png", curves)]
    except DataError as problem:
        metrics["warnings"].append(str(problem))
    said = f"PSNR and SSIM have {metrics['range']} as their range."
    parts = [
        html.warnings(metrics["warnings"]),
        html.metrics_section(metrics, likeness.METRICS, one.rivals_title.capitalize(), said),
        *parts,
    ]
    lead = f"Images as made by {run.record['model']}, judged on {one.where}; nothing was augmented or fitted on it."
    html.write_page(out / "report.html", name, lead, parts, f"rvtool {rvtool.__version__}")
    write_bytes(out / "metrics.json", json.dumps(metrics, indent=1).encode())


def _print(metrics: Mapping[str, Any], losses: Sequence[str], further: Sequence[str], console: Console) -> None:
    for ratio, title in likeness.RATIOS.items():
        row = metrics["ratios"][ratio]
        console.print(
            f"{title} of output / of truth: median {number(row['median'])} ({span(row['low'], row['high'])}), "
            f"16 to 84 %: {span(row['p16'], row['p84'])}",
            highlight=False,
        )
    if metrics["consistency_of_truth"] is not None:
        console.print(
            f"Beam consistency of the truth itself: {number(metrics['consistency_of_truth'])}", highlight=False
        )
    for part, of in (("sources", ""), ("injected", "with sources injected, ")):
        for key, metric in detections.METRICS.items() if metrics[part] else ():
            row = metrics[part][key]
            told = f"{metric.title}: {of}{number(row['value'])} ({span(row['low'], row['high'])}), "
            console.print(f"{told}of the truth itself {number(row['baseline'])}", highlight=False)
    if metrics["injected"]:
        row = metrics["injected"]
        console.print(
            f"Injected sources of {detections.LEAST_SIGMA:g} sigma of the input and more: {row['sources']}, of peaks "
            f"{number(row['peak']['median'])} of the truth's, 16 to 84 %: "
            f"{span(row['peak']['p16'], row['peak']['p84'])}",
            highlight=False,
        )
    if metrics["features"]:
        told = metrics["features"]
        console.print(
            f"In the features of '{told['encoder']}': KID {told['kid']['value']:.3g} +- {told['kid']['spread']:.2g}, "
            f"FID {told['fid']['value']:.3g} of {metrics['images']} images, distance to the truth "
            f"{told['distance']:.2g} of that between two truths",
            highlight=False,
        )
    for line in further:
        console.print(line, markup=False, highlight=False)
    for warning in metrics["warnings"]:
        style = "bold red" if warning in losses else "yellow"
        console.print(f"Mind: {warning}", style=style, markup=False, highlight=False)
