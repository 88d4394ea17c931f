"""CIFAR-10: small photographs of ten kinds of things, to find out what is wrong with a model that should learn them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rvtool import Component, Config, hookimpl


class Cifar10Config(Config):
    """Settings of the source `cifar10`."""

    path: Path | None = Field(
        None, description="torchvision's folder, with cifar-10-batches-py in it. Default: rvtool's cache."
    )
    download: bool = Field(False, description="Let torchvision fetch what is not there (170 MB).")
    grey: bool = Field(False, description="One channel (luma) instead of three colours.")


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "cifar10",
            "CIFAR-10 through torchvision: 60,000 photographs of 32x32 pixels in ten classes, for debugging",
            Cifar10Config,
            "rvtool_plugins.sources.cifar10.source:Cifar10",
        )
    ]
