"""The convolutional network of Alhassan et al. (2018)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from rvtool.learning import Classifier

if TYPE_CHECKING:
    from rvtool.kinds import DataInfo
    from rvtool.learning import Losses
    from rvtool_plugins.models.alhassan_cnn import AlhassanCNNConfig


class AlhassanCNN(Classifier):
    """Convolutions with pooling, a dense layer, and one logit a class.

    With the default layers, one channel, four classes and no batch normalisation it has 1,975,892 parameters, the
    count for images of 56 x 56 pixels. Images of any other size are averaged on to the same 7 x 7 grid before the
    dense layer, so that the count stays; at 56 pixels that changes nothing.

    References
    ----------
    Alhassan, Taylor & Vaccari 2018, MNRAS 480, 2085, arXiv:1807.10380
    """

    stretch: ClassVar[dict[str, Any]] = {"crop": 56, "clip_sigma": 0.0, "kind": "asinh", "scale": "image"}

    def __init__(self, config: AlhassanCNNConfig, data: DataInfo, losses: Losses) -> None:
        super().__init__(config, data, losses)
        layers: list[nn.Module] = []
        before = data.image.channels
        pools = config.pools or len(config.channels)
        for number, channels in enumerate(config.channels):
            layers.append(
                nn.Conv2d(
                    before,
                    channels,
                    config.kernel,
                    stride=1 if number else config.stride,
                    padding=config.kernel // 2,
                    bias=not config.batch_norm,
                )
            )
            if config.batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU())
            if number < pools:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            before = channels
        self.network = nn.Sequential(
            OrderedDict(
                body=nn.Sequential(*layers),
                pool=nn.AdaptiveAvgPool2d(config.grid),
                flat=nn.Flatten(),  # (B, channels * grid * grid)
                dense=nn.Linear(before * config.grid**2, config.hidden),
                activation=nn.ReLU(),
                dropout=nn.Dropout(config.dropout),
                head=nn.Linear(config.hidden, len(data.classes)),
            )
        )
