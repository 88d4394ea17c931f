"""Probabilities that learn: where the answers of each expert stand in one table, and how an answer moves them."""

from __future__ import annotations

import numpy as np

from rvtool.coding.binary import State, bit, compiled, wide_uniform

SCALES = 24
EXPERTS = 6

SIDE, HAZARD = 32, 128  # cells of a table, for each scale: where the mean lies, how far the boundary is
PATTERN = 15
# where the tables of each expert begin: answers to "which side", then answers to "further"
SIDE_AT = (0, 768, 1536, 2304, 4104, 4872)
HAZARD_AT = (5640, 8712, 11784, 14856, 17556, 18708)
TABLE = 21780
SETS = 4 * SCALES
"""Sets of mixing weights: for the first questions and each scale."""

EXPONENT_AT = TABLE  # then 64 probabilities of the lengths of numbers
PROBABILITIES = TABLE + 64

_COUNT_BITS = 10
_SLOWEST = 600  # answers that a probability remembers


@compiled
def learn(table: np.ndarray, at: int, answer: int, steps: np.ndarray) -> None:
    """Move a probability (22 bits above its count) towards an answer, ever more slowly."""
    entry = np.int64(table[at])
    count = entry & ((1 << _COUNT_BITS) - 1)
    chance = entry >> _COUNT_BITS
    target = (1 << 22) - 1 if answer else 0
    chance += ((target - chance) * steps[count]) >> 16
    table[at] = (chance << _COUNT_BITS) | min(count + 1, _SLOWEST)


@compiled
def number(
    decoding: bool, state: State, buffer: np.ndarray, table: np.ndarray, steps: np.ndarray, value: int
) -> tuple[int, State]:
    """Code a number from 0 on: its length by adaptive answers, then its bits."""
    length = 0
    while not decoding and (value + 1) >> (length + 1):
        length += 1
    k = 0
    while True:
        chance = min(max(np.int64(table[EXPONENT_AT + k]) >> 16, 64), 65472)
        more, state = bit(decoding, state, buffer, chance, 1 if k < length else 0)
        learn(table, EXPONENT_AT + k, more, steps)
        if not more or k == 40:
            break
        k += 1
    rest, state = wide_uniform(decoding, state, buffer, np.int64(1) << k, (value + 1) - (np.int64(1) << k))
    return (np.int64(1) << k) + rest - 1, state
