"""Symbols of known probabilities as bytes: the codes of a trained autoencoder, for example.

Probabilities are tables of whole numbers that are made once, at training, and are stored with the model: floats that
are computed on the reader's machine may differ in the last bit, and one wrong probability spoils all that follows.

References
----------
Balle, Johnston & Minnen 2019, ICLR, "Integer networks for data compression with latent-variable models".
"""

from __future__ import annotations

import numpy as np

from rvtool.coding.binary import ONE, compiled, finish, interval, readable, start
from rvtool.errors import DataError


def integer_tables(probabilities: np.ndarray) -> np.ndarray:
    """Return cumulative tables of whole numbers, in which no symbol is impossible.

    Parameters
    ----------
    probabilities : (T, S)
        Not negative; each row is scaled to one.

    Returns
    -------
    numpy.ndarray : (T, S + 1) int32
        Rising from 0 to 65536.
    """
    given = np.asarray(probabilities, np.float64)
    tables, symbols = given.shape
    if not 1 <= symbols <= ONE // 2:
        raise ValueError(f"a table has 1 to {ONE // 2} symbols, not {symbols}")
    if not (np.isfinite(given).all() and (given >= 0).all() and (given.sum(axis=1) > 0).all()):
        raise ValueError("probabilities are finite, not negative, and not all zero")
    shares = np.cumsum(given, axis=1) / given.sum(axis=1, keepdims=True)
    edges = np.zeros((tables, symbols + 1), np.int32)
    # each symbol has one part for sure, and its share of the others
    edges[:, 1:] = np.rint(shares * (ONE - symbols)).astype(np.int32) + np.arange(1, symbols + 1)
    edges[:, -1] = ONE
    return edges


@compiled
def _code(decoding: bool, buffer: np.ndarray, symbols: np.ndarray, which: np.ndarray, tables: np.ndarray) -> int:
    state = start(decoding, buffer)
    for i in range(len(symbols)):
        symbols[i], state = interval(decoding, state, buffer, tables[which[i]], symbols[i])
    return 0 if decoding else finish(state, buffer)


def encode_symbols(symbols: np.ndarray, which: np.ndarray, tables: np.ndarray) -> bytes:
    """Encode symbols.

    Parameters
    ----------
    symbols, which : (N,) integers
        Each symbol, and the table that holds its probabilities.
    tables : (T, S + 1)
        As `integer_tables` makes them.
    """
    symbols, which = np.array(symbols, np.int64).ravel(), np.asarray(which, np.int64).ravel()
    if symbols.size and not (symbols.min() >= 0 and symbols.max() < tables.shape[1] - 1):
        raise ValueError("a symbol that the tables do not have")
    buffer = np.zeros(2 * symbols.size + 16, np.uint8)
    return buffer[: _code(False, buffer, symbols, which, np.asarray(tables, np.int64))].tobytes()


def decode_symbols(data: bytes, which: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Decode what `encode_symbols` made.

    Returns
    -------
    numpy.ndarray : (N,) int64

    Raises
    ------
    DataError
        The tables are none.
    """
    tables = np.asarray(tables, np.int64)
    if tables.ndim != 2 or (np.diff(tables) < 1).any() or (tables[:, 0] != 0).any() or (tables[:, -1] != ONE).any():
        raise DataError("A table of probabilities does not rise from 0 to 65536; the model is damaged, fetch it again.")
    which = np.asarray(which, np.int64).ravel()
    symbols = np.zeros(which.size, np.int64)
    _code(True, readable(data), symbols, which, tables)
    return symbols
