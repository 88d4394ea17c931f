"""`rvtool predict`: what a trained model, or an ensemble, says or makes of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rvtool.config import Config

if TYPE_CHECKING:
    from rich.console import Console


class Settings(Config):
    """What `rvtool predict` may be told."""

    run: str = Field(description="Run to apply: its folder, 'latest', or 'default' for the one that rvtool brings.")
    paths: tuple[Path, ...] = Field(
        (), description="Image files, or folders of them; with --ensemble further runs before them."
    )
    targets: Path | None = Field(
        None,
        description="CSV of images (column file, from its folder), or of positions (ra_deg, dec_deg) in the images"
        " that are named.",
    )
    out: Path | None = Field(
        None,
        description="Table of answers to write; of a translator the FITS file, or the folder for several. Default:"
        " predictions.csv, neighbours.csv or predictions.fits.",
    )
    overwrite: bool = Field(False, description="Replace what exists.")
    ensemble: bool = Field(False, description="Ask all runs that are named before the images, and average.")
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
    prototypes: Path | None = Field(
        None, description="Folder with a folder of examples a class: answer with these classes, never trained on."
    )
    neighbours: int = Field(
        0, ge=0, description="Find this many images most alike each: of those trained on, or of --pool (0: answer)."
    )
    pool: Path | None = Field(
        None,
        description="Dataset or folder of unlabelled images: rank which to label next; with --neighbours, where to"
        " look.",
    )
    pick: int = Field(20, ge=1, description="Images of the pool to pick.")
    pick_by: Literal["entropy", "bald", "diverse"] = Field(
        "entropy", description="Pick where the answer is unsure, where opinions disagree, or unsure and unlike others."
    )
    explain: bool = Field(False, description="Write for each image a map of what spoke for the answer, beside OUT.")
    samples: int = Field(
        0,
        ge=0,
        description="Images that a generator, or a translator with dropout, makes of each: their mean and deviation.",
    )
    seed: int = Field(0, ge=0, description="Seed of the samples.")
    set: dict[str, Any] = Field(
        {}, description="What a generator is asked for beside the image, as condition.transmitter=120,88."
    )
    batch_size: int = Field(64, ge=1, description="Images a batch; changes the speed, not the answers.")
    device: str = Field("auto", description="Where to compute: cpu, cuda, cuda:1, ...; auto takes a GPU if it can.")

    @property
    def table(self) -> Path:
        """The table that is written of answers."""
        return self.out or Path("neighbours.csv" if self.neighbours else "predictions.csv")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Apply a model to images, going on after those that cannot be used.

    A translator makes an image of each: FITS on the same sky, in the target's unit, blank where the image is. So does a
    generator that learnt pairs; one that learnt images completes what is blank, and takes their noise out.

    Of classifiers and regressors the table has a row an image: ``file`` (a plane of a cube is called ``file:number``),
    a probability a class, ``entropy`` (nats), ``set`` (the classes that together hold the true one as often as
    `coverage` asks), and ``distance`` (from the training images, above 1 is unusual); a regressor's has ``estimate``,
    ``deviation``, and the ends ``low`` and ``high`` of an interval that holds the truth as often as `coverage` asks.
    With `targets` it has the rows and columns of that table, and these besides, called ``rvtool_NAME`` where it has
    such a column. What was answered is in ``OUT-partial.csv`` where the work is cut short. Images that cannot be used
    are listed in ``OUT-failures.csv``, beside the output.

    With `pool` the table ranks images to label next instead: ``rank, id, file, score`` and the probabilities, and a
    mosaic of them lies beside it.

    With `neighbours` it has, for each image, that many rows: ``file, rank, id, path, label, distance`` of the images
    that are most alike among the features of the model, and a mosaic of them lies beside it.

    Returns
    -------
    dict
        ``out``, ``images`` (how many were answered), ``classes``, and ``failures``: for each its ``file`` and
        ``error``.

    Raises
    ------
    ConfigError
        A run answers nothing, nothing is named to predict, a folder holds no image, there is no such device, or two
        settings exclude each other.
    DataError
        A run or the targets cannot be used, or not one image can.
    """
    from rvtool.errors import ConfigError, DataError
    from rvtool.runs.run import is_run, load_run, runs_folder

    names, paths = [settings.run], list(settings.paths)
    run = load_run(settings.run)
    if run.task in ("translation", "autoencoding", "generation") and not settings.neighbours:
        for name in ("ensemble", "explain", "pool", "prototypes", "targets", "dropout_passes"):
            if getattr(settings, name) != Settings.model_fields[name].default:
                option = "--" + name.replace("_", "-")
                raise ConfigError(f"{option} is for models that answer, and {settings.run} makes images; leave it out.")
        if not paths:
            raise ConfigError("Name the images to make others of: files or folders.")
        from rvtool.verbs.predict.translating import translate

        return translate(settings, run, paths, console)
    if settings.set:
        raise ConfigError(f"--set is for generators, and {settings.run} is none; leave it out.")
    if settings.samples:
        raise ConfigError(f"--samples is for translators, and {settings.run} makes no images; leave it out.")
    if settings.table.exists() and not settings.overwrite:
        raise DataError(f"{settings.table} exists already; choose another --out, or replace it with --overwrite.")
    if settings.neighbours:
        from rvtool.verbs.predict.neighbours import find

        return find(settings, run, paths, console)
    while paths and (is_run(paths[0]) or (not paths[0].exists() and is_run(runs_folder() / paths[0]))):
        names.append(str(paths.pop(0)))
    if len(names) > 1 and not settings.ensemble:
        raise ConfigError(f"{names[1]} is a run, not an image; ask several runs together with --ensemble.")
    if settings.ensemble and len(names) < 2:
        raise ConfigError("An ensemble is of two runs or more; name them all before the images.")
    if settings.pool is not None:
        if paths or settings.targets is not None or settings.prototypes is not None or settings.explain:
            raise ConfigError("--pool stands alone: leave images, --targets, --prototypes and --explain out.")
        from rvtool.verbs.predict.picking import pick

        return pick(settings, names, console)
    if not paths and settings.targets is None:
        raise ConfigError("Name the images to predict: files, folders, or --targets TABLE.csv.")
    from rvtool.verbs.predict.answering import predict

    return predict(settings, names, paths, console)
