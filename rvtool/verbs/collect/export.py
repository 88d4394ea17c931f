"""A dataset in the forms that other tools read: WebDataset shards, one HDF5 file, or NumPy arrays by class."""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from rvtool.data.dataset import Dataset, words_of
from rvtool.data.files import writing
from rvtool.data.fits import suffix_of
from rvtool.errors import DataError
from rvtool.report.tables import write_csv
from rvtool.verbs.collect.records import json_of

if TYPE_CHECKING:
    import h5py

Kind = Literal["webdataset", "hdf5", "npy"]
Shape = tuple[int, int, int]  # channels, height, width

SHARD_BYTES = 1_000_000_000
ROWS_A_BLOCK = 1_000  # of the manifest held in memory as Python objects
PATHS = {"image": "path", "target": "target_path"}
PLANES = {"image": "plane", "target": "target_plane"}
UNSPLIT, UNLABELLED = "unsplit", "unlabelled"
OURS = re.compile(r"(train|val|test|unsplit)(-\d{6}\.tar|_.*\.(npy|csv))|images\.h5|left-out\.csv")


def export(dataset: Dataset, kind: Kind, out: Path) -> list[Path]:
    """Write a dataset in another form, in a folder of the kind's name; an earlier export there is replaced.

    ``webdataset``
        ``SPLIT-000000.tar``, ...: ``KEY.fits`` (or what the file is), ``KEY.target.fits`` for pairs, and ``KEY.json``,
        the row of the manifest. The same dataset gives the same bytes.
    ``hdf5``
        ``images.h5``: a group for each split with ``image (N, C, H, W)`` and ``target``, float32, with unit, pixel
        scale and beam as attributes, and each column of the manifest, ``(N,)``.
    ``npy``
        ``SPLIT_CLASS.npy``, float32 ``(N, H, W)``, or ``(N, C, H, W)`` for more channels than one;
        ``SPLIT_CLASS.target.npy`` for pairs; and ``SPLIT_CLASS.csv``, the ids in the same order.

    The last two hold images of one size, the dataset's own; those of another are listed in ``left-out.csv``.

    Returns
    -------
    The files.

    Raises
    ------
    DataError
        An image is missing, none has the dataset's size, or two classes would share a file.
    """
    write: Callable[[Dataset, Path], list[Path]] = {
        "webdataset": _write_webdataset,
        "hdf5": _write_hdf5,
        "npy": _write_npy,
    }[kind]
    folder = out / kind
    written = write(dataset, folder)
    for old in folder.iterdir():
        if old not in written and OURS.fullmatch(old.name):
            old.unlink()
    return written


