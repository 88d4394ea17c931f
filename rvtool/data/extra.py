"""Further images that train only: simulated, generated, or of another survey."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from rvtool.data.dataset import Dataset
from rvtool.errors import DataError

EXTRA = "extra"
"""The column that tells such rows apart."""


def with_extra(dataset: Dataset, extra: Dataset) -> Dataset:
    """Put the images of another dataset behind those of a dataset.

    Ids and sky groups of the other become its own, so that nothing is mistaken for an image of the first.

    Raises
    ------
    DataError
        Channels or axes differ, or one of them has pairs and the other has none, or a column is of another kind there.
    """
    have, want = extra.info.get("image", {}), dataset.info.get("image", {})
    for name in ("channels", "axes"):
        if have.get(name) != want.get(name):
            raise DataError(
                f"{extra.root} has images of other {name} ({have.get(name)}) than {dataset.root} ({want.get(name)}), "
                "so one model cannot learn from both."
            )
    if ("target_path" in extra) != ("target_path" in dataset):
        raise DataError(f"One of {extra.root} and {dataset.root} has pairs, and the other has none.")
    table = extra.table
    for name in ("path", "target_path"):
        if name in extra:
            whole = [None if path is None else str(extra.root.resolve() / path) for path in table[name].to_pylist()]
            table = _set(table, name, pa.array(whole, pa.string()))
    table = _set(table, "id", pa.array([f"{EXTRA}/{name}" for name in table["id"].to_pylist()]))
    offset = int(dataset.column("group").max()) + 1
    table = _set(table, "group", pa.array(extra.column("group").astype(np.int64) + offset))
    if "fold" in extra:
        table = table.drop_columns(["fold"])
    table = table.append_column(EXTRA, pa.array(np.ones(len(extra), bool)))
    mine = dataset.table.append_column(EXTRA, pa.array(np.zeros(len(dataset), bool)))
    try:
        both = pa.concat_tables([mine, table], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"{extra.root} and {dataset.root} have columns of one name and unlike kinds ({error})."
        ) from error
    return Dataset(dataset.root, dataset.info, both)


def is_extra(dataset: Dataset) -> np.ndarray:
    """Tell which rows only train, ``(N,)`` bool."""
    return dataset.column(EXTRA).astype(bool) if EXTRA in dataset else np.zeros(len(dataset), bool)


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
