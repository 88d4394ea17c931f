"""Radio Galaxy Zoo: extended sources as FIRST sees them, without classes, for features and autoencoders."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rvtool import Component, Config, hookimpl


class RgzConfig(Config):
    """Settings of the source `rgz`."""

    path: Path | None = Field(
        None,
        description="The folder of batches (rgz20k-batches-py, rgz108k-batches-py), or the archive of the 20,000, "
        "which is slower. The 108,000 are at no public address. Default: fetch the archive of the 20,000.",
    )
    drop_duplicates: bool = Field(False, description="Of images with the very same pixels, keep the first.")
    least_las_arcsec: float = Field(
        0.0, ge=0, description="Leave out sources of a smaller largest angular size than this, arcsec."
    )
    without_mirabest: bool = Field(
        False, description="Leave out sources that are in MiraBest too: what trains here must not be judged on there."
    )


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "rgz",
            "Radio Galaxy Zoo: published 8-bit images of extended sources of FIRST, without classes",
            RgzConfig,
            "rvtool_plugins.sources.rgz.source:Rgz",
        )
    ]
