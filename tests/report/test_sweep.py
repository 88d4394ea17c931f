"""The table and the figure of many trainings hold the numbers that went in."""

import csv

import numpy as np
import pytest
from rich.console import Console

from rvtool.report.sweep import (
    Result,
    figures_of,
    means,
    repeated,
    results_figure,
    results_table,
    write_means,
    write_results,
)

SCORES = {(1e-3, 0): 0.5, (1e-3, 1): 0.7, (1e-1, 0): 0.9, (1e-1, 1): 0.8}
RESULTS = [
    Result(f"{rate},{seed}", {"train.rate": rate, "train.seed": seed}, {"train.acc": score})
    for (rate, seed), score in SCORES.items()
]


def rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def printed(table):
    console = Console(width=100)
    with console.capture() as told:
        console.print(table)
    return told.get()


def test_tables_hold_every_number(tmp_path):
    write_results(tmp_path / "t.csv", RESULTS)
    read = {
        (float(row["train.rate"]), int(row["train.seed"])): float(row["train.acc"]) for row in rows(tmp_path / "t.csv")
    }
    assert read == SCORES
    write_means(tmp_path / "m.csv", RESULTS)
    low, high = rows(tmp_path / "m.csv")
    assert (low["train.rate"], low["results"], float(low["train.acc mean"])) == ("0.001", "2", 0.6)
    assert float(high["train.acc standard deviation"]) == pytest.approx(np.std([0.9, 0.8], ddof=1))
    assert "0.600 ± 0.141" in printed(results_table(RESULTS, ["train.acc"], "x"))


def test_what_did_not_end_is_blank_and_not_averaged(tmp_path):
    results = [RESULTS[0], Result("x", RESULTS[1].settings, {})]
    write_results(tmp_path / "t.csv", results)
    assert rows(tmp_path / "t.csv")[1]["train.acc"] == ""
    (mean,) = means(results)
    assert mean.of("train.acc") == (0.5, None)


def test_results_alike_by_chance_are_no_repeats():
    alike = [Result(str(number), {"depth": 2}, {"val/loss": 0.1 * number}) for number in range(3)]
    assert repeated(RESULTS)
    assert not repeated(alike)
    assert printed(results_table(alike, ["val/loss"], "x", alike[2])).count("0.") == 3


def test_the_figure_shows_means_over_seeds_at_their_settings(tmp_path):
    figure = results_figure(RESULTS, ["train.acc"], tmp_path / "f.png")
    (panel,) = figure.axes
    assert panel.get_xscale() == "log"
    dots, line = (next(drawn for drawn in panel.lines if len(drawn.get_xdata()) == count) for count in (4, 2))
    np.testing.assert_allclose(sorted(dots.get_ydata()), sorted(SCORES.values()))
    np.testing.assert_allclose(line.get_xydata(), [[1e-3, 0.6], [1e-1, 0.85]])
    assert (tmp_path / "f.png").stat().st_size > 5000


def test_the_figure_has_a_panel_for_each_setting_and_score(tmp_path):
    results = [
        Result("", {"a": a, "b": b, "same": 1}, {"x": a + number, "y": 1.0})
        for a in (1, 2)
        for number, b in enumerate(["p", "q", ""])
    ]
    figure = results_figure(results, ["x", "y"], tmp_path / "f.png")
    assert [panel.get_xlabel() for panel in figure.axes] == ["a", "b"] * 2
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["b p", "b q", "b "]


def test_many_combinations_get_their_mean(tmp_path):
    results = [Result("", {"a": a, "b": b}, {"x": a + 10.0 * b}) for a in (1, 2) for b in range(8)]
    panel = results_figure(results, ["x"], tmp_path / "f.png").axes[0]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["mean of all"]
    np.testing.assert_allclose(panel.containers[0][0].get_ydata(), [36, 37])


def test_the_figure_of_a_search_marks_the_best_and_the_stopped(tmp_path):
    results = [Result(str(n), {"rate": 10.0**-n}, {"loss": 1.0 + n}, cut=n == 3) for n in range(1, 5)]
    panel = results_figure(results, ["loss"], tmp_path / "f.png", results[0]).axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in panel.lines}
    assert drawn["best"] == [[0.1, 2.0]]
    assert drawn["stopped early"] == [[0.001, 4.0]]
    assert len(drawn["to the end"]) == 2


def test_figures_are_found_in_what_verbs_return():
    best = {"metric": "val/loss", "value": 0.5, "epoch": 3, "shown": {"val/accuracy": 0.9}}
    assert list(figures_of({"run": "x", "best": best}).items()) == [("val/accuracy", 0.9), ("val/loss", 0.5)]
    judged = {"accuracy": {"value": 0.8, "low": 0.7}, "ece": {"value": None}, "images": 3, "classes": {"a": {"f1": 1}}}
    assert figures_of(judged) == {"accuracy": 0.8}
    several = {"runs": {}, "comparison": {"pooled": None, "over_runs": {"accuracy": {"mean": 0.6}}}}
    assert figures_of(several) == {"accuracy": 0.6}
    assert figures_of({"best": {}, "images": 60}) == {}
