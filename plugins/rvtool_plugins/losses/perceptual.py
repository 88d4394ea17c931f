"""Losses that compare what a trained network sees in two images; the network never learns.

Prediction and target are ``(B, C, H, W)``, stretched: about 0 where there is sky, 1 at a bright peak. They are never
clamped. Unknown pixels of the target are 0 in both. Distances are computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
import torchmetrics
from torch import Tensor, nn
from torchvision import models

from rvtool.errors import ConfigError, unknown
from rvtool_plugins.losses.eye import Eye
from rvtool_plugins.losses.pixels import known_pixels

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo, LossContext
    from rvtool_plugins.losses import LPIPSConfig, RadioPerceptualConfig, VGGPerceptualConfig

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green, blue in 0 .. 1
LPIPS_LAYERS = {
    "vgg": ("vgg16", ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")),
    "alex": ("alexnet", ("relu1_1", "relu2_1", "relu3_1", "relu3_2", "relu3_3")),
}
LPIPS_COUNT = 5
FILES = {
    "vgg16": models.VGG16_Weights.IMAGENET1K_V1,
    "vgg19": models.VGG19_Weights.IMAGENET1K_V1,
    "alexnet": models.AlexNet_Weights.IMAGENET1K_V1,
}
TINY = 1e-6


class Perceptual(nn.Module):
    """The mean over layers of a distance between what they make of prediction and target.

    The network is loaded when it is first asked, or by `start`: a trained model that only predicts never needs it.
    """

    role: ClassVar[str] = "perceptual"

    def __init__(self, data: DataInfo) -> None:
        super().__init__()
        self.channels = (data.target or data.image).channels
        self.eye: Eye | None = None

    def start(self) -> None:
        """Load the network, so that what is missing is told before the training begins.

        Raises
        ------
        RvtoolError
            The network or its weights are not there, or do not suit the images.
        """
        self.eye = self.eye or self.load()

    def forward(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Compute the loss of ``(B, C, H, W)``."""
        self.start()
        known = known_pixels(target, context)
        ours = self.look(torch.where(known, prediction.float(), 0.0))
        with torch.no_grad():
            truth = self.look(torch.where(known, target.float(), 0.0))
        pairs = zip(ours, truth, strict=True)
        return torch.stack([self.distance(n, a.float(), b.float()) for n, (a, b) in enumerate(pairs)]).mean()

    def look(self, image: Tensor) -> list[Tensor]:
        """Return what the layers make of ``(B, C, H, W)``."""
        assert self.eye
        return self.eye(image)

    def load(self) -> Eye:
        """Load the network."""
        raise NotImplementedError

    def distance(self, number: int, one: Tensor, truth: Tensor) -> Tensor:
        """Compute the distance in the layer of this number."""
        raise NotImplementedError


