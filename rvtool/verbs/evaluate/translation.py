"""Judges what translators make: against the truth, and beside what needs no training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Side
from rvtool.report import detections, features, html, likeness, restored
from rvtool.report.curves import training_curves
from rvtool.report.likeness import Truth
from rvtool.report.progress import counted
from rvtool.report.tables import metrics_table, number, over_runs, runs_table, span, write_csv
from rvtool.runs.apply import as_read, choose_device
from rvtool.runs.run import Run, load_run
from rvtool.runs.unlike import unlike
from rvtool.verbs.evaluate import Settings, injected
from rvtool.verbs.evaluate.asking import names_of
from rvtool.verbs.evaluate.classical import Baseline, Interpolation, super_resolution, translation
from rvtool.verbs.evaluate.degradation import consistency
from rvtool.verbs.evaluate.seen import choose_rows

SHOWN = 6  # images in the grid
MOST_TUNED = 100  # images that a baseline is tuned on
BEST = "best baseline"
ENCODER = "default"  # whose features say how alike two sets of radio images are


@dataclass(frozen=True)
class Made:
    """What a run made of some rows, in the target's unit, beside the truth.

    Attributes
    ----------
    inputs, outputs
        ``(N, C, h, w)`` and ``(N, C', H, W)``; inputs are NaN where not known.
    image
        The side of the inputs; that of the outputs is the truth's.
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


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Judge translators, one by one."""
    if settings.ensemble:
        raise ConfigError("Images that several translators make are not averaged; leave --ensemble out.")
    judged = {}
    for run, name in zip(runs, names_of(runs), strict=True):
        out = run.path / "evaluation"
        if settings.out is not None:
            out = settings.out if len(runs) == 1 else settings.out / name
        judged[name] = _judge(_make(run, settings, console), name, out, settings, console)
    if len(runs) == 1:
        return judged[runs[0].name]
    over = over_runs(judged, likeness.METRICS)
    console.print(runs_table(judged, over, likeness.METRICS))
    out = settings.out or runs[0].path / "evaluation"
    write_bytes(out / "comparison.json", json.dumps({"over_runs": over, "pooled": None}, indent=1).encode())
    return {"runs": judged, "comparison": {"over_runs": over, "pooled": None}, "out": str(out)}


def _make(run: Run, settings: Settings, console: Console) -> Made:
    """Ask a run for the targets of the images that it may be judged on."""
    material = run.material(settings.data)
    rows, where, warnings = choose_rows(run, material, settings.split)
    assert material.target is not None
    assert run.data.target is not None
    device = choose_device(settings.device)
    run.model.to(device)
    made = []
    with counted(console, f"judging {run.name}") as move, torch.inference_mode():
        for batch in run.prepare.batches(material, rows, settings.batch_size, device):
            output = run.prepare.restore(run.model.predict(batch), batch)
            made.append(output.cpu().numpy())
            move(sum(map(len, made)), len(rows))
    inputs = material.image.pixels[rows].astype(np.float32)
    true = material.target.pixels[rows].astype(np.float32)
    true = np.where(_known(inputs, true.shape), true, np.nan)
    dataset = material.dataset
    ids = [str(name) for name in dataset.column("id")[rows]]
    groups = dataset.column("group")[rows] if "group" in dataset else None
    # a network that takes any size may be judged on another one than it was trained on
    image, target = (
        replace(side, height=pixels.shape[-2], width=pixels.shape[-1])
        for side, pixels in ((run.data.image, inputs), (run.data.target, true))
    )
    truth = Truth(ids, true, target, groups)
    return Made(run, material, rows, truth, inputs, np.concatenate(made), image, where, warnings)


def _known(inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Tell for which pixels of targets ``(N, 1, H, W)`` the input is known; all where the grids do not nest."""
    known = np.isfinite(inputs).all(axis=1, keepdims=True)
    rows, columns = (fine // coarse for fine, coarse in zip(shape[-2:], inputs.shape[-2:], strict=True))
    if (rows * inputs.shape[-2], columns * inputs.shape[-1]) != shape[-2:]:
        return np.ones((len(inputs), 1, *shape[-2:]), bool)
    return known.repeat(rows, axis=-2).repeat(columns, axis=-1)


def _baselines(one: Made) -> Iterator[tuple[Baseline, list[str]]]:
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
            yield baseline, [f"{baseline.name} is left out: {problem}"]
            continue
        yield baseline, []


def _judge(one: Made, name: str, out: Path, settings: Settings, console: Console) -> dict[str, Any]:
    """Judge, write and print."""
    run, truth = one.run, one.truth
    measured = {**likeness.measure(truth, one.outputs), "consistency": _consistency(one, one.outputs)}
    warnings = list(one.warnings)
    rivals: dict[str, dict[str, np.ndarray]] = {}
    outputs = {run.record["model"]: one.outputs}
    with counted(console, "baselines") as move:
        for place, (baseline, said) in enumerate(_baselines(one)):
            move(place, place + 1)
            if said:
                warnings += said
                continue
            made = np.stack([np.nan_to_num(baseline.apply(image)) for image in one.inputs]).astype(np.float32)
            rivals[baseline.name] = likeness.measure(one.truth, made)
            outputs[baseline.name] = made
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
        "features": _features(one),
        "consistency_of_truth": _median(_consistency(one, truth.pixels)),
        "judged_on": one.where,
        "split": settings.split,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
        "out": str(out),
    }
    figures = _draw(one, metrics, measured, outputs, out)
    columns = list(measured)
    rows = zip(truth.ids, *(measured[column] for column in columns), strict=True)
    write_csv(out / "images.csv", ["id", *columns], ([row[0], *(f"{value:.6g}" for value in row[1:])] for row in rows))
    _write(one, name, metrics, figures, out)
    _print(name, metrics, losses, console)
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


def _features(one: Made) -> dict[str, Any] | None:
    """Compare outputs and truths as sets, in the features of a classifier of radio images.

    None where that is blind (other images than it knows), where the run learnt from these very features, and of too
    few images.
    """
    encoder, side = load_run(ENCODER), one.truth.side
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
            "encoder": ENCODER,
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


def _write(one: Made, name: str, metrics: dict[str, Any], figures: list[tuple[str, str]], out: Path) -> None:
    """Write the report and the figures' numbers."""
    run = one.run
    try:
        best = run.record.get("best") or {}
        training_curves(run.path / "metrics.csv", out / "training_curves.png", best.get("epoch"))
        figures = [
            *figures,
            ("training_curves.png", "The training; the dotted line marks the weights that were kept."),
        ]
    except DataError as problem:
        metrics["warnings"].append(str(problem))
    said = f"PSNR and SSIM have {metrics['range']} as their range."
    parts = [
        html.warnings(metrics["warnings"]),
        html.metrics_section(metrics, likeness.METRICS, BEST.capitalize(), said),
        *(html.figure(out / file, caption) for file, caption in figures),
    ]
    lead = f"Images as made by {run.record['model']}, judged on {one.where}; nothing was augmented or fitted on it."
    html.write_page(out / "report.html", name, lead, parts, f"rvtool {rvtool.__version__}")
    write_bytes(out / "metrics.json", json.dumps(metrics, indent=1).encode())


def _print(name: str, metrics: Mapping[str, Any], losses: Sequence[str], console: Console) -> None:
    console.print(metrics_table(metrics, name, likeness.METRICS, BEST))
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
    for warning in metrics["warnings"]:
        style = "bold red" if warning in losses else "yellow"
        console.print(f"Mind: {warning}", style=style, markup=False, highlight=False)
