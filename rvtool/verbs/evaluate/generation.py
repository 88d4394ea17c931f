"""Judges generators: how far what they make is from real images, what it teaches, and whether it was learnt by heart.

Every figure stands beside its floor, the same figure of real images that the run was trained on against real ones that
it never saw, as many of each class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import rvtool
from rvtool.data.files import write_bytes
from rvtool.errors import DataError
from rvtool.report import generated, html
from rvtool.report.curves import training_curves
from rvtool.report.distributions import cumulative
from rvtool.report.latent import Shown, beside
from rvtool.report.samples import sheet
from rvtool.report.scores import Metric
from rvtool.report.tables import number, span, write_csv
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings
from rvtool.verbs.evaluate.against_real import Near, measure, nearest
from rvtool.verbs.evaluate.asking import one_by_one
from rvtool.verbs.evaluate.lots import Lots, gather

SHOWN = 8  # images in a row of the sheet
PAIRS = 4  # of the nearest that are shown where there are no classes

METRICS = {
    "two_sample": Metric(
        "Two-sample accuracy",
        False,
        "Share of real and made images that a small network, trained on pixels, tells right: 0.5 is not at all.",
    ),
    "made_on_real": Metric(
        "Trained on made, judged on real",
        True,
        "Balanced accuracy on held-out real images of the same network, trained on made images alone.",
    ),
}
ARMS = {
    "real": "real images, judged on real",
    "made": "made images, judged on real",
    "both": "real and made, judged on real",
    "reverse": "real images, judged on made",
}


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Judge generators, one by one."""
    return one_by_one(
        settings, runs, console, METRICS, lambda run, name, out: _judge(run, name, out, settings, console)
    )


def _judge(run: Run, name: str, out: Path, settings: Settings, console: Console) -> dict[str, Any]:
    """Gather, measure, write and print."""
    lots = gather(run, settings, console)
    near = nearest(lots)
    metrics = measure(lots, near, settings, console)
    two, taught = metrics["two_sample_tests"]["pixels"], metrics["taught"]
    accuracy, floor = two["made"], two["floor"]
    metrics["two_sample"] = {**_plain(accuracy), "baseline": floor["value"]}
    metrics["made_on_real"] = {"value": None, "low": None, "high": None, "baseline": None}
    told = f"two-sample accuracy {accuracy['value']:.3f} ({span(accuracy['low'], accuracy['high'])})"
    if taught:
        arms = taught["pixels"]
        metrics["made_on_real"] = {**_plain(arms["made"]), "baseline": arms["real"]["value"]}
        told += (
            f", trained on made and judged on real {arms['made']['value']:.3f} (on real {arms['real']['value']:.3f})"
        )
    metrics = {"headline": told, **metrics, "out": str(out)}
    figures = _draw(lots, near, out)
    _write(lots, name, metrics, figures, out)
    console.print(_table(name, metrics))
    for line in _lines(metrics):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for warning in metrics["warnings"]:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
    console.print(str(out), highlight=False, soft_wrap=True)
    return metrics


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("value", "low", "high")}


# --------------------------------------------------------------------------- what is told


