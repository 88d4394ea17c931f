"""Floats inside their cells: which of all the floats of a type lie in a cell, and which of them a pixel is."""

from __future__ import annotations

import numpy as np

from rvtool.coding.binary import State, compiled, uniform, wide_uniform

ZERO_STEPS = 12
"""Exponents below that of a cell that are asked for one by one."""


@compiled
def _ordered(value: float, single: bool, f4: np.ndarray, i4: np.ndarray, f8: np.ndarray, i8: np.ndarray) -> int:
    """Return the place of a float among all floats: neighbours differ by one, -0.0 stands just below 0.0."""
    if single:
        f4[0] = value
        bits = np.int64(i4[0])
        return bits if bits >= 0 else -(bits & 0x7FFFFFFF) - 1
    f8[0] = value
    bits = i8[0]
    return bits if bits >= 0 else -(bits & 0x7FFFFFFFFFFFFFFF) - 1


@compiled
def from_ordered(place: int, single: bool, f4: np.ndarray, i4: np.ndarray, f8: np.ndarray, i8: np.ndarray) -> float:
    """Return the float of a place."""
    if single:
        i4[0] = place if place >= 0 else (-(place + 1)) | -0x80000000
        return np.float64(f4[0])
    i8[0] = place if place >= 0 else np.int64(-(place + 1)) | np.int64(-0x8000000000000000)
    return f8[0]


@compiled
def _first_float(
    cell: int, step: float, single: bool, f4: np.ndarray, i4: np.ndarray, f8: np.ndarray, i8: np.ndarray
) -> int:
    """Return the place of the first float of a cell."""
    edge = (cell - 0.5) * step
    place = _ordered(edge, single, f4, i4, f8, i8)
    if from_ordered(place, single, f4, i4, f8, i8) < edge:  # the edge was rounded down
        place += 1
    return place


@compiled
def float_inside(
    decoding: bool,
    state: State,
    buffer: np.ndarray,
    cell: int,
    step: float,
    single: bool,
    place: int,
    f4: np.ndarray,
    i4: np.ndarray,
    f8: np.ndarray,
    i8: np.ndarray,
) -> tuple[int, State]:
    """Code which float of a cell it is (its place among all floats): all that lie in the cell are equally probable.

    The cell about zero holds floats of all exponents: there each exponent is half as probable as the one above it.
    """
    if cell != 0:
        first = _first_float(cell, step, single, f4, i4, f8, i8)
        count = max(_first_float(cell + 1, step, single, f4, i4, f8, i8) - first, 1)
        inside, state = wide_uniform(decoding, state, buffer, count, place - first)
        return first + inside, state
    mantissa = 23 if single else 52
    top = (_ordered(step * 0.5, single, f4, i4, f8, i8) >> mantissa) - 1
    negative, state = uniform(decoding, state, buffer, 2, 1 if place < 0 else 0)
    size = -(place + 1) if place < 0 else place
    down = min(top - (size >> mantissa), ZERO_STEPS)
    steps = np.int64(0)
    while steps < ZERO_STEPS:
        more, state = uniform(decoding, state, buffer, 2, 1 if down > steps else 0)
        if not more:
            break
        steps += 1
    if steps < ZERO_STEPS:
        first, count = (top - steps) << mantissa, np.int64(1) << mantissa
    else:
        first, count = np.int64(0), (top - ZERO_STEPS + 1) << mantissa
    inside, state = wide_uniform(decoding, state, buffer, count, size - first)
    size = first + inside
    return (-size - 1 if negative else size), state
