"""The ATNF pulsar catalogue: every known pulsar."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl


class AtnfConfig(Config):
    """Settings of the source `atnf`."""

    version: str = Field("2.7.0", pattern=r"^\d+(\.\d+)+$", description="Version of the catalogue.")
    sha256: str = Field(
        "", pattern=r"^([0-9a-fA-F]{64})?$", description="SHA-256 of that version's package. Default: not checked."
    )
    backup: Literal["", "vizier"] = Field("", description="Ask a copy of the catalogue instead: vizier (B/psr).")


@hookimpl
def rvtool_sources() -> list[Component]:
    """Offer the source."""
    return [
        Component(
            "atnf",
            "Targets out of the ATNF pulsar catalogue",
            AtnfConfig,
            "rvtool_plugins.sources.atnf.source:Atnf",
        )
    ]
