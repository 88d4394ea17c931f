"""The whole extension surface: seven hooks, one a kind. Each returns a list of `Component`."""

from __future__ import annotations

import pluggy

from rvtool.component import Component

hookspec = pluggy.HookspecMarker("rvtool")
hookimpl = pluggy.HookimplMarker("rvtool")


@hookspec
def rvtool_sources() -> list[Component]:  # type: ignore[empty-body]
    """Where images come from: `rvtool collect --source NAME`."""


@hookspec
def rvtool_simulators() -> list[Component]:  # type: ignore[empty-body]
    """What makes images from parameters: `rvtool simulate NAME`."""


@hookspec
def rvtool_models() -> list[Component]:  # type: ignore[empty-body]
    """What is trained: `rvtool train NAME`."""


@hookspec
def rvtool_losses() -> list[Component]:  # type: ignore[empty-body]
    """What training minimises: `--loss NAME[:WEIGHT]`."""


@hookspec
def rvtool_augmenters() -> list[Component]:  # type: ignore[empty-body]
    """What varies the training images: `--augment NAME`."""


@hookspec
def rvtool_metrics() -> list[Component]:  # type: ignore[empty-body]
    """What judges an answer (listed by `rvtool plugins`; no command takes one by name yet)."""


@hookspec
def rvtool_codecs() -> list[Component]:  # type: ignore[empty-body]
    """What compresses images: `rvtool compress --codec NAME`."""
