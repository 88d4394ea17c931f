"""The loop that codes a tile: predict a pixel, ask several experts about it, mix their answers, code what it is.

A pixel lies in a **cell**, an integer; a cell is 64 **units** wide, and predictions are made in units. Two linear
predictors (A fitted to the noise, B to bright pixels) and one that learns on the way (C, from A's last errors) say
where the pixel will be. Six experts, each with a table of adaptive probabilities in a context of its own, answer the
questions by which the cell is found: above or below the nearest boundary, then one cell further and further. Their
answers are mixed as logarithms of odds with weights that learn, and the range coder codes the answer.

Everything is integers, or floats that hold integers below 2^53, whose sums are exact in every order.

References
----------
Mahoney 2005, "Adaptive weighing of context models for lossless data compression" (mixing of log odds).
Meyer & Tischer 2001, "Glicbawls" (least squares prediction for lossless coding).
Widrow & Hoff 1960 (least mean squares).
"""

from __future__ import annotations

import numpy as np

from rvtool.coding.binary import bit, compiled, finish, start, wide_uniform
from rvtool_plugins.codecs.predictive.adaptive import (
    EXPERTS,
    HAZARD,
    HAZARD_AT,
    PATTERN,
    SCALES,
    SIDE,
    SIDE_AT,
    learn,
    number,
)
from rvtool_plugins.codecs.predictive.floats import float_inside, from_ordered

UNITS = 64
"""Units in a cell."""

REACH = 20
"""Pixels beyond the edges of a row that predictors may look at."""

STEPS = 24
"""Cells that are asked for one by one; what is further is coded as a number."""

LIMIT = 1 << 26
"""Largest size of a value in units: sums of 2^9 products with 18-bit weights then stay below 2^53."""

SHIFT = 13
"""Weights of predictors are whole numbers of 2^-13."""

GRID, FLOAT32, FLOAT64 = 0, 1, 2

_ERROR_LIMIT = 128  # of what C learns from, units
_SHIFT_LIMIT = 96  # of what C adds, units
_RATE = 128 * 1024  # at which C learns in the end; five times as fast at first
_SETTLED = 1 << 15  # pixels


@compiled
def _row_taps(row: np.ndarray, at: int, weights: np.ndarray, total: np.ndarray) -> None:
    """Add to `total` the row's pixels from `at` on, times weights: for all pixels of the row at once."""
    width, count = len(total), len(weights)
    i = 0
    while i + 7 <= count:  # windows are 7, 15 or 21 pixels wide, mostly
        a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        e, f, g = weights[i + 4], weights[i + 5], weights[i + 6]
        # one slice each: an index that might be negative would keep the loop from being vectorised
        j = at + i
        r0, r1, r2, r3 = (
            row[j : j + width],
            row[j + 1 : j + 1 + width],
            row[j + 2 : j + 2 + width],
            row[j + 3 : j + 3 + width],
        )
        r4, r5, r6 = row[j + 4 : j + 4 + width], row[j + 5 : j + 5 + width], row[j + 6 : j + 6 + width]
        for x in range(width):
            near = a * r0[x] + b * r1[x] + c * r2[x] + d * r3[x]
            total[x] += near + (e * r4[x] + f * r5[x] + g * r6[x])
        i += 7
    while i < count:
        a = weights[i]
        r0 = row[at + i : at + i + width]
        for x in range(width):
            total[x] += a * r0[x]
        i += 1


@compiled
def _copy(source: np.ndarray, target: np.ndarray, count: int) -> None:
    for x in range(count):  # an assignment of slices takes seconds to compile, for the sake of its error message
        target[x] = source[x]


@compiled
def _row_above(y: int, k: int) -> int:
    """Return which row stands for the one `k` above `y`: beyond the edge, the tile's mirror image as far as known."""
    row = y - k
    if row < 0:
        row = min(-row - 1, y - 1)
    return row


