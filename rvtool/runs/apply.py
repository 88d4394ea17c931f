"""Asking a trained classifier: where it computes, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rvtool.kinds import Batch
    from rvtool.runs.run import Run


def choose_device(name: str) -> torch.device:
    """Return the device of a name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for a GPU where there is one.

    Raises
    ------
    ConfigError
        There is no such device here.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"Device '{name}' cannot be used here; choose cpu, or auto for the best there is.") from error
    return device


def check_classifies(run: Run) -> None:
    """Refuse a run that gives no classes.

    Raises
    ------
    ConfigError
        The run's model is no classifier.
    """
    if not run.data.classes or not hasattr(run.model, "predict"):
        raise ConfigError(
            f"{run.path} is a run of '{run.record['model']}', which gives no classes; name a classifier's."
        )


def probabilities(run: Run, batches: Iterable[Batch], moved: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """Return a classifier's probabilities of prepared batches.

    Parameters
    ----------
    batches
        On the device where the run's model stands.
    moved
        Told how many images are done.

    Returns
    -------
    (N, K) float64, in the order of ``run.data.classes``.
    """
    parts = [np.empty((0, len(run.data.classes)))]
    done = 0
    with torch.inference_mode():
        for batch in batches:
            parts.append(run.model.predict(batch).double().cpu().numpy())
            done += len(parts[-1])
            moved(done)
    return np.concatenate(parts)
