"""Checks for plugin authors: one for each kind, each saying what is wrong and what the contract wants.

In the tests of a plugin::

    from rvtool.plugins import component
    from rvtool.testing import check_component, check_model

    def test_my_model():
        check_component(component("model", "my-model"))
        check_model(component("model", "my-model"))

Each check builds the component from ``settings`` (its defaults where left out), as the core would, and raises
AssertionError with one sentence where the contract of its kind (`rvtool.kinds`) is not kept.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvtool.testing.augmenters import check_augmenter as check_augmenter
    from rvtool.testing.codecs import check_codec as check_codec
    from rvtool.testing.components import check_component as check_component
    from rvtool.testing.losses import check_loss as check_loss
    from rvtool.testing.metrics import check_metric as check_metric
    from rvtool.testing.models import check_model as check_model
    from rvtool.testing.simulators import check_simulator as check_simulator
    from rvtool.testing.sources import check_source as check_source

_CHECKS = ("augmenter", "codec", "component", "loss", "metric", "model", "simulator", "source")
__all__ = [f"check_{kind}" for kind in _CHECKS]


def __getattr__(name: str) -> Any:
    """Import a check on first use: that of sources, and the stand-in sky, need no torch."""
    kind = name.removeprefix("check_")
    if kind == name or kind not in _CHECKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"rvtool.testing.{kind}{'es' if kind == 'loss' else 's'}")
    return getattr(module, name)