def _parts(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Give each split with its rows."""
    splits = _words(dataset, "split", UNSPLIT)
    for part in sorted(set(splits)):
        yield part, np.flatnonzero(splits == part)


def _words(dataset: Dataset, column: str, otherwise: str) -> np.ndarray:
    words = dataset.words(column) if column in dataset else np.full(len(dataset), None, dtype=object)
    return np.array([word or otherwise for word in words], dtype=object)


def _sides(dataset: Dataset) -> list[str]:
    return [side for side, path in PATHS.items() if path in dataset]


# --------------------------------------------------------------------------- WebDataset


def _write_webdataset(dataset: Dataset, folder: Path) -> list[Path]:
    written: list[Path] = []
    shared = {side: _shared_files(dataset, side) for side in _sides(dataset)}
    for part, rows in _parts(dataset):
        samples = _samples(dataset, rows, shared)
        sample = next(samples, None)
        shard = 0
        while sample is not None:
            path = folder / f"{part}-{shard:06d}.tar"
            with writing(path) as stream, tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                room = SHARD_BYTES
                while sample is not None and (room == SHARD_BYTES or _size(sample) <= room):
                    room -= _size(sample)
                    for name, body in sample:
                        _add(tar, name, body)
                    sample = next(samples, None)
            written.append(path)
            shard += 1
    return written


def _shared_files(dataset: Dataset, side: str) -> set[str]:
    """Return the files that hold the images of several rows: copying them would repeat all for each."""
    counts = Counter(path for path in dataset.words(PATHS[side]) if path)
    return {path for path, count in counts.items() if count > 1}


def _samples(dataset: Dataset, rows: np.ndarray, shared: dict[str, set[str]]) -> Iterator[list[tuple[str, bytes]]]:
    """Give the members of each row: names and bytes. A key is the row's number: ids hold dots, which end a key."""
    for start in range(0, len(rows), ROWS_A_BLOCK):
        block = rows[start : start + ROWS_A_BLOCK]
        for row, record in zip(block.tolist(), dataset.take(block).table.to_pylist(), strict=True):
            key = f"{row + 1:07d}"
            members = [(f"{key}.json", json_of(record))]
            for side, files in shared.items():
                if path := record[PATHS[side]]:
                    one = path in files or (record.get(PLANES[side]) or 0) > 0
                    suffix, body = _pixels(dataset, side, row) if one else _file(dataset.root / path)
                    members.append((key + ("" if side == "image" else f".{side}") + suffix, body))
            yield sorted(members)


def _file(path: Path) -> tuple[str, bytes]:
    try:
        return suffix_of(path) or path.suffix, path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be exported ({error.strerror}); check the dataset with --verify.") from error


def _pixels(dataset: Dataset, side: str, row: int) -> tuple[str, bytes]:
    """Return one plane of a file of many as ``.npy``, ``(C, H, W)``."""
    body = io.BytesIO()
    np.save(body, dataset.image(row).data if side == "image" else dataset.target(row).data)
    return ".npy", body.getvalue()


def _size(sample: Sequence[tuple[str, bytes]]) -> int:
    return sum(len(body) for _, body in sample)


def _add(tar: tarfile.TarFile, name: str, body: bytes) -> None:
    """Add a member without a time or an owner, which would differ from day to day."""
    member = tarfile.TarInfo(name)
    member.size = len(body)
    tar.addfile(member, io.BytesIO(body))


# --------------------------------------------------------------------------- images of one size


class _Fitting:
    """Reads the rows of a dataset whose images have the dataset's own size, and remembers the others."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.shapes: dict[str, Shape] = {}
        for side in _sides(dataset):
            described = dataset.info[side]
            self.shapes[side] = described["channels"], described["height"], described["width"]
        self.left_out: list[tuple[str, str]] = []
        self._ids = words_of(dataset.table["id"])

    def read(self, rows: np.ndarray) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Give rows with their sides, each ``(C, H, W)`` float32."""
        for row in rows.tolist():
            try:
                sides = {}
                for side, shape in self.shapes.items():
                    data = (self.dataset.image(row) if side == "image" else self.dataset.target(row)).data
                    if data.shape != shape:
                        raise DataError(f"the {side} is {_by(data.shape)}, not {_by(shape)}")
                    sides[side] = data.astype("<f4")
            except DataError as error:
                self.left_out.append((self._ids[row], str(error)))
            else:
                yield row, sides

    def finish(self, folder: Path, written: list[Path]) -> list[Path]:
        """Write what was left out, and return all files."""
        if len(self.left_out) == len(self.dataset):
            raise DataError(f"{self.dataset.root} has no image to export: {self.left_out[0][1]}.")
        if not self.left_out:
            return written
        write_csv(folder / "left-out.csv", ("id", "reason"), self.left_out)
        return [*written, folder / "left-out.csv"]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _write_hdf5(dataset: Dataset, folder: Path) -> list[Path]:
    import h5py

    path = folder / "images.h5"
    fitting = _Fitting(dataset)
    with writing(path) as stream, h5py.File(stream.name, "w") as file:  # HDF5 opens files by their names alone
        for part, rows in _parts(dataset):
            group = file.create_group(part)
            images = {side: _images(group, side, shape, dataset) for side, shape in fitting.shapes.items()}
            kept: list[int] = []
            for row, sides in fitting.read(rows):
                for side, data in sides.items():
                    images[side].resize(len(kept) + 1, axis=0)
                    images[side][len(kept)] = data
                kept.append(row)
            table = dataset.take(np.array(kept, int)).table
            for name in table.column_names:
                if name not in images:
                    group.create_dataset(name, **_values(table[name]))
    return fitting.finish(folder, [path])


def _images(group: h5py.Group, side: str, shape: Shape, dataset: Dataset) -> h5py.Dataset:
    """Make the growing array of one side, with what is known of it."""
    made = group.create_dataset(side, (0, *shape), np.float32, maxshape=(None, *shape), chunks=(1, *shape))
    sizes = ("channels", "height", "width")
    made.attrs.update({name: value for name, value in dataset.info[side].items() if name not in sizes})
    return made


def _values(column: pa.ChunkedArray) -> dict[str, Any]:
    """Return a column as HDF5 holds it: numbers (NaN where there is none), or words (empty where there is none)."""
    import h5py

    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        values = column.to_numpy(zero_copy_only=False)
        return {"data": values.astype(float) if values.dtype == object else values}  # truth values with gaps
    return {"data": [word or "" for word in words_of(column)], "dtype": h5py.string_dtype()}


def _write_npy(dataset: Dataset, folder: Path) -> list[Path]:
    fitting = _Fitting(dataset)
    labels = _words(dataset, "label", UNLABELLED)
    ids, paths = words_of(dataset.table["id"]), words_of(dataset.table["path"])
    classes = {label: re.sub(r"[^\w+-]+", "-", label) for label in sorted(set(labels))}
    twice = [label for label, name in classes.items() if list(classes.values()).count(name) > 1]
    if twice:
        raise DataError(f"Classes {', '.join(twice)} would share a file; rename them, or export as hdf5.")
    written = []
    for part, rows in _parts(dataset):
        for label in sorted(set(labels[rows])):
            stem = f"{part}_{classes[label]}"
            arrays = {side: folder / f"{stem}{'' if side == 'image' else '.' + side}.npy" for side in fitting.shapes}
            kept = _stack(fitting, rows[labels[rows] == label], arrays)
            listed = folder / f"{stem}.csv"
            write_csv(listed, ("id", "label", "path"), ((ids[row], label, paths[row]) for row in kept))
            written += [*arrays.values(), listed]
    return fitting.finish(folder, written)


def _stack(fitting: _Fitting, rows: np.ndarray, arrays: dict[str, Path]) -> list[int]:
    """Write the images of some rows as one array for each side, image by image, and return the rows that fit."""
    kept: list[int] = []
    with ExitStack() as files:
        streams = {side: files.enter_context(writing(path)) for side, path in arrays.items()}
        for side, stream in streams.items():
            _npy_header(stream, 0, fitting.shapes[side])
        for row, sides in fitting.read(rows):
            for side, data in sides.items():
                streams[side].write(data.tobytes())
            kept.append(row)
        for side, stream in streams.items():  # NumPy leaves room in the header for the final number
            stream.seek(0)
            _npy_header(stream, len(kept), fitting.shapes[side])
    return kept


def _npy_header(stream: IO[bytes], count: int, shape: Shape) -> None:
    each = shape[1:] if shape[0] == 1 else shape
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (count, *each)})
