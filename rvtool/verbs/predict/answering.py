"""Reads, asks, and writes what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.data.batches import stack
from rvtool.data.fits import Image
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch
from rvtool.report import verdicts
from rvtool.report.progress import counted
from rvtool.report.tables import write_csv
from rvtool.runs.apply import (
    Asking,
    Jury,
    Said,
    Verdict,
    as_read,
    ask,
    check_alike,
    check_classifies,
    choose_device,
    turns,
)
from rvtool.runs.run import Run, load_run
from rvtool.verbs.predict import Settings
from rvtool.verbs.predict.explain import Explainer
from rvtool.verbs.predict.prototypes import read_prototypes
from rvtool.verbs.predict.reading import Asked, Targets, from_paths, from_targets, read_targets

OTHER_PIXELS = 0.05  # relative difference of the pixel scale from which it is told


@dataclass
class Answers:
    """What was answered so far: the cells of each row, by its number."""

    columns: tuple[str, ...] = ()
    rows: list[tuple[int, str, tuple[str, ...]]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    other_pixels: int = 0
    empty: int = 0

    def fail(self, name: str, error: str) -> None:
        """Note an image that cannot be used."""
        self.failures.append({"file": name, "error": error})


def predict(settings: Settings, names: Sequence[str], paths: Sequence[Any], console: Console) -> dict[str, Any]:
    """Answer for images (see `rvtool.verbs.predict.run`)."""
    runs = [load_run(name) for name in names]
    for run in runs:
        check_classifies(run)
    check_alike(runs)
    if settings.prototypes is not None and len(runs) > 1:
        raise ConfigError("--prototypes compares with the features of one run; leave --ensemble out.")
    if settings.explain and (len(runs) > 1 or settings.prototypes is not None):
        raise ConfigError(
            "--explain looks into one network, at the classes it was trained on; leave --ensemble and --prototypes out."
        )
    asker = _Asker(runs, settings)
    targets = read_targets(settings.targets) if settings.targets is not None else None
    if targets is None:
        total, asked = from_paths(paths)
    else:
        total, asked = from_targets(targets, paths, _field(runs[0]))
    answers = Answers()
    waiting: list[tuple[Asked, list[Batch]]] = []
    with counted(console, "predicting") as move:
        for done, one in asked:
            move(done, total)
            if isinstance(one.image, str):
                answers.fail(one.name, one.image)
                continue
            try:
                raws = [run.raw(one.image) for run in runs]
            except DataError as error:
                answers.fail(one.name, str(error))
                continue
            # a batch of large maps must not stand in memory for the few pixels that are looked at
            blank = np.broadcast_to(np.float32(np.nan), one.image.data.shape)
            waiting.append((replace(one, image=replace(one.image, data=blank)), raws))
            if len(waiting) == settings.batch_size:
                asker.answer(waiting, answers)
                waiting.clear()
        if waiting:
            asker.answer(waiting, answers)
    _write(settings, targets, answers, console)
    for sentence in _remarks(settings, runs, answers):
        console.print(f"Mind: {sentence}", style="yellow", markup=False, highlight=False)
    who = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    console.print(f"{len(answers.rows)} images answered by {who}", markup=False, highlight=False)
    console.print(str(settings.out), markup=False, highlight=False, soft_wrap=True)
    return {
        "out": str(settings.out),
        "images": len(answers.rows),
        "classes": list(asker.classes),
        "failures": answers.failures,
    }


class _Asker:
    """Asks the runs about a batch of images."""

    def __init__(self, runs: Sequence[Run], settings: Settings) -> None:
        self.runs, self.jury, self.coverage = runs, Jury(runs), settings.coverage
        self.asking = Asking(settings.symmetries, settings.dropout_passes)
        self.device = choose_device(settings.device)
        for run in runs:
            run.model.to(self.device)
        self.prototypes = None
        if settings.prototypes is not None:
            self.prototypes = read_prototypes(
                settings.prototypes, runs[0], self.asking, self.device, settings.batch_size
            )
        self.classes = self.prototypes.classes if self.prototypes else runs[0].data.classes
        self.explainer = None
        if settings.explain:
            self.explainer = Explainer(runs[0], settings.out.with_name(f"{settings.out.stem}-explained"))

    def answer(self, images: Sequence[tuple[Asked, list[Batch]]], answers: Answers) -> None:
        """Add the answers to a batch of images, each brought to the size of each run."""
        batches = [stack([raws[number] for _, raws in images], self.device) for number in range(len(self.runs))]
        prepared = [run.prepare(batch) for run, batch in zip(self.runs, batches, strict=True)]
        answers.empty += int((prepared[0]["image"] == 0).all(dim=(1, 2, 3)).sum())
        said = [ask(run, [batch], self.asking) for run, batch in zip(self.runs, prepared, strict=True)]
        verdict = self._conclude(said)
        answers.columns = verdicts.columns(verdict, self.classes)
        cells = verdicts.rows(verdict, self.classes, self.coverage)
        for (one, _), row in zip(images, cells, strict=True):
            answers.rows.append((one.row, one.name, row))
        usual = as_read(self.runs[0]).pixel_arcsec
        for one, _ in images:
            assert isinstance(one.image, Image)
            have = one.image.pixel_arcsec if usual else None
            answers.other_pixels += bool(have and usual and abs(have / usual - 1) > OTHER_PIXELS)
        if self.explainer is not None:
            chosen = verdict.probabilities.argmax(axis=1).tolist()
            self.explainer.explain([one for one, _ in images], prepared[0], chosen)

    def _conclude(self, said: Sequence[Said]) -> Verdict:
        if self.prototypes is None:
            return self.jury.conclude(said)
        return self.prototypes.conclude(said[0])


def _write(settings: Settings, targets: Targets | None, answers: Answers, console: Console) -> None:
    """Write the table and the failures, and tell of them.

    Raises
    ------
    DataError
        Not one image could be answered.
    """
    failures = answers.failures
    listed = settings.out.with_name(f"{settings.out.stem}-failures.csv")
    if failures:
        if not answers.rows and len(failures) == 1:
            raise DataError(failures[0]["error"])
        write_csv(listed, ("file", "error"), (failure.values() for failure in failures))
        told = f"{len(failures)} images could not be used, see {listed}"
        if not answers.rows:
            raise DataError(f"{told}; the first: {failures[0]['error']}")
        console.print(told, style="yellow", markup=False, highlight=False)
    if targets is None:
        write_csv(settings.out, ("file", *answers.columns), ((name, *row) for _, name, row in answers.rows))
    else:
        own = [name for name in targets.columns if name not in answers.columns]
        by_row = {number: row for number, _, row in answers.rows}
        blank = ("",) * len(answers.columns)
        told_rows = (
            (*(row[name] for name in own), *by_row.get(number, blank)) for number, row in enumerate(targets.rows)
        )
        write_csv(settings.out, (*own, *answers.columns), told_rows)
    if not failures:
        listed.unlink(missing_ok=True)  # of a table that was replaced


def _remarks(settings: Settings, runs: Sequence[Run], answers: Answers) -> list[str]:
    said = []
    if settings.prototypes is not None:
        said.append("the probabilities rest on the examples alone, are not calibrated, and take all classes for equal.")
    elif any(run.calibration is None for run in runs):
        said.append(
            "the probabilities are as the network gave them, for the run keeps no answers on validation images."
        )
    elif "set" not in answers.columns:
        said.append("the probabilities are as the networks gave them, for no image validated all of them.")
    elif settings.dropout_passes or any(turns(run, True) and not settings.symmetries for run in runs):
        said.append(
            "temperature and sets were fitted on answers averaged over the symmetries, without dropout, and promise"
            " less for these."
        )
    if answers.empty:
        said.append(
            f"{answers.empty} of {len(answers.rows)} images show nothing above what {runs[0].name} takes for"
            " background: their answers mean nothing."
        )
    if answers.other_pixels:
        said.append(
            f"{answers.other_pixels} of {len(answers.rows)} images have other pixels than the"
            f" {as_read(runs[0]).pixel_arcsec:.3g} arcsec that {runs[0].name} was trained on."
        )
    return said


def _field(run: Run) -> int:
    """Return the side of the square that a run looks at, in pixels of the image."""
    return run.stretch.settings.crop or run.data.image.height
