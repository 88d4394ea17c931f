"""Recipes: what they mean, what they refuse, and that finished stages are skipped."""

import json
import signal
import subprocess
import sys
import time
from io import StringIO

import pytest
import tomli
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.runs.recipe import dump_recipe, parse_assignments, stages_of
from rvtool.verbs import run as verb_run
from rvtool.verbs import train

RECIPE = """
out = "{root}"
data = ""

[train]
epochs = 2
crop = 24
gpus = 0
batch_size = 8

[model.alhassan-cnn]
channels = "4,8"
hidden = 8

[loss.focal]
gamma = 1.5

[[stage]]
verb = "collect"
source = "folder"
path = "{{data}}"
out = "{{out}}/data"

[[stage]]
name = "first"
verb = "train"
model = "alhassan-cnn"
loss = ["focal"]
data = "{{out}}/data"
out = "{{out}}/run"
dropout = 0.25
"""


@pytest.fixture
def recipe(tmp_path, blobs):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(root=tmp_path / "out"))
    return path, blobs()


def run(path, **overrides):
    told = StringIO()
    settings = verb_run.Settings(recipe=path, set=parse_assignments([f"{k}={v}" for k, v in overrides.items()]))
    return verb_run.run(settings, Console(file=told, width=200)), told.getvalue()


def test_a_recipe_becomes_stages(recipe):
    path, data = recipe
    collect, first = stages_of(
        tomli.loads(path.read_text()), {"data": str(data), "first": {"seed": 7}, "train": {"epochs": 5}}
    )
    assert (collect.verb, first.name, first.verb) == ("collect", "first", "train")
    assert collect.settings.config == {"path": str(data)}
    assert first.settings.config == {"channels": "4,8", "hidden": 8, "dropout": 0.25}
    assert first.settings.set == {"loss": {"focal": {"gamma": 1.5}}}
    assert (first.settings.epochs, first.settings.seed) == (5, 7)


def test_stages_run_once_and_again_where_something_changed(recipe):
    path, data = recipe
    result, told = run(path, data=data)
    assert [stage["status"] for stage in result["stages"]] == ["ran", "ran"]
    assert "val/accuracy" in told[told.rindex("Recipe") :]
    result, _ = run(path, data=data)
    assert [stage["status"] for stage in result["stages"]] == ["skipped", "skipped"]
    result, told = run(path, data=data, **{"first.epochs": 1})
    assert [stage["status"] for stage in result["stages"]] == ["skipped", "ran"]
    assert "the former output is now" in told
    (data / "one/000.png").unlink()
    result, _ = run(path, data=data, **{"first.epochs": 1})
    assert [stage["status"] for stage in result["stages"]] == ["ran", "ran"]


def test_an_interrupted_training_is_gone_on_with(recipe, tmp_path):
    path, data = recipe
    command = [sys.executable, "-m", "rvtool", "run", str(path), "--set", f"data={data}", "--set", "first.epochs=12"]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/run/checkpoints/last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    result, told = run(path, data=data, **{"first.epochs": 12})
    assert [stage["status"] for stage in result["stages"]] == ["skipped", "ran"]
    assert "going on with" in told
    assert json.loads((tmp_path / "out/run/run.json").read_text())["status"] == "complete"


def test_an_output_that_no_recipe_made_is_kept(recipe, tmp_path):
    path, data = recipe
    (tmp_path / "out/data").mkdir(parents=True)
    with pytest.raises(DataError, match="was not made by this recipe"):
        run(path, data=data)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("dropout", "dropuot", "did you mean 'dropout'"),
        ("[train]", "[trian]", "did you mean 'train'"),
        ('verb = "train"', 'verb = "trane"', "did you mean 'train'"),
        ('loss = ["focal"]', 'loss = ["fokal"]', "did you mean 'focal'"),
        ('model = "alhassan-cnn"', 'model = "alhasan-cnn"', "did you mean 'alhassan-cnn'"),
        ("{out}/run", "{oot}/run", "'oot'"),
        ("epochs = 2", "epochs = 0", "greater than or equal to 1"),
        ("epochs = 2", "epochs = ", "no valid TOML"),
        ('out = "{out}/run"', "", "needs 'out'"),
    ],
)
def test_a_wrong_recipe_is_told_before_any_stage(recipe, tmp_path, old, new, says):
    path, data = recipe
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=says):
        run(path, data=data)


def test_an_open_value_must_be_given(recipe):
    with pytest.raises(ConfigError, match="leaves 'data' open; give it: --set data="):
        run(recipe[0])


def test_settings_become_the_recipe_that_does_the_same_again():
    settings = train.Settings(model="alhassan-cnn", config={"dropout": 0.1}, data="d", loss=("focal",), where=("a=b",))
    (stage,) = stages_of(tomli.loads(dump_recipe("train", settings)), {})
    assert stage.settings == settings


def test_assignments_nest():
    assert parse_assignments(["a.b=1", "a.c=x y", "d=[1, 2]"]) == {"a": {"b": 1, "c": "x y"}, "d": [1, 2]}
    with pytest.raises(ConfigError, match="goes through 'a'"):
        parse_assignments(["a=1", "a.b=2"])
