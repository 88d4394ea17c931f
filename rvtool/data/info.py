"""What a model was told of its data, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rvtool.kinds import Beam, DataInfo, Side

TUPLES = ("classes", "class_counts", "conditions", "condition_means", "condition_stds")


def write_data_info(data: DataInfo) -> dict[str, Any]:
    """Turn a `DataInfo` into plain values."""
    return asdict(data)


def read_data_info(stored: Mapping[str, Any]) -> DataInfo:
    """Turn what `write_data_info` gave back into a `DataInfo`."""

    def side(values: Mapping[str, Any] | None) -> Side | None:
        if values is None:
            return None
        beam = Beam(**values["beam"]) if values["beam"] else None
        return Side(**{**values, "beam": beam})

    image = side(stored["image"])
    assert image is not None
    return DataInfo(
        image,
        side(stored["target"]),
        **{
            **{name: value for name, value in stored.items() if name not in ("image", "target")},
            **{name: tuple(stored.get(name, ())) for name in TUPLES},
        },
    )
