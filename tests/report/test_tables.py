"""Tables for the terminal say the figures, whatever the names."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from rvtool.report import tables
from rvtool.report.classification import Answers, compare, judge


@pytest.fixture(scope="module")
def answers():
    labels = np.arange(60) % 3
    probabilities = np.eye(3)[np.where(np.arange(60) < 10, 0, labels)] * 0.7 + 0.1
    return Answers([str(n) for n in range(60)], labels, probabilities, ("FRI", "[bold]", "Bent"), labels * 20 // 3)


@pytest.fixture(scope="module")
def metrics(answers):
    return judge(answers, (1, 1, 1), 50)


def said(table):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_metrics_with_intervals_and_baseline(metrics):
    text = said(tables.metrics_table(metrics, "runs/[x]"))
    row = metrics["accuracy"]
    assert f"{row['value']:.3f} │ {row['low']:.3f} … {row['high']:.3f} │" in text
    assert "runs/[x]: 60 images, 3 sky groups" in text


def test_undefined_is_a_dash(metrics):
    text = said(tables.metrics_table({**metrics, "auroc": dict.fromkeys(("value", "low", "high", "baseline"))}, "x"))
    assert [cell.strip() for cell in next(r for r in text.splitlines() if "AUROC" in r).split("│")[2:5]] == ["–"] * 3


def test_classes_keep_their_names(metrics):
    text = said(tables.class_table(metrics))
    assert "[bold]" in text
    assert f"{metrics['classes']['FRI']['precision']:.2f} (" in text


def test_runs_side_by_side(metrics):
    over = {name: {"mean": 0.123, "standard_deviation": 0.045} for name in tables.METRICS}
    text = said(tables.runs_table({"a[/]": metrics, "b": metrics}, over))
    assert "a[/]" in text
    assert text.count("0.123") == text.count("± 0.045") == len(tables.METRICS)
    assert text.count(f"{metrics['nll']['value']:.3f}") == 2


def test_comparison_names_both_and_the_test(answers):
    better = Answers(answers.ids, answers.labels, np.eye(3)[answers.labels], answers.classes)
    text = said(tables.comparison_table(compare(answers, better, 50), "old[0]", "new"))
    assert "new minus old[0]: 60 images" in text
    assert "only old[0] right: 0, only new right: 6; McNemar's exact p =" in text
    assert "+0.100" in text
