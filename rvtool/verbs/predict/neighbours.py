"""Which images of a dataset are most alike an image: similarity search among a model's features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.data.batches import Material, stack
from rvtool.data.fits import PICTURE_SUFFIXES
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch
from rvtool.report.latent import Shown, beside
from rvtool.report.progress import counted
from rvtool.runs.apply import choose_device
from rvtool.runs.latent import Scale, check_shows_features, cosine_distances, features_of
from rvtool.runs.run import Run
from rvtool.verbs.predict import Settings
from rvtool.verbs.predict.reading import ReadImage, from_paths
from rvtool.verbs.predict.writing import Answered, kept, write

COLUMNS = ("rank", "id", "path", "label", "distance")
MOST_ROWS, MOST_ACROSS = 8, 10  # images in the mosaic, and neighbours of each


def find(settings: Settings, run: Run, paths: Sequence[Path], console: Console) -> dict[str, Any]:
    """Find the neighbours of images (see `rvtool.verbs.predict.run`).

    The distance is one less the cosine between features in units of their deviation over the images that are searched:
    0 alike, 1 nothing in common, 2 opposed. An image that is itself among these comes first, at 0.
    """
    for name in ("ensemble", "explain", "prototypes", "targets", "dropout_passes"):
        if getattr(settings, name) != Settings.model_fields[name].default:
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"--neighbours looks for images that are alike and answers nothing; leave {option} out.")
    if not paths:
        raise ConfigError("Name the images whose neighbours are sought: files or folders.")
    check_shows_features(run)
    search = _Search(run, settings, console)
    total, asked = from_paths(paths)
    answered = Answered(COLUMNS)
    shown: list[tuple[Shown, list[Shown]]] = []
    waiting: list[tuple[ReadImage, Batch]] = []
    with kept(settings.table, None, answered, console), counted(console, "comparing") as move:
        for done, one in asked:
            move(done, total)
            if isinstance(one.image, str):
                answered.fail(one.name, one.image)
                continue
            try:
                waiting.append((one, run.raw(one.image)))
            except DataError as error:
                answered.fail(one.name, str(error))
                continue
            if len(waiting) == settings.batch_size:
                shown += search.answer(waiting, answered)
                waiting.clear()
        if waiting:
            shown += search.answer(waiting, answered)
    write(settings.table, None, answered, console)
    picture = settings.table.with_name(f"{settings.table.stem}-mosaic.png")
    beside(shown[:MOST_ROWS], picture)
    images = len(answered.rows) // search.count
    console.print(
        f"{search.count} neighbours of each of {images} images, of {len(search.rows)} in {search.material.dataset.root}",
        **PLAIN,
    )
    for path in (settings.table, picture):
        console.print(str(path), **PLAIN)
    return {
        "out": str(settings.table),
        "mosaic": str(picture),
        "images": images,
        "searched": len(search.rows),
        "failures": answered.failures,
    }
