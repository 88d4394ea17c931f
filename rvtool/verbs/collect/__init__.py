"""Collect images into a dataset: from surveys, politely and completely, or from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from rvtool.config import Config, Names

if TYPE_CHECKING:
    from rich.console import Console

EXPORTS = ("webdataset", "hdf5", "npy")


class Settings(Config):
    """What `rvtool collect` may be told."""

    source: str = Field("", description="Where images come from")
    config: dict[str, Any] = Field({}, description="The source's own settings.")
    pair: Names = Field((), description="Two sources: an image of each for every target, on one grid.")
    targets: Path | None = Field(
        None, description="Table of what to fetch: CSV, VOTable, ECSV or FITS, with positions and any further columns."
    )
    position: tuple[str, ...] = Field((), description='Fetch this place: "RA Dec", or a name; repeatable.')
    class_: tuple[str, ...] = Field((), description="Fetch objects of this class from catalogues; repeatable.")
    count: int | None = Field(None, ge=1, description="Images wanted of each class. Default: all.")
    out: Path | None = Field(None, description="Dataset folder to make. Default: data/SOURCE.")
    resume: Path | None = Field(None, description="Go on with this dataset, with the settings that it was begun with.")
    status: Path | None = Field(None, description="Tell how far the collection of this dataset is, and stop.")
    verify: Path | None = Field(None, description="Check every file of this dataset against its checksum, and stop.")
    dry_run: bool = Field(False, description="Tell what would be fetched, how much and how long, and stop.")
    exclude: Path | None = Field(None, description="List of images to set aside: number in the mosaic or id, reason.")
    mosaic: bool = Field(False, description="Draw numbered mosaics of all images, to judge them by eye.")
    export: Names = Field((), description="Write the dataset in these forms too: webdataset, hdf5, npy.")
    larger: Literal["refetch", "aside", "keep"] = Field(
        "refetch", description="A source larger than its cutout: fetch twice the field, set aside, or keep."
    )
    max_blank: float = Field(0.2, ge=0, le=1, description="Largest part of blank pixels in an image.")
    dedupe_arcsec: float | None = Field(
        None, ge=0, description="Targets closer than this are one, arcsec. Default: half a beam, 2 at least. 0: off."
    )
    grid_arcsec: float | None = Field(None, gt=0, description="Pixel of a pair's grid, arcsec. Default: the first's.")
    split: str = Field("70/15/15", description="Parts of train, val and test, dealt by group and class.")
    group_arcmin: float | None = Field(
        None, ge=0, description="Images closer than this share a group, arcmin. Default: one cutout's diagonal."
    )
    seed: int = Field(0, ge=0, description="Seed of the split, and of which objects of a class are taken.")
    base_url: tuple[str, ...] = Field(
        (), description="Talk to this address instead of a source's own: URL, or NAME=URL; repeatable."
    )
    max_rate: float | None = Field(None, gt=0, description="Requests a second and host. Default: what is polite.")
    max_connections: int | None = Field(None, ge=1, description="Connections to a host. Default: what is polite.")
    attempts: int = Field(5, ge=1, description="Tries for an image whose service could not answer.")
    contact: str = Field("", description="Your e-mail address, told to the services.")
    set: dict[str, Any] = Field({}, description="Settings of further sources, as source.sdss.band=r.")

    @field_validator("export")
    @classmethod
    def _known_forms(cls, forms: tuple[str, ...]) -> tuple[str, ...]:
        for form in forms:
            if form not in EXPORTS:
                raise ValueError(f"there is no form '{form}'; known: {', '.join(EXPORTS)}")
        return forms


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Collect, and return the dataset's folder, its counts and its failures.

    Raises
    ------
    ConfigError
        No source is named, nothing to fetch is named, or settings are wrong.
    DataError
        The dataset exists already, the journal cannot be used, the disk is full, or not one image could be had.
    SourceError
        A service can answer no request at all.
    """
    if settings.verify is not None:
        from rvtool.verbs.collect.inspect import verify

        return verify(settings.verify, console)
    if settings.status is not None:
        from rvtool.verbs.collect.inspect import status

        return status(settings.status, console)
    from rvtool.verbs.collect.engine import collect

    return collect(settings, console)
