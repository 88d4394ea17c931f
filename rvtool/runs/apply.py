"""Asking trained classifiers: where they compute, how they are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rvtool.errors import ConfigError
from rvtool.runs.calibration import Calibration, Prior, together

if TYPE_CHECKING:
    from rvtool.kinds import Batch, Side
    from rvtool.runs.run import Run

ON_THE_SKY = ("image", "mask", "condition", "condition_mask")


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


def check_answers(run: Run) -> None:
    """Refuse a run that neither classifies nor estimates a number.

    Raises
    ------
    ConfigError
        The run's model is made for something else.
    """
    if run.task != "regression":
        check_classifies(run)


def check_alike(runs: Sequence[Run]) -> None:
    """Refuse an ensemble whose members learnt different things.

    Raises
    ------
    ConfigError
        Two of them differ.
    """
    for run in runs[1:]:
        if run.task != runs[0].task or (not run.data.classes and run.data.label_column != runs[0].data.label_column):
            raise ConfigError(f"{runs[0].name} and {run.name} answer different questions and make no ensemble.")
        if run.data.classes != runs[0].data.classes:
            raise ConfigError(f"{runs[0].name} and {run.name} know different classes and make no ensemble.")


def as_read(run: Run) -> Side:
    """Return what a run was told of its images, with the pixels as files have them, before they are resampled."""
    side, stretch = run.data.image, run.stretch.settings
    if not (stretch.resize and side.pixel_arcsec):
        return side
    return replace(side, pixel_arcsec=side.pixel_arcsec * stretch.resize / stretch.crop)


@dataclass(frozen=True)
class Asking:
    """How a classifier is asked.

    Attributes
    ----------
    symmetries
        Whether its answer is the mean over the eight turns and mirror images of an image of the sky, which has no
        up and no left; a model that gives the same answer to all of them is asked once.
    dropout_passes
        How often each image is asked with dropout on (Gal & Ghahramani 2016, arXiv:1506.02142); 0: once, without.
    seed
        Of what is dropped.
    """

    symmetries: bool = True
    dropout_passes: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Said:
    """What a model said of images.

    Attributes
    ----------
    answers
        A classifier's probabilities ``(N, K)``, or a regressor's estimates and standard deviations ``(N, 2)``.
    features
        ``(N, F)``; None where the model shows none.
    """

    answers: np.ndarray
    features: np.ndarray | None


def ask(run: Run, batches: Iterable[Batch], asking: Asking, moved: Callable[[int], None] = lambda done: None) -> Said:
    """Ask a classifier of prepared batches.

    Parameters
    ----------
    batches
        On the device where the run's model stands.
    moved
        Told how many images are done.

    Returns
    -------
    Answers, a classifier's in the order of ``run.data.classes``, not yet calibrated; double precision. Dropout falls
    alike in every call of the same batches.

    Raises
    ------
    ConfigError
        Passes with dropout are asked for, and the model has none.
    """
    model = run.model
    around = turns(run, asking.symmetries)
    dropping = [module for module in model.modules() if isinstance(module, nn.Dropout) and module.p > 0]
    if not asking.dropout_passes:
        dropping = []
    elif not dropping:
        raise ConfigError(f"{run.name} has no dropout, so passes with dropout say nothing; leave them out.")
    answers, seen = [np.empty((0, len(run.data.classes) or 2))], []
    done = 0
    with torch.inference_mode(), torch.random.fork_rng(enabled=bool(dropping)):
        if dropping:
            torch.manual_seed(asking.seed)
        for batch in batches:
            views = list(symmetries(batch)) if around else [batch]
            for module in dropping:
                module.train()
            told = [_examine(model, view) for view in views for _ in range(max(asking.dropout_passes, 1))]
            for module in dropping:
                module.eval()
            answers.append(torch.stack([one[0] for one in told]).mean(dim=0).cpu().numpy())
            whole = [_examine(model, view) for view in views] if dropping else told  # distances are of all features
            features = [one[1] for one in whole if one[1] is not None]
            if features:
                seen.append(torch.stack(features).mean(dim=0).cpu().numpy())
            done += len(answers[-1])
            moved(done)
    return Said(np.concatenate(answers), np.concatenate(seen) if seen else None)


def turns(run: Run, symmetries: bool) -> bool:
    """Tell whether an image is turned and mirrored, if so asked: one of the sky, and a model to which that matters."""
    return symmetries and run.data.image.axes == "sky" and not getattr(run.model, "invariant", False)


def _examine(model: Any, batch: Batch) -> tuple[Tensor, Tensor | None]:
    if hasattr(model, "examine"):
        answers, features = model.examine(batch)
        return answers.double(), features.double()
    return model.predict(batch).double(), None


def symmetries(batch: Batch) -> Iterator[Batch]:
    """Give a batch in the turns and mirror images of a square; of oblong images in the four that keep their shape."""
    height, width = batch["image"].shape[-2:]
    for mirrored in (False, True):
        for quarters in range(4) if height == width else (0, 2):
            view = dict(batch)
            for name in ON_THE_SKY:
                if name in batch and batch[name].ndim == 4:
                    image = batch[name].flip(-1) if mirrored else batch[name]
                    view[name] = torch.rot90(image, quarters, (-2, -1))
            yield view


@dataclass(frozen=True)
class Verdict:
    """What one classifier or an ensemble concludes.

    Attributes
    ----------
    probabilities
        (N, K), calibrated where the runs have kept their answers on validation images.
    calibration
        With which; None where there is none.
    distance
        (N,), how far each image lies from those of the training: above 1 is unusual (`rvtool.runs.familiar`). The
        mean over an ensemble's members; None where a run shows no features.
    """

    probabilities: np.ndarray
    calibration: Calibration | None
    distance: np.ndarray | None

    @property
    def entropy(self) -> np.ndarray:
        """(N,), -sum p ln p, in nats: 0 sure, ln K undecided."""
        return -(self.probabilities * np.log(np.maximum(self.probabilities, np.finfo(float).tiny))).sum(axis=1)


@dataclass(frozen=True)
class Jury:
    """One classifier, or the members of an ensemble, and whose shares of the classes their answers rest on."""

    runs: Sequence[Run]
    prior: Prior = "model"

    @cached_property
    def calibration(self) -> Calibration | None:
        """That of their mean answers; None where a run keeps none, or too few images validated them all."""
        return together([run.calibration for run in self.runs], self.prior)

    def conclude(self, said: Sequence[Said]) -> Verdict:
        """Put together what the members said of the same images."""
        mean = np.mean([one.answers for one in said], axis=0)
        distances = [
            run.familiar.distance(one.features)
            for run, one in zip(self.runs, said, strict=True)
            if run.familiar is not None and one.features is not None
        ]
        return Verdict(
            mean if self.calibration is None else self.calibration.apply(mean),
            self.calibration,
            np.mean(distances, axis=0) if len(distances) == len(self.runs) else None,
        )
