"""A plain folder of images, read as rows of a manifest: class sub-folders, or a ``labels.csv``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rvtool.data.fits import count_planes, suffix_of
from rvtool.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

# usual names of positions and of an image's file, in any case, and what the manifest calls them
COLUMN_NAMES = {
    "file": "path", "image": "path", "filename": "path", "path": "path",
    "target": "target_path", "target_path": "target_path",
    "ra": "ra_deg", "raj2000": "ra_deg", "ra_deg": "ra_deg", "_raj2000": "ra_deg", "ra_j2000": "ra_deg",
    "dec": "dec_deg", "dej2000": "dec_deg", "decj2000": "dec_deg", "dec_deg": "dec_deg", "_dej2000": "dec_deg",
    "dec_j2000": "dec_deg",
    "class": "label", "label": "label",
}  # fmt: skip


def scan(folder: Path) -> pa.Table:
    """List the images of a folder with what is known of each.

    With a ``labels.csv`` (column ``file``, or ``image`` and ``target`` for pairs; optional ``label``, position,
    ``fold`` and any further columns) its rows count; without one, class sub-folders give the label; without those,
    the images have none.

    Returns
    -------
    A table with ``id``, ``path`` (relative to the folder) and the further columns, in the order of the paths.

    Raises
    ------
    DataError
        The folder is missing or holds no image, the ``labels.csv`` has no usable column or gives one file two labels.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of images; check the path.")
    table = _labelled(folder) if (folder / "labels.csv").exists() else _walked(folder)
    if len(table) == 0:
        raise DataError(f"{folder} holds no image (FITS, PNG, JPEG or NPY); check the path.")
    table = table.sort_by("path")
    if "id" not in table.column_names:
        ids = [str(Path(p).with_name(Path(p).name[: -len(suffix_of(p) or "")])) for p in table["path"].to_pylist()]
        table = table.add_column(0, "id", pa.array(ids))
    else:
        table = table.set_column(table.column_names.index("id"), "id", pc.cast(table["id"], pa.string()))
    return _one_row_a_plane(_one_row_an_id(table, folder), folder)


def _one_row_a_plane(table: pa.Table, folder: Path) -> pa.Table:
    """Give each plane of a cube its row; a row that names its plane stays alone."""
    import numpy as np
    import pyarrow as pa

    if "plane" in table.column_names:
        return table
    counts = []
    for path in table["path"].to_pylist():
        try:
            counts.append(max(count_planes(folder / path), 1))
        except DataError:
            counts.append(1)  # whoever reads it will tell what is wrong with it
    if max(counts) == 1:
        return table
    rows = np.repeat(np.arange(len(counts)), counts)
    plane = np.concatenate([np.arange(n) for n in counts])
    table = table.take(pa.array(rows)).append_column("plane", pa.array(plane))
    ids = [
        f"{name}:{p}" if counts[row] > 1 else name
        for name, p, row in zip(table["id"].to_pylist(), plane, rows, strict=True)
    ]
    return table.set_column(table.column_names.index("id"), "id", pa.array(ids))


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
    from pyarrow import csv

    file = folder / "labels.csv"
    try:
        options = csv.ConvertOptions(column_types={"label": pa.string(), "id": pa.string(), "class": pa.string()})
        table = csv.read_csv(file, convert_options=options)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} cannot be read as CSV ({str(error).splitlines()[0]}).") from error
    names: list[str] = []
    for name in table.column_names:
        known = COLUMN_NAMES.get(name.strip().lower(), name.strip())
        names.append(name.strip() if known in names else known)
    table = table.rename_columns(names)
    if "path" not in names:
        raise DataError(f"{file} has no column 'file' (or 'image' and 'target'); it has: {', '.join(names)}.")
    missing = [p for p in table["path"].to_pylist() if not (folder / str(p)).is_file()]
    if missing:
        raise DataError(f"{file} names {len(missing)} files that are not in {folder}, {missing[0]} first.")
    return table


def _one_row_an_id(table: pa.Table, folder: Path) -> pa.Table:
    """Refuse an id with two labels; keep the first row of an id that stands twice."""
    import numpy as np

    ids = np.asarray(table["id"].to_pylist(), dtype=object)
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    if len(first) == len(ids):
        return table
    if "label" in table.column_names:
        labels = np.asarray(table["label"].to_pylist(), dtype=object)
        clash = np.flatnonzero(labels != labels[first[inverse]])
        if clash.size:
            row = clash[0]
            raise DataError(
                f"{folder} gives '{ids[row]}' two labels, '{labels[first[inverse[row]]]}' and '{labels[row]}'; "
                "keep one of the rows."
            )
    return table.take(np.sort(first))
