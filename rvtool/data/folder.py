"""A plain folder of images, read as rows of a manifest: class sub-folders, or a ``labels.csv``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rvtool.data.fits import glance, suffix_of
from rvtool.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

# usual names of positions (right ascension, declination) in any case, those that are always degrees first
POSITION_NAMES = (
    ("_raj2000", "_dej2000"), ("ra_deg", "dec_deg"), ("ra", "dec"), ("ra_icrs", "dec_icrs"), ("ra_icrs", "de_icrs"),
    ("s_ra", "s_dec"), ("ra_j2000", "dec_j2000"), ("alpha_j2000", "delta_j2000"), ("raj2000", "dej2000"),
    ("raj2000", "decj2000"), ("right_ascension", "declination"),
)  # fmt: skip

# usual names of columns, in any case, and what the manifest calls them
COLUMN_NAMES = {
    "file": "path", "image": "path", "filename": "path", "path": "path",
    "target": "target_path", "target_path": "target_path",
    "class": "label", "label": "label",
    **{ra: "ra_deg" for ra, _ in POSITION_NAMES},
    **{dec: "dec_deg" for _, dec in POSITION_NAMES},
}  # fmt: skip


def scan(folder: Path) -> pa.Table:
    """List the images of a folder with what is known of each.

    With a ``labels.csv`` (column ``file``, or ``image`` and ``target`` for pairs; optional ``label``, position,
    ``plane``, ``fold`` and any further columns) its rows count; without one, class sub-folders give the label; without
    those, the images have none. A row without a plane stands for every plane of its file. Where no position is told,
    the FITS headers tell it. A file that is missing keeps its row: whoever reads it will tell.

    Returns
    -------
    A table with ``id``, ``path`` (relative to the folder) and the further columns, in the order of the paths.

    Raises
    ------
    DataError
        The folder is missing or holds no image, the ``labels.csv`` has no usable column or gives one image two labels.
    """
    import pyarrow as pa

    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of images; check the path.")
    table = _labelled(folder) if (folder / "labels.csv").exists() else _walked(folder)
    if len(table) == 0:
        raise DataError(f"{folder} holds no image (FITS, PNG, JPEG or NPY); check the path.")
    table = _one_row_an_image(table.sort_by("path"), folder)
    planes, centres = _glances(table, folder)
    table = _one_row_a_plane(_with_positions(table, centres), planes)
    return table.set_column(0, "id", pa.array(_unique(table["id"].to_pylist()), pa.string()))


def degrees(table: pa.Table, name: str, of: Path) -> pa.ChunkedArray:
    """Return a column of positions as floats.

    Raises
    ------
    DataError
        It holds something other than numbers.
    """
    import pyarrow as pa

    try:
        return table[name].cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        first = next((v for v in table[name].to_pylist() if v is not None and not _is_number(v)), "")
        raise DataError(f"{of} has '{first}' in column '{name}'; positions must be in degrees.") from error


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _one_row_an_image(table: pa.Table, folder: Path) -> pa.Table:
    """Give each row an id; drop a row that stands twice, and refuse one image, or one id, with two labels."""
    import pyarrow as pa

    paths = table["path"].to_pylist()
    planes = table["plane"].to_pylist() if "plane" in table.column_names else [None] * len(paths)
    if "id" in table.column_names:
        ids = table["id"].cast(pa.string()).to_pylist()
        ids = [name if name is not None else _stem(path) for name, path in zip(ids, paths, strict=True)]
        table = table.drop_columns(["id"])
    else:
        # two files of one name but for the suffix keep it
        files: dict[str, set[str]] = {}
        for path in paths:
            files.setdefault(_stem(path), set()).add(path)
        ids = [_stem(path) if len(files[_stem(path)]) == 1 else path for path in paths]
        ids = [name if plane is None else f"{name}:{plane}" for name, plane in zip(ids, planes, strict=True)]
    table = table.add_column(0, "id", pa.array(ids, pa.string()))
    images = list(zip(paths, planes, strict=True))
    if "label" in table.column_names:
        labels = table["label"].to_pylist()
        for keys in (images, ids):
            label_of = dict(zip(reversed(keys), reversed(labels), strict=True))  # of the first row
            for key, name, label in zip(keys, ids, labels, strict=True):
                if label != label_of[key]:
                    raise DataError(
                        f"{folder} gives '{name}' two labels, '{label_of[key]}' and '{label}'; keep one of the rows."
                    )
    first = {image: row for row, image in reversed(list(enumerate(images)))}
    return table if len(first) == len(images) else table.take(pa.array(sorted(first.values())))


def _stem(path: str) -> str:
    return path[: len(path) - len(suffix_of(path) or "")]


def _glances(table: pa.Table, folder: Path) -> tuple[list[int], list[tuple[float, float] | None]]:
    """Look into the header of each row's file, once a file: how many planes, and where on the sky."""
    seen: dict[str, tuple[int, tuple[float, float] | None]] = {}
    placed = all(name in table.column_names and table[name].null_count == 0 for name in ("ra_deg", "dec_deg"))
    paths = table["path"].to_pylist()
    for path in paths:
        if path in seen:
            continue
        try:
            seen[path] = glance(folder / path, place=not placed)
        except DataError:
            seen[path] = (1, None)  # whoever reads it will tell what is wrong with it
    return [max(seen[path][0], 1) for path in paths], [seen[path][1] for path in paths]


