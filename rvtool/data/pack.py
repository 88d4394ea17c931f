"""A dataset packed once, after the crop to one shape, into a memory-mapped array: the cache that training reads."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rvtool.data.dataset import Dataset
from rvtool.data.files import write_error
from rvtool.data.fits import Image, planes
from rvtool.data.stretch import cut
from rvtool.errors import DataError


@dataclass(frozen=True)
class Pack:
    """The pixels of one side of a dataset, row by row of its manifest.

    Attributes
    ----------
    pixels
        ``(N, C, H, W)``, memory-mapped: uint8 where every image is, else float32; unknown pixels are NaN.
    statistics
        ``(N, 3)`` float32, as `rvtool.data.stretch.STATISTICS`.
    failures
        ``{row: why}`` of the images that could not be used; their rows are blank.
    """

    pixels: np.ndarray
    statistics: np.ndarray
    failures: dict[int, str]

    @property
    def good(self) -> np.ndarray:
        """``(N,)`` bool, True where the image could be used."""
        mask = np.ones(len(self.pixels), bool)
        mask[list(self.failures)] = False
        return mask


def cache_folder() -> Path:
    """Return where packs are kept: ``$RVTOOL_CACHE``, else the user's cache folder."""
    if "RVTOOL_CACHE" in os.environ:
        return Path(os.environ["RVTOOL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rvtool"


def open_pack(
    dataset: Dataset, crop: int = 0, side: str = "image", progress: Callable[[int, int], None] | None = None
) -> Pack:
    """Open the pack of a dataset, making it first where it does not exist yet.

    Parameters
    ----------
    crop
        Central square to keep, px; 0 keeps the image, and then all must have one shape.
    side
        ``"image"`` or ``"target"``.
    progress
        Called with images done and images in all.

    Raises
    ------
    DataError
        The images differ in shape and no crop is set, differ in channels, none can be read, or the disk is full.
    """
    place = cache_folder() / "packs" / f"{dataset.digest[:24]}-{side}-{crop}"
    if not (place / "pack.json").exists():
        partial = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            _make(dataset, crop, side, partial, progress)
            with suppress(FileExistsError, OSError):  # another process may have made it meanwhile: its pack is as good
                os.rename(partial, place)
        except OSError as error:
            raise write_error(place, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    facts = json.loads((place / "pack.json").read_text())
    pixels = np.load(place / "pixels.npy", mmap_mode="r")
    return Pack(pixels, np.load(place / "statistics.npy"), {int(k): v for k, v in facts["failures"].items()})


def _make(dataset: Dataset, crop: int, side: str, place: Path, progress: Callable[[int, int], None] | None) -> None:
    place.mkdir(parents=True)
    prefix = "" if side == "image" else "target_"
    failures: dict[int, str] = {}
    statistics = np.zeros((len(dataset), 3), np.float32)
    pixels: np.memmap | None = None
    shape: tuple[int, ...] = ()
    for done, (row, image) in enumerate(_images(dataset, prefix)):
        if progress is not None:
            progress(done, len(dataset))
        if isinstance(image, str):
            failures[row] = image
            continue
        if pixels is None:
            shape = (image.data.shape[0], crop or image.data.shape[1], crop or image.data.shape[2])
            dtype = np.uint8 if image.data.dtype == np.uint8 else np.float32
            pixels = np.lib.format.open_memmap(place / "pixels.npy", "w+", dtype, (len(dataset), *shape))
        _check_shape(image, shape, crop)
        exact = image.data.dtype == np.uint8 and min(image.data.shape[1:]) >= min(shape[1:])
        if pixels.dtype == np.uint8 and not exact:  # NaN and other types need floats: what is there is kept
            pixels = _as_float(place, pixels)
        data = image.data if pixels.dtype == np.uint8 else image.data.astype(np.float32)
        try:
            pixels[row], statistics[row] = cut(data, shape[1], shape[2])
        except DataError as error:
            failures[row] = f"{image.path} {error}"
    if pixels is None:
        first = next(iter(failures.values()), "it is empty")
        raise DataError(f"{dataset.root}: no image can be used; the first one: {first}")
    for row in failures:
        pixels[row] = 0
    pixels.flush()
    np.save(place / "statistics.npy", statistics)
    (place / "pack.json").write_text(json.dumps({"failures": failures}))


def _images(dataset: Dataset, prefix: str) -> Iterator[tuple[int, Image | str]]:
    """Read every image, each file once; a bad one comes as the sentence that says why."""
    paths = dataset.column(f"{prefix}path")
    has_planes = f"{prefix}plane" in dataset
    wanted = dataset.column(f"{prefix}plane").astype(int) if has_planes else np.zeros(len(paths), int)
    order = np.lexsort((wanted, paths.astype(str)))
    for rows in np.split(order, np.flatnonzero(paths[order][1:] != paths[order][:-1]) + 1):
        by_plane: dict[int, list[int]] = {}
        for row in rows:
            by_plane.setdefault(int(wanted[row]), []).append(int(row))
        try:
            for image in planes(dataset.root / paths[rows[0]]):
                for row in by_plane.pop(image.plane, ()):
                    yield row, image
        except DataError as error:
            problem = str(error)
        else:
            problem = f"{paths[rows[0]]} has no such plane."
        for row in (row for left in by_plane.values() for row in left):
            yield row, problem


def _check_shape(image: Image, shape: tuple[int, ...], crop: int) -> None:
    have = image.data.shape
    if have[0] != shape[0]:
        raise DataError(
            f"{image.path} has {have[0]} channels where the first image has {shape[0]}; use images of one kind."
        )
    if not crop and have != shape:
        raise DataError(
            f"{image.path} is {have[2]}x{have[1]} px where the first image is {shape[2]}x{shape[1]}; "
            "set --crop to cut all to one size."
        )


def _as_float(place: Path, pixels: np.memmap) -> np.memmap:
    old = place / "pixels.npy"
    wide = np.lib.format.open_memmap(place / "wide.npy", "w+", np.float32, pixels.shape)
    for start in range(0, len(pixels), 1024):
        wide[start : start + 1024] = pixels[start : start + 1024]
    os.replace(place / "wide.npy", old)
    return wide
