"""Images that lie in a folder already."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rvtool import Component, Config, hookimpl


class FolderConfig(Config):
    """Settings of the source `folder`."""

    path: Path | None = Field(None, description="Folder of images: class sub-folders, or a labels.csv.")
    unit: str = Field("", description="Unit of the pixels, where the files do not tell.")
    pixel_arcsec: float = Field(
        0.0, ge=0, description="Side of a pixel, arcsec, where the files do not tell (0: unknown)."
    )
    beam_arcsec: float = Field(
        0.0, ge=0, description="Beam's full width, arcsec, where the files do not tell (0: unknown)."
    )


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "folder",
            "Images in a folder: FITS, PNG, JPEG or NPY, with class sub-folders or a labels.csv",
            FolderConfig,
            "rvtool_plugins.sources.folder.source:Folder",
        )
    ]
