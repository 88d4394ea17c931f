"""Figures of how far a classifier can be trusted."""

from __future__ import annotations

import numpy as np
from PIL import Image

from rvtool.report import trust
from rvtool.report.scores import scores

LABELS = np.arange(30) % 3
PROBABILITIES = np.random.default_rng(0).dirichlet((1, 1, 1), 30) * 0.8 + 0.2 * np.eye(3)[LABELS]


def test_reliability_states_the_calibration_error(tmp_path):
    figure = trust.reliability(LABELS, PROBABILITIES, tmp_path / "r.svg")
    error = scores(LABELS, PROBABILITIES, np.ones((1, 30)))["ece"][0]
    assert figure.axes[0].get_title() == f"Calibration error {error:.3f}"
    assert sum(patch.get_height() for patch in figure.axes[1].patches) == 30
    assert "<text" in (tmp_path / "r.svg").read_text()  # letters, not outlines


def test_risk_coverage_counts_mistakes_from_the_surest_on(tmp_path):
    labels = np.array([0, 0, 1, 1])
    sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])  # the second surest is wrong
    figure = trust.risk_coverage(labels, sure, tmp_path / "r.png")
    panel = figure.axes[0]
    curve, level = panel.lines
    np.testing.assert_allclose(curve.get_xdata(), [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.get_ydata(), [0, 1 / 2, 1 / 3, 1 / 4])
    assert set(level.get_ydata()) == {0.25}
    assert panel.get_title() == f"Mean risk over all shares {13 / 48:.3f}"
    with Image.open(tmp_path / "r.png") as picture:
        assert picture.size == (690, 510)


def test_robustness_draws_each_change_with_its_interval(tmp_path):
    kinds = [
        {"kind": "shifted", "difference": -0.02, "low": -0.05, "high": 0.01},
        {"kind": "turned", "difference": 0.01, "low": None, "high": None},
    ]
    panel = trust.robustness(kinds, tmp_path / "r.png").axes[0]
    assert [t.get_text() for t in panel.get_yticklabels()] == ["shifted", "turned"]
    interval, first, second, zero = ([list(line.get_xdata()), list(line.get_ydata())] for line in panel.lines)
    assert interval == [[-5, 1], [0, 0]]
    assert (first, second) == ([[-2], [0]], [[1], [1]])
    assert zero[0] == [0, 0]
    assert panel.get_ylim()[0] > panel.get_ylim()[1]  # the first on top
