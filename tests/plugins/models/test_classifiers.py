from functools import partial

import pytest
import torch
from torchvision import models

from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import Classifier, compose
from rvtool.plugins import component


def build(name, side=56, colours=1, classes=4, **settings):
    data = DataInfo(Side(colours, side, side), classes=tuple(map(str, range(classes))), class_counts=(5,) * classes)
    losses = compose([], Classifier.roles, {}, data, partial(component, "loss"))
    found = component("model", name)
    return found.load()(found.configure(settings), data, losses).eval()


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("side", [40, 56, 96, 101])
def test_alhassan_has_the_published_count_at_any_size(side):
    model = build("alhassan-cnn", side, batch_norm=False)
    assert parameters(model) == 1_975_892
    assert model(torch.randn(2, 1, side, side)).shape == (2, 4)


def test_alhassan_at_56_pixels_is_the_published_network():
    model = build("alhassan-cnn", batch_norm=False)
    maps = model.network.body(torch.randn(1, 1, 56, 56))
    assert maps.shape == (1, 194, 7, 7)
    assert torch.equal(model.network.pool(maps), maps)


def test_alhassan_settings():
    model = build("alhassan-cnn", colours=3, classes=2, hidden=10, kernel=5)
    assert model(torch.randn(2, 3, 56, 56)).shape == (2, 2)
    assert model.features({"image": torch.randn(2, 3, 56, 56)}).shape == (2, 10)


def test_alhassan_depth_stride_poolings_and_grid():
    model = build("alhassan-cnn", channels="8,8,8,8", stride=2, pools=1, grid=2)
    assert model.network.body(torch.randn(1, 1, 64, 64)).shape == (1, 8, 16, 16)
    assert model.network.dense.in_features == 32


def test_alhassan_layers_are_typed_as_one_word():
    model = component("model", "alhassan-cnn").configure({"channels": "8, 16"})
    assert model.channels == (8, 16)


PUBLISHED = [
    ("vgg16", models.vgg16, {"batch_norm": False, "hidden": 4096, "grid": 7}, 138_357_544),
    ("vgg16", models.vgg16_bn, {"hidden": 4096, "grid": 7}, 138_365_992),
    ("efficientnet-b0", models.efficientnet_b0, {}, 5_288_548),
    ("mobilenet-v2", models.mobilenet_v2, {"hidden": ()}, 3_504_872),
]


@pytest.mark.parametrize(("name", "published", "settings", "count"), PUBLISHED)
def test_torchvisions_weights_fit_the_published_networks(name, published, settings, count):
    with torch.device("meta"):
        model, theirs = build(name, colours=3, classes=1000, **settings), published()
    assert parameters(model) == count
    shapes, wanted = ({k: v.shape for k, v in net.state_dict().items()} for net in (model.network, theirs))
    last = list(wanted)[-1].removesuffix("bias")
    assert {k: v for k, v in shapes.items() if not k.startswith(model.head)} == {
        k: v for k, v in wanted.items() if not k.startswith(last)
    }


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenet-v2"])
def test_small_sources_are_kept_apart(name):
    sharp, published = build(name, width=0.25), build(name, width=0.25, stem_stride=2)
    image = torch.randn(1, 1, 64, 64)
    assert sharp.network.features(image).shape[2:] == (4, 4)
    assert published.network.features(image).shape[2:] == (2, 2)
    assert parameters(sharp) == parameters(published)


@pytest.mark.parametrize(
    ("name", "settings", "features"),
    [
        ("mobilenet-v2", {"width": 0.35, "hidden": "12"}, 12),
        ("efficientnet-b0", {"width": 0.25, "depth": 0.25}, 320),
        ("vgg16", {"channels": "4,8,8", "convolutions": "1,1,2", "grid": 3, "hidden": 12}, 12),
    ],
)
@pytest.mark.parametrize("side", [9, 32])
def test_any_size_and_channels(name, settings, features, side):
    model = build(name, colours=5, classes=2, **settings)
    images = torch.randn(2, 5, side, side)
    assert model(images).shape == (2, 2)
    assert model.features({"image": images}).shape == (2, features)


def test_vgg_wants_convolutions_for_each_block():
    with pytest.raises(ConfigError, match=r"'convolutions' of 'vgg16': give as many as there are channels \(2\)"):
        build("vgg16", channels="4,8")
