"""Which images of a dataset are most alike an image: similarity search among a model's features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from rvtool.data.batches import stack
from rvtool.data.fits import PICTURE_SUFFIXES
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch
from rvtool.report.latent import Shown, beside
from rvtool.report.progress import counted, counting
from rvtool.runs.apply import choose_device
from rvtool.runs.latent import Scale, check_shows_features, cosine_distances, features_of
from rvtool.runs.run import Run, is_run
from rvtool.runs.unlike import unlike
from rvtool.verbs.predict import Settings
from rvtool.verbs.predict.reading import ReadImage, from_paths, in_batches
from rvtool.verbs.predict.writing import Answered, kept, write

PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
COLUMNS = ("rank", "id", "path", "label", "distance")
MOST_ROWS, MOST_ACROSS = 8, 10  # images in the mosaic, and neighbours of each
TITLE = 22  # letters above an image, the last ones

_Row = tuple[Shown, list[Shown]]


def find(settings: Settings, run: Run, paths: Sequence[Path], console: Console) -> dict[str, Any]:
    """Find the neighbours of images (see `rvtool.verbs.predict.run`).

    The distance is one less the cosine between features in units of their deviation over the images that are searched:
    0 alike, 1 nothing in common, 2 opposed. An image that is itself among these comes first, at 0.
    """
    for name in ("ensemble", "explain", "prototypes", "targets", "dropout_passes"):
        if getattr(settings, name) != Settings.model_fields[name].default:
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"--neighbours looks for images that are alike and answers nothing; leave {option} out.")
    for path in paths:
        if is_run(path):
            raise ConfigError(f"{path} is a run, not an image; features of several runs have no common space.")
    if not paths:
        raise ConfigError("Name the images whose neighbours are sought: files or folders.")
    check_shows_features(run)
    search = _Search(run, settings, console)
    total, asked = from_paths(paths)
    answered = Answered(COLUMNS)
    shown: list[_Row] = []
    with kept(settings.table, None, answered, console), counted(console, "comparing") as move:
        for some in in_batches(
            counting(asked, total, move), lambda one, image: (one, run.raw(image)), settings.batch_size, answered.fail
        ):
            shown += search.answer(some, answered)
    write(settings.table, None, answered, console)
    for sentence in search.remarks():
        console.print(f"Mind: {sentence}", style="yellow", markup=False, highlight=False)
    picture = settings.table.with_name(f"{settings.table.stem}-mosaic.png")
    beside(shown[:MOST_ROWS], picture)
    images = len(answered.rows) // search.count
    where = f"{len(search.rows)} images of {search.material.dataset.root}"
    console.print(f"{search.count} neighbours of each of {images} images, among {where}", **PLAIN)
    for path in (settings.table, picture):
        console.print(str(path), **PLAIN)
    return {
        "out": str(settings.table),
        "mosaic": str(picture),
        "images": images,
        "searched": len(search.rows),
        "failures": answered.failures,
    }


class _Search:
    """The images among which neighbours are sought, and how to find them.

    Attributes
    ----------
    rows
        Of the manifest, (N,): the images of `Settings.pool`, or those that the run was trained on.
    count
        How many neighbours an image gets.
    """

    def __init__(self, run: Run, settings: Settings, console: Console) -> None:
        self.run, self.symmetries = run, settings.symmetries
        self.device = choose_device(settings.device)
        run.model.to(self.device)
        self.material = run.material(settings.pool)
        good = self.material.image.good
        if settings.pool is None:
            good = good & (run.known.splits_of(self.material) == "train")
        self.rows = np.flatnonzero(good)
        if not self.rows.size:
            raise DataError(f"{self.material.dataset.root} has no image to search; name another --pool.")
        with counted(console, "searching") as move:
            batches = run.prepare.batches(self.material, self.rows, settings.batch_size, self.device)
            features = features_of(run, batches, self.symmetries, lambda done: move(done, len(self.rows)))
        self.scale = Scale.of(features)
        self.places = self.scale(features)
        self.count = min(settings.neighbours, len(self.rows))
        dataset, column = self.material.dataset, run.data.label_column
        labels = dataset.words(column) if column and column in dataset else np.full(len(dataset), None)
        self.labels = [label or "" for label in labels]

    def remarks(self) -> list[str]:
        """Tell in what the images that are searched are unlike those of the training."""
        found = unlike(self.material.info.image, self.run.data.image, self.run.stretch.settings)
        return [one.told(f"The images of {self.material.dataset.root}", self.run.name) for one in found]

    def answer(self, images: Sequence[tuple[ReadImage, Batch]], answered: Answered) -> list[_Row]:
        """Add the neighbours of a batch of raw images to the answers, and return what to show of each."""
        batch = self.run.prepare(stack([raw for _, raw in images], self.device))
        places = self.scale(features_of(self.run, [batch], self.symmetries))
        distances = cosine_distances(places, self.places)  # (B, N)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.count]
        found = []
        for (one, raw), row, order in zip(images, distances, nearest, strict=True):
            told = [self._told(int(self.rows[place]), float(row[place])) for place in order]
            answered.rows += [(one.row, one.name, (str(rank), *cells)) for rank, (cells, _) in enumerate(told, 1)]
            query = Shown(raw["image"].numpy(), Path(one.name).name[-TITLE:], _origin(one.name))
            found.append((query, [shown for _, shown in told[:MOST_ACROSS]]))
        return found

    def _told(self, row: int, distance: float) -> tuple[tuple[str, ...], Shown]:
        """Return the cells of a neighbour, and how it is shown."""
        table = self.material.dataset.table
        path, label = str(table["path"][row]), self.labels[row]
        cells = (str(table["id"][row]), str(self.material.dataset.root / path), label, f"{distance:.6f}")
        title = f"{label[-TITLE:]} {distance:.2f}".strip()
        return cells, Shown(np.asarray(self.material.image.pixels[row]), title, _origin(path))


def _origin(name: str) -> Literal["lower", "upper"]:
    return "upper" if name.lower().endswith(PICTURE_SUFFIXES) else "lower"
