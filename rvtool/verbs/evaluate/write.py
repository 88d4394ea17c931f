"""What a judgement leaves behind: numbers, answers, figures and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import rvtool
from rvtool.data.batches import Material
from rvtool.data.files import write_bytes
from rvtool.data.fits import PICTURE_SUFFIXES
from rvtool.errors import DataError
from rvtool.report import figures, html, trust, verdicts
from rvtool.report.classification import Answers
from rvtool.report.curves import training_curves
from rvtool.report.pooling import pool_answers
from rvtool.report.tables import write_csv
from rvtool.runs.apply import Verdict
from rvtool.runs.run import Run

FOOTER = f"rvtool {rvtool.__version__}"


@dataclass(frozen=True)
class Judgement:
    """A run (an ensemble's first), what was answered on which rows, and what was found of that."""

    run: Run
    name: str
    material: Material
    rows: np.ndarray
    answers: Answers
    verdict: Verdict
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Pictures:
    """The judged images as they are packed, read one at a time: before the stretch, in their physical unit."""

    pixels: np.ndarray
    rows: np.ndarray

    def __getitem__(self, number: int) -> np.ndarray:
        """Return image (C, H, W)."""
        return self.pixels[self.rows[number]]


def write(judgement: Judgement, out: Path, coverage: float, one_run: bool) -> None:
    """Write everything about a judgement into a folder.

    Parameters
    ----------
    coverage
        How often a set of classes is to hold the true one.
    one_run
        False for an ensemble.
    """
    answers, metrics = judgement.answers, judgement.metrics
    cells_of = verdicts.rows(judgement.verdict, answers.classes, coverage)
    write_csv(
        out / "predictions.csv",
        ("id", "label", *verdicts.columns(judgement.verdict, answers.classes)),
        (
            (name, answers.classes[label], *cells)
            for name, label, cells in zip(answers.ids, answers.labels, cells_of, strict=True)
        ),
    )
    drawn = _draw(judgement, out, one_run)
    parts = [html.warnings(metrics["warnings"]), html.metrics_section(metrics)]
    parts += [html.figure(out / name, caption) for name, caption in drawn["first"]]
    parts += [html.classes_section(metrics)]
    parts += [html.figure(out / name, caption) for name, caption in drawn["then"]]
    if metrics["sets"]:
        parts.append(html.sets_section(metrics["sets"]))
    if "robustness" in metrics:
        parts.append(html.robustness_section(metrics["robustness"]))
    if "cost" in metrics:
        parts.append(html.cost_section(metrics["cost"]))
    record = judgement.run.record
    told = {name: value for name, value in record["settings"].items() if name != "config"}
    told = {
        "runs": metrics["runs"],
        "model": record["model"],
        **record["config"],
        **told,
        "versions": record["versions"],
    }
    parts.append(html.section("Settings", html.settings(told)))
    what = record["model"] if one_run else judgement.name
    sure = "as they came" if metrics["temperature"] is None else f"at temperature {metrics['temperature']:.2f}"
    lead = (
        f"{what}, judged on {metrics['judged_on']}; probabilities {sure}, as fitted on its validation images. Nothing"
        " was augmented."
    )
    html.write_page(out / "report.html", judgement.name, lead, parts, FOOTER)
    write_bytes(out / "metrics.json", json.dumps(metrics, indent=1).encode())


def write_comparison(
    comparison: dict[str, Any], judged: dict[str, dict[str, Any]], answers: Sequence[Answers], out: Path
) -> None:
    """Write what several runs have beside each other, and what they have together where each judged a part."""
    figures.summary(judged, out / "comparison.png")
    parts = [
        html.warnings(comparison["warnings"]),
        html.figure(out / "comparison.png", "Every figure of each run with its 95 % interval, and the baseline."),
        *(html.comparison_section(pair, pair["first"], pair["second"]) for pair in comparison["pairs"]),
    ]
    if comparison["pooled"]:
        both = pool_answers(answers)
        trust.reliability(both.labels, both.probabilities, out / "reliability.png")
        trust.risk_coverage(both.labels, both.probabilities, out / "risk_coverage.png")
        parts += [
            html.metrics_section(comparison["pooled"]),
            html.classes_section(comparison["pooled"]),
            html.figure(out / "reliability.png", "How sure, and how often right, all runs together."),
            html.figure(out / "risk_coverage.png", "The risk where only the surest are answered, all runs together."),
        ]
        if comparison["pooled"]["sets"]:
            parts.append(html.sets_section(comparison["pooled"]["sets"]))
        if "robustness" in comparison["pooled"]:
            parts.append(html.robustness_section(comparison["pooled"]["robustness"]))
    html.write_page(out / "comparison.html", " · ".join(judged), f"{len(judged)} runs compared.", parts, FOOTER)
    write_bytes(out / "comparison.json", json.dumps(comparison, indent=1).encode())


def _draw(judgement: Judgement, out: Path, one_run: bool) -> dict[str, list[tuple[str, str]]]:
    """Draw every figure; return file names and captions, of the metrics and of the rest."""
    answers, metrics, material = judgement.answers, judgement.metrics, judgement.material
    figures.summary({judgement.name: metrics}, out / "summary.png")
    figures.per_class_metrics(metrics["classes"], out / "per_class_metrics.png")
    figures.confusion_matrix(np.array(metrics["confusion"]), answers.classes, out / "confusion_matrix.png")
    trust.reliability(answers.labels, answers.probabilities, out / "reliability.png")
    trust.risk_coverage(answers.labels, answers.probabilities, out / "risk_coverage.png")
    path = str(material.dataset.table["path"][int(judgement.rows[0])])
    figures.predictions_grid(
        Pictures(material.image.pixels, judgement.rows),
        answers.labels,
        answers.probabilities,
        answers.classes,
        out / "predictions.png",
        origin="upper" if path.lower().endswith(PICTURE_SUFFIXES) else "lower",
    )
    then = [
        ("per_class_metrics.png", "Precision, recall and F1 of each class; lines are 95 % bootstrap intervals."),
        ("confusion_matrix.png", "What each class was taken for."),
        ("predictions.png", "Images with the truth and the answer, as the model was given them, asinh scale."),
        ("reliability.png", "How sure, and how often right; lines are exact 95 % intervals."),
        ("risk_coverage.png", "How often the answers are wrong where only the surest images are answered."),
    ]
    if "robustness" in metrics:
        trust.robustness(metrics["robustness"]["kinds"], out / "robustness.png")
        then.append(("robustness.png", "What balanced accuracy loses where only the look of the sources differs."))
    if one_run:
        try:
            best = judgement.run.record.get("best") or {}
            training_curves(judgement.run.path / "metrics.csv", out / "training_curves.png", best.get("epoch"))
            then.append(("training_curves.png", "The training; the dotted line marks the weights that were kept."))
        except DataError as error:
            metrics["warnings"].append(str(error))
    return {"first": [("summary.png", "Every figure with its 95 % interval, and the baseline.")], "then": then}
