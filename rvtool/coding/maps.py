"""Maps of whole numbers under a prior, as bytes: what a trained autoencoder makes of an image.

The prior is a table of whole numbers for each situation in which a symbol can stand (`rvtool.coding.symbols` says why
they are whole): what class the symbols to its left and above it are of, and the one at its place in the map before. The
same tables code, tell how many bits that takes, and draw maps anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvtool.coding.binary import ONE, State, compiled, finish, interval, readable, start
from rvtool.coding.binary import uniform as even
from rvtool.coding.symbols import integer_tables
from rvtool.errors import DataError

CLASSES = 4
"""Of symbols, by how surprising what follows them is; a further one stands for what lies beyond the edge."""

CONTEXTS = (CLASSES + 1) ** 3
_STRENGTHS = (2.0, 8.0, 32.0, 128.0, 512.0)  # symbols that a map's own shares count for, in every situation
_DIGITS = 30  # of a number beyond the ends
_MOST = 1 << _DIGITS
_LEAST = 0.02  # of a symbol, for those that were never seen


@dataclass(frozen=True)
class Prior:
    """How probable each number of each of S maps is.

    Attributes
    ----------
    classes : (S, K) integers
        Of each symbol, 1 to `CLASSES`.
    tables : (S, `CONTEXTS`, K + 1) int32
        Cumulative probabilities, as `rvtool.coding.symbols.integer_tables` gives them.
    open
        K is odd, numbers are counted from the middle symbol, and there are others: the first and the last symbol then
        stand for all numbers from there on, and how far beyond is added as an Elias gamma code. Else they are 0 to
        K - 1.
    """

    classes: np.ndarray
    tables: np.ndarray
    open: bool

    @classmethod
    def flat(cls, maps: int, alphabet: int, *, open: bool) -> Prior:
        """Return the prior that knows nothing."""
        even = integer_tables(np.ones((1, alphabet)))
        tables = np.broadcast_to(even, (maps, CONTEXTS, alphabet + 1)).copy()
        return cls(np.ones((maps, alphabet), np.int64), tables, open)

    @classmethod
    def fitted(cls, maps: Sequence[np.ndarray], alphabet: int, *, open: bool) -> Prior:
        """Learn the prior from maps, ``(S, h, w)`` each, of any sizes.

        In situations that were seen rarely a symbol is about as probable as in all of its map; how much that counts is
        what predicts one half of the maps best from the other.
        """
        sizes: dict[tuple[int, ...], list[np.ndarray]] = {}
        for one in maps:
            sizes.setdefault(one.shape, []).append(_symbols(np.asarray(one, np.int64), alphabet, open))
        stacks = [np.stack(alike, axis=1) for alike in sizes.values()]  # (S, N, h, w)
        count = len(maps[0])
        classes = np.ones((count, alphabet), np.int64)
        tables = np.zeros((count, CONTEXTS, alphabet + 1), np.int32)
        for number in range(count):
            shares = _shares(np.concatenate([stack[number].ravel() for stack in stacks]), alphabet)
            classes[number] = _classed([stack[number] for stack in stacks], -np.log2(shares))
            some = slice(max(number - 1, 0), number + 1)  # the map, and the one before
            halves = [np.zeros((CONTEXTS, alphabet)) for _ in range(2)]
            for stack in stacks:
                contexts = _contexts(stack[some], classes[some])[-1]
                for half in range(2):
                    both = contexts[half::2] * alphabet + stack[number][half::2]
                    halves[half] += np.bincount(both.ravel(), minlength=CONTEXTS * alphabet).reshape(CONTEXTS, alphabet)
            strength = min(_STRENGTHS, key=lambda asked: _surprise(halves, asked))
            tables[number] = integer_tables(_smoothed(halves[0] + halves[1], strength))
        return cls(classes, tables, open)

    @property
    def alphabet(self) -> int:
        """How many symbols there are."""
        return self.classes.shape[1]

    def check(self) -> None:
        """Check what was read from a file.

        Raises
        ------
        DataError
            It is no prior.
        """
        tables, classes = self.tables, self.classes
        fits = tables.shape == (len(classes), CONTEXTS, classes.shape[1] + 1)
        if (
            not fits
            or (tables[..., 1:] <= tables[..., :-1]).any()
            or (tables[..., 0] != 0).any()
            or (tables[..., -1] != ONE).any()
        ):
            raise DataError("The prior of a trained model does not rise from 0 to 65536; fetch or train it again.")
        if classes.min() < 1 or classes.max() > CLASSES:
            raise DataError("The prior of a trained model has symbols without a class; fetch or train it again.")

    def encode(self, maps: np.ndarray) -> bytes:
        """Encode maps ``(S, h, w)``."""
        maps = np.array(maps, np.int64)
        if maps.size and not (
            -_MOST < maps.min() <= maps.max() < _MOST if self.open else 0 <= maps.min() <= maps.max() < self.alphabet
        ):
            raise ValueError("a number that the prior does not have")
        buffer = np.zeros(12 * maps.size + 16, np.uint8)
        return buffer[: _code(False, buffer, maps, self._classes, self._tables, self.open)].tobytes()

    def decode(self, data: bytes, shape: Sequence[int]) -> np.ndarray:
        """Decode maps ``(S, h, w)``; bytes that are none give some maps too."""
        maps = np.zeros(tuple(shape), np.int64)
        _code(True, readable(data), maps, self._classes, self._tables, self.open)
        return maps

    def bits(self, maps: np.ndarray) -> np.ndarray:
        """Return how many bits each number of maps ``(S, h, w)`` takes."""
        maps = np.asarray(maps, np.int64)
        symbols = _symbols(maps, self.alphabet, self.open)
        contexts = _contexts(symbols, self._classes)
        which = np.arange(len(maps))[:, None, None]
        lowest, highest = (self.tables[which, contexts, symbols + more].astype(np.float64) for more in (0, 1))
        bits = np.log2(ONE / (highest - lowest))
        if self.open:
            reach = self.alphabet // 2
            beyond = np.abs(maps) - reach
            gamma = 2 * np.floor(np.log2(np.maximum(beyond, 0) + 1.0)) + 1
            bits = bits + np.where(beyond >= 0, gamma, 0.0)
        return bits

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        """Draw maps; numbers beyond the ends are drawn as the ends.

        Parameters
        ----------
        uniform : (S, h, w) integers
            Evenly distributed from 0 to 65535.
        """
        maps = np.zeros(uniform.shape, np.int64)
        _fill(np.asarray(uniform, np.int64), maps, self._classes, self._tables)
        return maps - self.alphabet // 2 if self.open else maps

    @property
    def _classes(self) -> np.ndarray:
        return np.asarray(self.classes, np.int64)

    @property
    def _tables(self) -> np.ndarray:
        return np.ascontiguousarray(self.tables, np.int32)


def _symbols(maps: np.ndarray, alphabet: int, open: bool) -> np.ndarray:
    """Return the symbols of numbers."""
    return np.clip(maps + alphabet // 2, 0, alphabet - 1) if open else maps


def _shares(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    counts = np.bincount(symbols, minlength=alphabet) + _LEAST
    return counts / counts.sum()


def _classed(maps: Sequence[np.ndarray], surprise: np.ndarray) -> np.ndarray:
    """Sort symbols into classes of about as many occurrences, by the mean surprise of what is right of and below them.

    Where little happens little follows, so that the classes tell the background from sources.
    """
    alphabet = len(surprise)
    followed, times = np.zeros(alphabet), np.zeros(alphabet)
    for one in maps:
        for before, after in ((one[..., :-1], one[..., 1:]), (one[..., :-1, :], one[..., 1:, :])):
            followed += np.bincount(before.ravel(), surprise[after.ravel()], alphabet)
            times += np.bincount(before.ravel(), minlength=alphabet)
    usual = followed.sum() / max(times.sum(), 1.0)
    mean = (followed + usual) / (times + 1)
    order = np.argsort(mean, kind="stable")
    passed = np.cumsum(times[order]) - times[order] / 2
    classes = np.ones(alphabet, np.int64)
    classes[order] = 1 + np.minimum(CLASSES - 1, (CLASSES * passed / max(times.sum(), 1.0)).astype(np.int64))
    return classes


def _smoothed(counts: np.ndarray, strength: float) -> np.ndarray:
    shares = counts.sum(axis=0) + _LEAST
    shares = shares / shares.sum()
    return (counts + strength * shares) / (counts.sum(axis=1, keepdims=True) + strength)


def _surprise(halves: Sequence[np.ndarray], strength: float) -> float:
    """Return the bits of each half under the tables of the other."""
    one, other = halves
    return float(-sum((a * np.log2(_smoothed(b, strength))).sum() for a, b in ((one, other), (other, one))))


def _contexts(maps: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the situation of every symbol of ``(S, ..., h, w)``, as `_situation` numbers them."""
    of = np.take_along_axis(classes, maps.reshape(len(maps), -1), axis=1).reshape(maps.shape)
    left, above, before = (np.zeros_like(of) for _ in range(3))
    left[..., 1:], above[..., 1:, :], before[1:] = of[..., :-1], of[..., :-1, :], of[:-1]
    return (left * (CLASSES + 1) + above) * (CLASSES + 1) + before


