"""Which images of a pool to label next: those from which a classifier would learn most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.data.batches import Material
from rvtool.data.fits import PICTURE_SUFFIXES
from rvtool.errors import ConfigError, DataError
from rvtool.report.picks import mosaic
from rvtool.report.progress import counted
from rvtool.report.tables import write_csv
from rvtool.runs.apply import Asking, Jury, Said, ask, check_alike, check_classifies, choose_device
from rvtool.runs.run import Run, load_run
from rvtool.verbs.predict import Settings

PASSES = 20  # with dropout, where BALD is asked for and no number is given
SHOWN = 30


def pick(settings: Settings, names: Sequence[str], console: Console) -> dict[str, Any]:
    """Rank the images of a pool that no run was trained on, and write the first `settings.pick` of them."""
    runs = [load_run(name) for name in names]
    for run in runs:
        check_classifies(run)
    check_alike(runs)
    first = runs[0]
    material = first.material(settings.pool)
    rows = _new(runs, material)
    count = min(settings.pick, len(rows))
    said, opinions = _ask(runs, settings, rows, material, console)
    verdict = Jury(runs, settings.prior).conclude(said)
    worth = disagreement(opinions) if settings.pick_by == "bald" else verdict.entropy
    if settings.pick_by == "diverse":
        if said[0].features is None:
            raise ConfigError(f"{first.path} shows no features, by which images could be told apart; use entropy.")
        order, worth = spread_out(worth, said[0].features, count)
    else:
        order = np.argsort(-worth, kind="stable")[:count]
    table = material.dataset.table
    cells = (
        (
            table["id"][int(rows[row])].as_py(),
            material.dataset.root / str(table["path"][int(rows[row])]),
            f"{worth[row]:.6g}",
            *(f"{p:.6g}" for p in verdict.probabilities[row]),
        )
        for row in order
    )
    ranked = ((rank, *row) for rank, row in enumerate(cells, 1))
    write_csv(settings.table, ("rank", "id", "file", "score", *first.data.classes), ranked)
    picture = settings.table.with_name(f"{settings.table.stem}-mosaic.png")
    paths = [str(material.dataset.table["path"][int(rows[row])]) for row in order[:SHOWN]]
    mosaic(
        [material.image.pixels[rows[row]] for row in order[:SHOWN]],
        [
            f"{rank}: {first.data.classes[verdict.probabilities[row].argmax()]} {verdict.probabilities[row].max():.0%}"
            for rank, row in enumerate(order[:SHOWN], 1)
        ],
        picture,
        origin="upper" if paths[0].lower().endswith(PICTURE_SUFFIXES) else "lower",
    )
    console.print(f"{count} of {len(rows)} images picked by {settings.pick_by}", highlight=False)
    for path in (settings.table, picture):
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    return {"out": str(settings.table), "mosaic": str(picture), "images": count, "pool": len(rows)}


def _new(runs: Sequence[Run], material: Material) -> np.ndarray:
    """Return the rows that can be read and that no run has learnt from."""
    known = np.zeros(len(material.dataset), bool)
    for run in runs:
        splits = run.known.splits_of(material)
        known |= run.known.trained_on(material, splits) | (splits == "val")
    rows = np.flatnonzero(material.image.good & ~known)
    if not rows.size:
        raise DataError(f"{material.dataset.root} has no image that is new to {runs[0].name}; name another --pool.")
    return rows


def _ask(
    runs: Sequence[Run], settings: Settings, rows: np.ndarray, material: Material, console: Console
) -> tuple[list[Said], np.ndarray]:
    """Ask every run of all images.

    Returns
    -------
    What each run says, and the opinions ``(P, N, K)`` whose disagreement BALD measures: of an ensemble's members, or of
    one network's passes with dropout.
    """
    device = choose_device(settings.device)
    passes = settings.dropout_passes or (PASSES if settings.pick_by == "bald" and len(runs) == 1 else 0)
    said, opinions = [], []
    with counted(console, "asking") as move:
        for run in runs:
            run.model.to(device)
            own = run.material(settings.pool) if run is not runs[0] else material
            for seed in range(max(passes, 1)):
                asking = Asking(settings.symmetries, 1 if passes else 0, seed)
                batches = run.prepare.batches(own, rows, settings.batch_size, device)
                one = ask(run, batches, asking, lambda done: move(done, len(rows)))
                opinions.append(one.answers)
                if not seed:
                    said.append(one)
            if passes:
                mean = np.mean(opinions[-passes:], axis=0)
                said[-1] = Said(mean, said[-1].features)
    return said, np.stack(opinions)


def disagreement(opinions: np.ndarray) -> np.ndarray:
    """Return BALD ``(N,)``: the entropy of the mean opinion less the mean entropy of the opinions ``(P, N, K)``, nats.

    What is uncertain because the image is ambiguous does not count; what the opinions disagree on does.

    References
    ----------
    Houlsby et al. 2011, arXiv:1112.5745, eq. 2; Gal et al. 2017, arXiv:1703.02910
    """
    return _entropy(opinions.mean(axis=0)) - _entropy(opinions).mean(axis=0)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    surprise = np.log(np.maximum(probabilities, np.finfo(float).tiny))
    found: np.ndarray = -(probabilities * surprise).sum(axis=-1)
    return found


def spread_out(worth: np.ndarray, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose images that are worth much and unlike each other.

    One after the other that with the largest product of its worth and its distance from the nearest one that is chosen
    already, in features of unit variance; the first is worth most.

    Parameters
    ----------
    worth : (N,)
    features : (N, F)

    Returns
    -------
    The rows chosen, in order, and for every image the product when it was chosen, or at the end.

    References
    ----------
    Sener & Savarese 2018, arXiv:1708.00489 (farthest first)
    """
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    nearest = np.ones(len(worth))
    told = np.zeros(len(worth))
    chosen: list[int] = []
    free = np.ones(len(worth), bool)
    for _ in range(count):
        product = np.where(free, worth * nearest, -np.inf)
        best = int(product.argmax())
        told[best], free[best] = product[best], False
        distances = np.sqrt(((scaled - scaled[best]) ** 2).sum(axis=1))
        nearest = distances if not chosen else np.minimum(nearest, distances)
        chosen.append(best)
    told[free] = (worth * nearest)[free]
    return np.array(chosen), told
