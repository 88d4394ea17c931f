"""MobileNetV2 with a stem for small sources and a deep head."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from torchvision.models import mobilenet_v2

from rvtool.learning import Classifier

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.mobilenet_v2 import MobileNetV2Config


class MobileNetV2(Classifier):
    """The published body without its classifier, and a head of three dense layers.

    The first convolution takes the data's channels. Its stride is 1 by default: the body divides the image by 32,
    more than most radio sources are wide. Nothing is pretrained: photographs teach little of radio images.

    References
    ----------
    Sandler et al. 2018, arXiv:1801.04381
    """

    stretch: ClassVar[dict[str, Any]] = {"crop": 64, "clip_sigma": 0.0, "kind": "asinh", "scale": "image"}

    def __init__(self, config: MobileNetV2Config, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        published = mobilenet_v2(width_mult=config.width)
        stem = published.features[0]
        stem[0] = nn.Conv2d(
            data.image.channels, stem[0].out_channels, 3, stride=config.stem_stride, padding=1, bias=False
        )
        nn.init.kaiming_normal_(stem[0].weight, mode="fan_out")  # as torchvision starts the others
        self.network = nn.Sequential(
            OrderedDict(
                body=published.features,
                pool=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(),  # (B, 1280)
                dropout=nn.Dropout(config.dropout),
                dense1=_dense(published.last_channel, 512, config.dropout * 0.7),
                dense2=_dense(512, 256, config.dropout * 0.5),
                head=nn.Linear(256, len(data.classes)),
            )
        )


def _dense(before: int, after: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout))
