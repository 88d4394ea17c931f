"""Where images lie among a model's features, and how well these tell classes: a projection, a table, a linear probe."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

import rvtool
from rvtool.data.batches import Material
from rvtool.data.files import write_bytes
from rvtool.errors import ConfigError, DataError, unknown
from rvtool.report.classification import Answers, compare, judge
from rvtool.report.latent import scatter
from rvtool.report.progress import counted
from rvtool.report.tables import number, span
from rvtool.runs.apply import choose_device
from rvtool.runs.latent import Scale, check_shows_features, features_of
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings
from rvtool.verbs.evaluate.asking import names_of
from rvtool.verbs.evaluate.probe import Probe, learn
from rvtool.verbs.evaluate.seen import choose_rows

SPLIT = "split"
PLAIN = ("background", "noise", "peak")  # what a probe is to beat: an image's statistics, no picture


@dataclass(frozen=True)
class Space:
    """The features of the images of a dataset that can be read.

    Attributes
    ----------
    rows
        Of the manifest, (N,).
    features
        (N, F).
    split
        (N,): the part that the run gave each image, ``""`` where none; of a dataset that it did not learn from, that
        which the images have there.
    own
        Whether the run learnt from this dataset.
    """

    run: Run
    material: Material
    rows: np.ndarray
    features: np.ndarray
    split: np.ndarray
    own: bool


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Show the latent space of each run, and probe it."""
    if settings.ensemble:
        raise ConfigError("Features of several runs have no common space; leave --ensemble out.")
    if settings.latent == "umap" and find_spec("umap") is None:
        raise ConfigError("--latent umap needs umap-learn: pip install 'rvtool[umap]', or take --latent pca.")
    for run in runs:
        check_shows_features(run)
    found = {}
    for run, name in zip(runs, names_of(runs), strict=True):
        out = settings.out or run.path / "evaluation" / "latent"
        out = out / name if settings.out and len(runs) > 1 else out
        found[name] = _look(run, name, out, settings, console)
    if len(runs) == 1:
        return next(iter(found.values()))
    return {"runs": found, "out": str(settings.out or runs[0].path / "evaluation" / "latent")}


def _look(run: Run, name: str, out: Path, settings: Settings, console: Console) -> dict[str, Any]:
    """Ask a run about every image; write, draw, probe and print."""
    material = run.material(settings.data)
    dataset, label = material.dataset, run.data.label_column
    if settings.colour_by and settings.colour_by not in dataset:
        raise unknown("column", settings.colour_by, dataset.table.column_names, hint=f"(in {dataset.root})")
    column = settings.colour_by or (label if label in dataset else SPLIT)
    space = _ask(run, material, name, settings, console)
    places, axes, explained = project(_scale(space)(space.features), settings.latent or "pca", settings.seed)
    told = {part: int((space.split == part).sum()) for part in ("train", "val", "test", "")}
    title = f"{name}: {len(space.rows)} images, {space.features.shape[1]} features"
    scatter(places, _values(space, column), column, axes, out / "latents.png", title=title)
    _write(space, places, out / "latents.parquet")
    failures = len(dataset) - len(space.rows)
    found: dict[str, Any] = {
        "projection": settings.latent,
        "explained": explained,
        "images": len(space.rows),
        "features": space.features.shape[1],
        "splits": {part or "none": count for part, count in told.items() if count},
        "colour_by": column,
        "probe": None,
        "warnings": [f"{failures} images cannot be read and are left out."] if failures else [],
    }
    try:
        found["probe"], said = _probe(space, settings)
    except DataError as reason:
        said = [f"No probe: {reason}"]
    found["warnings"] += said
    write_bytes(out / "latent.json", json.dumps({"rvtool": rvtool.__version__, **found}, indent=1).encode())
    _tell(name, found, console)
    console.print(str(out), markup=False, highlight=False, soft_wrap=True)
    return {**found, "out": str(out)}


