"""Which images are asked about: files, folders, the rows of a table, positions in large images."""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from rvtool.compressed.files import SUFFIX, decompress_file
from rvtool.data.fits import Image, planes, quiet, suffix_of
from rvtool.errors import ConfigError, DataError

FILE, RA, DEC = ("file", "path", "image"), ("ra_deg", "ra"), ("dec_deg", "dec")
T = TypeVar("T")
TIE_PX = 0.05  # positions are written with so few digits: this near to the middle of two pixels is in the middle


@dataclass(frozen=True)
class ReadImage:
    """One image that is asked about, or why it cannot be.

    Attributes
    ----------
    name
        The file, with the plane of a cube, or the file and the position.
    image
        The image, or the sentence that says why there is none.
    row
        Its row in the table of targets.
    corner
        Of a cutout: the line and the column of its first pixel in the image that it was cut from.
    """

    name: str
    image: Image | str
    row: int = 0
    corner: tuple[int, int] = (0, 0)


def in_batches(
    asked: Iterable[ReadImage], read: Callable[[ReadImage, Image], T], size: int, fail: Callable[[str, str], None]
) -> Iterator[list[T]]:
    """Yield what `read` makes of each image, `size` at a time; who cannot be read goes to `fail` with the reason."""
    waiting: list[T] = []
    for one in asked:
        if isinstance(one.image, str):
            fail(one.name, one.image)
            continue
        try:
            waiting.append(read(one, one.image))
        except DataError as error:
            fail(one.name, str(error))
            continue
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


@dataclass(frozen=True)
class Targets:
    """A table of targets: its columns, its rows as they stand."""

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]] = field(default_factory=list)

    def column(self, names: Sequence[str]) -> str | None:
        """Return the table's own name for a column, whatever its case."""
        own = {name.lower(): name for name in self.columns}
        return next((own[name] for name in names if name in own), None)

    @property
    def places(self) -> bool:
        """Whether the table tells positions on the sky."""
        return self.column(RA) is not None and self.column(DEC) is not None


