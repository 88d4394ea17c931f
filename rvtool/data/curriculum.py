"""From easy images to hard ones in the course of a training (Bengio et al. 2009, ICML, 41)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rvtool.data.dataset import Dataset
from rvtool.errors import ConfigError

FIRST_PART = 0.2  # of the images that the first epoch sees


@dataclass(frozen=True)
class Curriculum:
    """Which images an epoch sees: the easiest fifth in the first, and evenly more until all are seen.

    Attributes
    ----------
    easiness
        ``(N,)`` for each row of the manifest; NaN is hardest.
    epochs
        The first epoch that sees all images.
    """

    easiness: np.ndarray
    epochs: int

    def rows(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Return those of the rows that an epoch sees, at least two."""
        part = min(1.0, FIRST_PART + (1 - FIRST_PART) * epoch / self.epochs)
        count = max(min(2, len(rows)), round(part * len(rows)))
        easy_first = np.argsort(-np.nan_to_num(self.easiness[rows], nan=-np.inf), kind="stable")
        return rows[np.sort(easy_first[:count])]


def read_curriculum(dataset: Dataset, text: str, epochs: int) -> Curriculum:
    """Read ``COLUMN``, of which large values are easy, or ``COLUMN:ascending``, of which small ones are.

    Raises
    ------
    ConfigError
        There is no such column, it holds no numbers, or the ending is another.
    """
    name, _, ending = text.partition(":")
    if ending not in ("", "ascending"):
        raise ConfigError(f"--curriculum {text}: write COLUMN (large values first) or COLUMN:ascending.")
    values = dataset.numbers(name)
    if not np.isfinite(values).any():
        raise ConfigError(f"Column '{name}' of {dataset.root} says nothing to order images by; choose another.")
    return Curriculum(-values if ending else values, epochs)
