"""The dataset folder: images, a manifest with one row an image, and ``dataset.toml``, written last."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tomli

from rvtool.data import folder as plain
from rvtool.data.fits import read_image
from rvtool.data.splits import SPLITS, parse_fractions, sky_groups, split_by_group
from rvtool.errors import ConfigError, DataError, unknown
from rvtool.kinds import Beam, Side

if TYPE_CHECKING:
    from rvtool.data.fits import Image

FORMAT = 1
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
        if name not in self.table.column_names:
            raise unknown("column", name, self.table.column_names, hint=f"(in {self.root})")
        return self.table[name].to_numpy(zero_copy_only=False)

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
            column = kept.column(name.strip())
            kept = kept.take(np.array([str(value) in wanted for value in column], bool))
            if len(kept) == 0:
                present = ", ".join(sorted({str(v) for v in column})[:8])
                raise ConfigError(f"No image has {condition}; '{name}' has the values {present}.")
        return kept

    def classes(self, label_column: str) -> tuple[str, ...]:
        """Return the values of a label column, sorted."""
        values = self.column(label_column)
        return tuple(sorted({str(value) for value in values if value is not None}))

    def image(self, row: int) -> Image:
        """Read the image of a row."""
        return read_image(self.root / self.table["path"][row].as_py(), self._plane("plane", row))

    def target(self, row: int) -> Image:
        """Read the target of a row (a pair's other image)."""
        return read_image(self.root / self.table["target_path"][row].as_py(), self._plane("target_plane", row))

    def _plane(self, column: str, row: int) -> int:
        return int(self.table[column][row].as_py() or 0) if column in self else 0

    @cached_property
    def digest(self) -> str:
        """A hash of the manifest, and of the files' sizes and times where it has no hash of their content."""
        sink = io.BytesIO()
        columns = [c for c in ("id", "path", "plane", "target_path", "target_plane", "sha256") if c in self]
        pq.write_table(self.table.select(columns), sink, compression="none")
        digest = hashlib.sha256(sink.getvalue())
        if "sha256" not in self:
            for path in self.table["path"].unique().to_pylist():
                stat = (self.root / path).stat()
                digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()


def open_dataset(path: Path | str) -> Dataset:
    """Open a dataset folder, or any plain folder of images (see `rvtool.data.folder.scan`).

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
        return Dataset(root, info, table)
    if (root / ".writing").exists():
        raise DataError(f"{root} is incomplete: its writing was interrupted; remove the folder and make it again.")
    table = plain.scan(root)
    unread = Dataset(root, {}, table)
    info = {"format": FORMAT, "source": {"name": "folder"}, "image": side_of(_first_good(unread, unread.image))}
    if "target_path" in table.column_names:
        info["target"] = side_of(_first_good(unread, unread.target))
    return Dataset(root, info, with_splits(table, root, info, split="70/15/15", seed=0, group_arcmin=None)[0])


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
    side: dict[str, Any] = {"axes": "sky", "unit": image.unit or known.get("unit", "")}
    pixel = image.pixel_arcsec or known.get("pixel_arcsec")
    if pixel:
        side["pixel_arcsec"] = round(float(pixel), 6)
    beam = image.beam or known.get("beam")
    if beam:
        side |= {"beam_major_arcsec": beam.major_arcsec, "beam_minor_arcsec": beam.minor_arcsec}
        side["beam_angle_deg"] = beam.angle_deg
    side |= {"channels": int(image.data.shape[0]), "height": image.data.shape[1], "width": image.data.shape[2]}
    return side


def read_side(side: Mapping[str, Any], channels: int, height: int, width: int) -> Side:
    """Return what a model is told of a side, at the size that the stretch gives."""
    beam = None
    if "beam_major_arcsec" in side:
        beam = Beam(side["beam_major_arcsec"], side["beam_minor_arcsec"], side.get("beam_angle_deg", 0.0))
    return Side(channels, height, width, side.get("axes", "sky"), side.get("unit", ""), side.get("pixel_arcsec"), beam)


def with_splits(
    table: pa.Table, root: Path, info: Mapping[str, Any], *, split: str, seed: int, group_arcmin: float | None
) -> tuple[pa.Table, str]:
    """Add the columns ``group`` and ``split`` where they are missing.

    Parameters
    ----------
    group_arcmin
        Cutouts whose centres are closer than this share a group; None means one cutout's side.

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
        labels = np.asarray(table["label"].to_pylist(), dtype=object).astype(str) if "label" in names else None
        parts = split_by_group(table["group"].to_numpy(), labels, fractions, seed)
        table = table.append_column("split", pa.array(parts.tolist(), pa.string()))
    unlike = set(table["split"].unique().to_pylist()) - {*SPLITS, "", None}
    if unlike:
        raise DataError(f"{root} has splits other than train, val and test: {', '.join(map(str, sorted(unlike)))}.")
    return table, told


def _groups(table: pa.Table, root: Path, info: Mapping[str, Any], group_arcmin: float | None) -> tuple[np.ndarray, str]:
    if {"ra_deg", "dec_deg"} <= set(table.column_names):
        ra = table["ra_deg"].cast(pa.float64()).to_numpy()
        dec = table["dec_deg"].cast(pa.float64()).to_numpy()
        known = np.isfinite(ra) & np.isfinite(dec)
        side = info.get("image", {})
        if group_arcmin is not None:
            radius, why = group_arcmin, "as asked"
        elif "pixel_arcsec" in side:
            radius, why = side["pixel_arcsec"] * max(side["height"], side["width"]) / 60, "a cutout's side"
        else:
            radius, why = FALLBACK_GROUP_ARCMIN, "the images do not tell their pixel scale; set --group-arcmin"
        groups = np.empty(len(table), np.int64)
        groups[known] = sky_groups(ra[known], dec[known], radius)
        groups[~known] = np.arange(np.count_nonzero(~known)) + len(table)
        return groups, f"positions closer than {radius:.3g} arcmin share a group ({why})"
    if "sha256" in table.column_names:
        hashes = table["sha256"].to_pylist()
    else:
        contents: dict[str, str] = {}
        for path in table["path"].to_pylist():
            if path not in contents:
                contents[path] = hashlib.sha256((root / path).read_bytes()).hexdigest()
        hashes = [contents[path] for path in table["path"].to_pylist()]
    planes = table["plane"].to_pylist() if "plane" in table.column_names else [0] * len(table)
    keys = [f"{digest}:{plane}" for digest, plane in zip(hashes, planes, strict=True)]
    return np.unique(keys, return_inverse=True)[1].astype(
        np.int64
    ), "no positions: images of equal content share a group"
