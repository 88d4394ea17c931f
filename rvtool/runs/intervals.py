"""What a regressor's answers on its validation images say of its later ones: how far off it may be.

As for classifiers (`rvtool.runs.calibration`) a run keeps its answers on the images that validated it in
``validation.parquet``, and intervals of any coverage follow from them.

References
----------
Lei et al. 2018, J. Am. Stat. Assoc. 113, 1094, arXiv:1604.04173, section 5.2 (locally weighted split conformal)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rvtool.data.files import writing
from rvtool.errors import DataError
from rvtool.runs.calibration import FILE, common_rows


@dataclass(frozen=True)
class Intervals:
    """Answers on validation images, and the truth, all in the label's unit.

    Attributes
    ----------
    content
        (N,), what `rvtool.runs.known.contents` gives of each image.
    truth
        (N,).
    answers
        (N, 2): estimates and standard deviations, as the network gave them.
    limits
        Between which every label lies.
    """

    content: Sequence[bytes]
    truth: np.ndarray
    answers: np.ndarray
    limits: tuple[float, float]

    def factor(self, coverage: float) -> float:
        """Return how many standard deviations around the estimate hold the truth with a chance of `coverage`.

        The k-th smallest |truth - estimate| / deviation of n images, k = ceil((n + 1) coverage); infinite where n
        images are too few for so sure a claim.
        """
        misses = np.sort(np.abs(self.truth - self.answers[:, 0]) / self.answers[:, 1])
        place = int(np.ceil((len(misses) + 1) * coverage - 1e-9))
        return float(misses[place - 1]) if place <= len(misses) else np.inf

    def around(self, answers: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends ``(M,)`` of the interval round each of the answers ``(M, 2)``."""
        reach = self.factor(coverage) * answers[:, 1]
        low, high = answers[:, 0] - reach, answers[:, 0] + reach
        return np.maximum(low, self.limits[0]), np.minimum(high, self.limits[1])


def mean_answer(members: Sequence[np.ndarray]) -> np.ndarray:
    """Return what several regressors say together: the mean and deviation ``(N, 2)`` of an even mixture of theirs."""
    estimates, deviations = (np.stack([one[:, part] for one in members]) for part in (0, 1))
    spread = np.sqrt((deviations**2).mean(axis=0) + estimates.var(axis=0))
    return np.stack([estimates.mean(axis=0), spread], axis=1)


def together(members: Sequence[Intervals | None]) -> Intervals | None:
    """Return the intervals of several regressors' mean answer.

    None where one of them has none, or too few images validated all.
    """
    kept = [one for one in members if one is not None]
    found = common_rows([one.content for one in kept]) if len(kept) == len(members) else None
    if found is None:
        return None
    common, rows = found
    answers = [one.answers[own] for one, own in zip(kept, rows, strict=True)]
    return Intervals(common, kept[0].truth[rows[0]], mean_answer(answers), kept[0].limits)


def write_intervals(folder: Path, intervals: Intervals) -> None:
    """Keep answers on validation images in a run's folder."""
    columns = {
        "content": pa.array(intervals.content, pa.binary()),
        "truth": pa.array(intervals.truth),
        "estimate": pa.array(intervals.answers[:, 0]),
        "deviation": pa.array(intervals.answers[:, 1]),
    }
    with writing(folder / FILE) as stream:
        pq.write_table(pa.table(columns), stream)


def read_intervals(folder: Path, limits: tuple[float, float]) -> Intervals | None:
    """Read what `write_intervals` wrote; None where the run has kept nothing.

    Raises
    ------
    DataError
        The file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        answers = np.stack([table[name].to_numpy() for name in ("estimate", "deviation")], axis=1)
        return Intervals(table["content"].to_pylist(), table["truth"].to_numpy(), answers, limits)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise DataError(f"{path} is damaged or of another run ({error}); train the run again.") from error
