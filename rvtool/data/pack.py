"""A dataset packed once, after the crop to one shape, into a memory-mapped array: the cache that training reads."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from rvtool.data.dataset import Dataset, encode
from rvtool.data.files import cache_folder, write_error
from rvtool.data.fits import Image, planes
from rvtool.data.splits import separation_arcmin
from rvtool.data.stretch import cut
from rvtool.errors import DataError

PACK_FORMAT = 2  # one more whenever the same images would be packed differently


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


def open_pack(
    dataset: Dataset,
    crop: int = 0,
    side: str = "image",
    progress: Callable[[int, int], None] | None = None,
    *,
    resize: int = 0,
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
    resize
        Side to which the crop is resampled, px; 0 keeps its pixels.

    Raises
    ------
    DataError
        Half of the images or more differ in shape from the rest and no crop is set, or in channels; none can be read;
        or the disk is full.
    """
    # targets are checked by where their images lie
    seen = f"{side}-{dataset.places_digest[:8]}" if side == "target" else side
    place = cache_folder() / "packs" / f"{dataset.pixels_digest[:24]}-{seen}-{_frame(crop, resize)}-v{PACK_FORMAT}"
    if not (place / "pack.json").exists():
        partial = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            _make(dataset, crop, resize, side, partial, progress=progress)
            with suppress(FileExistsError, OSError):  # another process may have made it meanwhile: its pack is as good
                os.rename(partial, place)
        except OSError as error:
            raise write_error(place, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    facts = json.loads((place / "pack.json").read_text())
    pixels = np.load(place / "pixels.npy", mmap_mode="r")
    return Pack(pixels, np.load(place / "statistics.npy"), {int(k): v for k, v in facts["failures"].items()})


def _frame(crop: int, resize: int) -> str:
    return f"{crop}to{resize}" if resize else str(crop)


def _make(
    dataset: Dataset,
    crop: int,
    resize: int,
    side: str,
    place: Path,
    *,
    progress: Callable[[int, int], None] | None,
    shape: tuple[int, ...] = (),
) -> None:
    """Write a pack of the images of one shape: the first image's, and if most have another, anew with that."""
    place.mkdir(parents=True)
    failures: dict[int, str] = {}
    statistics = np.zeros((len(dataset), 3), np.float32)
    pixels: np.memmap | None = None
    shapes: Counter[tuple[int, ...]] = Counter()
    odd = ""
    places = _places(dataset) if side == "target" else None
    for done, (row, image) in enumerate(_images(dataset, "" if side == "image" else "target_")):
        if progress is not None:
            progress(done, len(dataset))
        if isinstance(image, str):
            failures[row] = image
            continue
        elsewhere = _elsewhere(places[row], image) if places is not None else ""
        if elsewhere:
            failures[row] = elsewhere
            continue
        have = (image.data.shape[0], crop or image.data.shape[1], crop or image.data.shape[2])
        shape = shape or have
        shapes[have] += 1
        if have != shape:
            failures[row] = _differs(image, shape)
            odd = odd or failures[row]
            continue
        if pixels is None:
            dtype = np.uint8 if image.data.dtype == np.uint8 and not resize else np.float32
            size = (resize, resize) if resize else shape[1:]
            pixels = _reserve(place / "pixels.npy", dtype, (len(dataset), shape[0], *size))
        exact = image.data.dtype == np.uint8 and min(image.data.shape[1:]) >= min(shape[1:])
        if pixels.dtype == np.uint8 and not exact:  # NaN and other types need floats: what is there is kept
            pixels = _as_float(place, pixels)
        data = image.data if pixels.dtype == np.uint8 else image.data.astype(np.float32)
        try:
            pixels[row], statistics[row] = cut(data, shape[1], shape[2], resize)
        except DataError as error:
            failures[row] = f"{image.path} {error}"
    if pixels is None:
        first = next(iter(failures.values()), "it is empty")
        raise DataError(f"{dataset.root}: no image can be used; the first one: {first}")
    usual, count = shapes.most_common(1)[0]
    if 2 * count <= shapes.total():
        raise DataError(odd)
    if usual != shape:
        shutil.rmtree(place)
        return _make(dataset, crop, resize, side, place, progress=progress, shape=usual)
    for row in failures:
        pixels[row] = 0
    pixels.flush()
    np.save(place / "statistics.npy", statistics)
    (place / "pack.json").write_text(json.dumps({"failures": failures}))
    return None


def _images(dataset: Dataset, prefix: str) -> Iterator[tuple[int, Image | str]]:
    """Read every image, each file once; a bad one comes as the sentence that says why."""
    files, paths = encode(dataset.table[f"{prefix}path"])
    wanted = np.zeros(len(files), np.int64)
    if f"{prefix}plane" in dataset:
        wanted = dataset.table[f"{prefix}plane"].cast("int64").fill_null(0).to_numpy()
    order = np.lexsort((wanted, files))
    for rows in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
        if len(rows) == 0:
            continue
        if files[rows[0]] < 0:
            yield from ((int(row), f"{dataset.column('id')[row]} has no {prefix}path.") for row in rows)
            continue
        path = paths[files[rows[0]]]
        by_plane: dict[int, list[int]] = {}
        for row in rows:
            by_plane.setdefault(int(wanted[row]), []).append(int(row))
        try:
            of_file = planes(dataset.root / path)
            if prefix and f"{prefix}plane" not in dataset:
                first = list(islice(of_file, 2))
                if len(first) > 1:
                    raise DataError(f"{path} holds several planes, and none is named; add the column '{prefix}plane'.")
                of_file = iter(first)
            for image in of_file:
                for row in by_plane.pop(image.plane, ()):
                    yield row, image
        except DataError as error:
            problem = str(error)
        else:
            problem = f"{path} has no such plane."
        for row in (row for left in by_plane.values() for row in left):
            yield row, problem


def _places(dataset: Dataset) -> np.ndarray:
    """Return where the images lie, ``(N, 2)`` degrees; NaN where that is not known."""
    if "ra_deg" not in dataset or "dec_deg" not in dataset:
        return np.full((len(dataset), 2), np.nan)
    return np.stack([dataset.numbers(name) for name in ("ra_deg", "dec_deg")], axis=1)


def _elsewhere(place: np.ndarray, target: Image) -> str:
    """Say where a target shows another sky than its image; empty where it does not, or nobody can tell."""
    if np.isnan(place).any() or not target.pixel_arcsec or target.centre is None:
        return ""
    away = separation_arcmin(float(place[0]), float(place[1]), *target.centre)
    if away <= math.hypot(*target.data.shape[-2:]) / 2 * target.pixel_arcsec / 60:
        return ""
    return f"{target.path} shows another sky than its image: its centre is {away:.3g} arcmin away; pair it rightly."


def _differs(image: Image, shape: tuple[int, ...]) -> str:
    """Say how an image differs from the others."""
    channels, height, width = image.data.shape
    if channels != shape[0]:
        return f"{image.path} has {channels} channels where others have {shape[0]}; use images of one kind."
    return (
        f"{image.path} is {width}x{height} px where others are {shape[2]}x{shape[1]}; "
        "set --crop to cut all to one size."
    )


def _reserve(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap:
    """Map a new array whose room on the disk is taken already: a map of a full disk would kill the process."""
    pixels = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # not every file system can
                    raise
    return pixels


def _as_float(place: Path, pixels: np.memmap) -> np.memmap:
    old = place / "pixels.npy"
    wide = _reserve(place / "wide.npy", np.float32, pixels.shape)
    for start in range(0, len(pixels), 1024):
        wide[start : start + 1024] = pixels[start : start + 1024]
    os.replace(place / "wide.npy", old)
    return wide
