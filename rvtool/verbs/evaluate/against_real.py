"""Measures made images against real ones, and both against the floor: real images beside real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.errors import DataError
from rvtool.report import features, generated
from rvtool.report.progress import counted
from rvtool.report.scores import interval, resamples
from rvtool.report.twosample import Learner, tell_apart, transfer
from rvtool.runs.apply import choose_device
from rvtool.runs.latent import Scale
from rvtool.verbs.evaluate import Settings, pixels, probe
from rvtool.verbs.evaluate.lots import Lot, Lots

TELL_STEPS, CLASS_STEPS = 300, 800  # of the network that learns from pixels to tell sets apart, and classes

Near = dict[str, dict[str, generated.Nearest]]
"""The nearest training images of ``made`` and ``held_out`` ones, by each way of looking at them."""


def measure(lots: Lots, near: Near, settings: Settings, console: Console) -> dict[str, Any]:
    """Measure everything; what no encoder sees, and what no classes teach, is None."""
    real = lots.held_out
    made, training = (lot.like(real, settings.seed) for lot in (lots.made, lots.training))
    real = real.like(made, settings.seed)  # of a class that is not made nothing is compared
    compared = {"made": made, "floor": training}
    more = {"bootstrap": settings.bootstrap, "seed": settings.seed}
    encoded, warnings = lots.encoder is not None, list(lots.warnings)
    found: dict[str, Any] = {
        "images": len(real),
        "groups": len(np.unique(real.groups)),
        "compared": {name: len(lot) for name, lot in compared.items()},
        "in_all": {name: len(lot) for name, lot in lots.named.items()},
        "classes": list(lots.classes),
        "encoder": _seen_with(lots, warnings),
        "judged_on": lots.where,
        "split": settings.split,
        **more,
        "distances": _distances(real, compared, settings.seed) if encoded else None,
        "manifolds": _manifolds(real, compared, lots.classes, more) if encoded else None,
        "memory": {way: memory(lots, found, more) for way, found in near.items()},
        "shapes": _shapes(real, compared, more),
    }
    tests: dict[str, Any] = {}
    taught: dict[str, Any] = {}
    with counted(console, "telling apart") as move:
        for place, way in enumerate(near):
            learn = _learner(way, lots, settings, TELL_STEPS)
            tests[way] = {
                name: tell_apart(real.seen(way), lot.seen(way), learn, **more) for name, lot in compared.items()
            }
            move(2 * place + 1, 2 * len(near))
            if len(lots.classes) > 1:
                learn = _learner(way, lots, settings, CLASS_STEPS)
                old, made_of, new = (lot.seen(way) for lot in (lots.training, lots.made, lots.held_out))
                try:
                    taught[way] = transfer(old, made_of, new, classes=lots.classes, learn=learn, **more)
                except DataError as reason:
                    warnings.append(str(reason))
            move(2 * place + 2, 2 * len(near))
    return found | {"two_sample_tests": tests, "taught": taught or None, "warnings": list(dict.fromkeys(warnings))}


def _seen_with(lots: Lots, warnings: list[str]) -> dict[str, Any] | None:
    """Name the encoder, and warn of what it has seen."""
    if lots.encoder is None:
        return None
    if lots.seen_by_encoder:
        warnings.append(
            f"The encoder '{lots.encoder.name}' was trained on {lots.seen_by_encoder} of the {len(lots.held_out)} "
            "judged real images, so what its features tell of classes is too good; what pixels tell is not."
        )
    return {
        "run": lots.encoder.name,
        "sha256": lots.encoder.sha256,
        "features": lots.held_out.features.shape[1],
        "trained_on_judged": lots.seen_by_encoder,
    }


def _learner(way: str, lots: Lots, settings: Settings, steps: int) -> Learner:
    """Return what learns from features or from pixels."""
    if way == "features":
        return probe.learn
    symmetric = lots.run.data.image.axes == "sky"
    device = choose_device(settings.device)
    return partial(pixels.learn, steps=steps, symmetric=symmetric, seed=settings.seed, device=device)


def _distances(real: Lot, compared: Mapping[str, Lot], seed: int) -> dict[str, Any]:
    """KID, MMD and FID of the features."""
    return {
        "kid": {name: features.kid(real.features, lot.features, seed=seed) for name, lot in compared.items()},
        "mmd": {name: features.mmd(real.features, lot.features, seed=seed) for name, lot in compared.items()},
        "fid": {name: features.fid(real.features, lot.features) for name, lot in compared.items()},
    }


def _manifolds(
    real: Lot, compared: Mapping[str, Lot], classes: Sequence[str], more: Mapping[str, int]
) -> dict[str, Any]:
    """Precision and recall, of all images and of each class that has enough."""

    def both(true: Lot, lot: Lot) -> dict[str, Any]:
        return {
            "precision": _share(features.covered(lot.features, true.features), lot.groups, more),
            "recall": _share(features.covered(true.features, lot.features), true.groups, more),
        }

    found = {"all": {name: both(real, lot) for name, lot in compared.items()}}
    for kind, title in enumerate(classes):
        true, *rest = (lot.take(lot.labels == kind) for lot in (real, *compared.values()))
        with suppress(DataError):
            found[title] = {name: both(true, lot) for name, lot in zip(compared, rest, strict=True)}
    return found


def _shapes(real: Lot, compared: Mapping[str, Lot], more: Mapping[str, int]) -> dict[str, Any]:
    """Wasserstein distances of what sources measure."""
    true = generated.shapes(real.pixels)
    others = {name: generated.shapes(lot.pixels) for name, lot in compared.items()}
    return {
        shape: {name: generated.wasserstein(true[shape], other[shape], **more) for name, other in others.items()}
        for shape in generated.SHAPES
    }


def _share(hits: np.ndarray, groups: np.ndarray, more: Mapping[str, int]) -> dict[str, Any]:
    """Share of images with its 95 % interval, groups resampled."""
    members = np.unique(groups, return_inverse=True)[1]
    draws = [w @ hits / w.sum(axis=1) for w in resamples(members, more["bootstrap"], more["seed"])]
    low, high = interval(np.concatenate(draws))
    return {"value": float(hits.mean()), "low": low, "high": high}


def nearest(lots: Lots) -> Near:
    """Find the nearest training image of every made and every held-out one, by pixels and by features.

    On the sky neither turns nor places count.
    """
    symmetric = lots.run.data.image.axes == "sky"
    found = {
        "pixels": {
            name: generated.nearest_pictures(lots.named[name].pictures, lots.training.pictures, symmetric)
            for name in ("made", "held_out")
        }
    }
    if lots.encoder is not None:
        scale = Scale.of(lots.training.features)
        found["features"] = {
            name: generated.nearest(scale(lot.features), scale(lots.training.features))
            for name, lot in lots.named.items()
            if name != "training"
        }
    return found


def memory(lots: Lots, near: Mapping[str, generated.Nearest], more: Mapping[str, int]) -> dict[str, Any]:
    """Compare the distances to the nearest training image, of all and of each class."""
    found = {}
    for kind, name in [(-1, "all"), *enumerate(lots.classes)]:
        rows = {which: (lot.labels == kind) | (kind < 0) for which, lot in lots.named.items()}
        if not rows["made"].any() or not rows["held_out"].any():
            continue
        members = np.unique(lots.held_out.groups[rows["held_out"]], return_inverse=True)[1]
        made, held_out = (near[which].distance[rows[which]] for which in ("made", "held_out"))
        found[name] = generated.memorised(made, held_out, members, **more)
    return found