@compiled
def _situation(maps: np.ndarray, classes: np.ndarray, s: int, y: int, x: int) -> int:
    left = classes[s, maps[s, y, x - 1]] if x > 0 else 0
    above = classes[s, maps[s, y - 1, x]] if y > 0 else 0
    before = classes[s - 1, maps[s - 1, y, x]] if s > 0 else 0
    return (left * (CLASSES + 1) + above) * (CLASSES + 1) + before


@compiled
def _gamma(decoding: bool, state: State, buffer: np.ndarray, number: int) -> tuple[int, State]:
    """Code a number from 0 on: how many binary digits one more than it has, then these (Elias 1975)."""
    length = np.int64(0)
    while length < _DIGITS:
        more, state = even(decoding, state, buffer, 2, 1 if (number + 1) >> (length + 1) else 0)
        if not more:
            break
        length += 1
    found = np.int64(1)
    for k in range(length - 1, -1, -1):
        digit, state = even(decoding, state, buffer, 2, ((number + 1) >> k) & 1)
        found = (found << 1) | digit
    return found - 1, state


@compiled
def _code(
    decoding: bool, buffer: np.ndarray, maps: np.ndarray, classes: np.ndarray, tables: np.ndarray, open: bool
) -> int:
    state = start(decoding, buffer)
    count, height, width = maps.shape
    last = classes.shape[1] - 1
    reach = last // 2 if open else 0
    symbols = np.zeros_like(maps)
    for s in range(count):
        for y in range(height):
            for x in range(width):
                edges = tables[s, _situation(symbols, classes, s, y, x)]
                number = maps[s, y, x]
                symbol = min(max(number + reach, 0), last)
                symbol, state = interval(decoding, state, buffer, edges, symbol)
                symbols[s, y, x] = symbol
                if decoding:
                    number = symbol - reach
                if open and symbol in (0, last):
                    beyond, state = _gamma(decoding, state, buffer, abs(number) - reach)
                    if decoding:
                        number = number - beyond if symbol == 0 else number + beyond
                maps[s, y, x] = number
    return 0 if decoding else finish(state, buffer)


@compiled
def _fill(uniform: np.ndarray, maps: np.ndarray, classes: np.ndarray, tables: np.ndarray) -> None:
    count, height, width = maps.shape
    for s in range(count):
        for y in range(height):
            for x in range(width):
                edges = tables[s, _situation(maps, classes, s, y, x)]
                maps[s, y, x] = np.searchsorted(edges, uniform[s, y, x], side="right") - 1