@compiled
def code_tile(
    decoding: bool,
    buffer: np.ndarray,
    cells: np.ndarray,
    low: np.ndarray,
    special: np.ndarray,
    dither: np.ndarray,
    kind: int,
    step: float,
    below: int,
    offset: int,
    main: np.ndarray,
    main_left: np.ndarray,
    main_before: np.ndarray,
    edges: np.ndarray,
    edges_left: np.ndarray,
    edges_before: np.ndarray,
    bright: np.ndarray,
    bright_left: np.ndarray,
    fast: bool,
    table: np.ndarray,
    weights: np.ndarray,
    stretch: np.ndarray,
    squash: np.ndarray,
    steps: np.ndarray,
    scale_of: np.ndarray,
) -> int:
    """Encode or decode the cells of a tile.

    Parameters
    ----------
    buffer : (N,) uint8
        Where the bytes are written, or read.
    cells : (P, H, W) int64
        The cells; filled in when decoding.
    low : (P, H, W) int64
        Where a pixel stands inside its cell, where that is kept (`below`, floats); else empty.
    special : (P, H, W) bool
        Pixels that are known otherwise and are not coded; or empty.
    dither : (P, H, W) int8, units
        What was added before the pixel was rounded; or empty.
    kind, step
        `GRID`: cells of 2^`below` integers; `FLOAT32`, `FLOAT64`: cells of `step` (a power of two), with the floats
        inside them, whose places among all floats are in `low`.
    offset
        Which cell of floats the cell 0 is.
    main, main_left, main_before : (K, R, 2R + 1), (K, R), (K, Q, Q)
        Weights of A for the rows above, the pixels to the left and those about the pixel in the plane before, in
        2^-`SHIFT`; [0] in the first plane, [1] in later ones.
    edges, edges_left, edges_before : (K, 2, S, 2S + 1), (K, 2, S), (K, 2, Q, Q)
        Weights in place of A's in the first row and in the second.
    bright, bright_left : (B, 2B + 1), (B,)
        Weights of B.
    fast
        Ask one expert only.
    table, weights
        The probabilities and the mixing weights, which learn.

    Returns
    -------
    int
        Bytes written, or 0 when decoding; more than the buffer holds where there was no room.
    """
    planes, height, width = cells.shape
    reach = REACH
    full = width + 2 * reach
    values = np.zeros((32, full))
    last = np.zeros((height + 2 * reach if planes > 1 else 0, full))
    this = np.zeros((height + 2 * reach if planes > 1 else 0, full))
    size_a = np.full((4, full), UNITS, np.int64)  # of errors: to begin with, a cell
    size_b, size_c = size_a.copy(), size_a.copy()
    errors = np.zeros((8, full), np.int32)
    learnt = np.zeros((6, 8), np.int64)
    sum_a, sum_b = np.zeros(width), np.zeros(width)
    st = np.zeros(8, np.int64)
    at = np.zeros(8, np.int64)
    f4, f8 = np.zeros(1, np.float32), np.zeros(1, np.float64)
    i4, i8 = f4.view(np.int32), f8.view(np.int64)
    has_special, has_dither = special.size > 0, dither.size > 0
    half = (1 << below) >> 1
    single = kind == FLOAT32
    round_up = np.float64(1 << (SHIFT - 1))
    units_per = UNITS / step
    no_rows = np.zeros(full)
    state = start(decoding, buffer)
    for p in range(planes):
        later = 1 if p > 0 else 0
        for y in range(height):
            # ---- what the rows above say, for the whole row at once
            if y < 2:
                above_w, left_w, before_w = edges[later, y], edges_left[later, y], edges_before[later, y]
                rows = y
            else:
                above_w, left_w, before_w = main[later], main_left[later], main_before[later]
                rows = len(above_w)
            sum_a[:] = 0.0
            for k in range(1, rows + 1):
                w = above_w[k - 1]
                _row_taps(values[_row_above(y, k) & 31], reach - len(w) // 2, w, sum_a)
            if later:
                side = len(before_w)
                for k in range(side):
                    _row_taps(last[reach + y + k - side // 2], reach - side // 2, before_w[k], sum_a)
            current, above = values[y & 31], values[(y - 1) & 31] if y > 0 else no_rows
            _copy(above, current, reach)
            a0, a1, a2 = size_a[y & 3], size_a[(y - 1) & 3], size_a[(y - 2) & 3]
            c0, c1, c2 = size_c[y & 3], size_c[(y - 1) & 3], size_c[(y - 2) & 3]
            b0, b1 = size_b[y & 3], size_b[(y - 1) & 3]
            a0[:reach] = a1[reach]
            b0[:reach] = b1[reach]
            c0[:reach] = c1[reach]
            left = len(left_w)
            seen = (p * height + y) * width
            rate = _RATE + (_RATE * _SETTLED) // (seen + _SETTLED // 4)
            if not fast:
                sum_b[:] = 0.0
                if y > 0:
                    for k in range(1, len(bright) + 1):
                        w = bright[k - 1]
                        _row_taps(values[_row_above(y, k) & 31], reach - len(w) // 2, w, sum_b)
                e0, e1, e2 = errors[y & 7], errors[(y - 1) & 7], errors[(y - 2) & 7]
                e3, e4, e5 = errors[(y - 3) & 7], errors[(y - 4) & 7], errors[(y - 5) & 7]
                e0[:reach] = 0
            for x in range(width):
                place = reach + x
                # ---- where the pixel will be
                total = sum_a[x] + round_up
                for k in range(left):
                    total += left_w[k] * current[place - 1 - k]
                mean_a = min(max(np.int64(total) >> SHIFT, -LIMIT), LIMIT)
                mean, mean_b, mean_c, energy = mean_a, mean_a, mean_a, 1
                near = 3 * a0[place - 1] + 3 * a1[place] + 2 * (a1[place - 1] + a1[place + 1])
                size = near + a0[place - 2] + a2[place] + a1[place + 2] + a1[place - 2] + a2[place - 1] + a2[place + 1]
                scale = np.int64(scale_of[min(size, 65535)])
                if not fast:
                    total = sum_b[x] + round_up
                    for k in range(len(bright_left)):
                        total += bright_left[k] * current[place - 1 - k]
                    mean_b = min(max(np.int64(total) >> SHIFT, -LIMIT), LIMIT)
                    moved, energy = np.int64(0), np.int64(0)
                    for k in range(8):
                        u = np.int64(e0[place - 8 + k])
                        moved += learnt[0, k] * u
                        energy += u * u
                    for k in range(8):
                        j = place - 4 + k
                        u1, u2, u3 = np.int64(e1[j]), np.int64(e2[j]), np.int64(e3[j])
                        u4, u5 = np.int64(e4[j]), np.int64(e5[j])
                        moved += learnt[1, k] * u1 + learnt[2, k] * u2 + learnt[3, k] * u3
                        moved += learnt[4, k] * u4 + learnt[5, k] * u5
                        energy += u1 * u1 + u2 * u2 + u3 * u3 + u4 * u4 + u5 * u5
                    mean_c = mean_a + min(max(moved >> 20, -_SHIFT_LIMIT), _SHIFT_LIMIT)
                    size = 4 * b0[place - 1] + 2 * b0[place - 2] + 4 * b1[place] + 3 * (b1[place - 1] + b1[place + 1])
                    scale_b = np.int64(scale_of[min(size, 65535)])
                    size = 6 * a0[place - 1] + 5 * a1[place] + 3 * a1[place + 1] + 2 * a1[place - 1]
                    scale_n = np.int64(scale_of[min(size, 65535)])
                    size = 3 * c0[place - 1] + 3 * c1[place] + 2 * (c1[place - 1] + c1[place + 1]) + c0[place - 2]
                    size += c2[place] + c1[place + 2] + c1[place - 2] + c2[place - 1] + c2[place + 1]
                    scale_c = np.int64(scale_of[min(size, 65535)])
                    mean = (mean_c + mean_b) >> 1 if scale_b + 3 < scale else mean_c
                value = mean
                if not (has_special and special[p, y, x]):
                    # ---- which cell it is: cell `t` begins below the mean, `t + 1` ends above it
                    shake = np.int64(dither[p, y, x]) if has_dither else np.int64(0)
                    t = (mean + shake) >> 6
                    origin = (t << 6) - shake
                    in_a = min(max(mean_a - origin, 0), UNITS - 1)
                    cell = cells[p, y, x]
                    distance = np.int64(0)
                    if fast:
                        key = SIDE_AT[0] + scale * SIDE + (in_a >> 1)
                        upper, state = bit(
                            decoding,
                            state,
                            buffer,
                            min(max(np.int64(table[key]) >> 16, 32), 65503),
                            1 if cell > t else 0,
                        )
                        learn(table, key, upper, steps)
                        cell_now = t + upper
                        reached = cell - cell_now if upper else cell_now - cell
                        edge = mean_a - origin - 32  # of the mean above the boundary that was asked for
                        edge = -edge if upper else edge
                        while distance < STEPS:
                            key = HAZARD_AT[0] + scale * HAZARD + min(max((edge >> 3) + 24, 0), 103)
                            chance = min(max(np.int64(table[key]) >> 16, 32), 65503)
                            more, state = bit(decoding, state, buffer, chance, 1 if reached > distance else 0)
                            learn(table, key, more, steps)
                            if not more:
                                break
                            distance += 1
                            edge += UNITS
                    else:
                        in_b, in_c = mean_b - origin, mean_c - origin
                        west = min(max((np.int64(current[place - 1]) - mean + 240) >> 5, 0), 14)
                        north = min(max((np.int64(above[place]) - mean + 240) >> 5, 0), 14)
                        pattern = west * PATTERN + north
                        within = min(max(mean - origin, 0), UNITS - 1)
                        at[0] = SIDE_AT[0] + scale * SIDE + (in_a >> 1)
                        at[1] = SIDE_AT[1] + scale_b * SIDE + (min(max(in_b, 0), UNITS - 1) >> 1)
                        at[2] = SIDE_AT[2] + scale_n * SIDE + (in_a >> 1)
                        at[3] = SIDE_AT[3] + pattern * 8 + (within >> 3)
                        at[4] = SIDE_AT[4] + min(scale >> 1, 11) * UNITS + within
                        at[5] = SIDE_AT[5] + scale_c * SIDE + (min(max(in_c, 0), UNITS - 1) >> 1)
                        row_of_weights = scale
                        answer = 1 if cell > t else 0
                        upper = np.int64(-1)
                        cell_now = t
                        reached = np.int64(0)
                        edge_a, edge_b, edge_c = np.int64(0), np.int64(0), np.int64(0)
                        while True:
                            w = weights[row_of_weights]
                            dot = np.int64(0)
                            for i in range(EXPERTS):
                                s = np.int64(stretch[np.int64(table[at[i]]) >> 20])
                                st[i] = s
                                dot += s * w[i]
                            chance = np.int64(squash[min(max(dot >> 20, -2047), 2047) + 2048])
                            answer, state = bit(decoding, state, buffer, chance, answer)
                            wrong = ((answer << 16) - chance) * 4
                            for i in range(EXPERTS):
                                w[i] += (st[i] * wrong + (1 << 15)) >> 16
                                learn(table, at[i], answer, steps)
                            if upper < 0:
                                upper = answer
                                cell_now = t + upper
                                reached = cell - cell_now if upper else cell_now - cell
                                edge_a, edge_b, edge_c = mean_a - origin - 32, in_b - 32, in_c - 32
                                if upper:
                                    edge_a, edge_b, edge_c = -edge_a, -edge_b, -edge_c
                            else:
                                if not answer:
                                    break
                                distance += 1
                                if distance == STEPS:
                                    break
                                edge_a += UNITS
                                edge_b += UNITS
                                edge_c += UNITS
                            bin_a = min(max((edge_a >> 3) + 24, 0), 103)
                            at[0] = HAZARD_AT[0] + scale * HAZARD + bin_a
                            at[1] = HAZARD_AT[1] + scale_b * HAZARD + min(max((edge_b >> 3) + 24, 0), 103)
                            at[2] = HAZARD_AT[2] + scale_n * HAZARD + bin_a
                            at[3] = HAZARD_AT[3] + (pattern * 2 + upper) * 6 + min(distance, 5)
                            at[4] = HAZARD_AT[4] + ((scale_n >> 1) * 12 + (scale_b >> 1)) * 8 + min(distance, 7)
                            at[5] = HAZARD_AT[5] + scale_c * HAZARD + min(max((edge_c >> 3) + 24, 0), 103)
                            row_of_weights = min(distance + 1, 3) * SCALES + scale
                            answer = 1 if reached > distance else 0
                    if distance == STEPS:
                        rest, state = number(decoding, state, buffer, table, steps, reached - STEPS)
                        distance += rest
                    if decoding:
                        cell = cell_now + distance if upper else cell_now - distance
                        cells[p, y, x] = cell
                    # ---- where it stands inside the cell
                    if kind == GRID:
                        if below > 0:
                            inside, state = wide_uniform(
                                decoding, state, buffer, np.int64(1) << below, 0 if decoding else low[p, y, x]
                            )
                            if decoding:
                                low[p, y, x] = inside
                            value = ((((cell << below) - half + inside) << 6) >> below) - shake
                        else:
                            value = (cell << 6) - shake
                    else:
                        inside, state = float_inside(
                            decoding, state, buffer, cell + offset, step, single, low[p, y, x], f4, i4, f8, i8
                        )
                        if decoding:
                            low[p, y, x] = inside
                        exact = from_ordered(inside, single, f4, i4, f8, i8) * units_per - np.float64(offset) * UNITS
                        value = np.int64(np.floor(min(max(exact, -1e9), 1e9)))
                    value = min(max(value, -LIMIT), LIMIT)
                # ---- what is learnt from it
                current[place] = value
                a0[place] = min(abs(value - mean_a), 65535)
                if not fast:
                    b0[place] = min(abs(value - mean_b), 65535)
                    c0[place] = min(abs(value - mean_c), 65535)
                    e0[place] = min(max(value - mean_a, -_ERROR_LIMIT), _ERROR_LIMIT)
                    gain = (min(max(value - mean_c, -_SHIFT_LIMIT), _SHIFT_LIMIT) * rate) // (energy + 9600)
                    for k in range(8):
                        learnt[0, k] += (gain * e0[place - 8 + k]) >> 4
                    for k in range(8):
                        j = place - 4 + k
                        learnt[1, k] += (gain * e1[j]) >> 4
                        learnt[2, k] += (gain * e2[j]) >> 4
                        learnt[3, k] += (gain * e3[j]) >> 4
                        learnt[4, k] += (gain * e4[j]) >> 4
                        learnt[5, k] += (gain * e5[j]) >> 4
            # ---- the row's mirror image beyond its ends
            for k in range(1, reach + 1):
                inner = min(k, width - 1)
                current[reach - k] = current[reach + inner]
                current[reach + width - 1 + k] = current[reach + width - 1 - inner]
            a0[reach + width :] = a0[reach + width - 1]
            if not fast:
                b0[reach + width :] = b0[reach + width - 1]
                c0[reach + width :] = c0[reach + width - 1]
                e0[reach + width :] = 0
            if planes > 1:
                _copy(current, this[reach + y], full)
        if planes > 1:
            for k in range(reach):
                inner = min(k, height - 1)
                _copy(this[reach + inner], this[reach - 1 - k], full)
                _copy(this[reach + height - 1 - inner], this[reach + height + k], full)
            last, this = this, last
    return 0 if decoding else finish(state, buffer)
