"""A trained autoencoder as a codec, with what it leaves kept within a bound."""

from __future__ import annotations

from pydantic import Field

from rvtool import Component, Config, hookimpl


class LearnedConfig(Config):
    """Settings of the codec."""

    run: str = Field(
        "", description="Run of an autoencoder ('rvtool train vqvae'). Default: the one that comes with it."
    )
    tile_pixels: int = Field(1024, ge=64, le=4096, description="Largest side of the tiles, px.")
    dither: bool = Field(
        True, description="Round what is left with a dither, so that faint sources keep their flux; larger files."
    )


@hookimpl
def rvtool_codecs() -> list[Component]:
    """Offer the codec."""
    return [
        Component(
            "learned",
            "A trained autoencoder: smallest at low rates ('--max-error none'), within a bound by a residual",
            LearnedConfig,
            "rvtool_plugins.codecs.learned.codec:LearnedCodec",
        )
    ]
