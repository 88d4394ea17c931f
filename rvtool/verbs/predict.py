"""`rvtool predict`: what a trained classifier says of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from rvtool.data.fits import Image
    from rvtool.kinds import Batch, Side


class Settings(Config):
    """What `rvtool predict` may be told."""

    run: str = Field(description="Run to apply: its folder, or 'latest'.")
    paths: tuple[Path, ...] = Field(min_length=1, description="Image files, or folders of them.")
    out: Path = Field(Path("predictions.csv"), description="Table to write: file, and a probability a class.")
    overwrite: bool = Field(False, description="Replace a table that exists.")
    batch_size: int = Field(64, ge=1, description="Images a batch; changes the speed, not the answers.")
    device: str = Field("auto", description="Where to compute: cpu, cuda, cuda:1, ...; auto takes a GPU if it can.")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Apply a classifier to image files, going on after those that cannot be used.

    A plane of a cube is called ``file:number``. Images that cannot be used are listed in ``OUT-failures.csv``, beside
    the output.

    Returns
    -------
    dict
        ``out``, ``images`` (how many were answered), ``classes``, and ``failures``: for each its ``file`` and
        ``error``.

    Raises
    ------
    ConfigError
        The run is no classifier, a folder holds no image, or there is no such device.
    DataError
        The run cannot be used, or not one image can.
    """
    from rvtool.report.progress import counted
    from rvtool.report.tables import write_csv
    from rvtool.runs.apply import check_classifies, choose_device, probabilities
    from rvtool.runs.run import load_run

    if settings.out.exists() and not settings.overwrite:
        raise DataError(f"{settings.out} exists already; choose another --out, or replace it with --overwrite.")
    trained = load_run(settings.run)
    check_classifies(trained)
    device = choose_device(settings.device)
    trained.model.to(device)
    files = list(dict.fromkeys(_files(settings.paths)))
    names: list[str] = []
    failures: list[dict[str, str]] = []

    def batches() -> Iterator[Batch]:
        waiting: list[Batch] = []
        with counted(console, "predicting") as move:
            for done, file in enumerate(files, 1):
                for name, image in _read(file, failures):
                    try:
                        waiting.append(_raw(image, trained.data.image, bool(trained.stretch.settings.crop)))
                        names.append(name)
                    except DataError as error:
                        failures.append({"file": name, "error": str(error)})
                    if len(waiting) == settings.batch_size:
                        yield trained.prepare(_stack(waiting, device))
                        waiting.clear()
                move(done, len(files))
        if waiting:
            yield trained.prepare(_stack(waiting, device))

    answered = probabilities(trained, batches())
    if failures:
        if not names and len(failures) == 1:
            raise DataError(failures[0]["error"])
        listed = settings.out.with_name(f"{settings.out.stem}-failures.csv")
        write_csv(listed, ("file", "error"), (failure.values() for failure in failures))
        told = f"{len(failures)} images could not be used, see {listed}"
        if not names:
            raise DataError(f"{told}; the first: {failures[0]['error']}")
        console.print(told, style="yellow", markup=False, highlight=False)
    rows = ((name, *(f"{p:.6g}" for p in row)) for name, row in zip(names, answered, strict=True))
    write_csv(settings.out, ("file", *trained.data.classes), rows)
    console.print(f"{len(names)} images answered by {trained.name}", markup=False, highlight=False)
    console.print(str(settings.out), markup=False, highlight=False, soft_wrap=True)
    return {
        "out": str(settings.out),
        "images": len(names),
        "classes": list(trained.data.classes),
        "failures": failures,
    }


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """Replace folders by the images in them, in the order of their names."""
    from rvtool.data.fits import suffix_of

    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if suffix_of(file) and file.is_file())
        if not inside:
            raise ConfigError(f"{path} holds no image (FITS, PNG, JPEG or NPY); check the path.")
        files += inside
    return files


def _read(file: Path, failures: list[dict[str, str]]) -> Iterator[tuple[str, Image]]:
    """Read every plane of a file with its name; a file that cannot be read becomes a failure."""
    from rvtool.data.fits import planes

    try:
        images = list(planes(file))
    except DataError as error:
        failures.append({"file": str(file), "error": str(error)})
        return
    for image in images:
        yield (str(file) if len(images) == 1 else f"{file}:{image.plane}"), image


def _raw(image: Image, side: Side, crops: bool) -> Batch:
    """Bring an image to the size that the model was trained on, as training did.

    Raises
    ------
    DataError
        Its channels or size do not fit, or it has no known pixel.
    """
    import numpy as np
    import torch

    from rvtool.data.stretch import cut

    have, want = image.data.shape, (side.channels, side.height, side.width)
    if have[0] != want[0] or (not crops and have != want):
        raise DataError(
            f"{image.path} has {have[0]} channels of {have[2]}x{have[1]} px, and the model was trained on"
            f" {want[0]} of {want[2]}x{want[1]} px."
        )
    try:
        pixels, statistics = cut(image.data.astype(np.float32), side.height, side.width)
    except DataError as error:
        raise DataError(f"{image.path}, plane {image.plane}, {error}") from None
    return {"image": torch.from_numpy(pixels), "image_statistics": torch.from_numpy(statistics)}


def _stack(images: list[Batch], device: Any) -> Batch:
    import torch

    return {name: torch.stack([image[name] for image in images]).to(device) for name in images[0]}
