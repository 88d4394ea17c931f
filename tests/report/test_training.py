"""Phases are found where they begin, figures of quantities are right, worries are told, and drawings show them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rvtool.report import training
from rvtool.report.curves import Curve
from rvtool.report.training_analysis import analyse, boundaries, course, losses, shown, statistics, worries
from rvtool.report.training_log import Log

STEPS = np.arange(10.0, 101, 10)


def curve(values, steps=STEPS):
    return Curve(np.asarray(steps, float), np.asarray(values, float))


def two_phases(**more):
    """Ten rows; a critic joins after step 40, validation is every other row."""
    return Log(
        {
            "train/loss": curve(np.linspace(10, 1, 10)),
            "train/kl": curve(np.full(10, 0.5) + STEPS),
            "train/critic-loss": curve(np.linspace(2, 1, 6), STEPS[4:]),
            "val/loss": curve([9, 7, 5, 3, 1.5], STEPS[1::2]),
            "lr": curve(np.linspace(1e-3, 0, 10)),
            **more,
        }
    )


def test_a_phase_begins_where_a_quantity_does_and_not_where_it_is_rare():
    rare = two_phases(**{"train/grad-norm": curve([1, 2], STEPS[[4, 9]])})
    assert [(one.step, one.begins) for one in boundaries(rare)] == [(40, ("critic-loss",))]


def test_the_critic_joins_at_the_step_that_a_row_s_mean_tells():
    # epochs of 20 steps, rows each 10 tell the mean over their epoch so far: 15 steps of the 20 up to step 80
    part = curve([0, 0, 0, 0, 0, 0, 0.5, 0.75, 1, 1])
    epoch = curve(np.repeat(np.arange(5), 2))
    (boundary,) = boundaries(
        replace(Log({"train/loss": curve(np.ones(10)), "train/critic-takes-part": part}), epoch=epoch)
    )
    assert boundary.step == 65
    assert boundary.told == "critic takes part"


def test_a_switch_of_another_program():
    log = Log({"train/loss": curve(STEPS), "train/disc_factor": curve([0] * 7 + [1] * 3)})
    (boundary,) = boundaries(log)
    assert (boundary.step, boundary.told) == (70, "disc_factor = 1")
    assert shown(log) == ["loss"]


def test_statistics_in_whole_and_by_phase():
    log = two_phases()
    found = analyse(course(log))["quantities"]["train/loss"]
    assert (found["first"], found["last"], found["best"], found["best_step"]) == (10, 1, 1, 100)
    assert found["mean"] == pytest.approx(5.5)
    assert found["slope_of_last_tenth"] == pytest.approx(-0.1)
    assert found["phases"]["phase 1"]["mean"] == pytest.approx(8.5)
    assert found["phases"]["phase 2"]["values"] == 6
    rising = statistics(curve([1, 5, np.nan, 2], STEPS[:4]), "val/psnr", [])
    assert (rising["best"], rising["best_step"], rising["not_finite"]) == (5, 20, 1)
    assert "best" not in statistics(curve(STEPS), "train/critic-loss", [])
    assert statistics(curve([np.nan], [1]), "loss", []) == {"values": 1, "not_finite": 1}


def test_durations_of_phases():
    log = replace(two_phases(), elapsed=curve([0, 100, 400], [0, 40, 100]))
    assert [phase.seconds for phase in course(log).phases] == [100, 300]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("train/kl", [1, 1e-4, 1e-5, 1e-6], "posterior collapsed"),
        ("val/active-latents", [1, 0.01, 0, 0], "posterior collapse"),
        ("train/critic-accuracy", [0.5, 0.99, 0.99, 1], "the critic has won"),
        ("train/loss", [1, np.inf, 1, 1], "no number in 1 of 4 rows, first at step 20"),
        ("lr", [0, 0, 0, 0], "0 in every row"),
        ("lr", [1, 0, 1, 0], "0 in 1 of 4 rows"),
    ],
)
def test_worries(name, values, said):
    (line,) = worries(Log({name: curve(values, STEPS[:4])}))
    assert said in line


def test_nothing_worries_in_a_sound_training():
    sound = two_phases(**{"train/critic-accuracy": curve([0.99, 0.9, 0.97], STEPS[7:])})
    assert worries(replace(sound, curves={**sound.curves, "lr": curve([0, *[1e-3] * 8, 0])})) == []


def test_means_cross_no_boundary_and_skip_what_is_no_number():
    steps = np.arange(1.0, 101)
    jump = Log({"train/loss": curve(np.where(steps <= 50, 1.0, 3.0), steps), "train/on": curve(steps > 50, steps)})
    jump.curves["train/loss"].value[20] = np.nan
    assert course(jump).boundaries[0].step == 50
    means = training.smooth(jump.curves["train/loss"], course(jump).phases).value
    assert np.flatnonzero(np.isnan(means)).tolist() == [20]
    assert np.delete(means, 20).tolist() == [1.0] * 49 + [3.0] * 50


def test_boundaries_are_marked_in_every_panel(tmp_path):
    gone = course(two_phases())
    figure = training.loss_parts(gone, tmp_path / "losses.png")
    panels = {panel.get_title(): panel for panel in figure.axes if panel.get_title()}
    assert list(panels) == ["loss", "kl", "critic-loss"]
    for panel in panels.values():
        (mark,) = [line for line in panel.lines if line.get_label() == "critic-loss begins (step 40)"]
        assert set(mark.get_xdata()) == {40}
    compared = training.comparison(gone, tmp_path / "comparison.png")
    assert [panel.get_ylabel() for panel in compared.axes if panel.get_ylabel()] == ["loss", "kl", "critic-loss"]
    scaled = [line.get_ydata() for line in compared.axes[1].lines[:3]]
    assert all((min(y), max(y)) == (0, 1) for y in scaled)


def test_the_dashboard_tells_progress(tmp_path):
    log = replace(two_phases(), total=400, elapsed=curve([0, 50], [0, 100]))
    figure = training.dashboard(course(log), {"status": "running"}, tmp_path / "d.png")
    told = " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))
    for words in ("25.0%", "step 100 of 400", "about 2 min 30 s left", "phase 2: critic-loss begins, 60 steps, 30 s"):
        assert words in told


def test_logs_of_one_row_or_of_rates_alone_are_drawn(tmp_path):
    one_row = course(Log({"train/loss": curve([np.nan], [1])}))
    rates = course(Log({"lr": curve([1e-3, 1e-4], [1, 2])}))
    training.dashboard(one_row, {}, tmp_path / "row.png")
    training.comparison(one_row, tmp_path / "nothing.png")
    assert training.loss_parts(rates, tmp_path / "rates.png").axes[0].lines[:] == []
    (line,) = training.learning_rate(rates, tmp_path / "lr.png").axes[0].lines
    assert line.get_ydata().tolist() == [1e-3, 1e-4]


def test_samples_stand_side_by_side(tmp_path):
    pictures = []
    for number in range(2):
        Image.fromarray(np.full((40, 30), 100 * number, np.uint8)).save(tmp_path / f"{number}.png")
        pictures.append((f"phase {number}", tmp_path / f"{number}.png"))
    figure = training.samples_by_phase(pictures, tmp_path / "s.png")
    assert [panel.get_title() for panel in figure.axes] == ["phase 0", "phase 1"]
    assert [int(panel.images[0].get_array().mean()) for panel in figure.axes] == [0, 100]


def test_the_total_is_the_first_loss():
    log = Log({"train/mse": curve(STEPS), "train/total_loss": curve(STEPS**2), "train/psnr": curve(STEPS**3)})
    assert losses(log) == ["total_loss", "mse"]
