"""rvtool's own codec: predicts each pixel from those before it, and spends bits only on what it did not foresee."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl


class PredictiveConfig(Config):
    """Settings of the predictive codec."""

    tile_pixels: int = Field(
        512,
        ge=64,
        le=1024,
        description="Side of a tile, pixels: larger is smaller on disk, smaller is quicker to read a part of.",
    )
    planes: int = Field(
        8, ge=1, le=64, description="Planes of a cube in a tile: each but the first builds on the one before."
    )
    dither_from: float = Field(
        0.48,
        ge=0,
        description="Bound, in units of the noise of a tile, from which on pixels are dithered, so that faint flux "
        "survives; costs a quarter of a bit a pixel at most where it is on.",
    )
    fast: bool = Field(False, description="Two to three times faster each way, for a few percent more bytes.")


@hookimpl
def rvtool_codecs() -> list[Component]:
    """Offer the predictive codec."""
    return [
        Component(
            name="predictive",
            summary="the smallest files: lossless, or within a bound that keeps faint flux; needs rvtool to be read",
            config=PredictiveConfig,
            target="rvtool_plugins.codecs.predictive.codec:PredictiveCodec",
        )
    ]
