"""The range coder, numbers, masks, maps: what goes in comes out, in few bytes, and alike in plain Python."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.coding.binary import bit, finish, readable, start, uniform, wide_uniform
from rvtool.coding.mask import decode_mask, encode_mask
from rvtool.coding.numbers import CONTEXTS, decode_numbers, encode_numbers
from rvtool.coding.residual import decode_residual, encode_residual
from rvtool.coding.symbols import decode_symbols, encode_symbols, integer_tables
from rvtool.errors import DataError

MOST = (1 << 37) - 1


@given(st.lists(st.tuples(st.integers(1, 65535), st.booleans()), max_size=200), st.data())
@settings(max_examples=60, deadline=None)
def test_decisions_come_back(decisions: list[tuple[int, bool]], data: st.DataObject) -> None:
    wide = [data.draw(st.integers(1, 1 << 62)) for _ in range(min(len(decisions), 5))]
    buffer = np.zeros(4 * len(decisions) + 12 * len(wide) + 16, np.uint8)
    state = start(False, buffer)
    for chance, answer in decisions:
        _, state = bit(False, state, buffer, chance, int(answer))
    for count in wide:
        _, state = wide_uniform(False, state, buffer, count, count // 3)
    written = buffer[: finish(state, buffer)].tobytes()
    source = readable(written)
    state = start(True, source)
    for chance, answer in decisions:
        found, state = bit(True, state, source, chance, 0)
        assert found == answer
    for count in wide:
        found, state = wide_uniform(True, state, source, count, 0)
        assert found == count // 3


def test_carries_run_through_bytes_of_ff() -> None:
    """The least probable answer, again and again, drives `low` to the edge of a carry."""
    answers = [0] * 40 + [1] + [0] * 400 + [1] * 3
    for chance in (1, 2, 65534, 65535):
        buffer = np.zeros(4000, np.uint8)
        state = start(False, buffer)
        for answer in answers:
            _, state = bit(False, state, buffer, chance, answer)
        source = readable(buffer[: finish(state, buffer)].tobytes())
        state = start(True, source)
        for answer in answers:
            found, state = bit(True, state, source, chance, 0)
            assert found == answer


def test_a_decision_costs_its_information() -> None:
    rng = np.random.default_rng(0)
    answers = rng.random(20000) < 0.1
    buffer = np.zeros(20000, np.uint8)
    state = start(False, buffer)
    for answer in answers:
        _, state = bit(False, state, buffer, 6554, int(answer))
    information = -(answers * np.log2(0.1) + ~answers * np.log2(0.9)).sum() / 8
    assert finish(state, buffer) == pytest.approx(information, rel=0.002)


def test_a_buffer_that_is_too_small_is_told_and_not_left() -> None:
    buffer = np.zeros(8, np.uint8)
    guarded = buffer[:4]
    state = start(False, guarded)
    for _ in range(100):
        _, state = uniform(False, state, guarded, 256, 255)
    assert finish(state, guarded) > len(guarded)
    assert not buffer[4:].any()


@given(st.lists(st.integers(-MOST, MOST) | st.integers(-9, 9), max_size=60))
@settings(max_examples=60, deadline=None)
def test_numbers_come_back(numbers: list[int]) -> None:
    contexts = np.arange(len(numbers)) % CONTEXTS
    data = encode_numbers(np.array(numbers, np.int64), contexts)
    assert decode_numbers(data, contexts).tolist() == numbers


def test_numbers_cost_about_their_entropy() -> None:
    numbers = np.rint(np.random.default_rng(0).laplace(0, 20, 5000)).astype(int)
    size = 8 * len(encode_numbers(numbers, np.zeros(5000, int))) / 5000
    assert size < np.log2(2 * np.e * 20) * 1.03


def test_more_numbers_than_bytes_can_hold_are_refused() -> None:
    with pytest.raises(DataError, match="too short"):
        decode_numbers(b"\x12", np.zeros(10**6, int))
    with pytest.raises(ValueError, match="too large"):
        encode_numbers(np.array([1 << 40]), np.zeros(1, int))


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_masks_come_back(planes: int, height: int, width: int, random: st.DataObject) -> None:
    marks = np.array([random.random() < 0.3 for _ in range(planes * height * width)]).reshape(planes, height, width)  # type: ignore[attr-defined]
    assert np.array_equal(decode_mask(encode_mask(marks), marks.shape), marks)


def test_regions_are_cheap() -> None:
    marks = np.zeros((1, 300, 300), bool)
    marks[0, :, :60] = True
    marks[0, 100:150, 100:150] = True
    assert len(encode_mask(marks)) < 200


PLAIN = """
import numpy as np
from rvtool.coding.maps import Prior
from rvtool.coding.mask import encode_mask
from rvtool.coding.numbers import decode_numbers, encode_numbers
rng = np.random.default_rng(1)
numbers, contexts = rng.integers(-500, 500, 200), rng.integers(0, 8, 200)
data = encode_numbers(numbers, contexts)
assert np.array_equal(decode_numbers(data, contexts), numbers)
print(data.hex(), encode_mask(rng.random((1, 12, 17)) < 0.4).hex())
maps = np.rint(rng.laplace(0, 2, (5, 2, 9, 11))).astype(int)
maps[0, 0, 0, :2] = -70000, 1 << 29
prior = Prior.fitted(list(maps), 7, open=True)
data = [prior.encode(one) for one in maps]
assert all(np.array_equal(prior.decode(one, (2, 9, 11)), given) for one, given in zip(data, maps))
print(b"".join(data).hex(), prior.draw(rng.integers(0, 65536, (2, 9, 11))).tolist(), prior.decode(b"any", (2, 3, 3)))
"""


def test_plain_python_makes_the_same_bytes() -> None:
    """The interpreter runs the same lines: the reference for the compiled code."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", PLAIN], env={**os.environ, **extra}, check=True, capture_output=True, text=True
        ).stdout
        for extra in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 1500


