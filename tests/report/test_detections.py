"""Sources that were planted are found, what was not planted is counted as false."""

from __future__ import annotations

import numpy as np
import pytest

from rvtool.report import restored
from rvtool.report.detections import METRICS, Sought, Sources, find, judge, lengths, main_source, matched, summits

SIGMA = 1.3
BACKGROUND = np.tile([0.0, 1.0], (2, 1))  # of each plane: median and noise


def planes(*sources, size=64):
    """Draw sources (plane, row, column, peak) on two planes."""
    y, x = np.mgrid[:size, :size]
    sky = np.zeros((2, size, size))
    for plane, row, column, peak in sources:
        sky[plane] += peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * SIGMA**2))
    return sky


PLANTED = [(0, 10, 10, 8.0), (0, 40, 50, 30.0), (1, 30, 20, 12.0), (1, 60, 60, 6.0)]


def sought_in(sky, injected=None, members=(0, 1)):
    return Sought(sky, BACKGROUND, np.array(members), 3.0, 10.2, injected)


def test_planted_sources_are_found_at_their_places():
    found = find(planes(*PLANTED), BACKGROUND)
    order = np.lexsort(found[::-1])
    assert np.stack(found, axis=1)[order] == pytest.approx(np.array(PLANTED), rel=1e-6)
    assert len(find(planes(), BACKGROUND).plane) == 0
    assert len(find(planes(*PLANTED), BACKGROUND, 20).plane) == 1


def test_islands_never_reach_into_the_next_plane():
    found = find(planes((0, 20, 20, 9.0), (1, 20, 21, 9.0)), BACKGROUND)
    assert found.plane.tolist() == [0, 1]
    assert not matched(found, Sources(found.plane[::-1] + 2, *found[1:]), 1.5).any()
    assert matched(found, Sources(found.plane, found.row + 1.5, *found[2:]), 1.5).all()
    assert not matched(found, Sources(found.plane, found.row + 1.6, *found[2:]), 1.5).any()


def test_completeness_and_reliability_by_hand(tmp_path):
    truth = planes(*PLANTED)
    # of three above 7 sigma two are found (one a pixel aside), besides one at 6 sigma; one is false
    output = planes((0, 11, 10, 8.0), (0, 40, 50, 25.0), (1, 60, 60, 6.0), (1, 10, 10, 9.0))
    found = judge(sought_in(truth), output, 200, 0)
    assert found["completeness"]["value"] == pytest.approx(2 / 3)
    assert found["reliability"]["value"] == pytest.approx(3 / 4)
    assert found["false_sources"]["value"] == pytest.approx(1 / (2 * 64**2 / 10.2))
    assert (found["sources"], found["found"]) == (3, 4)
    for name in METRICS:
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert [found[name]["baseline"] for name in METRICS] == [1, 1, 0]
    eight = next(row for row in found["curves"]["output"] if row["least"] == 8)
    assert (eight["there"], eight["recovered"], eight["found"], eight["real"]) == (1, 1, 2, 1)
    drawn = restored.detections(found["curves"], tmp_path / "d.png")
    assert (tmp_path / "d.png").exists()
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["output", "truth"]


def test_what_the_truth_hints_at_is_no_mistake():
    truth, output = planes((0, 20, 20, 4.0)), planes((0, 20, 20, 6.0))
    found = judge(sought_in(truth), output, 20, 0)
    assert found["reliability"]["value"] == 1
    assert found["completeness"]["value"] is None  # nothing of 7 sigma is there


def test_injected_sources_are_what_is_there():
    injected = Sources(*(np.array(column) for column in zip(*PLANTED, strict=True)))
    noisy = planes(*PLANTED[1:], (0, 50, 10, 7.0))  # the truth lost one and shows one that nobody injected
    found = judge(sought_in(noisy, injected), planes(*PLANTED), 20, 0)
    assert found["completeness"]["value"] == 1
    assert found["completeness"]["baseline"] == pytest.approx(2 / 3)
    assert found["reliability"]["baseline"] == pytest.approx(3 / 4)


def test_what_is_not_known_counts_nowhere():
    injected = Sources(*(np.array(column) for column in zip(*PLANTED, strict=True)))
    hidden = planes(*PLANTED)
    hidden[0, 30:] = np.nan
    found = judge(sought_in(hidden, injected), planes(*PLANTED, (0, 55, 10, 50.0)), 20, 0)
    assert (found["sources"], found["found"]) == (2, 3)
    assert found["reliability"]["value"] == 1


def test_summits_of_gaussians_are_exact_and_stay_at_edges():
    sky = planes((0, 20.3, 30.6, 5.0), (1, 0, 63, 5.0))
    assert summits(sky, np.ones(sky.shape, bool)) == pytest.approx(np.array([[20.3, 30.6], [0, 63]]), abs=1e-6)


def test_length_of_a_source_is_its_width_along_the_major_axis():
    y, x = np.mgrid[:64, :64] - 32
    along, across = 0.6 * x + 0.8 * y, 0.8 * x - 0.6 * y
    long = 1000 * np.exp(-(along**2) / (2 * 6**2) - across**2 / (2 * 2**2))
    sky = np.stack([long + planes((0, 4, 60, 20.0))[0], planes()[0]])  # a neighbour below a tenth; and nothing
    source = main_source(sky, np.ones(sky.shape, bool), BACKGROUND)
    assert lengths(sky, source, BACKGROUND) == pytest.approx([6, 0], rel=0.02)
