"""Beginning a training with the weights of another run."""

from __future__ import annotations

import numpy as np

from rvtool.data.batches import Material
from rvtool.errors import DataError
from rvtool.learning import Model
from rvtool.learning.pretrained import take_weights
from rvtool.runs.run import Run


def begin_from(run: Run, model: Model, material: Material) -> list[str]:
    """Take a run's weights: those of the backbone, and of the head where it answered the same question.

    Returns
    -------
    What to tell people.

    Raises
    ------
    ConfigError
        The run's weights do not fit the model.
    DataError
        The run was trained on images that this training holds out to be judged on.
    """
    seen = run.known.trained_on(material)
    judged, choosing = (int(np.count_nonzero(seen & (material.split == part))) for part in ("test", "val"))
    if judged:
        raise DataError(
            f"{run.path} was trained on {judged} of the images that this training holds out as its test part, so no "
            "figure would tell how it does on new ones; train that run without them (the same --fold, or --where)."
        )
    alike = run.task == model.task and run.data.classes == model.data.classes
    if model.task == "regression":  # the likelihood says what the head's numbers mean
        alike = alike and (run.data.label_column, run.record["losses"]) == (model.data.label_column, model.losses.specs)
    told = [take_weights(model, run.weights, str(run.path), head=alike)]
    if choosing:
        told.append(
            f"{run.path} was trained on {choosing} of the images that choose this run's weights: its validation "
            "figures are somewhat too good"
        )
    return told
