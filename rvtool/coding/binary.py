"""A 32-bit binary range coder with carry, as functions that compiled loops call.

The state of encoder and decoder is one tuple of integers, so that it stays in registers::

    encoding: (low, range, cached byte and its 0xFF followers waiting for a carry, bytes written)
    decoding: (code, range, 0, bytes read)

`bit` and `uniform` do either, so that a model is written once. All of it is plain Python too: with
``NUMBA_DISABLE_JIT=1``, or through ``function.py_func``, the interpreter runs the same lines on the same integers,
which is the reference that the compiled code is tested against.

References
----------
Martin 1979, "Range encoding" (Video & Data Recording Conference); the carry is handled as in Igor Pavlov's LZMA.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PROBABILITY_BITS = 16
ONE = 1 << PROBABILITY_BITS
"""Probabilities are integers; `ONE` would be certainty, and is never reached."""

_TOP = 1 << 24
_MASK = (1 << 32) - 1
_WAITING = 1 << 8  # the cached byte stands in the low bits of the third number, the count of waiting bytes above it

State = tuple[int, int, int, int]

compiled = njit(cache=True, nogil=True, boundscheck=False)
"""How every loop of the coders is compiled: kept on disk, without the lock of the interpreter."""


def readable(data: bytes) -> np.ndarray:
    """Return bytes as the buffer of a decoder (a copy that may be written, so that loops are compiled once)."""
    return np.frombuffer(data, np.uint8).copy()


@compiled
def start(decoding: bool, buffer: np.ndarray) -> State:
    """Return the state at the beginning; a decoder reads its first four bytes."""
    if not decoding:
        return 0, _MASK, 0, -1  # the first byte that is shifted out is the empty cache
    code = 0
    for i in range(4):
        code = (code << 8) | (np.int64(buffer[i]) if i < len(buffer) else 0)
    return code, _MASK, 0, 4


@compiled
def _put(buffer: np.ndarray, place: int, byte: int) -> None:
    if 0 <= place < len(buffer):  # beyond the end it is only counted: the caller sees that there was no room
        buffer[place] = byte


@compiled
def _shifted(low: int, waiting: int, place: int, buffer: np.ndarray) -> tuple[int, int, int]:
    """Move the top byte of `low` out; a byte 0xFF waits, for a carry may still run through it."""
    if low < 0xFF000000 or low > _MASK:
        carry = low >> 32
        _put(buffer, place, ((waiting & 0xFF) + carry) & 0xFF)
        place += 1
        for _ in range(waiting >> 8):
            _put(buffer, place, (0xFF + carry) & 0xFF)
            place += 1
        return (low & 0x00FFFFFF) << 8, (low >> 24) & 0xFF, place
    return (low & 0x00FFFFFF) << 8, waiting + _WAITING, place


@compiled
def _narrowed(decoding: bool, state: State, buffer: np.ndarray) -> State:
    low, span, waiting, place = state
    while span < _TOP:
        span <<= 8
        if decoding:
            low = ((low << 8) & _MASK) | (np.int64(buffer[place]) if place < len(buffer) else 0)
            place += 1
        else:
            low, waiting, place = _shifted(low, waiting, place, buffer)
    return low, span, waiting, place


@compiled
def bit(decoding: bool, state: State, buffer: np.ndarray, probability: int, value: int) -> tuple[int, State]:
    """Code one binary decision.

    Parameters
    ----------
    probability
        That the decision is 1, in 1 / `ONE`: 1 to `ONE` - 1.
    value
        The decision; looked at in encoding only.

    Returns
    -------
    value, state
    """
    low, span, waiting, place = state
    bound = (span >> PROBABILITY_BITS) * probability
    if decoding:
        value = 1 if low < bound else 0
    if value:
        span = bound
    else:
        low += -bound if decoding else bound
        span -= bound
    if span < _TOP:
        return value, _narrowed(decoding, (low, span, waiting, place), buffer)
    return value, (low, span, waiting, place)


@compiled
def uniform(decoding: bool, state: State, buffer: np.ndarray, count: int, value: int) -> tuple[int, State]:
    """Code one of `count` values (1 to 2^16) that are equally probable."""
    low, span, waiting, place = state
    part = span // count
    if decoding:
        value = min(low // part, count - 1)
        low -= value * part
    else:
        low += value * part
    span = part if value < count - 1 else span - part * (count - 1)
    return value, _narrowed(decoding, (low, span, waiting, place), buffer)


@compiled
def interval(decoding: bool, state: State, buffer: np.ndarray, edges: np.ndarray, symbol: int) -> tuple[int, State]:
    """Code one of several symbols.

    Parameters
    ----------
    edges : (S + 1,) integers
        Cumulative probabilities in 1 / `ONE`, from 0 to `ONE`: symbol `i` lies between the edges `i` and `i + 1`.
    """
    low, span, waiting, place = state
    part = span >> PROBABILITY_BITS
    if decoding:
        at = min(low // part, ONE - 1)
        symbol, above = np.int64(0), np.int64(len(edges) - 1)
        while above - symbol > 1:
            middle = (symbol + above) >> 1
            if edges[middle] <= at:
                symbol = middle
            else:
                above = middle
    begin, end = np.int64(edges[symbol]), np.int64(edges[symbol + 1])
    low += -part * begin if decoding else part * begin
    span = span - part * begin if end == ONE else part * (end - begin)
    return symbol, _narrowed(decoding, (low, span, waiting, place), buffer)


@compiled
def wide_uniform(decoding: bool, state: State, buffer: np.ndarray, count: int, value: int) -> tuple[int, State]:
    """Code one of `count` values (1 to 2^62) that are equally probable: the top 13 bits as such, the rest as bits."""
    below = 0
    while (count - 1) >> below >= 1 << 13:
        below += 1
    top, state = uniform(decoding, state, buffer, ((count - 1) >> below) + 1, value >> below)
    result = top
    while below > 0:
        size = min(below, 16)
        below -= size
        part, state = uniform(decoding, state, buffer, 1 << size, (value >> below) & ((1 << size) - 1))
        result = (result << size) | part
    return result, state


@compiled
def finish(state: State, buffer: np.ndarray) -> int:
    """Write what an encoder still holds, and return how many bytes there are: more than fit if there was no room."""
    low, span, waiting, place = state
    # the number of fewest bytes inside [low, low + span)
    for kept in (8, 16, 24, 32):
        mask = (1 << (32 - kept)) - 1
        if ((low + mask) & ~mask) <= low + span - 1:
            low = (low + mask) & ~mask
            break
    for _ in range(5):
        low, waiting, place = _shifted(low, waiting, place, buffer)
    while 0 < place <= len(buffer) and buffer[place - 1] == 0:  # a decoder reads zeros beyond the end
        place -= 1
    return place
