"""Tiles cover an image once, and what is local comes out of them as of the whole."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from rvtool.runs.tiles import Tiling, bands


@given(st.integers(1, 400), st.integers(8, 90), st.integers(0, 20))
def test_spans_cover_an_axis_and_overlap_by_their_margins(length, side, margin):
    margin = min(margin, side // 8)
    spans = Tiling(side, margin).spans(length)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert len(spans) == 1 or len(spans) <= 2 * length / (side - 2 * margin) + 2
    for (a, b), (c, d) in pairwise(spans):
        assert a < c <= b - 2 * margin
        assert b < d or (b == d and d == length)
        assert b - a == side


@pytest.mark.parametrize("shape", [(50, 61), (128, 40), (97, 300)])
@pytest.mark.parametrize("factor", [1, 2])
def test_a_local_filter_comes_out_as_of_the_whole(shape, factor):
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)

    def smooth(part):
        filtered = uniform_filter(image[(slice(None), *part)], (0, 7, 7), mode="constant")
        return filtered.repeat(factor, 1).repeat(factor, 2)

    whole = smooth((slice(None), slice(None)))
    parts = list(bands(smooth, shape, Tiling(32, 4), factor))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)


def test_what_differs_from_tile_to_tile_fades():
    number = iter(range(9))

    def constant(part):
        return np.full((1, *(p.stop - p.start for p in part)), float(next(number)))

    (made,) = np.concatenate(list(bands(constant, (70, 70), Tiling(40, 8))), axis=1)
    assert (made[0, 0], made[-1, -1]) == (0, 8)
    assert np.abs(np.diff(made, axis=1)).max() < 0.2