def _draw(lots: Lots, near: Near, out: Path) -> list[tuple[str, str]]:
    """Draw the figures; return their names and captions."""
    kinds = list(enumerate(lots.classes)) or [(0, "")]
    rows = []
    for kind, name in kinds:
        for word, lot in (("real", lots.held_out), ("made", lots.made)):
            images = lot.pixels[lot.labels == kind][:SHOWN]
            if len(images):
                rows.append((f"{name} {word}".strip(), images))
    sheet(rows, out / "samples.png")
    measured = {name: generated.shapes(lot.pixels) for name, lot in (("real", lots.held_out), ("made", lots.made))}
    panels = [
        (title, {name: one[shape] for name, one in measured.items()}) for shape, title in generated.SHAPES.items()
    ]
    panels += [
        (f"Distance to training, {way}", {"real": found["held_out"].distance, "made": found["made"].distance})
        for way, found in near.items()
    ]
    cumulative(panels, out / "distributions.png")
    beside(_pairs(lots, near["pixels"]), out / "nearest.png")
    names = [*(f"{way}_{what}" for way in near for what in ("nearest", "distance"))]
    columns = [
        values
        for found in near.values()
        for values in (lots.training.ids[found["made"].row], [f"{one:.6g}" for one in found["made"].distance])
    ]
    kinds_of = [lots.classes[label] if lots.classes else "" for label in lots.made.labels]
    write_csv(out / "nearest.csv", ["index", "label", *names], zip(lots.made.ids, kinds_of, *columns, strict=True))
    return [
        ("samples.png", "Real images that were held out, and made ones, as they come; the same stretch."),
        ("distributions.png", "Real images that were held out, and made ones."),
        (
            "nearest.png",
            "The made images that lie nearest to a training image by their pixels, with that, and the same of real "
            "images that were held out. Training images are turned as they match; where in the image a source lies "
            "does not count.",
        ),
    ]


def _pairs(lots: Lots, near: Mapping[str, generated.Nearest]) -> list[tuple[Shown, list[Shown]]]:
    """Show the made and the held-out image that lie nearest to a training image, of each class, or several of all."""
    pairs = []
    for kind, name in enumerate(lots.classes or ("",)):
        closest = {}
        for which in ("made", "held_out"):
            own = np.flatnonzero(lots.named[which].labels == kind)
            closest[which] = own[np.argsort(near[which].distance[own])[: 1 if lots.classes else PAIRS]]
        for rows in zip(*closest.values(), strict=False):
            line = []
            for (which, found), row in zip(near.items(), rows, strict=True):
                match, turn = lots.training.pixels[found.row[row]], int(found.turn[row])
                line += [
                    Shown(lots.named[which].pixels[row], f"{name} {which.replace('_', ' ')}".strip()),
                    Shown(generated.turned(match, turn), f"training, at {found.distance[row]:.2g}"),
                ]
            pairs.append((line[0], line[1:]))
    return pairs


def _rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every figure: what it is, that of made images, and the floor."""

    def both(title: str, found: Mapping[str, Any]) -> tuple[str, str, str]:
        cells = [f"{number(one['value'])} ({span(one['low'], one['high'])})" for one in (found["made"], found["floor"])]
        return title, cells[0], cells[1]

    rows = [both(f"Two-sample accuracy, {way} ↓", found) for way, found in metrics["two_sample_tests"].items()]
    for name, found in (metrics["distances"] or {}).items():
        cells = [
            f"{one['value']:.3g}" + (f" ± {one['spread']:.2g}" if "spread" in one else f", N {one['images']}")
            for one in (found["made"], found["floor"])
        ]
        rows.append((f"{name.upper()} ↓", cells[0], cells[1]))
    for name, found in (metrics["manifolds"] or {}).items():
        of = "" if name == "all" else f", {name}"
        for which in ("precision", "recall"):
            rows.append(both(f"{which.capitalize()}{of} ↑", {lot: found[lot][which] for lot in ("made", "floor")}))
    for way, every in metrics["memory"].items():
        found = every["all"]["near_copies"]
        cell = f"{number(found['value'])} ({span(found['low'], found['high'])})"
        rows.append((f"Near-copies, {way} ↓", cell, number(generated.NEAR_PERCENT / 100)))
    return rows + [
        both(f"Wasserstein-1, {title.lower()} ↓", metrics["shapes"][shape]) for shape, title in generated.SHAPES.items()
    ]


def _arms(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What learning from real and made images gives."""
    told = metrics["taught"] or {}
    rows: list[tuple[str, ...]] = []
    for arm, title in ARMS.items():
        cells = [f"{number(one[arm]['value'])} ({span(one[arm]['low'], one[arm]['high'])})" for one in told.values()]
        first = next(iter(told.values()))[arm] if told else {}
        if first:
            rows.append((title, f"{first['learnt_from']}, {first['judged']}", *cells))
    if told:
        gains = [one["gain"] for one in told.values()]
        cells = [f"{number(one['value'], sign=True)} ({span(one['low'], one['high'], sign=True)})" for one in gains]
        rows.append(("gain of made images beside real", "", *cells))
    return rows


