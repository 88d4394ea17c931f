"""VGG16 with a dense head of any size."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from torchvision.models import VGG16_BN_Weights, VGG16_Weights

from rvtool.learning import Classifier, load_pretrained

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.vgg16 import VGG16Config


class VGG16(Classifier):
    """Blocks of 3 x 3 convolutions with a pooling after each, two dense layers, and one logit a class.

    No convolution strides, so the first block sees every pixel; five poolings leave 3 x 3 px of 80. These are averaged
    on to a grid of ``grid`` x ``grid`` px. With a grid of 7, 4,096 hidden neurons, no batch normalisation, three
    channels and 1,000 classes it has the published 138,357,544 parameters; nine in ten of them are in the dense layers.
    The layers have the names of torchvision's, whose weights therefore fit.

    References
    ----------
    Simonyan & Zisserman 2014, arXiv:1409.1556, table 1, column D
    """

    stretch: ClassVar[dict[str, Any]] = {
        "crop": 80,
        "clip_sigma": 3.0,
        "clip_to": "level",
        "kind": "asinh",
        "scale": "image",
    }
    head = "classifier.6"
    config: VGG16Config

    def __init__(self, config: VGG16Config, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        layers: list[nn.Module] = []
        before = data.image.channels
        for channels, count in zip(config.channels, config.convolutions, strict=True):
            for _ in range(count):
                convolution = nn.Conv2d(before, channels, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
                layers.append(convolution)
                if config.batch_norm:
                    layers.append(nn.BatchNorm2d(channels))
                layers.append(nn.ReLU(inplace=True))
                before = channels
            layers.append(nn.MaxPool2d(2, ceil_mode=True))  # of any size something is left
        self.network = nn.Sequential(
            OrderedDict(
                features=nn.Sequential(*layers),
                avgpool=nn.AdaptiveAvgPool2d(config.grid),
                flat=nn.Flatten(),  # (B, channels * grid * grid)
                classifier=nn.Sequential(
                    nn.Linear(before * config.grid**2, config.hidden),
                    nn.ReLU(inplace=True),
                    nn.Dropout(config.dropout),
                    nn.Linear(config.hidden, config.hidden),
                    nn.ReLU(inplace=True),
                    nn.Dropout(config.dropout),
                    nn.Linear(config.hidden, len(data.classes)),
                ),
            )
        )

    def start(self) -> str:
        """Load the pretrained weights, where some are asked for."""
        published = VGG16_BN_Weights.DEFAULT if self.config.batch_norm else VGG16_Weights.DEFAULT
        return load_pretrained(self, self.config.weights, published)
