"""`rvtool evaluate`: judge runs on images that they never saw, and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from rvtool.runs.run import Run


JUDGES = {
    "classification": "rvtool.verbs.evaluate.judge",
    "regression": "rvtool.verbs.evaluate.regression",
    "translation": "rvtool.verbs.evaluate.translation",
    "autoencoding": "rvtool.verbs.evaluate.autoencoding",
    "generation": "rvtool.verbs.evaluate.generation",
}
"""The module that judges each task: ``evaluate(settings, runs, console)``."""

FIELDS = "rvtool.verbs.evaluate.fields"  # of maps of a place, which show no sky
LATENT = "rvtool.verbs.evaluate.latent"  # of any task


class Settings(Config):
    """What `rvtool evaluate` may be told."""

    runs: tuple[str, ...] = Field((), description="Runs to judge: folders, or 'latest'.")
    figures: bool = Field(
        False, description="Judge nothing: draw how the runs' trainings went, or go, into RUN/evaluation/training."
    )
    log: Path | None = Field(
        None, description="Draw the training that this log of another program tells of (text, JSON lines or CSV)."
    )
    data: Path | None = Field(None, description="Dataset or folder to judge on. Default: what each was trained on.")
    split: Literal["auto", "train", "val", "test", "all"] = Field(
        "auto", description="Part to judge on; auto: what the run held out as test, or all of a dataset new to it."
    )
    out: Path | None = Field(None, description="Folder to write to. Default: RUN/evaluation.")
    ensemble: bool = Field(False, description="Judge the mean of the runs' probabilities instead of each run.")
    symmetries: bool = Field(
        True, description="Average the answers over the eight turns and mirror images of an image of the sky."
    )
    dropout_passes: int = Field(
        0, ge=0, description="Ask each image this often with dropout on, and average (0: once, without)."
    )
    prior: Literal["model", "data"] = Field(
        "model",
        description="Shares of the classes that probabilities rest on: those that training aimed at, or those of the"
        " run's validation images.",
    )
    coverage: float = Field(
        0.9, gt=0, lt=1, description="How often an image's set of classes, or interval, is to hold the truth."
    )
    within: float = Field(
        10.0, gt=0, description="Error of an estimated number that still counts as right, in the label's unit."
    )
    robustness: int = Field(
        500, ge=0, description="Images that are judged again shifted, turned, with noise and another beam (0: none)."
    )
    latent: Literal["pca", "umap"] | None = Field(
        None,
        description="Judge nothing but the features: where images lie among them, and a linear probe of the classes,"
        " into RUN/evaluation/latent (umap needs the extra of that name).",
    )
    colour_by: str = Field("", description="Column by which --latent colours images. Default: the label.")
    count: int = Field(
        0, ge=0, description="Images that a generator is to make (0: as many as it was trained on, 300 to 2000)."
    )
    encoder: str = Field("default", description="Run of a classifier whose features say how alike images are.")
    bootstrap: int = Field(2000, ge=100, description="Resamples behind each 95 % interval.")
    seed: int = Field(0, ge=0, description="Seed of the resamples.")
    batch_size: int = Field(64, ge=1, description="Images a batch; changes the speed, not the answers.")
    device: str = Field("auto", description="Where to compute: cpu, cuda, cuda:1, ...; auto takes a GPU if it can.")
    workers: int = Field(0, ge=0, description="Threads that compute on the CPU (0: as many as there are cores).")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Judge one run; judge and compare several; or judge several as an ensemble.

    Each is asked without augmentation, with the stretch of its own training; temperature and sets of classes come from
    its validation images, and where these are among the judged ones that is told. Into RUN/evaluation (or `out`, with a
    folder a run where there are several) go ``metrics.json``, ``predictions.csv``, figures and ``report.html``; a
    comparison of several goes into ``comparison.json`` there, or in the first run's folder.

    With `figures` or `log` nothing is judged, and no weights are needed: see `rvtool.verbs.evaluate.progress`.

    With `latent` the features are judged instead: ``latents.parquet`` has the manifest's columns, the features and the
    place of every image in the projection, ``latents.png`` draws it, and ``latent.json`` holds the linear probe.

    Returns
    -------
    For one run or an ensemble what ``metrics.json`` holds, else ``runs`` (that for each) and ``comparison``; and
    ``out``, the folder.

    Raises
    ------
    ConfigError
        No run is named, one answers nothing, learnt another task than the others or is named twice, an ensemble has one
        run only, or there is no such device.
    DataError
        A run or the data cannot be used, or there is nothing to judge on.
    """
    import importlib

    from rvtool.runs.run import load_run

    if not settings.runs and settings.log is None:
        raise ConfigError("No run is named; name a run's folder, 'latest', or a log of another program with --log.")
    if settings.figures or settings.log is not None:
        from rvtool.verbs.evaluate import progress

        return progress.draw(settings, console)
    runs = [load_run(name) for name in settings.runs]
    paths = [run.path.resolve() for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if paths.count(path) > 1:
            raise ConfigError(f"{run.path} is named twice; name each run once.")
        if run.task not in JUDGES and settings.latent is None:
            raise ConfigError(f"{run.path} is a run of '{run.record['model']}', which answers nothing to be judged.")
    if settings.ensemble and len(runs) < 2:
        raise ConfigError("An ensemble is of two runs or more; name them all.")
    if len({run.task for run in runs}) > 1 and settings.latent is None:
        told = ", ".join(f"{run.name} ({run.task})" for run in runs)
        raise ConfigError(f"These runs learnt different tasks and cannot be judged together: {told}.")
    judges = {LATENT if settings.latent else _judge_of(run) for run in runs}
    if len(judges) > 1:
        raise ConfigError("These runs make different things and cannot be judged together; judge them one by one.")
    judge = importlib.import_module(judges.pop())  # only now the seconds that loading torch takes
    if settings.workers:
        import torch

        torch.set_num_threads(settings.workers)
    judged: dict[str, Any] = judge.evaluate(settings, runs, console)
    return judged


def _judge_of(run: Run) -> str:
    """Return the module that judges a run: what makes images of others is judged against their truths."""
    target = run.data.target
    if run.task not in ("translation", "generation") or target is None:
        return JUDGES[run.task]
    return FIELDS if target.axes == "metres" else JUDGES["translation"]