def _near(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What distances to training images say, a row a way and class."""
    return [
        (
            way,
            name,
            f"{one['images']['made']}, {one['images']['held_out']}",
            f"{one['medians']['made']:.3g}, {one['medians']['held_out']:.3g}",
            f"{one['statistic']:.3f}, p {one['p']:.2g}",
            f"{one['near_copies']['value']:.3f} ({span(one['near_copies']['low'], one['near_copies']['high'])})",
        )
        for way, every in metrics["memory"].items()
        for name, one in every.items()
    ]


def _table(name: str, metrics: Mapping[str, Any]) -> Table:
    """Tabulate what is told on the terminal."""
    table = Table(title=f"{name}: {metrics['images']} real images, as many made", title_justify="left")
    table.add_column("figure")
    for heading in ("made", "real against real"):
        table.add_column(heading, justify="right")
    short = [row for row in _rows(metrics) if not any(f", {kind} " in row[0] for kind in metrics["classes"])]
    for row in short:
        table.add_row(*row)
    return table


def _lines(metrics: Mapping[str, Any]) -> list[str]:
    lines = [metrics["headline"][0].upper() + metrics["headline"][1:]]
    ways = list(metrics["taught"] or ())
    for title, _, *cells in _arms(metrics):
        told = "; ".join(f"{way} {cell}" for way, cell in zip(ways, cells, strict=True))
        lines.append(f"Balanced accuracy, {title}: {told}")
    for way, name, _, medians, test, _ in _near(metrics):
        lines.append(f"Distance to training by {way}, {name}: medians of made and held out {medians}; KS {test}")
    if metrics["encoder"]:
        lines.append(f"Encoder: {metrics['encoder']['run']}, sha256 {metrics['encoder']['sha256']}")
    return lines


def _write(lots: Lots, name: str, metrics: dict[str, Any], figures: Sequence[tuple[str, str]], out: Path) -> None:
    """Write the report and the figures' numbers."""
    run = lots.run
    drawn = [html.figure(out / file, caption) for file, caption in figures]
    try:
        best = run.record.get("best") or {}
        training_curves(run.path / "metrics.csv", out / "training_curves.png", best.get("epoch"))
        curves = "The training; the dotted line marks the weights that were kept."
        drawn.append(html.figure(out / "training_curves.png", curves))
    except DataError as problem:
        metrics["warnings"].append(str(problem))
    encoder = metrics["encoder"]
    said = f"Features are those of the run '{encoder['run']}' (sha256 {encoder['sha256']})." if encoder else ""
    heads = ("Way", "Class", "Made, held out", "Medians", "KS", "Near-copies")
    ways = [f"By {way}" for way in metrics["taught"] or ()]
    parts = [
        html.warnings(metrics["warnings"]),
        drawn[0],
        html.section(
            "How far from real",
            f"{metrics['images']} held-out real images against as many made of each class; the floor has as many "
            f"training images in their place. Intervals are bootstrap percentiles, 95 %. {said}",
            html.table(("Figure", "Made", "Real against real"), _rows(metrics)),
        ),
    ]
    if arms := _arms(metrics):
        heading = "What they teach of classes, balanced accuracy"
        parts.append(html.section(heading, html.table(("Learnt from", "Learnt, judged", *ways), arms)))
    parts += [
        drawn[1],
        html.section("Whether they were learnt by heart", html.table(heads, _near(metrics))),
        *drawn[2:],
    ]
    lead = f"{len(lots.made)} images as made by {run.record['model']}, judged on {lots.where}."
    html.write_page(out / "report.html", name, lead, parts, f"rvtool {rvtool.__version__}")
    write_bytes(out / "metrics.json", json.dumps(metrics, indent=1).encode())
