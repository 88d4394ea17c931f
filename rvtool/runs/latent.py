"""Images as points among a model's features: how they are asked for, and how far they lie from each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rvtool.errors import ConfigError
from rvtool.runs.apply import symmetries, turns

if TYPE_CHECKING:
    from rvtool.kinds import Batch
    from rvtool.runs.run import Run


def check_shows_features(run: Run) -> None:
    """Refuse a run whose model shows no features.

    Raises
    ------
    ConfigError
        It makes images of images, or something else, and no numbers that tell images apart.
    """
    if not hasattr(run.model, "features"):
        raise ConfigError(
            f"{run.path} is a run of '{run.record['model']}', which shows no features of images; name a classifier's or"
            " an autoencoder's."
        )


def features_of(
    run: Run, batches: Iterable[Batch], averaged: bool = True, moved: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """Return the features of prepared batches, ``(N, F)`` float64.

    Parameters
    ----------
    batches
        On the device where the run's model stands.
    averaged
        Whether they are the mean over the eight turns and mirror images of an image of the sky.
    moved
        Told how many images are done.
    """
    around = turns(run, averaged)
    seen: list[np.ndarray] = []
    done = 0
    with torch.inference_mode():
        for batch in batches:
            views = symmetries(batch) if around else [batch]
            told = torch.stack([run.model.features(view).double() for view in views]).mean(dim=0)
            seen.append(told.cpu().numpy())
            done += len(told)
            moved(done)
    return np.concatenate(seen)


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation ``(F,)`` of some images' features, by which features become comparable."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Scale:
        """Measure features ``(N, F)``; what is the same in all images counts nothing."""
        deviation = features.std(axis=0)
        same = deviation <= 1e-9 * np.abs(features).max(axis=0)
        return cls(features.mean(axis=0), np.where(same, np.inf, deviation))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return features ``(N, F)`` less the mean, in units of the deviation."""
        return (features - self.mean) / self.deviation


def cosine_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return one less the cosine of the angle between rows ``(N, F)`` and ``(M, F)``, ``(N, M)``: 0 alike, 2 opposed.

    A row of zeros lies at 1 from all.
    """
    units = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30) for rows in (first, second)]
    return np.clip(1 - units[0] @ units[1].T, 0, 2)
