"""Weights that were learnt elsewhere, as the start of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from rvtool.errors import ConfigError
from rvtool.learning.config import ModelConfig

if TYPE_CHECKING:  # torch stays out: a plugin's light module takes `PretrainedConfig` from here
    from collections.abc import Mapping

    from torch import Tensor
    from torchvision.models import WeightsEnum

    from rvtool.learning.classifier import Classifier
    from rvtool.learning.model import Model

LEAST = 0.5
"""Part of a model's backbone that given weights must fill; with less they are of another network."""


class PretrainedConfig(ModelConfig):
    """Settings of a model that can begin with weights learnt elsewhere."""

    weights: str = Field(
        "none",
        min_length=1,
        description="Weights to begin with: 'none', 'imagenet' (where torch's cache has them; nothing is downloaded), "
        "or a file (.pth or .safetensors: torchvision's, or a run's model.safetensors).",
    )


def load_pretrained(model: Classifier, weights: str, published: WeightsEnum) -> str:
    """Begin a classifier's network with weights learnt elsewhere.

    A weight is taken where a finite one of the same name and shape is in the file. The first convolution may be of
    another number of channels: it gets the mean over the file's channels, times their number over its own, so that
    an image whose channels are all alike gives the response that it gave before. The last layer, which makes the
    logits, stays fresh: its classes are others.

    Images are fed as they were stretched (sky near 0, peak near 1) and not standardised by ImageNet's colours:
    against torchvision's input the sky stands at medium grey, and the contrast is a quarter. Normalisation layers and
    fine-tuning take that up.

    Parameters
    ----------
    model
        A classifier whose `network` has the names of torchvision's.
    weights
        `PretrainedConfig.weights`.
    published
        torchvision's entry for the network, which names its file.

    Returns
    -------
    One line that says what was taken; empty for ``"none"``.

    Raises
    ------
    ConfigError
        The file is not there, is no state dict, or has less than half of the weights of the convolutions.
    """
    from torch import nn

    if weights == "none":
        return ""
    path = _cached(published) if weights == "imagenet" else Path(weights)
    given = {f"network.{name.removeprefix('network.')}": value for name, value in _read(path).items()}
    layers = model.network.named_modules()
    stem, layer = next((f"network.{name}.weight", layer) for name, layer in layers if isinstance(layer, nn.Conv2d))
    if stem in given and given[stem].ndim == layer.weight.ndim:
        given[stem] = _with_channels(given[stem], layer.weight.shape[1])
    return take_weights(model, given, str(path))


def take_weights(model: Model, given: Mapping[str, Tensor], where: str, *, head: bool = False) -> str:
    """Begin a model with weights that another training made, where a finite one of the same name and shape is given.

    Parameters
    ----------
    given
        Weights by the names that `model` has for them.
    where
        What to call their origin.
    head
        Whether the layer that makes a classifier's logits is taken too: only where it was for the same classes.

    Returns
    -------
    One line that says what was taken.

    Raises
    ------
    ConfigError
        The model has no backbone, or less than half of its weights are given.
    """
    own = model.state_dict()
    if not head:
        own = {name: value for name, value in own.items() if not name.startswith(model.head_name)}
    parts = {id(layer) for layer in model.backbone}
    prefixes = tuple(f"{name}." for name, layer in model.named_modules() if id(layer) in parts)
    body = [name for name in own if name.startswith(prefixes)] if prefixes else []
    if not body:
        raise ConfigError(f"{type(model).__name__} names no backbone, so it cannot begin with the weights of {where}.")
    fitting = {name: v for name, v in given.items() if name in own and v.shape == own[name].shape and _is_finite(v)}
    part = sum(own[name].numel() for name in body if name in fitting) / sum(own[name].numel() for name in body)
    if part < LEAST:
        missing = next(name for name in body if name not in fitting)
        raise ConfigError(
            f"{where} has {part:.0%} of the weights of this model's backbone ('{missing}' is missing, of another shape "
            "or not finite); choose the model and the settings that it was made with, or other weights."
        )
    model.load_state_dict(fitting, strict=False)
    return f"begins with {part:.1%} of the backbone's weights from {where}"


def _cached(published: WeightsEnum) -> Path:
    import torch

    name = published.url.rpartition("/")[2]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not (folder / name).is_file():
        raise ConfigError(
            f"The ImageNet weights {name} are not in {folder}, and nothing is downloaded; put the file there or name "
            "it with --weights FILE."
        )
    return folder / name


def _read(path: Path) -> dict[str, Tensor]:
    """Read a state dict, without running any code that its file may hold."""
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise ConfigError(f"There is no weights file {path}; --weights takes 'none', 'imagenet' or a file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise ConfigError(
            f"{path} cannot be read as weights ({type(error).__name__}); give a .pth file that holds a state dict and "
            "nothing else, or a .safetensors file."
        ) from error
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ConfigError(f"{path} holds no state dict (names with their tensors); save 'network.state_dict()' there.")
    return state


def _with_channels(kernel: Tensor, channels: int) -> Tensor:
    """Bring a kernel ``(O, C, H, W)`` to another number of input channels."""
    have = kernel.shape[1]
    if have == channels:
        return kernel
    return kernel.float().mean(dim=1, keepdim=True).expand(-1, channels, -1, -1) * (have / channels)


def _is_finite(value: Tensor) -> bool:
    return bool(value.isfinite().all())