class ImageNetPerceptual(Perceptual):
    """A perceptual loss of a network that learnt on ImageNet.

    Such a network expects three colours between 0 and 1, minus ImageNet's means and over its standard deviations. One
    channel is given as all three.

    Raises
    ------
    ConfigError
        The images have other than one or three channels.
    """

    name: ClassVar[str]
    colours: Tensor

    def __init__(self, weights: str, data: DataInfo) -> None:
        super().__init__(data)
        self.weights = weights
        if self.channels not in (1, 3):
            raise ConfigError(
                f"Loss '{self.name}' sees images of one or three channels, and these have {self.channels}; choose "
                "another perceptual loss, such as 'radio-perceptual' with a run on such images."
            )
        self.register_buffer("colours", torch.tensor([IMAGENET_MEAN, IMAGENET_STD])[..., None, None], persistent=False)

    def look(self, image: Tensor) -> list[Tensor]:
        """Return what the layers make of ``(B, 1 or 3, H, W)``."""
        mean, std = self.colours  # each (3, 1, 1)
        return super().look((image - mean) / std)

    def open_eye(self, network: str, layers: Sequence[str]) -> Eye:
        """Load a network of torchvision up to the last of the layers, which are named as in `layer_names`."""
        with torch.device("meta"):  # no memory and no time for weights that are replaced at once
            features: nn.Sequential = getattr(models, network)().features
        names = layer_names(features)
        for layer in layers:
            if layer not in names:
                raise unknown(f"layer of {network}", layer, names, hint=f"(layers of '{self.name}')")
        places = [names[layer] for layer in layers]
        features = features[: 1 + max(map(int, places))]
        if self.weights == "random":
            _draw(features)
        else:
            self._fill(features, network)
        return Eye(features, places)

    def _fill(self, features: nn.Sequential, network: str) -> None:
        """Load the weights, without running any code that their file may hold."""
        file = FILES[network].url.rpartition("/")[2]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        path = folder / file if self.weights == "imagenet" else Path(self.weights)
        if not path.is_file():
            raise ConfigError(
                f"Loss '{self.name}' needs {network}'s ImageNet weights, and there is no file {path}; nothing is "
                f"downloaded: put {file}, as torchvision publishes it, into {folder}, or name it with "
                f"--set loss.{self.name}.weights=FILE."
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            features.load_state_dict({name: state[f"features.{name}"] for name in features.state_dict()}, assign=True)
        except Exception as error:  # a damaged pickle may raise anything
            raise ConfigError(
                f"Loss '{self.name}': {path} does not hold {network}'s weights ({type(error).__name__}); give {file} "
                "as torchvision publishes it."
            ) from error


class VGGPerceptual(ImageNetPerceptual):
    """The mean distance of what layers of VGG19 see, as L1 or as mean square: eq. 2 of [1]_, eq. 5 of [2]_.

    Layers have the papers' names: ``conv3_2`` is the second convolution of the third block and ``relu3_2`` the same
    after its rectifier. [1]_ takes relu2_2 (of VGG16), [2]_ relu2_2 or relu5_4, and ESRGAN conv5_4.

    References
    ----------
    .. [1] Johnson et al. 2016, arXiv:1603.08155
    .. [2] Ledig et al. 2017 (SRGAN), arXiv:1609.04802
    """

    name = "vgg-perceptual"

    def __init__(self, config: VGGPerceptualConfig, data: DataInfo) -> None:
        super().__init__(config.weights, data)
        self.layers, self.squared = config.layers, config.distance == "mse"

    def load(self) -> Eye:
        """Load VGG19."""
        return self.open_eye("vgg19", self.layers)

    def distance(self, number: int, one: Tensor, truth: Tensor) -> Tensor:
        """Compute the mean absolute or square difference."""
        difference = one - truth
        return difference.square().mean() if self.squared else difference.abs().mean()


class LPIPS(ImageNetPerceptual):
    """The distance that was fitted to what people find alike: eq. 1 of [1]_, the sum over five layers.

    Features are scaled to length 1 at each place; the square of their difference is weighted channel by channel and
    averaged over places. These weights (version 0.1) come with torchmetrics, the network's own do not.

    People were asked about photographs, not about radio maps.

    References
    ----------
    .. [1] Zhang et al. 2018, arXiv:1801.03924
    """

    name = "lpips"

    def __init__(self, config: LPIPSConfig, data: DataInfo) -> None:
        super().__init__(config.weights, data)
        self.network = config.network
        folder = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
        heads = torch.load(folder / f"{self.network}.pth", map_location="cpu", weights_only=True)
        for number in range(LPIPS_COUNT):
            self.register_buffer(f"head_{number}", heads[f"lin{number}.model.1.weight"], persistent=False)

    def load(self) -> Eye:
        """Load VGG16 or AlexNet."""
        return self.open_eye(*LPIPS_LAYERS[self.network])

    def distance(self, number: int, one: Tensor, truth: Tensor) -> Tensor:
        """Compute the weighted mean square difference of directions."""
        squares = (_unit(one) - _unit(truth)).square()  # (B, C, H, W)
        weighted = (self.get_buffer(f"head_{number}") * squares).sum(dim=1)  # (B, H, W)
        return LPIPS_COUNT * weighted.mean()  # the mean over the layers makes their sum of it


class RadioPerceptual(Perceptual):
    """What our own classifier sees: the mean over layers of E|f(p) - f(t)| / E|f(t)|, f a layer's output.

    Each layer's distance is relative to what the layer makes of the target, so that layers of any scale count alike
    and a weight means the same with every run.

    The classifier sees the images as this model's stretch shows them; its own stretch (as a rule one that clips the
    noise and scales each image by its peak) is not applied again. The sky that a classifier of clipped images takes
    for exactly 0 therefore has noise here, and its features are not quite those of its training.

    Raises
    ------
    DataError
        There is no such run, or it is damaged.
    ConfigError
        The run has no backbone or no such layer, or was trained on images of other channels.
    """

    def __init__(self, config: RadioPerceptualConfig, data: DataInfo) -> None:
        super().__init__(data)
        self.run, self.layers = config.run, config.layers

    def load(self) -> Eye:
        """Load the run's model."""
        from rvtool import load_run

        run = load_run(self.run)
        if run.data.image.channels != self.channels:
            raise ConfigError(
                f"Loss 'radio-perceptual': run '{self.run}' sees images of {run.data.image.channels} channels, and "
                f"these have {self.channels}; name a run on such images with --set loss.radio-perceptual.run=RUN."
            )
        model = run.model
        parts = {id(layer) for layer in model.backbone}
        names = [name for name, layer in model.named_modules() if id(layer) in parts]
        if not names:
            raise ConfigError(
                f"Loss 'radio-perceptual': the model of run '{self.run}' has no backbone; take a classifier."
            )
        for layer in self.layers:
            if layer not in names:
                raise unknown("layer of the backbone", layer, names, hint=f"(run '{self.run}' of 'radio-perceptual')")
        return Eye(model, self.layers or names)

    def distance(self, number: int, one: Tensor, truth: Tensor) -> Tensor:
        """Compute the mean absolute difference, relative to the mean of what the target gives."""
        return (one - truth).abs().mean() / truth.abs().mean().clamp_min(TINY)


def layer_names(features: nn.Sequential) -> dict[str, str]:
    """Name convolutions and rectifiers by block and number, as papers do: ``relu2_1``; a pooling ends a block."""
    names: dict[str, str] = {}
    block, number = 1, 0
    for place, layer in features.named_children():
        if isinstance(layer, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = place
        elif isinstance(layer, nn.ReLU):
            names[f"relu{block}_{number}"] = place
        elif isinstance(layer, nn.MaxPool2d):
            block, number = block + 1, 0
    return names


def _draw(features: nn.Module) -> None:
    """Give a network weights that were not learnt, always the same ones."""
    features.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in features.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)


def _unit(features: Tensor) -> Tensor:
    """Scale the features ``(B, C, H, W)`` of each place to length 1."""
    return features / (features.square().sum(dim=1, keepdim=True) + TINY**2).sqrt()
