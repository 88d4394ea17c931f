"""EfficientNet-B0 with a stem for small sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from torchvision.models import EfficientNet, EfficientNet_B0_Weights
from torchvision.models.efficientnet import MBConvConfig

from rvtool.learning import Classifier, load_pretrained

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.efficientnet_b0 import EfficientNetB0Config

# expansion, kernel, stride, channels before, channels after, blocks: table 1 of the paper
STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


class EfficientNetB0(Classifier):
    """torchvision's network, whose first convolution takes the data's channels, by default without a stride.

    As published the network divides the image by 32, more than most radio sources are wide; without the first
    stride, by 16. With three channels and 1,000 classes it has the published 5,288,548 parameters.

    References
    ----------
    Tan & Le 2019, arXiv:1905.11946
    """

    stretch: ClassVar[dict[str, Any]] = {
        "crop": 80,
        "clip_sigma": 3.0,
        "clip_to": "level",
        "kind": "asinh",
        "scale": "image",
    }
    head = "classifier.1"
    config: EfficientNetB0Config

    def __init__(self, config: EfficientNetB0Config, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        network: Any = EfficientNet(
            [MBConvConfig(*stage, width_mult=config.width, depth_mult=config.depth) for stage in STAGES],
            dropout=config.dropout,
            stochastic_depth_prob=config.stochastic_depth,
        )
        last = network.classifier[1]  # torchvision's start of it is for 1,000 classes: far too loud for a few
        network.classifier[1] = nn.Linear(last.in_features, len(data.classes))
        stem = network.features[0]
        stem[0] = nn.Conv2d(
            data.image.channels, stem[0].out_channels, 3, stride=config.stem_stride, padding=1, bias=False
        )
        nn.init.kaiming_normal_(stem[0].weight, mode="fan_out")  # as torchvision starts the others
        self.network = network

    def start(self) -> str:
        """Load the pretrained weights, where some are asked for."""
        return load_pretrained(self, self.config.weights, EfficientNet_B0_Weights.DEFAULT)
