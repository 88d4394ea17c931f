"""rvtool: machine vision for radio astronomy.

What plugin authors import stands here: `Component`, `Config`, `hookimpl`, `load_run`; and `open`, which gives an image
of which only the part is read that is asked for.
Everything is loaded on first use, so that ``import rvtool`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvtool.component import Component as Component
    from rvtool.compressed.image import open_image as open
    from rvtool.config import Config as Config
    from rvtool.hookspecs import hookimpl as hookimpl
    from rvtool.runs.run import load_run as load_run

    __version__: str

__all__ = ["Component", "Config", "__version__", "hookimpl", "load_run", "open"]

_HOMES = {
    "Component": "rvtool.component:Component",
    "Config": "rvtool.config:Config",
    "hookimpl": "rvtool.hookspecs:hookimpl",
    "load_run": "rvtool.runs.run:load_run",
    "open": "rvtool.compressed.image:open_image",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("rvtool")
    if name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'rvtool' has no attribute '{name}'")
