import json
import shutil
from functools import partial
from io import StringIO

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from torchvision.models import VGG16_BN_Weights

from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import Classifier, compose, load_pretrained
from rvtool.plugins import component
from rvtool.runs.run import load_run
from rvtool.verbs import train

SMALL = {"channels": "4,8", "convolutions": "1,2", "hidden": 8}


def build(colours=1, classes=4, **settings):
    data = DataInfo(Side(colours, 16, 16), classes=tuple("abcdefgh"[:classes]), class_counts=(5,) * classes)
    losses = compose([], Classifier.roles, {}, data, partial(component, "loss"))
    found = component("model", "vgg16")
    return found.load()(found.configure({**SMALL, **settings}), data, losses).eval()


@pytest.fixture
def colour(tmp_path):
    """A network of three channels and other classes, and the file of its weights."""
    model = build(colours=3, classes=8)
    torch.save(model.network.state_dict(), tmp_path / "colour.pth")
    return model.network, tmp_path / "colour.pth"


@pytest.mark.parametrize("colours", [1, 3, 5])
def test_a_grey_image_gives_the_response_that_it_gave_in_colour(colour, colours):
    network, path = colour
    model = build(colours=colours, weights=str(path))
    fresh = [value.clone() for value in model.network.classifier[6].parameters()]
    assert model.start() == f"begins with 100.0% of the backbone's weights from {path}"
    grey = torch.randn(2, 1, 16, 16)
    theirs = network.classifier[:6](network.features(grey.expand(-1, 3, -1, -1)).mean((2, 3)))
    mine = model.features({"image": grey.expand(-1, colours, -1, -1)})
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(model.network.classifier[6].parameters(), fresh, strict=True))


def test_what_does_not_fit_stays_fresh(colour):
    network, path = colour
    state = network.state_dict()
    state["features.0.bias"][0] = torch.nan
    torch.save(state, path)
    model = build(hidden=16)
    first, dense = model.network.features[0].bias.clone(), model.network.classifier[0].weight.clone()
    told = load_pretrained(model, str(path), VGG16_BN_Weights.DEFAULT)
    assert torch.equal(model.network.features[0].bias, first)
    assert torch.equal(model.network.classifier[0].weight, dense)
    assert torch.equal(model.network.features[4].weight, network.features[4].weight)
    assert "100" not in told.split("from")[0]  # one bias is not finite; the dense layers do not count


def test_imagenet_is_taken_from_the_cache_and_never_fetched(colour, tmp_path, monkeypatch):
    network, path = colour
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    model = build(weights="imagenet")
    folder = tmp_path / "home/hub/checkpoints"
    with pytest.raises(ConfigError, match=rf"vgg16_bn-6c64b313.pth are not in {folder}.*--weights FILE"):
        model.start()
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "vgg16_bn-6c64b313.pth")
    model.start()
    assert torch.equal(model.network.features[4].weight, network.features[4].weight)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "holds no state dict"),
        ({"state_dict": {"features.0.weight": torch.zeros(1)}}, "holds no state dict"),
        (torch.zeros(3), "holds no state dict"),
        ({"epoch": object}, "cannot be read as weights"),
        (
            {"classifier.0.weight": torch.zeros(8, 8)},
            "has 0% of the weights of this model's backbone .*'network.features.0.weight' is missing",
        ),
    ],
)
def test_files_that_are_no_weights_of_this_network(tmp_path, content, says):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=says):
        build(weights=str(tmp_path / "weights.pth")).start()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_damaged_files(tmp_path, colour, name):
    network, path = colour
    if name.endswith("safetensors"):
        save_file(network.state_dict(), tmp_path / name)
        path = tmp_path / name
    (tmp_path / name).write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        build(weights=str(tmp_path / name)).start()


def test_a_run_begins_with_the_weights_once(tmp_path, blobs):
    source = build(colours=1, classes=2)
    weights = tmp_path / "earlier.safetensors"
    save_file(source.state_dict(), weights)  # named as in a run: 'network.features...'
    settings = {"data": blobs(), "epochs": 1, "crop": 16, "gpus": 0, "ema": 0, "out": tmp_path / "run"}
    settings["config"] = {**SMALL, "weights": str(weights), "learning_rate": 1e-12}
    told = StringIO()
    train.run(train.Settings(model="vgg16", **settings), Console(file=told, width=200))
    assert "begins with 100.0%" in told.getvalue()
    weights.unlink()
    model = load_run(tmp_path / "run").model
    torch.testing.assert_close(model.network.features[4].weight, source.network.features[4].weight)

    shutil.rmtree(tmp_path / "run" / "checkpoints")  # as if it had been stopped before its first checkpoint
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    with pytest.raises(ConfigError, match="no weights file"):
        train.run(train.Settings(resume=tmp_path / "run"), Console(file=told))


def test_weights_that_are_missing_leave_no_run(tmp_path, blobs):
    settings = train.Settings(model="vgg16", config={"weights": "nowhere.pth"}, data=blobs(), out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"no weights file nowhere\.pth"):
        train.run(settings, Console(file=StringIO()))
    assert not (tmp_path / "run").exists()
