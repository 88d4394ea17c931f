"""Maps of numbers under a prior: they come back, in as many bytes as the prior says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.coding.binary import ONE
from rvtool.coding.maps import CONTEXTS, Prior
from rvtool.errors import DataError

OPEN, CLOSED = 9, 6


def structured(count: int, side: int, seed: int) -> np.ndarray:
    """Make two maps of a calm sky with a loud region, in which both maps are loud: ``(N, 2, side, side)``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    cy, cx = rng.integers(0, side, (2, count, 1, 1))
    loud = np.hypot(y - cy, x - cx) < side / 4
    return np.rint(rng.laplace(0, np.where(loud, 3.0, 0.2), (2, count, side, side)).swapaxes(0, 1)).astype(np.int64)


@cache
def prior(open: bool) -> Prior:
    maps = structured(40, 16, 0)
    if open:
        return Prior.fitted(list(maps), OPEN, open=True)
    return Prior.fitted(list(np.abs(maps).clip(0, CLOSED - 1)), CLOSED, open=False)


@given(st.booleans(), st.integers(0, 9), st.integers(0, 9), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_maps_come_back(open: bool, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    far = 2.0 ** rng.uniform(0, 30, (2, height, width)) * rng.choice([-1, 1], (2, height, width))
    usual = rng.integers(-6, 7, (2, height, width))
    maps = np.where(rng.random(usual.shape) < 0.1, far.astype(np.int64), usual)
    maps = maps if open else np.abs(maps) % CLOSED
    assert np.array_equal(prior(open).decode(prior(open).encode(maps), maps.shape), maps)


def test_the_largest_numbers_come_back_and_larger_ones_are_refused() -> None:
    most = (1 << 30) - 1
    for number in (most, -most):
        maps = np.full((2, 1, 3), number)
        assert np.array_equal(prior(True).decode(prior(True).encode(maps), maps.shape), maps)
    for number in (most + 1, -most - 1, np.iinfo(np.int64).min):
        with pytest.raises(ValueError, match="does not have"):
            prior(True).encode(np.full((2, 1, 1), number))
    for number in (-1, CLOSED):
        with pytest.raises(ValueError, match="does not have"):
            prior(False).encode(np.full((2, 1, 1), number))


@pytest.mark.parametrize("open", [True, False])
def test_bytes_are_what_bits_say(open: bool) -> None:
    for number, given_maps in enumerate(structured(3, 48, 1)):
        maps = given_maps * (1, 1, 40)[number] if open else np.abs(given_maps).clip(0, CLOSED - 1)
        expected = prior(open).bits(maps).sum() / 8
        assert len(prior(open).encode(maps)) == pytest.approx(expected, rel=0.03, abs=4)
        assert expected > 50


def test_bits_of_a_known_table() -> None:
    """A quarter is two bits; the ends of an open alphabet take an Elias gamma code besides."""
    flat = Prior.flat(1, 4, open=False)
    np.testing.assert_allclose(flat.bits(np.array([[[0, 1, 2, 3]]])), 2.0, rtol=1e-4)
    flat = Prior.flat(1, 5, open=True)
    np.testing.assert_allclose(
        flat.bits(np.array([[[0, 1, 2, 3, 5, -9, -2]]]))[0, 0] - np.log2(5), [0, 0, 1, 3, 5, 7, 1], atol=1e-3
    )


def test_situations_cut_the_bits_of_maps_with_structure() -> None:
    train, fresh = structured(60, 24, 2), structured(20, 24, 3)
    fitted = Prior.fitted(list(train), 31, open=True)
    counts = np.stack([np.bincount(train[:, number].ravel() + 40, minlength=81) for number in range(2)]) + 0.02
    shares = counts / counts.sum(axis=1, keepdims=True)
    alone = -sum(np.log2(shares[number][fresh[:, number] + 40]).sum() for number in range(2))
    together = sum(fitted.bits(maps).sum() for maps in fresh)
    assert together < 0.85 * alone
    # where there is no structure, knowing the situation costs next to nothing
    noise = np.rint(np.random.default_rng(0).normal(0, 1.5, (80, 2, 24, 24))).astype(np.int64)
    plain = Prior.fitted(list(noise[:60]), 31, open=True)
    share = np.bincount(noise[:60].ravel() + 15, minlength=31) / noise[:60].size
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert sum(plain.bits(maps).sum() for maps in noise[60:]) / noise[60:].size < 1.01 * entropy


def test_what_is_drawn_follows_the_tables() -> None:
    """Numbers that are evenly spread from 0 to 65535 make exactly the shares of the tables, in each situation."""
    fitted = prior(False)
    shares = np.diff(fitted.tables, axis=-1)
    for first in range(CLOSED):
        chosen = np.zeros(CLOSED, np.int64)
        opening = int(fitted.tables[0, 0, first])  # draws the symbol `first` in the first map
        for even in range(0, ONE, 64):
            drawn = fitted.draw(np.array([opening, even]).reshape(2, 1, 1))
            assert drawn[0, 0, 0] == first
            chosen[drawn[1, 0, 0]] += 64
        assert np.abs(chosen - shares[1, fitted.classes[0, first]]).max() <= 64
    many = np.random.default_rng(0).integers(0, ONE, (2, 150, 150))
    drawn = prior(True).draw(many)
    assert (drawn.min(), drawn.max()) == (-(OPEN // 2), OPEN // 2)
    assert np.array_equal(prior(True).draw(many), drawn)
    # what follows what is as in the maps that were learnt from: loud next to loud
    loud = np.abs(drawn[1]) > 2
    assert loud[:, 1:][loud[:, :-1]].mean() > 2 * loud.mean()


@given(st.booleans(), st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_some_maps(open: bool, data: bytes) -> None:
    maps = prior(open).decode(data, (2, 7, 9))
    assert maps.shape == (2, 7, 9)
    reach = 1 << 32 if open else CLOSED - 1
    assert np.abs(maps).max() <= reach


def damaged_priors() -> list[Prior]:
    good = prior(True)

    def with_edge(at: tuple[int, ...], value: int) -> Prior:
        tables = good.tables.copy()
        tables[at] = value
        return replace(good, tables=tables)

    wrapped = good.tables.copy()
    wrapped[0, 0, 1:5] = 2**31 - 1, -(2**31), -1, 1  # every difference is positive in 32 bits
    classes = [good.classes.copy() for _ in range(2)]
    classes[0][1, 3], classes[1][0, 0] = 0, 5
    return [
        with_edge((0, 7, 0), 1),
        with_edge((1, CONTEXTS - 1, OPEN), ONE - 1),
        with_edge((1, 3, 4), int(good.tables[1, 3, 3])),
        replace(good, tables=wrapped),
        replace(good, tables=good.tables[:, :-1]),
        replace(good, tables=good.tables[:1]),
        *(replace(good, classes=one) for one in classes),
    ]


@pytest.mark.parametrize("number", range(8))
def test_damaged_tables_are_refused(number: int) -> None:
    prior(True).check()
    Prior.flat(3, 300, open=False).check()
    with pytest.raises(DataError, match="prior of a trained model"):
        damaged_priors()[number].check()