def read_targets(path: Path) -> Targets:
    """Read a table of targets.

    Raises
    ------
    DataError
        It is missing, no table, empty, or tells neither files nor positions.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="")
            columns = tuple(reader.fieldnames or ())
            rows = [{name: row[name] for name in columns} for row in reader]
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text in UTF-8; save it as CSV in UTF-8.") from None
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path} cannot be read as a CSV table ({reason}); check the path.") from error
    targets = Targets(path, columns, rows)
    if not rows:
        raise DataError(f"{path} holds no row; name a table with a header and a row a target.")
    if targets.column(FILE) is None and not targets.places:
        raise DataError(
            f"{path} has neither a column 'file' nor 'ra_deg' and 'dec_deg', separated by commas (its first line is "
            f"'{','.join(columns)}'); name its columns so."
        )
    return targets


def from_paths(paths: Sequence[Path]) -> tuple[int, Iterator[tuple[int, ReadImage]]]:
    """Return how many files there are, and give the planes of each with the file's number.

    Raises
    ------
    ConfigError
        A folder holds no image.
    """
    files = list(dict.fromkeys(_files(paths)))

    def each() -> Iterator[tuple[int, ReadImage]]:
        for number, file in enumerate(files):
            for one in _planes_of(file):
                yield number, one

    return len(files), each()


def from_targets(targets: Targets, paths: Sequence[Path], side: int) -> tuple[int, Iterator[tuple[int, ReadImage]]]:
    """Return how many rows there are, and give each row's image: the file it names, or a cutout at its position.

    Parameters
    ----------
    paths
        Images in which positions are looked up; none where the table names files.
    side
        Of a cutout, px.

    Raises
    ------
    ConfigError
        The table names positions only, and there is no image to look them up in; or files only, and there is one.
    """
    name = targets.column(FILE)
    if name is not None and not paths:
        return len(targets.rows), _rows_of_files(targets, name)
    if not targets.places:
        raise ConfigError(
            f"{targets.path} names files and no positions to look up in {paths[0]}; leave the images out, or add "
            "'ra_deg' and 'dec_deg'."
        )
    if not paths:
        raise ConfigError(
            f"{targets.path} names positions; name the images that show them too, or fetch cutouts first: "
            f"rvtool collect --source first --targets {targets.path} --out cutouts"
        )
    return len(targets.rows), _cutouts(targets, list(_files(paths)), side)


def _rows_of_files(targets: Targets, column: str) -> Iterator[tuple[int, ReadImage]]:
    for number, row in enumerate(targets.rows):
        file = targets.path.parent / row[column]
        one = _only_image_of(file) if row[column] else ReadImage(f"row {number + 1}", "It names no file.")
        yield number, replace(one, row=number)


def _cutouts(targets: Targets, files: Sequence[Path], side: int) -> Iterator[tuple[int, ReadImage]]:
    """Cut each position out of the first image that shows it, reading each image once."""
    from astropy.coordinates import SkyCoord

    places = [_place(row, targets) for row in targets.rows]
    waiting = {number: place for number, place in enumerate(places) if not isinstance(place, str)}
    unread = ""
    for one in map(_only_image_of, files):
        if not waiting:
            break
        if isinstance(one.image, str) or one.image.wcs is None:
            unread = unread or (one.image if isinstance(one.image, str) else f"{one.name} has no sky coordinates.")
            continue
        numbers = list(waiting)
        with np.errstate(invalid="ignore"), quiet():
            x, y = one.image.wcs.world_to_pixel(SkyCoord(list(waiting.values()), unit="deg"))  # each (n,)
        height, width = one.image.data.shape[-2:]
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)  # false for NaN: behind the sky
        for row in np.flatnonzero(inside):
            number = numbers[row]
            cut, corner = cutout(one.image, y[row], x[row], side)
            if cut.mask.any():  # the blank margin of a mosaic shows nothing
                ra, dec = waiting.pop(number)
                yield number, ReadImage(f"{one.name}@{ra},{dec}", cut, number, corner)
    for number, place in enumerate(places):
        if isinstance(place, str):
            yield number, ReadImage(f"row {number + 1}", place, number)
        elif number in waiting:
            seen = f"; of the images, {unread}" if unread else "; check its ra_deg and dec_deg."
            reason = f"({place[0]}, {place[1]}) lies in none of the {len(files)} images{seen}"
            yield number, ReadImage(f"row {number + 1}", reason, number)


def _place(row: dict[str, str], targets: Targets) -> tuple[float, float] | str:
    ra, dec = targets.column(RA), targets.column(DEC)
    assert ra is not None
    assert dec is not None
    try:
        place = float(row[ra]), float(row[dec])
    except ValueError:
        return f"'{row[ra]}', '{row[dec]}' is no position in degrees."
    return place if 0 <= place[0] <= 360 and -90 <= place[1] <= 90 else f"{place} is no place on the sky."


def cutout(image: Image, line: float, column: float, side: int) -> tuple[Image, tuple[int, int]]:
    """Cut the square whose centre is nearest to a place, in pixels from 0; what lies beyond the image is unknown.

    Returns
    -------
    The cutout, and the line and the column of its first pixel. Its header is still that of the image.
    """
    channels, height, width = image.data.shape
    top, left = (_first_pixel(float(place) - (side - 1) / 2) for place in (line, column))
    out = np.full((channels, side, side), np.nan, np.float32)
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    out[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image.data[
        :, rows, columns
    ]
    return replace(image, data=out), (top, left)


def _first_pixel(start: float) -> int:
    """Return the pixel that is nearest to where a cutout starts; of two as near the one nearer to the image's first.

    The centre of an image then gives what `rvtool.data.stretch.fit_to` cuts out of its middle.
    """
    return int(math.copysign(math.ceil(abs(start) - 0.5 - TIE_PX), start))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Replace folders by the images in them, in the order of their names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.rglob("*") if suffix_of(file) and file.is_file())
        if not inside:
            raise ConfigError(f"{path} holds no image (FITS, PNG, JPEG or NPY); check the path.")
        yield from inside


def _only_image_of(file: Path) -> ReadImage:
    """Read a file of one image; a cube comes as the sentence that refuses it."""
    found = list(_planes_of(file))
    if len(found) == 1:
        return found[0]
    return ReadImage(str(file), f"{file} is a cube of {len(found)} planes; name files of one image.")


def _planes_of(file: Path) -> Iterator[ReadImage]:
    """Read every plane of a file with its name; one that cannot be read comes as the sentence that says why."""
    try:
        images = list(_read(file))
    except DataError as error:
        yield ReadImage(str(file), str(error))
        return
    for image in images:
        yield ReadImage(str(file) if len(images) == 1 else f"{file}:{image.plane}", image)


def _read(file: Path) -> Iterator[Image]:
    if not file.name.endswith(SUFFIX):
        yield from planes(file)
        return
    with tempfile.TemporaryDirectory() as folder:
        restored = Path(folder) / "image.fits"
        decompress_file(file, restored)
        yield from (replace(image, path=file) for image in planes(restored))
