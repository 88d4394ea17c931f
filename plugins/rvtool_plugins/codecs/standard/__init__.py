"""The compression of the FITS standard, with a step that follows the real noise: every reader opens it."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl


class RiceConfig(Config):
    """Settings of the rice codec."""

    tile_pixels: int = Field(
        128,
        ge=8,
        le=4096,
        description="Side of a tile, pixels: larger is smaller on disk (64: +3 %, 32: +12 %), smaller is quicker to "
        "read a part of.",
    )


class HcompressConfig(Config):
    """Settings of the hcompress codec."""

    tile_pixels: int = Field(256, ge=32, le=4096, description="Side of a tile, pixels.")


@hookimpl
def rvtool_codecs() -> list[Component]:
    """Offer the codecs that FITS itself defines."""
    return [
        Component(
            name="rice",
            summary="FITS standard RICE_1 with subtractive dither and an absolute step; opens in every FITS reader",
            config=RiceConfig,
            target="rvtool_plugins.codecs.standard.codec:RiceCodec",
        ),
        Component(
            name="hcompress",
            summary="FITS standard HCOMPRESS_1 with subtractive dither and an absolute step; slower than rice",
            config=HcompressConfig,
            target="rvtool_plugins.codecs.standard.codec:HcompressCodec",
        ),
    ]
