"""Other people's codecs, to compare with: `rvtool compare-codecs` judges them beside rvtool's own.

Their libraries are an extra, ``pip install 'rvtool[baselines]'``, and loaded only when a codec is built.
"""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl


class BaselineConfig(Config):
    """Settings of the baselines."""

    tile_pixels: int = Field(2048, ge=8, le=2048, description="Side of a tile, pixels: most are best on whole images.")


_SUMMARIES = {
    "jpegxl": ("grid:JpegXl", "JPEG-XL, the smaller of efforts 7 and 9, on a fixed grid within the bound"),
    "jpegls": ("grid:JpegLs", "JPEG-LS on a fixed grid within the bound"),
    "pcodec": ("grid:Pcodec", "pcodec on a fixed grid within the bound"),
    "sz3": ("floats:Sz3", "SZ3 within an absolute error; lossless is deflate"),
    "sperr": ("floats:Sperr", "SPERR within an absolute error; lossless is deflate"),
    "fpzip": ("floats:Fpzip", "fpzip, lossless whatever the bound"),
}


@hookimpl
def rvtool_codecs() -> list[Component]:
    """Offer them all; one whose library is missing says so when it is built."""
    return [
        Component(name, f"Baseline: {summary}", BaselineConfig, f"rvtool_plugins.codecs.baselines.{target}")
        for name, (target, summary) in _SUMMARIES.items()
    ]
