"""The networks of other models: of a classifier, trained in another way; of an autoencoder, kept as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from rvtool import plugins
from rvtool.data.info import read_data_info
from rvtool.errors import ConfigError
from rvtool.learning.autoencoder import Autoencoder
from rvtool.learning.classifier import Classifier
from rvtool.learning.losses import Losses, compose

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


def borrow_autoencoder(model: str, settings: Mapping[str, Any], data_info: Mapping[str, Any]) -> Autoencoder:
    """Build an autoencoder as a run's record tells of it, without its weights; it is not trained on.

    Raises
    ------
    ConfigError
        There is no such model or setting, or it is no autoencoder.
    """
    component = plugins.component("model", model)
    kind = component.load()
    if not issubclass(kind, Autoencoder):
        raise ConfigError(f"'{model}' is no autoencoder; choose another.")
    data = read_data_info(data_info)
    losses = compose([], kind.roles, {}, data, lambda name: plugins.component("loss", name))
    found: Autoencoder = kind(component.configure(settings), data, losses)
    return found.requires_grad_(False).eval()
