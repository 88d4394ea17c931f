"""The network of a classifier, for models that train it in another way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from rvtool import plugins
from rvtool.errors import ConfigError
from rvtool.learning.classifier import Classifier
from rvtool.learning.losses import Losses

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo


def borrow_network(model: str, settings: Mapping[str, Any], data: DataInfo) -> tuple[nn.Module, int, list[str]]:
    """Build a classifier's network without its head.

    Parameters
    ----------
    model, settings
        The classifier's name and its own settings.

    Returns
    -------
    The network, which makes features ``(B, F)`` (flattened) of images; F; and the names within it of the layers of the
    backbone.

    Raises
    ------
    ConfigError
        There is no such model or setting, it is no classifier, or its head is no dense layer.
    """
    component = plugins.component("model", model)
    kind = component.load()
    if not issubclass(kind, Classifier):
        raise ConfigError(f"'{model}' is no classifier, so it has no layers to train for one; choose another.")
    owner = kind(component.configure(settings), replace(data, classes=("one", "other")), Losses())
    head = owner.network.get_submodule(owner.head)
    if not isinstance(head, nn.Linear):
        raise ConfigError(
            f"The head of '{model}' is no dense layer, so its features cannot be counted; choose another."
        )
    parts = {id(layer) for layer in owner.backbone}
    names = [name for name, layer in owner.network.named_modules() if id(layer) in parts]
    owner.network.set_submodule(owner.head, nn.Identity())
    return owner.network, head.in_features, names
