"""The dataset folder: images, a manifest with one row an image, and ``dataset.toml``, written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli

from rvtool.data import folder as plain
from rvtool.data.fits import read_image
from rvtool.data.splits import SPLITS, parse_fractions, sky_groups, split_as_before
from rvtool.errors import ConfigError, DataError, unknown
from rvtool.kinds import Beam, Side

if TYPE_CHECKING:
    from rvtool.data.fits import Image

FORMAT = 1
HASH_ROWS = 1 << 18  # of a column at once
PIXEL_COLUMNS = ("id", "path", "plane", "target_path", "target_plane", "sha256", "target_sha256")
FALLBACK_GROUP_ARCMIN = 2.0  # where neither the images nor the user tell how wide a cutout is


@dataclass(frozen=True)
class Dataset:
    """Images with what is known of each; immutable, cheap to select from.

    Attributes
    ----------
    root
        The folder that the manifest's paths are relative to.
    info
        What ``dataset.toml`` holds: sides, source, settings, versions.
    table
        The manifest: ``id, path, plane, label, split, group, ...``, one row an image.
    """

    root: Path
    info: dict[str, Any]
    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, column: str) -> bool:
        return column in self.table.column_names

    def column(self, name: str) -> np.ndarray:
        """Return a column of the manifest, ``(N,)``.

        Raises
        ------
        ConfigError
            There is no such column; the nearest are named.
        """
        return self._known(name).to_numpy(zero_copy_only=False)

    def words(self, name: str) -> np.ndarray:
        """Return a column as words, ``(N,)`` of str, or None where it says nothing; whole numbers have no point.

        Raises
        ------
        ConfigError
            There is no such column; the nearest are named.
        """
        return words_of(self._known(name))

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as numbers, ``(N,)`` float64, NaN where it says nothing.

        Raises
        ------
        ConfigError
            There is no such column, or it holds words.
        """
        try:
            return np.array([np.nan if v is None or v == "" else v for v in self._known(name).to_pylist()], float)
        except (ValueError, TypeError):
            raise ConfigError(
                f"Column '{name}' of {self.root} holds words, and numbers are needed; choose another."
            ) from None

    def _known(self, name: str) -> pa.ChunkedArray:
        if name not in self.table.column_names:
            raise unknown("column", name, self.table.column_names, hint=f"(in {self.root})")
        return self.table[name]

    def take(self, rows: np.ndarray) -> Dataset:
        """Return the dataset of some rows (numbers, or a mask)."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Dataset(self.root, self.info, self.table.take(pa.array(rows)))

    def where(self, conditions: Sequence[str]) -> Dataset:
        """Keep the rows for which every ``COLUMN=VALUE[,VALUE]`` holds.

        Raises
        ------
        ConfigError
            A condition has no ``=``, an unknown column, or keeps nothing.
        """
        kept = self
        for condition in conditions:
            name, equals, values = condition.partition("=")
            if not equals:
                raise ConfigError(f"Condition '{condition}' is not of the form COLUMN=VALUE[,VALUE].")
            wanted = {value.strip() for value in values.split(",")}
            column = kept.words(name.strip())
            kept = kept.take(np.array([value in wanted for value in column], bool))
            if len(kept) == 0:
                present = ", ".join(sorted({v for v in column if v is not None})[:8])
                raise ConfigError(f"No image has {condition}; '{name}' has the values {present}.")
        return kept

    def classes(self, label_column: str) -> tuple[str, ...]:
        """Return the values of a label column, sorted."""
        return tuple(sorted({value for value in self.words(label_column) if value is not None}))

    def image(self, row: int) -> Image:
        """Read the image of a row."""
        return read_image(self.root / self.table["path"][row].as_py(), self._plane("plane", row))

    def target(self, row: int) -> Image:
        """Read the target of a row (a pair's other image)."""
        return read_image(self.root / (self.table["target_path"][row].as_py() or ""), self._plane("target_plane", row))

    def _plane(self, column: str, row: int) -> int:
        return int(self.table[column][row].as_py() or 0) if column in self else 0

    @cached_property
    def places_digest(self) -> str:
        """A hash of where the images lie on the sky."""
        digest = hashlib.sha256()
        for name in ("ra_deg", "dec_deg"):
            if name in self:
                _hash_column(digest, name, self.table[name])
        return digest.hexdigest()

    @cached_property
    def pixels_digest(self) -> str:
        """A hash of which images these are: of the files' sizes and times where no hash of their content is known."""
        digest = hashlib.sha256()
        for name in PIXEL_COLUMNS:
            if name in self:
                _hash_column(digest, name, self.table[name])
        for path_column, hash_column in (("path", "sha256"), ("target_path", "target_sha256")):
            if path_column not in self or (hash_column in self and self.table[hash_column].null_count == 0):
                continue
            for path in self.table[path_column].unique().to_pylist():
                if path is None:
                    continue
                try:
                    stat = (self.root / path).stat()
                    digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
                except OSError:
                    digest.update(f"{path} is missing\n".encode())
        return digest.hexdigest()

    @cached_property
    def digest(self) -> str:
        """A hash of the images and of all that the manifest says of them: a changed label or split changes it."""
        digest = hashlib.sha256(self.pixels_digest.encode())
        for name in sorted(self.table.column_names):
            _hash_column(digest, name, self.table[name])
        return digest.hexdigest()


def words_of(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as words (see `Dataset.words`)."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        # whole numbers with gaps became floats on their way through pandas or NumPy
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        if pc.all(pc.equal(column, pc.floor(column))).as_py() and pc.all(pc.less(pc.abs(column), 2.0**53)).as_py():
            column = column.cast(pa.int64())
    words = np.empty(len(column), dtype=object)
    words[:] = [value if value is None or isinstance(value, str) else str(value) for value in column.to_pylist()]
    return words


def encode(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Number the words of a column in the order of their first appearance; -1 where it says nothing."""
    encoded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, encoded.dictionary.to_pylist()


def _hash_column(digest: hashlib._Hash, name: str, column: pa.ChunkedArray) -> None:
    """Hash the values of a column, whatever its chunks and the version of pyarrow."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        kind = pa.large_string()
    elif pa.types.is_integer(kind) and kind != pa.uint64():
        kind = pa.int64()
    elif pa.types.is_floating(kind):
        kind = pa.float64()
    digest.update(f"{name}\0{kind}\0{len(column)}\0".encode())
    if kind != column.type:
        column = column.cast(kind)
    for start in range(0, len(column), HASH_ROWS):
        block = column.slice(start, HASH_ROWS)
        digest.update(block.is_valid().to_numpy(zero_copy_only=False).tobytes())
        if pa.types.is_large_string(kind):
            block = block.fill_null("")
            digest.update(pc.binary_length(block).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            digest.update("".join(block.to_pylist()).encode())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values = block.fill_null(0).to_numpy(zero_copy_only=False)
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        else:
            digest.update(json.dumps(block.to_pylist(), default=str).encode())


def open_dataset(path: Path | str, *, excluded: bool = False) -> Dataset:
    """Open a dataset folder, or any plain folder of images (see `rvtool.data.folder.scan`).

    Parameters
    ----------
    excluded
        Give every row of the manifest, those set aside too, whose column ``excluded`` says why.

    Raises
    ------
    DataError
        The folder is missing, its writing was interrupted, or it holds no image.
    """
    root = Path(path)
    if not root.exists():
        raise DataError(
            f"{root} does not exist; make it with 'rvtool collect' or 'rvtool simulate', or check the path."
        )
    if (root / "dataset.toml").exists():
        try:
            info = tomli.loads((root / "dataset.toml").read_text())
            table = pq.read_table(root / "manifest.parquet")
        except (tomli.TOMLDecodeError, UnicodeDecodeError, OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{root} is a damaged dataset ({str(error).splitlines()[0]}); make it again.") from error
        if info.get("format", 0) > FORMAT:
            raise DataError(f"{root} has dataset format {info['format']}, newer than this rvtool; update rvtool.")
        return Dataset(root, info, table if excluded else without_excluded(table))
    if (root / ".writing").exists():
        raise DataError(f"{root} is incomplete: its writing was interrupted; remove the folder and make it again.")
    table = plain.scan(root)
    unread = Dataset(root, {}, table)
    info = {"format": FORMAT, "source": {"name": "folder"}, "image": side_of(_first_good(unread, unread.image))}
    if "target_path" in table.column_names:
        info["target"] = side_of(_first_good(unread, unread.target))
    table = with_splits(table, root, info, split="70/15/15", seed=0, group_arcmin=None)[0]
    return Dataset(root, info, table if excluded else without_excluded(table))


def without_excluded(table: pa.Table) -> pa.Table:
    """Leave out the rows of a manifest whose column ``excluded`` gives a reason, and that column."""
    if "excluded" not in table.column_names:
        return table
    return table.filter(pa.array(_kept(table))).drop_columns(["excluded"])


def _kept(table: pa.Table) -> np.ndarray:
    """Tell which rows no reason excludes, ``(N,)`` bool."""
    if "excluded" not in table.column_names:
        return np.ones(len(table), bool)
    return np.array([reason in (None, "", False) for reason in table["excluded"].to_pylist()], bool)


def _first_good(dataset: Dataset, read: Callable[[int], Image]) -> Image:
    """Read the first image that can be read: one bad image among many never loses the others."""
    problem: DataError | None = None
    for row in range(len(dataset)):
        try:
            return read(row)
        except DataError as error:
            problem = problem or error
    raise DataError(f"{dataset.root}: no image can be used; the first one: {problem}")


def side_of(image: Image, **known: Any) -> dict[str, Any]:
    """Describe one side of a dataset from an image of it; `known` facts (of a survey) fill what the header lacks."""
    pixel = image.pixel_arcsec or known.get("pixel_arcsec")
    channels, height, width = image.data.shape
    return write_side(
        Side(
            channels,
            height,
            width,
            unit=image.unit or known.get("unit", ""),
            pixel_arcsec=round(float(pixel), 6) if pixel else None,
            beam=image.beam or known.get("beam"),
            **{"axes": known.get("axes", "sky"), **image.frequency_time},
        )
    )


def write_side(side: Side) -> dict[str, Any]:
    """Describe a side as ``dataset.toml`` has it; `read_side` is the way back."""
    steps = {name: getattr(side, name) for name in ("pixel_arcsec", "centre_mhz", "channel_mhz", "sample_s")}
    described: dict[str, Any] = {"axes": side.axes, "unit": side.unit}
    described |= {name: value for name, value in steps.items() if value is not None}
    if side.beam is not None:
        described |= {"beam_major_arcsec": side.beam.major_arcsec, "beam_minor_arcsec": side.beam.minor_arcsec}
        described["beam_angle_deg"] = side.beam.angle_deg
    return {**described, "channels": side.channels, "height": side.height, "width": side.width}


def read_side(side: Mapping[str, Any], channels: int, height: int, width: int, *, zoom: float = 1.0) -> Side:
    """Return what a model is told of a side, at the size that the stretch gives; `zoom` is what it makes of a pixel."""
    beam = None
    if "beam_major_arcsec" in side:
        beam = Beam(side["beam_major_arcsec"], side["beam_minor_arcsec"], side.get("beam_angle_deg", 0.0))
    steps = {name: side[name] * zoom for name in ("pixel_arcsec", "channel_mhz", "sample_s") if side.get(name)}
    return Side(
        channels,
        height,
        width,
        side.get("axes", "sky"),
        side.get("unit", ""),
        beam=beam,
        centre_mhz=side.get("centre_mhz"),  # a central crop keeps it
        **steps,
    )


def with_splits(
    table: pa.Table,
    root: Path,
    info: Mapping[str, Any],
    *,
    split: str,
    seed: int,
    group_arcmin: float | None,
    before: Mapping[str, str] | None = None,
) -> tuple[pa.Table, str]:
    """Add the columns ``group`` and ``split`` where they are missing; excluded rows belong to no split.

    Parameters
    ----------
    group_arcmin
        Cutouts whose centres are closer than this share a group; None means one cutout's diagonal: square ones share
        pixels up to there.
    before
        The splits that images have already, by id: they keep them.

    Returns
    -------
    The table, and a sentence about how the groups were made.
    """
    fractions = parse_fractions(split)
    names = table.column_names
    told = "groups as the manifest has them"
    if "group" not in names:
        groups, told = _groups(table, root, info, group_arcmin)
        table = table.append_column("group", pa.array(groups))
    if "split" not in names:
        labels = None
        if "label" in names:
            labels = np.array([word or "" for word in words_of(table["label"])], dtype=object)
        # dealt with those that are excluded, so that excluding one more moves no other
        had = np.array([(before or {}).get(name) for name in table["id"].to_pylist()], dtype=object)
        parts = split_as_before(had, table["group"].to_numpy(), labels, fractions, seed)
        table = table.append_column("split", pa.array(parts.tolist(), pa.string()))
    if not (kept := _kept(table)).all():
        names = table.column_names
        split_at = names.index("split")
        table = table.set_column(split_at, "split", pc.if_else(pa.array(kept), table["split"], None))
    unlike = set(table["split"].unique().to_pylist()) - {*SPLITS, "", None}
    if unlike:
        raise DataError(f"{root} has splits other than train, val and test: {', '.join(map(str, sorted(unlike)))}.")
    return table, told


def _groups(table: pa.Table, root: Path, info: Mapping[str, Any], group_arcmin: float | None) -> tuple[np.ndarray, str]:
    known = np.zeros(len(table), bool)
    if {"ra_deg", "dec_deg"} <= set(table.column_names):
        ra, dec = (plain.degrees(table, name, root).to_numpy() for name in ("ra_deg", "dec_deg"))
        known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        return _same_content(table, root), "no positions: images of equal content share a group"
    side = info.get("image", {})
    if group_arcmin is not None:
        radius, why = group_arcmin, "as asked"
    elif "pixel_arcsec" in side:
        radius = side["pixel_arcsec"] * side.get("largest_px", max(side["height"], side["width"])) * 2**0.5 / 60
        why = "a cutout's diagonal"
    else:
        radius, why = FALLBACK_GROUP_ARCMIN, "the images do not tell their pixel scale; set --group-arcmin"
    groups = np.empty(len(table), np.int64)
    groups[known] = sky_groups(ra[known], dec[known], radius)
    told = f"positions closer than {radius:.3g} arcmin share a group ({why})"
    if not known.all():
        groups[~known] = _same_content(table.filter(pa.array(~known)), root) + len(table)
        told += f"; {np.count_nonzero(~known)} images without a position share one where their content is equal"
    return groups, told


def _same_content(table: pa.Table, root: Path) -> np.ndarray:
    """Number the images by their content: the file's hash, and the plane."""
    files, paths = encode(table["path"])
    if "sha256" in table.column_names and table["sha256"].null_count == 0:
        contents = encode(table["sha256"])[0]
    else:
        contents = encode(pa.chunked_array([pa.array([_content(root / path) for path in paths], pa.string())]))[0]
        contents = contents[files]
    if "plane" not in table.column_names:
        return contents
    plane = table["plane"].cast(pa.int64()).fill_null(0).to_numpy()
    return np.unique(contents * (plane.max() + 1) + plane, return_inverse=True)[1].astype(np.int64)


def _content(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return str(path)  # whoever reads it will tell what is wrong with it
