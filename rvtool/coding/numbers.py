"""Lists of whole numbers as bytes: small ones are short, and what is small is learnt from the numbers before."""

from __future__ import annotations

import numpy as np

from rvtool.coding.binary import State, bit, compiled, finish, readable, start, uniform
from rvtool.errors import DataError

CONTEXTS = 32
LENGTHS = 40
_MOST = 1 << 38


@compiled
def code_number(
    decoding: bool, state: State, buffer: np.ndarray, chances: np.ndarray, number: int
) -> tuple[int, State]:
    """Code a number from 0 to 2^38: its length in binary by adaptive answers, the bit below that too, then the rest.

    Parameters
    ----------
    chances : (`LENGTHS`, 2) int64
        Probabilities, 2^15 at first, of one context; they learn.
    """
    number = np.int64(0) if decoding else number + 1
    length = np.int64(0)
    while length < LENGTHS - 1:
        chance = chances[length, 0]
        more, state = bit(decoding, state, buffer, min(max(chance, 512), 65024), 1 if number >> (length + 1) else 0)
        chances[length, 0] += ((65536 if more else 0) - chance) >> 4
        if not more:
            break
        length += 1
    found = np.int64(1)
    for k in range(length - 1, -1, -1):
        asked = (number >> k) & 1
        if k == length - 1:
            chance = chances[length, 1]
            asked, state = bit(decoding, state, buffer, min(max(chance, 512), 65024), asked)
            chances[length, 1] += ((65536 if asked else 0) - chance) >> 4
        else:
            asked, state = uniform(decoding, state, buffer, 2, asked)
        found = (found << 1) | asked
    return found - 1, state


@compiled
def _code(decoding: bool, buffer: np.ndarray, numbers: np.ndarray, contexts: np.ndarray) -> int:
    chances = np.full((CONTEXTS, LENGTHS, 2), 1 << 15, np.int64)
    state = start(decoding, buffer)
    for i in range(len(numbers)):
        numbers[i], state = code_number(decoding, state, buffer, chances[contexts[i]], numbers[i])
    return 0 if decoding else finish(state, buffer)


def folded(numbers: np.ndarray) -> np.ndarray:
    """Return numbers of either sign as numbers from 0 on: 0, -1, 1, -2, ..."""
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)


def unfolded(numbers: np.ndarray) -> np.ndarray:
    """Return what `folded` was given."""
    return np.where(numbers & 1, -((numbers + 1) >> 1), numbers >> 1)


def encode_numbers(numbers: np.ndarray, contexts: np.ndarray) -> bytes:
    """Encode whole numbers of either sign, up to 2^37 in size.

    Parameters
    ----------
    numbers : (N,) integers
    contexts : (N,) integers below `CONTEXTS`
        Numbers of one context are expected to be alike in size; the decoder must know them.
    """
    whole = folded(np.asarray(numbers, np.int64).ravel())
    if whole.size and whole.max() >= _MOST:
        raise ValueError("a number is too large to encode")
    buffer = np.zeros(12 * whole.size + 16, np.uint8)
    return buffer[: _code(False, buffer, whole, np.asarray(contexts, np.int64).ravel())].tobytes()


def decode_numbers(data: bytes, contexts: np.ndarray) -> np.ndarray:
    """Decode what `encode_numbers` made.

    Returns
    -------
    numpy.ndarray : (N,) int64

    Raises
    ------
    DataError
        There are fewer numbers in the bytes than contexts.
    """
    contexts = np.asarray(contexts, np.int64).ravel()
    if contexts.size > 64 + 4096 * len(data):  # what is certain costs about 2^-12 of a byte
        raise DataError("A list of numbers in a compressed tile is too short; the file is damaged, fetch it again.")
    whole = np.zeros(contexts.size, np.int64)
    _code(True, readable(data), whole, contexts)
    return unfolded(whole)
