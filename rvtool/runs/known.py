"""What a run remembers of each image that it knew: its split, its content and its place on the sky.

Ids do not tell an image (every simulated dataset counts from 0), nor do paths (folders move); content does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rvtool.data.files import writing

if TYPE_CHECKING:
    from rvtool.data.batches import Material

FILE = "splits.parquet"
SAME_PLACE_ARCSEC = 1.0
SEEN_FIRST = ("test", "val", "train")  # where two images are equal, the split that has seen most counts


@dataclass(frozen=True)
class Known:
    """The table in a run's ``splits.parquet``: ``id, split, content``, and ``ra_deg, dec_deg`` where there are any."""

    table: pa.Table

    @cached_property
    def by_id(self) -> dict[str, str]:
        """The split of each image by its id; ``""`` where it belonged to none."""
        return dict(zip(self.table["id"].to_pylist(), self.table["split"].to_pylist(), strict=True))

    @cached_property
    def by_content(self) -> dict[bytes, str]:
        """The split of each image by its content; images of no split are left out."""
        pairs = list(zip(self.table["content"].to_pylist(), self.table["split"].to_pylist(), strict=True))
        return {content: split for seen in SEEN_FIRST for content, split in pairs if split == seen}

    def splits_of(self, material: Material) -> np.ndarray:
        """Return the split that the run gave each row of a dataset; ``""`` for images that it did not know."""
        return np.array([self.by_content.get(content, "") for content in contents(material)], dtype=object)

    def trained_on(self, material: Material, splits: np.ndarray | None = None) -> np.ndarray:
        """Tell of each row of a dataset whether the run was trained on it: by content, or by its place on the sky.

        Content is compared as both models see it, and is another where they see other crops. Whoever has `splits_of`
        these images already gives it, for hashing a large dataset takes long.
        """
        seen: np.ndarray = (self.splits_of(material) if splits is None else splits) == "train"
        ra, dec = self.places("train")
        dataset = material.dataset
        if not ra.size or "ra_deg" not in dataset or "dec_deg" not in dataset:
            return seen
        from astropy.coordinates import SkyCoord

        here = np.stack([dataset.column(name).astype(float) for name in ("ra_deg", "dec_deg")])
        placed = np.flatnonzero(np.isfinite(here).all(axis=0))
        if placed.size:
            apart = SkyCoord(*here[:, placed], unit="deg").match_to_catalog_sky(SkyCoord(ra, dec, unit="deg"))[1]
            seen[placed[apart.arcsec < SAME_PLACE_ARCSEC]] = True
        return seen

    def places(self, *splits: str) -> tuple[np.ndarray, np.ndarray]:
        """Return right ascensions and declinations, degrees, of the images of some splits that have a position."""
        if "ra_deg" not in self.table.column_names:
            return np.empty(0), np.empty(0)
        rows = np.isin(self.table["split"].to_numpy(zero_copy_only=False).astype(object), splits)
        ra, dec = (
            self.table[name].to_numpy(zero_copy_only=False).astype(float)[rows] for name in ("ra_deg", "dec_deg")
        )
        good = np.isfinite(ra) & np.isfinite(dec)
        return ra[good], dec[good]


def write_known(folder: Path, material: Material) -> None:
    """Write what a run must remember of its images."""
    dataset = material.dataset
    columns = {
        "id": dataset.table["id"],
        "split": pa.array(material.split.tolist(), pa.string()),
        "content": pa.array(contents(material), pa.binary()),
    }
    if {"ra_deg", "dec_deg"} <= set(dataset.table.column_names):
        columns |= {name: dataset.table[name] for name in ("ra_deg", "dec_deg")}
    with writing(folder / FILE) as stream:
        pq.write_table(pa.table(columns), stream)


def read_known(folder: Path) -> Known:
    """Read what `write_known` wrote."""
    return Known(pq.read_table(folder / FILE))


def contents(material: Material, rows: Iterable[int] | None = None) -> list[bytes]:
    """Hash the pixels of rows (None: all) as the model sees them before the stretch, and those of their targets."""
    hashes = []
    for row in range(len(material.dataset)) if rows is None else rows:
        digest = hashlib.blake2b(material.image.pixels[row].astype(np.float32).tobytes(), digest_size=16)
        if material.target is not None:
            digest.update(material.target.pixels[row].astype(np.float32).tobytes())
        hashes.append(digest.digest())
    return hashes
