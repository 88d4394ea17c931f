"""Classes that a network was never trained on, told by a handful of examples each.

The examples and the image are compared by the network's features: linear discriminant analysis whose covariance is that
of the training images about their classes, and whose means are those of the examples. That a mean of n examples is
itself uncertain widens its class by (1 + 1/n).

References
----------
Snell, Swersky & Zemel 2017, arXiv:1703.05175 (prototypes). Geisser 1964, J. R. Statist. Soc. B 26, 69 (the widening).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rvtool.data.batches import stack
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch
from rvtool.runs.apply import Asking, Said, Verdict, ask
from rvtool.runs.run import Run
from rvtool.verbs.predict.reading import from_paths


@dataclass(frozen=True)
class Prototypes:
    """Classes by their examples.

    Attributes
    ----------
    classes
        K names.
    means
        (K, D), of the examples' coordinates (`rvtool.runs.familiar.Familiar.directions`).
    counts
        (K,), examples of each.
    run
        Whose features they are.
    """

    classes: tuple[str, ...]
    means: np.ndarray
    counts: np.ndarray
    run: Run

    def conclude(self, said: Said) -> Verdict:
        """Return the probabilities of the classes, each taken to be equally frequent."""
        familiar = self.run.familiar
        assert familiar is not None
        assert said.features is not None
        coordinates = said.features @ familiar.directions  # (N, D)
        squares = ((coordinates[:, None] - self.means) ** 2).sum(axis=2)  # (N, K)
        widths = 1 + 1 / self.counts
        log_density = -squares / (2 * widths) - coordinates.shape[1] / 2 * np.log(widths)
        powers = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        distance = np.sqrt((squares / widths).min(axis=1)) / familiar.reach
        return Verdict(powers / powers.sum(axis=1, keepdims=True), None, distance)


def read_prototypes(folder: Path, run: Run, asking: Asking, device: torch.device, batch_size: int) -> Prototypes:
    """Ask a run for its features of every example.

    Parameters
    ----------
    folder
        Holds a folder of images for each class.
    batch_size
        Examples that are asked about at once.

    Raises
    ------
    ConfigError
        The folder holds fewer than two classes.
    DataError
        An example cannot be used, or the run shows no features.
    """
    if run.familiar is None:
        raise DataError(
            f"{run.name} does not keep where its training images lie ({run.path}/features.safetensors), so nothing can "
            "be compared with examples; use a run of a classifier that is trained to its end."
        )
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name one that holds a folder of examples for each class.")
    kinds = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(kinds) < 2:
        raise ConfigError(f"{folder} holds {len(kinds)} folders of examples; make one for each of two classes or more.")
    means, counts = [], []
    for kind in kinds:
        coordinates = _features(kind, run, asking, device, batch_size) @ run.familiar.directions
        means.append(coordinates.mean(axis=0))
        counts.append(len(coordinates))
    return Prototypes(tuple(path.name for path in kinds), np.stack(means), np.array(counts), run)


def _features(folder: Path, run: Run, asking: Asking, device: torch.device, batch_size: int) -> np.ndarray:
    raws: list[Batch] = []
    for _, one in from_paths([folder])[1]:
        try:
            if isinstance(one.image, str):
                raise DataError(one.image)
            raws.append(run.raw(one.image))
        except DataError as error:
            raise DataError(f"The example {one.name} cannot be used: {error}") from None
    starts = range(0, len(raws), batch_size)
    said = ask(run, (run.prepare(stack(raws[start : start + batch_size], device)) for start in starts), asking)
    if said.features is None:
        raise DataError(f"{run.name} shows no features to compare examples by.")
    return said.features
