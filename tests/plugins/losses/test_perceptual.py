import copy

import pytest
import torch
from torch import nn
from torchmetrics.functional.image import lpips
from torchvision import models

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import DataInfo, LossContext, Side
from rvtool.plugins import component
from rvtool_plugins.losses.eye import Eye
from rvtool_plugins.losses.perceptual import LPIPS_LAYERS, layer_names

NOWHERE = LossContext({})


def build(name, channels=1, **settings):
    found = component("loss", name)
    side = Side(channels, 32, 32)
    return found.load()(found.configure(settings), DataInfo(side, side))


def images(seed, channels=1):
    return torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_layers_have_the_papers_names():
    with torch.device("meta"):
        names = layer_names(models.vgg19().features)
    # torchvision's numbers; what is often called conv3_3 there, 12, is conv3_2
    assert (names["conv3_2"], names["relu2_2"], names["conv5_4"], names["relu5_4"]) == ("12", "8", "34", "35")
    assert len(names) == 2 * 16


def test_vgg_sees_three_colours_scaled_as_imagenet():
    """The first layer made to pass on its input: its features are then the scaled image."""
    found = build("vgg-perceptual", weights="random", layers="conv1_1", distance="mse")
    found.start()
    first = found.eye.network[0]
    nn.init.zeros_(first.weight)
    first.weight[[0, 1, 2], [0, 1, 2], 1, 1] = 1
    one, other = images(0), images(1)
    expected = sum(((one - other) / std).square().mean() for std in (0.229, 0.224, 0.225)) / 64
    torch.testing.assert_close(found(one, other, NOWHERE), expected)
    seen = found.look(torch.zeros(1, 1, 4, 4))[0][0, :3, 0, 0]
    torch.testing.assert_close(seen, -torch.tensor([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]))


def test_a_rectifier_leaves_the_layer_before_it_alone():
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(1, 1))
    before, after = Eye(network, ["0", "1"])(images(0) - 0.5)  # the dense layer would refuse these images
    assert (before < 0).any()
    torch.testing.assert_close(after, before.relu())


def test_weights_come_from_a_file_of_torchvision_s_names(tmp_path):
    drawn = build("vgg-perceptual", weights="random", layers="relu1_2")
    drawn.start()
    whole = nn.ModuleDict({"features": drawn.eye.network, "classifier": nn.Linear(2, 2)})
    torch.save(whole.state_dict(), tmp_path / "vgg19.pth")
    given = build("vgg-perceptual", weights=str(tmp_path / "vgg19.pth"), layers="relu1_2")
    assert given(images(0), images(1), NOWHERE) == drawn(images(0), images(1), NOWHERE) > 0
    other = build("lpips", weights=str(tmp_path / "vgg19.pth"), network="alex")
    with pytest.raises(ConfigError, match="does not hold alexnet's weights"):
        other.start()


@pytest.mark.parametrize(
    ("name", "settings", "file"),
    [("vgg-perceptual", {}, "vgg19-dcbb9e9d"), ("lpips", {}, "vgg16-"), ("lpips", {"network": "alex"}, "alexnet-")],
)
def test_missing_weights_are_named_with_their_place(name, settings, file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    loss = build(name, **settings)
    with pytest.raises(ConfigError, match=rf"no file {tmp_path}\S*/{file}.*--set loss.{name}.weights=FILE"):
        loss.start()
    with pytest.raises(ConfigError, match=r"there is no file nowhere\.pth"):
        build(name, weights="nowhere.pth", **settings).start()


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="does not hold vgg19's weights"):
        build("vgg-perceptual", weights=str(tmp_path / "vgg.pth"))(images(0), images(1), NOWHERE)


def test_lpips_is_the_reference_s(monkeypatch):
    loss = build("lpips", channels=3, weights="random", network="alex")
    loss.start()
    with torch.device("meta"):
        features = models.alexnet().features
    features.load_state_dict(loss.eye.network.state_dict(), assign=True)
    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda network, pretrained: features)
    one, other = images(0, 3), images(1, 3)
    expected = lpips._LPIPS(net="alex", pnet_rand=True)(one, other, normalize=True).mean()
    torch.testing.assert_close(loss(one, other, NOWHERE), expected, rtol=1e-4, atol=1e-6)


def test_lpips_knows_the_layers_of_its_weights():
    """Each head has as many weights as its layer has channels."""
    for kind, (network, layers) in LPIPS_LAYERS.items():
        loss = build("lpips", network=kind)
        with torch.device("meta"):
            features = getattr(models, network)().features
        heads = [loss.get_buffer(f"head_{number}").shape[1] for number in range(5)]
        assert heads == [features[int(layer_names(features)[layer]) - 1].out_channels for layer in layers]


@pytest.mark.parametrize("name", ["vgg-perceptual", "lpips"])
def test_two_channels_are_no_picture(name):
    with pytest.raises(ConfigError, match="one or three channels, and these have 2"):
        build(name, channels=2)


def test_unknown_layers_are_refused():
    with pytest.raises(ConfigError, match="relu6_1"):
        build("vgg-perceptual", layers="relu6_1", weights="random").start()
    with pytest.raises(ConfigError, match=r"did you mean 'network\.body"):
        build("radio-perceptual", layers="network.body.11").start()


def test_our_classifier_looks_and_never_learns():
    owner = nn.ModuleDict({"loss": build("radio-perceptual", layers="network.body.12,network.body.23")})
    loss = owner["loss"]
    prediction, target = images(0).requires_grad_(), images(1).requires_grad_()
    value = loss(prediction, target, NOWHERE)
    value.backward()
    assert prediction.grad.any()
    assert target.grad is None
    owner.train()
    assert not loss.eye.network.training
    assert not list(owner.parameters())
    assert not owner.state_dict()
    assert copy.deepcopy(owner)["loss"].eye is loss.eye
    assert loss(prediction, target, NOWHERE) == value

    ours, truth = loss.look(prediction), loss.look(target)
    torch.testing.assert_close(
        value, sum((a - b).abs().mean() / b.abs().mean() for a, b in zip(ours, truth, strict=True)) / 2
    )


def test_unknown_pixels_are_seen_by_nobody():
    loss = build("radio-perceptual", layers="network.body.12")
    known = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2)) > 0.1
    context = LossContext({"target_mask": known})
    one, other = images(0), images(1)
    expected = loss(one, other, context)
    assert loss(torch.where(known, one, 9.0), torch.where(known, other, torch.nan), context) == expected


def test_a_run_of_other_images_is_refused():
    with pytest.raises(ConfigError, match="sees images of 1 channels, and these have 3"):
        build("radio-perceptual", channels=3)(images(0, 3), images(1, 3), NOWHERE)
    with pytest.raises(DataError, match="is no run"):
        build("radio-perceptual", run="nowhere").start()
