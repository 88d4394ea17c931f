"""Writing a dataset folder, so that an interrupted one is known as such."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from rvtool.data.dataset import FORMAT, Dataset, with_splits, without_excluded
from rvtool.data.files import write_bytes, writing
from rvtool.errors import DataError


class DatasetWriter:
    """Writes a dataset folder; until `finish` has returned, the folder counts as interrupted.

    Parameters
    ----------
    out
        The new folder.
    again
        The folder may be there: its manifest is written anew, over files that are known to be its own.
    what
        What is written, for whoever goes on after an interruption (`interrupted`).

    Raises
    ------
    DataError
        The folder exists already.
    """

    def __init__(self, out: Path, *, again: bool = False, what: str = "") -> None:
        if not again and out.exists() and (not out.is_dir() or any(out.iterdir())):
            incomplete = interrupted(out) is not None
            why = "and is incomplete (its writing was interrupted); remove it or" if incomplete else "already;"
            raise DataError(f"{out} exists {why} choose another --out.")
        self.out = out
        self._tables: list[pa.Table] = []
        write_bytes(out / ".writing", what.encode())

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave an unfinished folder as it is, marked incomplete; remove one that holds nothing yet."""
        if error is not None and not any(p.is_file() and p.name != ".writing" for p in self.out.rglob("*")):
            shutil.rmtree(self.out, ignore_errors=True)

    def write(self, path: str, data: bytes) -> None:
        """Write a file, for example ``images/J1200+0100.fits``, whole or not at all."""
        write_bytes(self.out / path, data)

    def rows(self, columns: Mapping[str, Any]) -> None:
        """Append rows to the manifest: a column name to a sequence, all of one length."""
        self._tables.append(pa.table({name: _array(values) for name, values in columns.items()}))

    def finish(
        self, info: Mapping[str, Any], split: str = "70/15/15", seed: int = 0, group_arcmin: float | None = None
    ) -> tuple[Dataset, str]:
        """Fix the splits, write the manifest, and last of all ``dataset.toml``; splits that are fixed already stay.

        Parameters
        ----------
        info
            ``image`` and ``target`` (sides, see `side_of`), ``source`` with its settings, ``licence``, ``citation``.

        Returns
        -------
        The dataset without the rows whose column ``excluded`` gives a reason, as `open_dataset` would give it, and a
        sentence about how its groups were made.
        """
        if not self._tables:
            raise DataError(f"{self.out} would hold no image; nothing was written.")
        table = pa.concat_tables(_alike(self._tables), promote_options="permissive")
        before = self._splits_before()
        table, told = with_splits(
            table, self.out, info, split=split, seed=seed, group_arcmin=group_arcmin, before=before
        )
        kept = without_excluded(table)
        if len(kept) == 0:
            raise DataError(f"{self.out} would hold no image that is not excluded; exclude fewer.")
        with writing(self.out / "manifest.parquet") as stream:
            pq.write_table(table, stream)
        created = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        facts = {"format": FORMAT, "rvtool": version("rvtool"), "created": created, "images": len(kept), **info}
        write_bytes(self.out / "dataset.toml", tomli_w.dumps(facts).encode())
        (self.out / ".writing").unlink()
        return Dataset(self.out, facts, kept), told

    def _splits_before(self) -> dict[str, str]:
        """Return the splits of a manifest that is written anew: no image moves from one to another."""
        if not (self.out / "manifest.parquet").exists():
            return {}
        known = pq.read_table(self.out / "manifest.parquet", columns=["id", "split"]).to_pydict()
        return {name: split for name, split in zip(known["id"], known["split"], strict=True) if split is not None}


def interrupted(out: Path) -> str | None:
    """Return what was being written to a folder when its writing was interrupted; None where none was."""
    mark = out / ".writing"
    return mark.read_text() if mark.exists() and not (out / "dataset.toml").exists() else None


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    """Make a column; values of several types become words."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _alike(tables: list[pa.Table]) -> list[pa.Table]:
    """Make a column words in every block where it is words in one."""
    wordy = {field.name for table in tables for field in table.schema if pa.types.is_string(field.type)}

    def words(table: pa.Table) -> pa.Table:
        return table.cast(
            pa.schema([pa.field(f.name, pa.string() if f.name in wordy else f.type) for f in table.schema])
        )

    return [words(table) for table in tables]
