from functools import partial

import pytest
import torch

from rvtool.kinds import DataInfo, Side
from rvtool.learning import Classifier, compose
from rvtool.plugins import component


def build(name, side=56, channels=1, classes=4, **settings):
    data = DataInfo(Side(channels, side, side), classes=tuple("abcdefgh"[:classes]), class_counts=(5,) * classes)
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
    model = build("alhassan-cnn", channels=3, classes=2, hidden=10, kernel=5)
    assert model(torch.randn(2, 3, 56, 56)).shape == (2, 2)
    assert model.features({"image": torch.randn(2, 3, 56, 56)}).shape == (2, 10)


def test_alhassan_layers_are_typed_as_one_word():
    model = component("model", "alhassan-cnn").configure({"channels": "8, 16"})
    assert model.channels == (8, 16)


def test_mobilenet_keeps_small_sources_apart():
    sharp, published = build("mobilenet-v2", 64), build("mobilenet-v2", 64, stem_stride=2)
    image = torch.randn(1, 1, 64, 64)
    assert sharp.network.body(image).shape == (1, 1280, 4, 4)
    assert published.network.body(image).shape == (1, 1280, 2, 2)
    assert parameters(sharp) == parameters(published)
    assert sharp.features({"image": image}).shape == (1, 256)


def test_mobilenet_takes_any_channels_and_width():
    model = build("mobilenet-v2", 32, channels=5, width=0.35)
    assert model(torch.randn(2, 5, 32, 32)).shape == (2, 4)
    assert parameters(model) < parameters(build("mobilenet-v2", 32)) / 2
