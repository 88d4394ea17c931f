"""Figures are written, and say what they should."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import same_color
from PIL import Image

from rvtool.errors import DataError
from rvtool.report import figures
from rvtool.report.classification import Answers, judge
from rvtool.report.curves import learning_rate_curve, read_metrics, training_curves
from rvtool.report.display import display
from rvtool.report.figures import MISTAKE

CLASSES = ("FRI", "FRII", "a class of a very long name")
RANDOM = np.random.default_rng(0)
LABELS = np.arange(30) % 3
PROBABILITIES = RANDOM.dirichlet((1, 1, 1), 30) * 0.8 + 0.2 * np.eye(3)[LABELS]
ANSWERS = Answers([str(n) for n in range(30)], LABELS, PROBABILITIES, CLASSES)
WRONG = PROBABILITIES.argmax(axis=1) != LABELS


@pytest.fixture(scope="module")
def metrics():
    return judge(ANSWERS, (1, 1, 1), bootstrap=50)


def texts(figure):
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [artist.get_text() for artist in found if artist.get_text()]


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def test_predictions_mark_mistakes_and_show_both(tmp_path):
    asked = []

    class Images:
        def __getitem__(self, row):
            asked.append(row)
            return RANDOM.normal(size=(1, 16, 16))

    figure = figures.predictions_grid(Images(), LABELS, PROBABILITIES, CLASSES, tmp_path / "p.png", count=12)
    assert size_of(tmp_path / "p.png")[0] == 1350
    drawn = [panel for panel in figure.findobj(lambda a: hasattr(a, "spines")) if panel.get_title()]
    framed = [p for p in drawn if p.spines["left"].get_visible()]
    assert len(drawn) == len(asked) == 12
    assert len(framed) == min(6, WRONG.sum()) > 0
    assert all(same_color(p.spines["left"].get_edgecolor(), MISTAKE) for p in framed)
    surest = np.flatnonzero(WRONG)[PROBABILITIES[WRONG].max(axis=1).argmax()]
    answer = PROBABILITIES[surest].argmax()
    short = [name if len(name) <= 16 else "a class …ng name" for name in CLASSES]
    expected = f"{short[LABELS[surest]]}\n→ {short[answer]} {PROBABILITIES[surest, answer]:.0%}"
    assert framed[0].get_title() == expected
    assert any(text.startswith(f"Wrong: {WRONG.sum()} of 30") for text in texts(figure))


@pytest.mark.parametrize("answered", [LABELS, (LABELS + 1) % 3])
def test_predictions_where_all_are_right_or_wrong(tmp_path, answered):
    figure = figures.predictions_grid(np.zeros((30, 8, 8)), LABELS, np.eye(3)[answered], CLASSES, tmp_path / "p.png")
    headings = [text for text in texts(figure) if text.startswith(("Right", "Wrong"))]
    assert len(headings) == 1
    assert (tmp_path / "p.png").exists()


def test_examples_fill_from_the_other_side():
    mistakes, hits = figures.examples(LABELS, PROBABILITIES, 28)
    assert len(mistakes) + len(hits) == 28
    assert WRONG[mistakes].all()
    assert not WRONG[hits].any()
    sureness = PROBABILITIES.max(axis=1)
    assert (np.diff(sureness[mistakes]) <= 0).all()
    assert (np.diff(sureness[hits]) >= 0).all()
    assert len(np.unique(hits)) == len(hits)


def test_display_keeps_unknown_pixels_and_shows_faint_ones():
    image = np.random.default_rng(1).normal(0, 1, (1, 64, 64))
    image[0, 32, 32], image[0, 10, 10:20], image[0, 0, 0] = 1000, 30, np.nan
    shown = display(image)
    assert np.isnan(shown[0, 0])
    assert np.nanmax(shown) == shown[32, 32] == 1
    assert 0.3 < shown[10, 15] < 0.7  # linear display would have given 0.03
    assert display(image[0]).shape == (64, 64)
    assert display(np.repeat(image, 3, axis=0)).shape == (64, 64, 3)
    assert (display(np.full((1, 4, 4), 7.0)) == 0).all()
    assert np.isnan(display(np.full((1, 4, 4), np.nan))).all()


def test_confusion_shows_counts_and_shares(tmp_path):
    figure = figures.confusion_matrix(np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]]), CLASSES, tmp_path / "c.png")
    counts, shares = ([t.get_text() for t in panel.texts] for panel in figure.axes)
    assert counts == ["3", "1", "0", "0", "0", "0", "0", "2", "2"]
    assert shares == ["75%", "25%", "0%", "–", "–", "–", "0%", "50%", "50%"]
    assert figure.axes[0].get_title() == "Counts of 8 images"
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["FRI", "FRII", "a class …ng name"]


def test_confusion_of_many_classes_has_a_scale_instead_of_numbers(tmp_path):
    figure = figures.confusion_matrix(np.eye(30, dtype=int), [f"c{n}" for n in range(30)], tmp_path / "c.png")
    assert not figure.axes[0].texts
    assert len(figure.axes) == 4


def test_per_class_bars(tmp_path, metrics):
    figure = figures.per_class_metrics(metrics["classes"], tmp_path / "k.png")
    panel = figure.axes[0]
    heights = [patch.get_height() for patch in panel.patches]
    assert heights == [metrics["classes"][c][k] for k in ("precision", "recall", "f1") for c in CLASSES]
    assert panel.get_xticklabels()[0].get_text() == "FRI\nn = 10"
    assert len(panel.lines) == 9  # an interval on every bar


def test_summary_of_two_runs(tmp_path, metrics):
    figure = figures.summary({"one": metrics, "two": metrics}, tmp_path / "s.png")
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels[:5] == ["Accuracy ↑", "Balanced accuracy ↑", "Macro-F1 ↑", "AUROC ↑", "NLL ↓"]
    assert {"one", "two", "majority class"} <= set(texts(figure))


def test_summary_leaves_undefined_figures_out(tmp_path, metrics):
    undefined = {**metrics, "auroc": dict.fromkeys(("value", "low", "high", "baseline"))}
    figure = figures.summary({"one": undefined}, tmp_path / "s.png")
    assert len(figure.axes[0].texts) == 7


# the cross-entropy repeats the loss, and its panel is left out
CSV = """epoch,step,train/loss,train/cross-entropy,train/l1,val/loss,val/cross-entropy,val/accuracy,lr,lr1,seconds
0,5,2.0,2.0,1.0,,,,0.1,0.2,3
0,10,1.0,1.0,0.5,1.5,1.5,0.5,0.1,0.2,3
1,20,0.5,0.5,nan,1.0,1.0,0.75,0.01,0.02,3
2,2
"""


def test_metrics_are_read_with_blanks_and_a_cut_last_row(tmp_path):
    (tmp_path / "m.csv").write_text(CSV)
    curves, epoch_steps = read_metrics(tmp_path / "m.csv")
    assert epoch_steps == 10
    assert curves["val/loss"].step.tolist() == [10, 20]
    assert curves["train/loss"].value.tolist() == [2, 1, 0.5]


def test_training_curves_draw_each_part_the_gap_and_the_rates(tmp_path):
    (tmp_path / "m.csv").write_text(CSV)
    figure = training_curves(tmp_path / "m.csv", tmp_path / "t.png", kept_epoch=1)
    panels = {panel.get_title(): panel for panel in figure.axes if panel.get_title()}
    assert list(panels) == ["loss", "l1", "accuracy", "gap: validation − training", "learning rate"]
    training, validation = panels["loss"].lines[:2]
    assert training.get_xdata().tolist() == [0.5, 1, 2]
    assert validation.get_ydata().tolist() == [1.5, 1]
    assert panels["gap: validation − training"].lines[0].get_ydata().tolist() == [0, 0.5]
    assert [line.get_label() for line in panels["learning rate"].lines[:2]] == ["lr", "lr1"]
    assert all(panel.get_xlabel() == "epoch" for panel in panels.values())
    assert {"training", "validation", "weights kept"} <= set(texts(figure))


@pytest.mark.parametrize("content", [None, "step,train/loss\n", "time,loss\n1,2\n", "step,epoch,lr\n1,0,0.1\n"])
def test_a_journal_without_curves_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "m.csv").write_text(content)
    with pytest.raises(DataError, match=r"m\.csv"):
        training_curves(tmp_path / "m.csv", tmp_path / "t.png")
    assert not (tmp_path / "t.png").exists()


def test_learning_rate_curve_marks_the_suggestion_and_survives_divergence(tmp_path):
    rates = np.logspace(-6, 0, 30)
    losses = np.where(rates < 0.1, 1 - 0.1 * np.log10(rates / 1e-6), np.inf)
    figure = learning_rate_curve(rates, losses, 1e-3, tmp_path / "l.png")
    panel = figure.axes[0]
    assert panel.get_title() == "Suggested learning rate: 0.001"
    assert panel.lines[1].get_xdata()[0] == 1e-3
    assert panel.get_xscale() == "log"
    figure = learning_rate_curve(rates, np.full(30, np.nan), None, tmp_path / "l.png")
    assert figure.axes[0].get_title() == "No learning rate can be suggested"
