"""MobileNetV2 with a stem for small sources and a deep head."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from rvtool.learning import Classifier, load_pretrained

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.mobilenet_v2 import MobileNetV2Config


class MobileNetV2(Classifier):
    """torchvision's network, with dense layers before the last and a first convolution of the data's channels.

    The stride of that convolution is 1 by default: the published network divides the image by 32, more than most
    radio sources are wide. Without dense layers, with three channels and 1,000 classes it has the published
    3,504,872 parameters.

    References
    ----------
    Sandler et al. 2018, arXiv:1801.04381
    """

    stretch: ClassVar[dict[str, Any]] = {
        "crop": 80,
        "clip_sigma": 3.0,
        "clip_to": "level",
        "kind": "asinh",
        "scale": "image",
    }
    head = "classifier.head"
    config: MobileNetV2Config

    def __init__(self, config: MobileNetV2Config, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        network: Any = mobilenet_v2(width_mult=config.width)
        stem = network.features[0]
        stem[0] = nn.Conv2d(
            data.image.channels, stem[0].out_channels, 3, stride=config.stem_stride, padding=1, bias=False
        )
        nn.init.kaiming_normal_(stem[0].weight, mode="fan_out")  # as torchvision starts the others
        before, dropout = network.last_channel, config.dropout
        layers: OrderedDict[str, nn.Module] = OrderedDict(dropout=nn.Dropout(dropout))
        for number, hidden in enumerate(config.hidden, 1):
            dropout *= 0.7
            layers[f"dense{number}"] = nn.Sequential(
                nn.Linear(before, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout)
            )
            before = hidden
        layers["head"] = nn.Linear(before, len(data.classes))
        network.classifier = nn.Sequential(layers)
        self.network = network

    def start(self) -> str:
        """Load the pretrained weights, where some are asked for."""
        return load_pretrained(self, self.config.weights, MobileNet_V2_Weights.DEFAULT)
