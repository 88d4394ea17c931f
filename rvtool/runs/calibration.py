"""What a classifier's answers on its validation images say of its later ones: how sure it may be, and of what.

A run keeps its answers on the images that validated it in ``validation.parquet``. From them come, whenever they are
asked for, the temperature that makes its probabilities honest and the sets of classes that hold the true one as often
as was asked; an ensemble does the same with the mean answers of its members.

References
----------
.. [1] Guo et al. 2017, arXiv:1706.04599
.. [2] Sadinle, Lei & Wasserman 2019, J. Am. Stat. Assoc. 114, 223, arXiv:1609.00451
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.optimize import minimize, minimize_scalar

from rvtool.data.files import writing
from rvtool.errors import DataError

FILE = "validation.parquet"
TEMPERATURES = (0.1, 10.0)
FEWEST = 30  # validation images on which anything is fitted
LOOSE = 3.0  # standard deviation of a class's shift that is thought likely before: it matters for absent classes only

Prior = Literal["model", "data"]
"""Whose shares of the classes probabilities rest on: those that the training aimed at, or the validation images'."""


@dataclass(frozen=True)
class Calibration:
    """Answers on validation images, and the truth.

    Attributes
    ----------
    content
        (N,), what `rvtool.runs.known.contents` gives of each image.
    labels
        (N,), integers in 0 .. K-1.
    probabilities
        (N, K), as the network gave them.
    prior
        ``"model"``: only a temperature is fitted, and the classes keep the shares for which the network was trained
        (equal ones, where its loss adjusted the logits so). ``"data"``: a shift of each class is fitted too, so that
        probabilities are those of a population in which the classes are as frequent as among these images.
    """

    content: Sequence[bytes]
    labels: np.ndarray
    probabilities: np.ndarray
    prior: Prior = "model"

    @property
    def temperature(self) -> float:
        """The T that makes log p / T likeliest: eq. 9 of [1]_."""
        return self._fitted[0]

    @cached_property
    def _fitted(self) -> tuple[float, np.ndarray]:
        """The T and the shifts b that make log p / T + b likeliest (section 4.2 of [1]_: vector scaling of one T)."""
        kinds = self.probabilities.shape[1]
        rows = np.arange(len(self.labels))

        def surprise(log_temperature: float, shifts: np.ndarray) -> float:
            truth = soften(self.probabilities, float(np.exp(log_temperature)), shifts)[rows, self.labels]
            return float(-np.log(np.maximum(truth, np.finfo(float).tiny)).sum() + 0.5 * (shifts**2).sum() / LOOSE**2)

        still, bounds = np.zeros(kinds), np.log(TEMPERATURES)
        first = minimize_scalar(surprise, bounds=bounds, args=(still,), method="bounded", options={"xatol": 1e-4})
        if self.prior == "model":
            return float(np.exp(first.x)), still
        found = minimize(
            lambda x: surprise(x[0], x[1:]), np.r_[first.x, still], bounds=[tuple(bounds), *[(None, None)] * kinds]
        )
        return float(np.exp(found.x[0])), found.x[1:]

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities ``(M, K)`` as sure as the validation images say that they may be."""
        return soften(probabilities, *self._fitted)

    def least_probability(self, coverage: float) -> float:
        """Return the least probability of a class in a set that holds the true class with a chance of `coverage`.

        The k-th largest true class's probability among n calibrated answers, k = ceil((n + 1) coverage) [2]_: sets of
        all classes that reach it are the smallest on average. 0 where n images are too few for so sure a claim.
        """
        calibrated = self.apply(self.probabilities)
        truths = np.sort(calibrated[np.arange(len(self.labels)), self.labels])[::-1]
        place = int(np.ceil((len(truths) + 1) * coverage - 1e-9))
        return float(truths[place - 1]) if place <= len(truths) else 0.0

    def sets(self, calibrated: np.ndarray, coverage: float) -> np.ndarray:
        """Return which classes belong to the set of each calibrated answer, ``(M, K)`` bool; the likeliest always."""
        inside = calibrated >= self.least_probability(coverage)
        inside[np.arange(len(calibrated)), calibrated.argmax(axis=1)] = True
        return inside


def soften(probabilities: np.ndarray, temperature: float, shifts: np.ndarray | float = 0.0) -> np.ndarray:
    """Return softmax(log p / T + b), ``(N, K)``."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)) / temperature + shifts
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def common_rows(contents: Sequence[Sequence[bytes]]) -> tuple[list[bytes], list[np.ndarray]] | None:
    """Find the images that validated all of several runs.

    Returns
    -------
    Their contents, and where they stand in each of `contents`; None where they are fewer than `FEWEST`, and not all of
    a run's either: nothing fitted on so few would hold.
    """
    common = sorted(set(contents[0]).intersection(*contents[1:]))
    if len(common) < min(FEWEST, *(len(one) for one in contents)):
        return None
    places = [{content: row for row, content in enumerate(one)} for one in contents]
    return common, [np.array([place[content] for content in common], np.int64) for place in places]


def together(calibrations: Sequence[Calibration | None], prior: Prior = "model") -> Calibration | None:
    """Return the calibration of the mean of several classifiers' probabilities.

    None where one of them has none, or too few images validated all (`common_rows`).
    """
    kept = [one for one in calibrations if one is not None]
    found = common_rows([one.content for one in kept]) if len(kept) == len(calibrations) else None
    if found is None:
        return None
    common, rows = found
    answers = [one.probabilities[own] for one, own in zip(kept, rows, strict=True)]
    return Calibration(common, kept[0].labels[rows[0]], np.mean(answers, axis=0), prior)


def write_calibration(folder: Path, calibration: Calibration, classes: Sequence[str]) -> None:
    """Keep answers on validation images in a run's folder."""
    columns = {
        "content": pa.array(calibration.content, pa.binary()),
        "label": pa.array([classes[label] for label in calibration.labels], pa.string()),
    }
    columns |= {f"p_{name}": pa.array(calibration.probabilities[:, k]) for k, name in enumerate(classes)}
    with writing(folder / FILE) as stream:
        pq.write_table(pa.table(columns), stream)


def read_calibration(folder: Path, classes: Sequence[str]) -> Calibration | None:
    """Read what `write_calibration` wrote; None where the run has kept nothing.

    Raises
    ------
    DataError
        The file is damaged, or of other classes.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        numbers = {name: number for number, name in enumerate(classes)}
        labels = np.array([numbers[name] for name in table["label"].to_pylist()], np.int64)
        probabilities = np.stack([table[f"p_{name}"].to_numpy() for name in classes], axis=1)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise DataError(f"{path} is damaged or of another run ({error}); train the run again.") from error
    return Calibration(table["content"].to_pylist(), labels, probabilities)
