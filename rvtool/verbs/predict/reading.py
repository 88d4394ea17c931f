"""Which images are asked about: files, folders, the rows of a table, positions in large images."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rvtool.compressed.files import SUFFIX, decompress_file
from rvtool.data.fits import Image, planes, suffix_of
from rvtool.errors import ConfigError, DataError

FILE, RA, DEC = ("file", "path", "image"), ("ra_deg", "ra"), ("dec_deg", "dec")


@dataclass(frozen=True)
class Asked:
    """One image that is asked about, or why it cannot be.

    Attributes
    ----------
    name
        The file, with the plane of a cube, or the file and the position.
    image
        The image, or the sentence that says why there is none.
    row
        Its row in the table of targets.
    """

    name: str
    image: Image | str
    row: int = 0


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


def read_targets(path: Path) -> Targets:
    """Read a table of targets.

    Raises
    ------
    DataError
        It is missing, no table, empty, or tells neither files nor positions.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey="", restval="")
            rows = [{name: value for name, value in row.items() if name} for row in reader]
            columns = tuple(name for name in reader.fieldnames or () if name)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV table ({error}); check the path.") from error
    targets = Targets(path, columns, rows)
    if not rows:
        raise DataError(f"{path} holds no row; name a table with a header and a row a target.")
    if targets.column(FILE) is None and (targets.column(RA) is None or targets.column(DEC) is None):
        raise DataError(
            f"{path} has neither a column 'file' nor 'ra_deg' and 'dec_deg' (it has {', '.join(columns)}); add one."
        )
    return targets


def from_paths(paths: Sequence[Path]) -> tuple[int, Iterator[tuple[int, Asked]]]:
    """Return how many files there are, and give the planes of each with the file's number.

    Raises
    ------
    ConfigError
        A folder holds no image.
    """
    files = list(dict.fromkeys(_files(paths)))

    def each() -> Iterator[tuple[int, Asked]]:
        for number, file in enumerate(files):
            for one in _planes_of(file):
                yield number, one

    return len(files), each()


def from_targets(targets: Targets, paths: Sequence[Path], side: int) -> tuple[int, Iterator[tuple[int, Asked]]]:
    """Return how many rows there are, and give each row's image: the file it names, or a cutout at its position.

    Parameters
    ----------
    paths
        Images in which positions are looked up, where the table names no files.
    side
        Of a cutout, px.

    Raises
    ------
    ConfigError
        The table names positions only, and there is no image to look them up in.
    """
    name = targets.column(FILE)
    if name is not None:
        return len(targets.rows), _rows_of_files(targets, name)
    if not paths:
        raise ConfigError(
            f"{targets.path} names positions; name the images that show them too, or fetch cutouts first: "
            f"rvtool collect --source first --targets {targets.path} --out cutouts"
        )
    return len(targets.rows), _cutouts(targets, list(_files(paths)), side)


def _rows_of_files(targets: Targets, column: str) -> Iterator[tuple[int, Asked]]:
    for number, row in enumerate(targets.rows):
        file = targets.path.parent / row[column]
        found = list(_planes_of(file)) if row[column] else [Asked("", f"row {number + 1} names no file.")]
        if len(found) > 1:
            found = [Asked(str(file), f"{file} is a cube of {len(found)} planes; name files of one image.")]
        yield number, replace(found[0], row=number)


def _cutouts(targets: Targets, files: Sequence[Path], side: int) -> Iterator[tuple[int, Asked]]:
    """Cut each position out of the first image that shows it, reading each image once."""
    places = [_place(row, targets) for row in targets.rows]
    waiting = {number for number, place in enumerate(places) if not isinstance(place, str)}
    problems = {number: place for number, place in enumerate(places) if isinstance(place, str)}
    unread = []
    for file in files:
        for one in _planes_of(file):
            if isinstance(one.image, str) or one.image.wcs is None:
                unread.append(one.image if isinstance(one.image, str) else f"{file} has no sky coordinates.")
                continue
            rows = sorted(waiting)
            sky = np.array([places[number] for number in rows], float).reshape(-1, 2)  # (n, 2), degrees
            x, y = one.image.wcs.world_to_pixel_values(sky[:, 0], sky[:, 1])
            height, width = one.image.data.shape[-2:]
            with np.errstate(invalid="ignore"):
                inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
            for number, column, line in zip(np.array(rows)[inside], x[inside], y[inside], strict=True):
                ra, dec = places[number]
                cut = cutout(one.image, round(float(line)), round(float(column)), side)
                waiting.discard(int(number))
                yield int(number), Asked(f"{one.name}@{ra},{dec}", cut, int(number))
    seen = f"; of the images, {unread[0]}" if unread else ""
    for number in sorted({*waiting, *problems}):
        problem = problems.get(number, f"row {number + 1} lies in none of the {len(files)} images{seen}")
        yield number, Asked(f"row {number + 1}", problem, number)


def _place(row: dict[str, str], targets: Targets) -> tuple[float, float] | str:
    ra, dec = targets.column(RA), targets.column(DEC)
    assert ra is not None
    assert dec is not None
    try:
        place = float(row[ra]), float(row[dec])
    except ValueError:
        return f"'{row[ra]}', '{row[dec]}' is no position in degrees."
    return place if 0 <= place[0] <= 360 and -90 <= place[1] <= 90 else f"{place} is no place on the sky."


def cutout(image: Image, line: int, column: int, side: int) -> Image:
    """Cut a square about a pixel; what lies beyond the image is unknown."""
    channels, height, width = image.data.shape
    top, left = line - side // 2, column - side // 2
    out = np.full((channels, side, side), np.nan, np.float32)
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    out[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image.data[
        :, rows, columns
    ]
    return replace(image, data=out)


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


def _planes_of(file: Path) -> Iterator[Asked]:
    """Read every plane of a file with its name; one that cannot be read comes as the sentence that says why."""
    try:
        images = list(_read(file))
    except DataError as error:
        yield Asked(str(file), str(error))
        return
    for image in images:
        yield Asked(str(file) if len(images) == 1 else f"{file}:{image.plane}", image)


def _read(file: Path) -> Iterator[Image]:
    if not file.name.endswith(SUFFIX):
        yield from planes(file)
        return
    with tempfile.TemporaryDirectory() as folder:
        restored = Path(folder) / "image.fits"
        decompress_file(file, restored)
        yield from (replace(image, path=file) for image in planes(restored))