def _ask(run: Run, material: Material, name: str, settings: Settings, console: Console) -> Space:
    device = choose_device(settings.device)
    run.model.to(device)
    rows = np.flatnonzero(material.image.good)
    with counted(console, f"asking {name}") as move:
        batches = run.prepare.batches(material, rows, settings.batch_size, device)
        features = features_of(run, batches, settings.symmetries, lambda done: move(done, len(rows)))
    known = run.known.splits_of(material)
    own = bool((known == "train").any())
    split = known if own else np.array([part or "" for part in material.dataset.words(SPLIT)], object)
    return Space(run, material, rows, features, split[rows], own)


def _scale(space: Space) -> Scale:
    """Measure the features of the training images, or of all where the run trained on none of these."""
    trained = space.split == "train"
    return Scale.of(space.features[trained] if trained.any() else space.features)


def project(features: np.ndarray, how: str, seed: int) -> tuple[np.ndarray, tuple[str, str], list[float] | None]:
    """Bring standardised features ``(N, F)`` into a plane: places ``(N, 2)``, what the axes are, shares explained.

    References
    ----------
    Pearson 1901, Phil. Mag. 2, 559 (principal components). McInnes, Healy & Melville 2018, arXiv:1802.03426 (UMAP).
    """
    if how == "umap":
        from umap import UMAP

        return UMAP(random_state=seed, n_jobs=1).fit_transform(features), ("UMAP 1", "UMAP 2"), None
    centred = features - features.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2] * np.where(directions[:2].sum(axis=1, keepdims=True) < 0, -1, 1)  # a sign for all
    shares = (sizes[:2] ** 2 / max((sizes**2).sum(), 1e-300)).tolist()
    places = np.zeros((len(features), 2))
    places[:, : len(directions)] = centred @ directions.T
    axes = [f"component {place}" for place in (1, 2)]
    axes[: len(shares)] = [f"{axis}, {share:.0%} of the variance" for axis, share in zip(axes, shares, strict=False)]
    return places, (axes[0], axes[1]), shares


def _values(space: Space, column: str) -> np.ndarray:
    """Return what a column says of each image: numbers where it holds numbers and is not the class, else words."""
    if column == SPLIT:
        return np.array([part or None for part in space.split], object)
    dataset, classes = space.material.dataset, space.run.data.classes
    kind = dataset.table.schema.field(column).type
    numbers = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if numbers and not (classes and column == space.run.data.label_column):
        return dataset.numbers(column)[space.rows]
    return dataset.words(column)[space.rows]


def _write(space: Space, places: np.ndarray, path: Path) -> None:
    """Write the manifest's columns with ours, which are called ``rvtool_NAME`` where it has such a column."""
    table = space.material.dataset.table.take(pa.array(space.rows))
    split = pa.array(space.split.tolist(), pa.string())
    table = table.set_column(table.column_names.index(SPLIT), SPLIT, split)
    flat = pa.array(space.features.astype(np.float32).ravel())
    ours = {
        "features": pa.FixedSizeListArray.from_arrays(flat, space.features.shape[1]),
        "x": pa.array(places[:, 0].astype(np.float64)),
        "y": pa.array(places[:, 1].astype(np.float64)),
    }
    for name, column in ours.items():
        table = table.append_column(f"rvtool_{name}" if name in table.column_names else name, column)
    stream = io.BytesIO()
    pq.write_table(table, stream)
    write_bytes(path, stream.getvalue())


# --------------------------------------------------------------------------- the probe