def _with_positions(table: pa.Table, centres: list[tuple[float, float] | None]) -> pa.Table:
    """Fill in the positions that the table does not tell."""
    import pyarrow as pa

    if not any(centres):
        return table
    names = ("ra_deg", "dec_deg")
    have = [table[name].to_pylist() if name in table.column_names else [None] * len(table) for name in names]
    places = [
        (ra, dec) if ra is not None and dec is not None else centre or (None, None)
        for ra, dec, centre in zip(*have, centres, strict=True)
    ]
    for number, name in enumerate(names):
        column = pa.array([place[number] for place in places], pa.float64())
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table


def _one_row_a_plane(table: pa.Table, counts: list[int]) -> pa.Table:
    """Give each plane of a cube its row; a row that names its plane stays alone."""
    import numpy as np
    import pyarrow as pa

    named = table["plane"].to_pylist() if "plane" in table.column_names else [None] * len(table)
    counts = [n if plane is None else 1 for n, plane in zip(counts, named, strict=True)]
    if "plane" not in table.column_names and max(counts) == 1:
        return table
    rows = np.repeat(np.arange(len(counts)), counts)
    planes = [p for n, plane in zip(counts, named, strict=True) for p in (range(n) if plane is None else (plane,))]
    if "plane" in table.column_names:
        table = table.drop_columns(["plane"])
    table = table.take(pa.array(rows)).append_column("plane", pa.array(planes, pa.int64()))
    ids = [
        f"{name}:{p}" if counts[row] > 1 else name
        for name, p, row in zip(table["id"].to_pylist(), planes, rows, strict=True)
    ]
    return table.set_column(0, "id", pa.array(ids, pa.string()))


def _unique(names: list[str]) -> list[str]:
    """Number a name from 2 where another row has it already."""
    taken = set(names)
    if len(taken) == len(names):
        return names
    seen: set[str] = set()
    unique = []
    for name in names:
        free, number = name, 1
        while free in seen or (number > 1 and free in taken):
            number += 1
            free = f"{name}-{number}"
        seen.add(free)
        unique.append(free)
    return unique


def _walked(folder: Path) -> pa.Table:
    import pyarrow as pa

    paths = sorted(
        p.relative_to(folder)
        for p in folder.rglob("*")
        if suffix_of(p) and p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )
    columns = {"path": pa.array([p.as_posix() for p in paths], pa.string())}
    if paths and all(len(p.parts) > 1 for p in paths):
        columns["label"] = pa.array([p.parts[0] for p in paths])
    return pa.table(columns)


def _labelled(folder: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    file = folder / "labels.csv"
    try:
        options = csv.ConvertOptions(column_types={"label": pa.string(), "id": pa.string(), "class": pa.string()})
        table = csv.read_csv(file, convert_options=options)
        for number, name in enumerate(table.column_names):  # an empty cell says nothing, of words too
            if pa.types.is_string(table.schema.field(number).type):
                empty = pc.equal(pc.utf8_trim_whitespace(table[number]), "")
                words = pc.if_else(empty, pa.scalar(None, pa.string()), table[number])
                table = table.set_column(number, name, words)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} cannot be read as CSV ({str(error).splitlines()[0]}).") from error
    names: list[str] = []
    for name in table.column_names:
        known = COLUMN_NAMES.get(name.strip().lower(), name.strip())
        names.append(name.strip() if known in names else known)
    table = table.rename_columns(names)
    if "path" not in names:
        raise DataError(f"{file} has no column 'file' (or 'image' and 'target'); it has: {', '.join(names)}.")
    for name in ("ra_deg", "dec_deg"):
        if name in names:
            table = table.set_column(names.index(name), name, degrees(table, name, file))
    if "plane" in names:
        try:
            table = table.set_column(names.index("plane"), "plane", table["plane"].cast(pa.int64()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"{file} has a 'plane' that is no whole number ({error}).") from error
    for name in ("path", "target_path"):
        if name in names:
            table = table.set_column(names.index(name), name, table[name].cast(pa.string()))
    paths = table["path"].to_pylist()
    if None in paths:
        raise DataError(f"{file} names no file in row {paths.index(None) + 1}; remove the row.")
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing and len(missing) == len(paths):
        raise DataError(f"{file} names {len(missing)} files that are not in {folder}, {missing[0]} first.")
    return table
