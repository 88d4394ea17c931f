"""What codecs make of the same images: the figures behind the plot, and the plot."""

import numpy as np
import pytest

from rvtool.report.tradeoff import Point, draw, peak_errors


def test_peaks_of_bright_sources_are_compared_above_the_background():
    truth = np.full((1, 40, 40), 2.0)
    truth[0, 10, 10] = 2.0 + 20.0
    truth[0, 30, 30] = 2.0 + 8.0
    truth[0, 20, 5] = 2.0 + 6.0  # below 7 sigma
    output = truth.copy()
    output[0, 10, 10], output[0, 10, 11] = 2.0 + 5.0, 2.0 + 18.0  # found one pixel aside
    output[0, 30, 30] = 2.0 + 10.0
    output[0, 20, 5] = 0.0
    errors = peak_errors(truth, output, np.array([[2.0, 1.0]]))
    assert sorted(errors) == pytest.approx([0.1, 0.25])
    assert peak_errors(truth, output, np.array([[2.0, 100.0]])).size == 0


def test_the_plot_is_drawn_with_points_that_miss_figures(tmp_path):
    point = Point("1sigma", 0.5, 40.0, 30.0, 0.02, 0.98, 0.01)
    nothing = point._replace(bits=1.0, peak_error=float("nan"), stack=float("nan"))
    figure = draw({"one": [nothing, point], "other": [point]}, tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 0
    lines = figure.axes[0].get_lines()
    assert [list(line.get_xdata()) for line in lines] == [[0.5, 1.0], [0.5]]  # by rate, whatever the order
