"""Applies a translator to images: FITS in, FITS out, on the right place of the sky, and of any size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

import rvtool
from rvtool.data.files import writing
from rvtool.data.fits import Image
from rvtool.data.grid import header_of
from rvtool.data.stretch import measure
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Side
from rvtool.report.progress import counted
from rvtool.report.tables import write_csv
from rvtool.runs.apply import choose_device
from rvtool.runs.generated import Generated, draw_condition
from rvtool.runs.run import Run
from rvtool.runs.tiles import Tiling, bands
from rvtool.runs.translated import check_restores, known_pixels
from rvtool.runs.unlike import unlike
from rvtool.verbs.predict import Settings
from rvtool.verbs.predict.reading import from_paths

BLOCK = 2880  # bytes of FITS
MOST_MARGIN = 64  # px: what lies farther off hardly counts, however deep a network
LARGEST_MAP = 4096  # px, of a place: larger ones are cut nevertheless
LEAST_TILE = 256  # px: below, much of the work would be margins


def translate(settings: Settings, run: Run, paths: Sequence[Path], console: Console) -> dict[str, Any]:
    """Make an image of each image (see `rvtool.verbs.predict.run`)."""
    translator = Translating(run, settings)
    if settings.samples == 1:
        raise ConfigError("One sample has no standard deviation; ask for two or more with --samples.")
    total, asked = from_paths(paths)
    first = list(islice(asked, 2))  # a file may hold many planes
    one_file, asked = len(first) == 1, chain(first, asked)
    out = settings.out or Path("predictions.fits" if one_file else "predictions")
    if one_file and out.suffix.lower() not in (".fits", ".fit"):
        raise ConfigError(f"{run.name} makes an image, which is FITS; name a file that ends with .fits with --out.")
    if not one_file and out.suffix:
        raise ConfigError(f"Several images are asked for; name a folder for them with --out, not '{out}'.")
    if out.exists() and not settings.overwrite:
        raise DataError(f"{out} exists already; choose another --out, or replace it with --overwrite.")
    made: list[str] = []
    failures: list[dict[str, str]] = []
    differences: dict[str, str] = {}
    with counted(console, "predicting") as move:
        for done, one in asked:
            move(done, total)
            if isinstance(one.image, str):
                failures.append({"file": one.name, "error": one.image})
                continue
            try:
                path = out if one_file else _free(out, _stem(one.name), made)
                for difference in translator.differences(one.image):
                    differences.setdefault(difference.kind, difference.told(f"Images such as {one.name}", run.name))
                translator.write(one.image, path)
            except DataError as error:
                failures.append({"file": one.name, "error": str(error)})
                continue
            made.append(str(path))
    for sentence in differences.values():
        console.print(f"Mind: {sentence}", style="yellow", markup=False, highlight=False)
    for failure in failures:
        console.print(failure["error"], style="red", markup=False, highlight=False, soft_wrap=True)
    if not made:
        raise DataError(f"Not one image could be used; the first: {failures[0]['error']}")
    if failures:
        table = out.with_name(f"{out.stem}-failures.csv")
        write_csv(table, ("file", "error"), ((failure["file"], failure["error"]) for failure in failures))
        console.print(str(table), markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(made)} images made by {run.name}", markup=False, highlight=False)
    console.print(str(out), markup=False, highlight=False, soft_wrap=True)
    return {"out": str(out), "images": len(made), "failures": failures}


def _free(folder: Path, stem: str, made: Sequence[str]) -> Path:
    """Return a file that nothing of this call has been written to: images of other folders may have one name."""
    names = chain([f"{stem}.fits"], (f"{stem}-{number}.fits" for number in count(2)))
    return next(path for path in (folder / name for name in names) if str(path) not in made)


def _stem(name: str) -> str:
    """Name a made image by the file, and the plane, that it was made of."""
    file, colon, plane = name.rpartition(":")
    path = Path(file if colon and plane.isdigit() else name)
    stem = path.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".fz")
    return Path(stem).stem + (f"-{plane}" if colon and plane.isdigit() else "")


class Translating:
    """A run's model, and how images are brought before it in parts."""

    def __init__(self, run: Run, settings: Settings) -> None:
        self.run, self.settings = run, settings
        self.device = choose_device(settings.device)
        self.model = run.model.to(self.device)
        self.made = check_restores(run)
        self.dropping = [module for module in self.model.modules() if isinstance(module, nn.Dropout) and module.p > 0]
        self.generates = run.task == "generation"
        asked = settings.set.get("condition", {})
        numbers = {name: value for name, value in asked.items() if name == "label" or name in run.data.conditions}
        self.drawn = {name: str(value) for name, value in asked.items() if name not in numbers}
        label = str(numbers.pop("label", ""))
        self.of = Generated(run, label, numbers) if self.generates and (label or numbers) else None
        if settings.set and (not self.generates or set(settings.set) != {"condition"}):
            raise ConfigError("--set says what a generator is asked for, as condition.NAME=VALUE; leave the rest out.")
        if self.generates and not hasattr(self.model, "predict"):
            raise ConfigError(f"{run.name} makes images by chance, of no others: rvtool simulate {run.path}")
        if settings.samples and not self.dropping and not self.generates:
            raise ConfigError(f"{run.name} makes the same image every time (it has no dropout); leave --samples out.")
        self.factor = int(self.model.factor)
        grid, reach = int(self.model.grid), self.model.reach
        trained = max(run.data.image.height, run.data.image.width)
        if run.data.image.axes == "metres":  # what shapes a place may stand at the other end of the map
            self.tiling = Tiling(LARGEST_MAP, 0)
        elif reach is None:  # it looks at all that it is shown, so that it is shown as much as in training
            side = -(-trained // grid) * grid  # whole innermost pixels, so that nothing is padded
            self.tiling = Tiling(side, side // 8)
        else:
            margin = min(reach, MOST_MARGIN)
            self.tiling = Tiling(max(4 * margin, LEAST_TILE), margin)

    def differences(self, image: Image) -> list[Any]:
        """Tell in what an image is not what the model was trained on."""
        have = Side(1, 1, 1, unit=image.unit, pixel_arcsec=image.pixel_arcsec, beam=image.beam)
        return unlike(have, self.run.data.image, self.run.stretch.settings)

    def write(self, image: Image, path: Path) -> None:
        """Make an image of an image and write it.

        Raises
        ------
        DataError
            It has other channels than the model knows, no known pixel, or no room on the disk.
        """
        wanted = self.run.data.image.channels
        if self.drawn:
            image = draw_condition(self.run, image, self.drawn)
        if wanted == 1:
            image = image.in_grey()
        channels, height, width = image.data.shape
        if channels != wanted:
            raise DataError(f"{image.path} has {channels} channels, and {self.run.name} was trained on {wanted}.")
        if not image.mask.any():
            raise DataError(f"{image.path} has not one known pixel (all NaN); leave it out.")
        statistics = torch.from_numpy(measure(image.data.astype(np.float32, copy=False), image.mask))[None]
        fine = (height * self.factor, width * self.factor)
        shape = fine if self.made.channels == 1 else (self.made.channels, *fine)
        planes = ("MEAN", "STDDEV") if self.settings.samples else ("",)
        with writing(path) as stream, torch.inference_mode(), torch.random.fork_rng():
            units = _reserve(stream, self._headers(image, planes), shape)
            line = 0
            for band in bands(
                lambda part: self._make(image, part, statistics), (height, width), self.tiling, self.factor
            ):
                lines = band.shape[1]
                for unit, values in zip(units, np.split(band, len(units)), strict=True):
                    unit.write(line, values)
                line += lines

    def _make(self, image: Image, part: tuple[slice, slice], statistics: torch.Tensor) -> np.ndarray:
        """Make a part: ``(C, h, w)``, or the mean and the standard deviation over samples ``(2 C, h, w)``."""
        pixels = torch.from_numpy(np.ascontiguousarray(image.data[(slice(None), *part)], np.float32))[None]
        prepare = self.run.prepare
        raw = {"image": pixels.to(self.device), "image_statistics": statistics.to(self.device)}
        batch = prepare(raw)
        if self.settings.samples:
            for module in self.dropping:
                module.train()
        made = []
        for number in range(self.settings.samples or 1):
            seed = self.settings.seed + number
            torch.manual_seed(seed)
            if self.of is not None:
                batch |= self.of.asked(torch.zeros(1, dtype=torch.int64), seed)
            answer = self.model.predict(batch, seed) if self.generates else self.model.predict(batch)
            made.append(prepare.restore(answer, batch))
        samples = torch.cat(made)
        known = known_pixels(batch["mask"], self.factor)
        if self.generates and self.run.data.target is None:
            known = torch.ones_like(known)  # what was not is made
        planes = [samples.mean(0), samples.std(0)] if self.settings.samples else [samples[0]]
        both: np.ndarray = torch.cat([torch.where(known[0], one, torch.nan) for one in planes]).cpu().numpy()
        return both

    def _headers(self, image: Image, planes: Sequence[str]) -> Iterator[Any]:
        run = self.run
        model, version = run.record["model"], rvtool.__version__
        history = [f"made by rvtool {version}, model {model}, run {run.name}"]
        if image.path is not None:
            history.append(f"of {image.path.name}" + (f", plane {image.plane}" if image.plane else ""))
        if self.settings.samples:
            history.append(f"mean and standard deviation of {self.settings.samples} samples")
        for plane in planes:
            header = header_of(image, self.made, self.factor, history)
            if plane:
                header["EXTNAME"] = plane
            yield header


class _Plane:
    """The data unit of an image in an open file, written as its lines become known."""

    def __init__(self, stream: IO[bytes], start: int, shape: Sequence[int]) -> None:
        self.stream, self.start, self.shape = stream, start, (1, *shape) if len(shape) == 2 else tuple(shape)

    def write(self, line: int, values: np.ndarray) -> None:
        """Write lines ``(C, n, W)`` from one on."""
        _, height, width = self.shape
        for channel, lines in enumerate(values):
            self.stream.seek(self.start + 4 * width * (channel * height + line))
            self.stream.write(np.ascontiguousarray(lines, ">f4").tobytes())


def _reserve(stream: IO[bytes], headers: Iterator[Any], shape: Sequence[int]) -> list[_Plane]:
    """Write the headers of images of one shape, each with room for its pixels."""
    from astropy.io import fits

    units = []
    for number, header in enumerate(headers):
        kind = fits.ImageHDU if number else fits.PrimaryHDU
        shell = kind(np.broadcast_to(np.float32(0), shape), header)
        block = io.BytesIO(shell.header.tostring().encode("ascii"))
        stream.write(block.getvalue())
        units.append(_Plane(stream, stream.tell(), shape))
        size = 4 * int(np.prod(shape))
        stream.seek(size + -size % BLOCK - 1, io.SEEK_CUR)
        stream.write(b"\0")
    return units
