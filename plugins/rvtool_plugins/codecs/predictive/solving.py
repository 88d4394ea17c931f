"""Normal equations and their solution in compiled loops of fixed order.

A BLAS sums in an order that depends on its threads and on the processor, and would make other bytes of the same tile.
"""

from __future__ import annotations

import numpy as np

from rvtool.coding.binary import compiled


@compiled
def normal_equations(pixels: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper half of ``pixels.T @ (weights * pixels)``, and ``pixels.T @ (weights * wanted)``.

    Parameters
    ----------
    pixels : (N, K) float64
    wanted, weights : (N,) float64
    """
    count, taps = pixels.shape
    matrix, right = np.zeros((taps, taps)), np.zeros(taps)
    for n in range(count):
        row = pixels[n]
        for i in range(taps):
            factor = weights[n] * row[i]
            right[i] += factor * wanted[n]
            line, rest = matrix[i, i:], row[i:]
            for j in range(taps - i):
                line[j] += factor * rest[j]
    return matrix, right


@compiled
def _factored(matrix: np.ndarray, ridge: float) -> tuple[bool, np.ndarray]:
    """Return the Cholesky factor U (U^T U = matrix + ridge), from the upper half of the matrix."""
    factor = matrix.copy()
    size = len(factor)
    for i in range(size):
        factor[i, i] += ridge
    for k in range(size):
        pivot = factor[k, k]
        if not pivot > 0.1 * ridge:
            return False, factor
        row = factor[k, k:]
        scale = 1.0 / np.sqrt(pivot)
        for j in range(size - k):
            row[j] *= scale
        for i in range(k + 1, size):
            times = factor[k, i]
            line, above = factor[i, i:], factor[k, i:]
            for j in range(size - i):
                line[j] -= times * above[j]
    return True, factor


@compiled
def _substituted(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    size = len(right)
    found = right.copy()
    for i in range(size):
        found[i] /= factor[i, i]
        for j in range(i + 1, size):
            found[j] -= factor[i, j] * found[i]
    for i in range(size - 1, -1, -1):
        for j in range(i + 1, size):
            found[i] -= factor[i, j] * found[j]
        found[i] /= factor[i, i]
    return found


def solution(matrix: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
    """Solve for the weights; a matrix of estimates may need a larger ridge before its solution means anything.

    Parameters
    ----------
    matrix : (K, K)
        The upper half is looked at.
    ridge
        Added to the diagonal, in units of its mean.
    """
    power = float(np.trace(matrix)) / len(matrix) + 1e-30
    for _ in range(6):
        good, factor = _factored(matrix, ridge * power)
        if good:
            return _substituted(factor, right)
        ridge *= 10
    return np.zeros(len(right))
