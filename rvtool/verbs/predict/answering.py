"""Reads images, asks about them, and tells what weakens the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from rvtool.data.batches import stack
from rvtool.data.fits import Image
from rvtool.errors import ConfigError
from rvtool.kinds import Batch, Side
from rvtool.report import verdicts
from rvtool.report.progress import counted, counting
from rvtool.runs.apply import (
    Asking,
    Jury,
    Said,
    Verdict,
    as_read,
    ask,
    check_alike,
    check_answers,
    choose_device,
    turns,
)
from rvtool.runs.intervals import mean_answer, together
from rvtool.runs.run import Run, load_run
from rvtool.runs.unlike import Difference, unlike
from rvtool.verbs.predict import Settings
from rvtool.verbs.predict.explain import Explainer
from rvtool.verbs.predict.prototypes import read_prototypes
from rvtool.verbs.predict.reading import ReadImage, from_paths, from_targets, in_batches, read_targets
from rvtool.verbs.predict.writing import Answered, kept, write

SIGNIFICANT = 5.0  # sigma of the brightest pixel of an image that shows something


def predict(settings: Settings, names: Sequence[str], paths: Sequence[Any], console: Console) -> dict[str, Any]:
    """Answer for images (see `rvtool.verbs.predict.run`)."""
    runs = [load_run(name) for name in names]
    for run in runs:
        check_answers(run)
    check_alike(runs)
    if runs[0].task == "regression" and (settings.explain or settings.prototypes is not None):
        raise ConfigError(f"{runs[0].path} estimates a number; --explain and --prototypes are for classifiers.")
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
    answered = Answered()
    with kept(settings.table, targets, answered, console), counted(console, "predicting") as move:
        for some in in_batches(counting(asked, total, move), asker.read, settings.batch_size, answered.fail):
            asker.answer(some, answered)
    write(settings.table, targets, answered, console)
    for sentence in _remarks(settings, runs, answered):
        console.print(f"Mind: {sentence}", style="yellow", markup=False, highlight=False)
    who = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    console.print(f"{len(answered.rows)} images answered by {who}", markup=False, highlight=False)
    console.print(str(settings.table), markup=False, highlight=False, soft_wrap=True)
    return {
        "out": str(settings.table),
        "images": len(answered.rows),
        "classes": list(asker.classes),
        "failures": answered.failures,
    }


def shows_nothing(raw: Batch, prepared: Batch) -> np.ndarray:
    """Tell of which images ``(B,)`` no pixel stands out: none `SIGNIFICANT` sigma high, or all that is left is 0.

    Pictures whose background was cut away have no noise to be measured by: of them only blank ones show nothing.
    """
    background, noise, peak = raw["image_statistics"].unbind(dim=1)
    blank = (prepared["image"] == 0).flatten(1).all(dim=1)
    faint: np.ndarray = (blank | (peak - background < SIGNIFICANT * noise)).cpu().numpy()
    return faint


class _Asker:
    """Asks the runs about a batch of images."""

    def __init__(self, runs: Sequence[Run], settings: Settings) -> None:
        self.runs, self.jury, self.coverage = runs, Jury(runs, settings.prior), settings.coverage
        self.asking = Asking(settings.symmetries, settings.dropout_passes)
        self.device = choose_device(settings.device)
        for run in runs:
            run.model.to(self.device)
        self.prototypes = None
        if settings.prototypes is not None:
            self.prototypes = read_prototypes(
                settings.prototypes, runs[0], self.asking, self.device, settings.batch_size
            )
        self.intervals = together([run.intervals for run in runs]) if runs[0].task == "regression" else None
        self.classes = self.prototypes.classes if self.prototypes else runs[0].data.classes
        self.explainer = None
        if settings.explain:
            self.explainer = Explainer(runs[0], settings.table.with_name(f"{settings.table.stem}-explained"))

    def read(self, one: ReadImage, image: Image) -> tuple[ReadImage, list[Batch]]:
        """Return an image brought to the size of each run, and where it is from, without its pixels."""
        raws = [run.raw(image) for run in self.runs]
        # a batch of large maps must not stand in memory for the few pixels that are looked at
        blank = np.broadcast_to(np.float32(np.nan), image.data.shape)
        return replace(one, image=replace(image, data=blank)), raws

    def answer(self, images: Sequence[tuple[ReadImage, list[Batch]]], answered: Answered) -> None:
        """Add the answers to a batch of images, each brought to the size of each run."""
        batches = [stack([raws[number] for _, raws in images], self.device) for number in range(len(self.runs))]
        prepared = [run.prepare(batch) for run, batch in zip(self.runs, batches, strict=True)]
        empty = shows_nothing(batches[0], prepared[0])
        answered.empty += int(empty.sum())
        said = [ask(run, [batch], self.asking) for run, batch in zip(self.runs, prepared, strict=True)]
        if self.runs[0].task == "regression":
            answered.columns, cells = self._estimate(said)
        else:
            verdict = self._conclude(said)
            if verdict.distance is not None:
                verdict = replace(verdict, distance=np.where(empty, np.inf, verdict.distance))
            answered.columns = verdicts.columns(verdict, self.classes)
            cells = verdicts.rows(verdict, self.classes, self.coverage)
        for (one, _), row in zip(images, cells, strict=True):
            answered.rows.append((one.row, one.name, row))
        for one, _ in images:
            assert isinstance(one.image, Image)
            answered.differences += self._unlike(one.image)
        if self.explainer is not None:
            chosen = verdict.probabilities.argmax(axis=1).tolist()
            self.explainer.explain([one for one, _ in images], prepared[0], chosen)

    def _unlike(self, image: Image) -> list[Difference]:
        want = as_read(self.runs[0])
        pixel = image.pixel_arcsec if want.pixel_arcsec else None  # of many images it costs some time
        channels, height, width = image.data.shape
        have = Side(channels, height, width, unit=image.unit, pixel_arcsec=pixel, beam=image.beam)
        return unlike(have, want, self.runs[0].stretch.settings)

    def _estimate(self, said: Sequence[Said]) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
        """Return columns and cells of what regressors say."""
        answer = mean_answer([one.answers for one in said])
        columns = [*answer.T, *(self.intervals.around(answer, self.coverage) if self.intervals is not None else ())]
        names = ("estimate", "deviation", "low", "high")[: len(columns)]
        return names, (tuple(f"{value:.6g}" for value in row) for row in zip(*columns, strict=True))

    def _conclude(self, said: Sequence[Said]) -> Verdict:
        if self.prototypes is None:
            return self.jury.conclude(said)
        return self.prototypes.conclude(said[0])


def _remarks(settings: Settings, runs: Sequence[Run], answered: Answered) -> list[str]:
    said = []
    if settings.prototypes is not None:
        said.append("the probabilities rest on the examples alone, are not calibrated, and take all classes for equal.")
    elif runs[0].task == "regression":
        if "low" not in answered.columns:
            said.append("there are no intervals, for no image validated all of the runs.")
    elif any(run.calibration is None for run in runs):
        said.append(
            "the probabilities are as the network gave them, for the run keeps no answers on validation images."
        )
    elif "set" not in answered.columns:
        said.append("the probabilities are as the networks gave them, for no image validated all of them.")
    elif settings.dropout_passes or any(turns(run, True) and not settings.symmetries for run in runs):
        said.append(
            "temperature and sets were fitted on answers averaged over the symmetries, without dropout, and promise"
            " less for these."
        )
    if answered.empty:
        said.append(
            f"{answered.empty} of {len(answered.rows)} images show nothing {SIGNIFICANT:g} sigma above the background,"
            f" or nothing that {runs[0].name} sees: their answers mean nothing, and their distance is infinite."
        )
    for kind, count in Counter(one.kind for one in answered.differences).items():
        first = next(one for one in answered.differences if one.kind == kind)
        said.append(first.told(f"{count} of {len(answered.rows)} images", runs[0].name))
    return said


def _field(run: Run) -> int:
    """Return the side of the square that a run looks at, in pixels of the image."""
    return run.stretch.settings.crop or run.data.image.height
