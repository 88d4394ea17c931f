"""Collect images into a dataset: from a folder, or from whatever a source plugin speaks to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config

if TYPE_CHECKING:
    from rich.console import Console


class Settings(Config):
    """What `rvtool collect` may be told."""

    source: str = Field("", description="Where images come from")
    config: dict[str, Any] = Field({}, description="The source's own settings.")
    out: Path | None = Field(None, description="Dataset folder to make. Default: data/SOURCE.")
    split: str = Field("70/15/15", description="Parts of train, val and test, dealt by group and class.")
    group_arcmin: float | None = Field(
        None, ge=0, description="Images closer than this share a group, arcmin. Default: one cutout's diagonal."
    )
    seed: int = Field(0, ge=0, description="Seed of the split.")
    base_url: str = Field("", description="Talk to this address instead of the source's own.")
    max_rate: float | None = Field(None, gt=0, description="Requests a second. Default: what the source allows.")
    attempts: int = Field(3, ge=1, description="Tries for an image whose service could not answer.")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Collect, and return the dataset's folder, its counts and its failures.

    Raises
    ------
    ConfigError
        No source is named, or its settings are wrong.
    DataError
        The dataset exists already, or not one image could be had.
    SourceError
        The service can answer no request at all.
    """
    from rvtool.verbs.collect.engine import collect

    return collect(settings, console)