@given(st.integers(2, 60), st.integers(0, 300), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_symbols_come_back(symbols: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = integer_tables(rng.random((3, symbols)) ** 8)
    which, given_symbols = rng.integers(0, 3, count), rng.integers(0, symbols, count)
    data = encode_symbols(given_symbols, which, tables)
    assert np.array_equal(decode_symbols(data, which, tables), given_symbols)


def test_symbols_cost_their_information() -> None:
    rng = np.random.default_rng(0)
    chances = np.array([[0.7, 0.2, 0.05, 0.05]])
    symbols = rng.choice(4, 20000, p=chances[0])
    size = len(encode_symbols(symbols, np.zeros(20000, int), integer_tables(chances)))
    assert size == pytest.approx(-np.log2(chances[0][symbols]).sum() / 8, rel=0.005)


def test_tables_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not all zero"):
        integer_tables(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="do not have"):
        encode_symbols(np.array([3]), np.zeros(1, int), integer_tables(np.ones((1, 3))))
    with pytest.raises(DataError, match="does not rise"):
        decode_symbols(b"", np.zeros(1, int), np.array([[0, 5, 5, 65536]]))


@pytest.mark.parametrize("margin", [0.0, 0.05])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_residual_restores_the_bound(dtype: str, margin: float) -> None:
    rng = np.random.default_rng(0)
    tile = rng.normal(size=(2, 40, 50)).astype(dtype)
    tile[0, 3, :7], tile[1, 4, 4], tile[1, 5, 5] = np.nan, np.inf, 1e30
    approximation = np.nan_to_num(tile, posinf=0).clip(-5, 5) + rng.normal(0, 0.4, tile.shape)
    data = encode_residual(tile, approximation, 0.2, margin)
    elsewhere = approximation + rng.uniform(-margin, margin, tile.shape)
    back = decode_residual(data, elsewhere, tile.dtype)
    known = np.isfinite(tile)
    assert np.abs(back[known].astype("f8") - tile[known].astype("f8")).max() <= 0.2 * (1 + 1e-6)
    assert np.array_equal(back[~known].view("u1"), tile[~known].view("u1"))
    # noise of 0.4 in steps of 0.4 less the margin: 2.1 bits a pixel at the least
    assert 8 * len(data) / tile.size < 2.1 + 1.2 * margin / 0.05 * 0.5 + 0.3


def test_a_residual_refuses_what_it_cannot_keep() -> None:
    tile = np.zeros((1, 8, 8), "f4")
    with pytest.raises(ValueError, match="margin"):
        encode_residual(tile, tile, 0.1, 0.1)
    data = encode_residual(tile, tile + 1, 0.1)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            assert decode_residual(bytes(damaged), tile, tile.dtype).shape == tile.shape
        except DataError:
            continue
    with pytest.raises(DataError, match="residual"):
        decode_residual(data[:-1], tile, tile.dtype)


@pytest.mark.parametrize(("dtype", "bright"), [("f4", 1.0), ("f4", 1e4), ("f8", 1e4)])
def test_a_dithered_residual_restores_the_bound(dtype: str, bright: float) -> None:
    """Wherever within the margin the approximation lies in decoding; but for the last digit of the pixels' type."""
    rng = np.random.default_rng(0)
    bound, margin = 0.2, 0.05
    tile = (bright * rng.normal(size=(2, 40, 50))).astype(dtype)
    tile[0, 3, :7], tile[1, 4, 4] = np.nan, -np.inf
    approximation = np.nan_to_num(tile, neginf=0) + rng.normal(0, 0.4, tile.shape)
    data = encode_residual(tile, approximation, bound, margin, seed=7)
    known = np.isfinite(tile)
    largest = []
    for sign in (-1, 0, 1):
        back = decode_residual(data, approximation + sign * margin, tile.dtype)
        errors = np.abs(back[known].astype("f8") - tile[known].astype("f8"))
        assert (errors <= bound + 0.5 * np.spacing(np.abs(tile[known])).astype("f8")).all()
        assert np.array_equal(back[~known].view("u1"), tile[~known].view("u1"))
        largest.append(errors.max())
    assert largest[1] <= bound - margin
    assert largest[0] > 0.98 * bound  # the margin is needed
    assert encode_residual(tile, approximation, bound, margin, seed=8) != data


def test_a_dither_keeps_the_flux_of_what_rounding_would_lose() -> None:
    """A source of 0.3 of the bound, which the approximation does not know, in noise that is no larger."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] - 8
    source = 0.3 * np.exp(-(x**2 + y**2) / 8)
    tiles = (source + rng.normal(0, 0.05, (600, 16, 16))).astype("f4")
    nothing = np.zeros((1, 16, 16))
    flux = {}
    for dithered in (False, True):
        stack = np.mean(
            [
                decode_residual(
                    encode_residual(tile[None], nothing, 1.0, seed=number + 1 if dithered else 0), nothing, tile.dtype
                )[0]
                for number, tile in enumerate(tiles)
            ],
            axis=0,
        )
        flux[dithered] = (stack * source).sum() / (source**2).sum()
    assert flux[False] == 0
    assert flux[True] == pytest.approx(1, abs=0.07)  # by chance 0.02


def test_a_dithered_error_does_not_depend_on_the_pixel() -> None:
    """Its mean is 0 and its variance a third of the bound's square, however a constant lies between two steps."""
    nothing = np.zeros((1, 64, 64))
    for value in np.linspace(0, 2, 9):
        tile = np.full(nothing.shape, value, "f4")
        error = decode_residual(encode_residual(tile, nothing, 1.0, seed=3), nothing, tile.dtype) - tile
        assert abs(error.mean()) < 4 * np.sqrt(1 / 3) / 64
        assert error.var() == pytest.approx(1 / 3, rel=0.1)
