"""rvtool: machine vision for radio astronomy.

What plugin authors import stands here: `Component`, `Config`, `hookimpl`, `load_run`.
Everything is loaded on first use, so that ``import rvtool`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvtool.component import Component as Component
    from rvtool.config import Config as Config
    from rvtool.hookspecs import hookimpl as hookimpl
    from rvtool.runs.run import load_run as load_run

    __version__: str

__all__ = ["Component", "Config", "__version__", "hookimpl", "load_run"]

_HOMES = {
    "Component": "rvtool.component",
    "Config": "rvtool.config",
    "hookimpl": "rvtool.hookspecs",
    "load_run": "rvtool.runs.run",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("rvtool")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rvtool' has no attribute '{name}'")
