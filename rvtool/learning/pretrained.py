"""Weights that were learnt elsewhere, as the start of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from rvtool.errors import ConfigError
from rvtool.learning.config import ModelConfig

if TYPE_CHECKING:  # torch stays out: a plugin's light module takes `PretrainedConfig` from here
    from torch import Tensor
    from torchvision.models import WeightsEnum

    from rvtool.learning.classifier import Classifier

LEAST = 0.5
"""Part of the weights of a network's convolutions that a file must fill; with less it is of another network."""


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
    network = model.network
    own = {name: value for name, value in network.state_dict().items() if not name.startswith(f"{model.head}.")}
    dense = model.head.partition(".")[0]  # the layers after the convolutions, whose sizes are for everyone to choose
    body = [name for name in own if not name.startswith(f"{dense}.")]
    given = {name.removeprefix("network."): value for name, value in _read(path).items()}  # as a run names them
    stem = next(f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    if stem in given and given[stem].ndim == own[stem].ndim:
        given[stem] = _with_channels(given[stem], own[stem].shape[1])
    fitting = {name: v for name, v in given.items() if name in own and v.shape == own[name].shape and _is_finite(v)}
    part = sum(own[name].numel() for name in body if name in fitting) / sum(own[name].numel() for name in body)
    if part < LEAST:
        missing = next(name for name in body if name not in fitting)
        raise ConfigError(
            f"{path} has {part:.0%} of the convolutions' weights of this network ('{missing}' is missing, of another "
            "shape or not finite); choose the model and the settings that it was made with, or other --weights."
        )
    network.load_state_dict(fitting, strict=False)
    return f"begins with {part:.1%} of the convolutions' weights from {path}"


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