def _probe(space: Space, settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Learn classes from the features of training images, and judge that on images that the run held out.

    Raises
    ------
    DataError
        There are no classes, or too few images of them to learn from or to judge on.
    """
    run, material = space.run, space.material
    classes = material.info.classes
    if material.labels is None or not classes:
        raise DataError("there are no classes to tell.")
    if settings.split in ("train", "all"):
        raise DataError(f"it learns from the training images and is judged on others, and --split is {settings.split}.")
    labels = material.labels[space.rows]
    split = settings.split
    if split == "auto" and not space.own:  # all of it is new to the run, and the probe needs some to learn from
        split = "test" if ((space.split == "test") & (labels >= 0)).any() else "val"
    judged, where, warnings = choose_rows(run, material, split)
    learnt = np.flatnonzero((space.split == "train") & (labels >= 0))
    tested = np.flatnonzero(np.isin(space.rows, judged) & (labels >= 0) & (space.split != "train"))
    if not len(tested) or len(np.unique(labels[learnt])) < 2:
        raise DataError(
            f"{material.dataset.root} has {len(learnt)} training images of {len(np.unique(labels[learnt]))} classes to "
            f"learn from and {len(tested)} others to judge on."
        )
    groups = material.dataset.column("group")[space.rows] if "group" in material.dataset else None
    counts = np.bincount(labels[learnt], minlength=len(classes)).tolist()
    ids = [str(one) for one in material.dataset.column("id")[space.rows[tested]]]

    def answer(features: np.ndarray) -> tuple[Probe, Answers]:
        probe = learn(features[learnt], labels[learnt], len(classes), None if groups is None else groups[learnt])
        own_groups = None if groups is None else groups[tested]
        return probe, Answers(ids, labels[tested], probe(features[tested]), classes, own_groups)

    probe, answers = answer(space.features)
    plain = answer(_plain(material.image.statistics[space.rows], learnt))[1]
    measured = [judge(one, counts, settings.bootstrap, settings.seed) for one in (answers, plain)]
    apart = compare(plain, answers, settings.bootstrap, settings.seed)["metrics"]["balanced_accuracy"]
    names = ("value", "low", "high")
    return {
        "classes": list(classes),
        "balanced_accuracy": {name: measured[0]["balanced_accuracy"][name] for name in names},
        "plain_statistics": {name: measured[1]["balanced_accuracy"][name] for name in names},
        "difference": {"value": apart["difference"], "low": apart["low"], "high": apart["high"]},
        "chance": 1 / np.count_nonzero(np.bincount(labels[tested])),
        "recall": {kind: row["recall"] for kind, row in measured[0]["classes"].items()},
        "confusion": measured[0]["confusion"],
        "strength": probe.strength,
        "learnt_from": len(learnt),
        "judged": len(tested),
        "judged_on": where,
    }, warnings


def _plain(statistics: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Return statistics ``(N, 3)`` as numbers of order one, whose tails a line can use: asinh of the usual size."""
    usual = np.median(np.abs(statistics[learnt]), axis=0)
    found: np.ndarray = np.arcsinh(statistics / np.where(usual > 0, usual, 1.0))
    return found


def _tell(name: str, found: dict[str, Any], console: Console) -> None:
    """Print what was found."""
    parts = ", ".join(f"{count} {part}" for part, count in found["splits"].items())
    lines = [f"{name}: {found['features']} features of {found['images']} images ({parts})"]
    if probe := found["probe"]:
        value, plain, apart = (probe[key] for key in ("balanced_accuracy", "plain_statistics", "difference"))
        lines += [
            f"Linear probe of {len(probe['classes'])} classes, learnt from {probe['learnt_from']} images, judged on "
            f"{probe['judged']} ({probe['judged_on']}):",
            f"  balanced accuracy  {number(value['value'])} (95 % {span(value['low'], value['high'])})",
            f"  of {', '.join(PLAIN)} alone  {number(plain['value'])} ({span(plain['low'], plain['high'])}); "
            f"the features' gain {number(apart['value'], sign=True)} ({span(apart['low'], apart['high'], sign=True)})",
            f"  chance  {number(probe['chance'])}",
        ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for warning in found["warnings"]:
        console.print(f"Mind: {warning}", style="yellow", markup=False, highlight=False)
