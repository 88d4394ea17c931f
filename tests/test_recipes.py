"""Recipes: what they mean, what they refuse, and that finished stages are skipped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import tomli
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.runs.recipe import dump_recipe, parse_assignments, stages_of
from rvtool.runs.stages import Ledger, fingerprint, locked
from rvtool.verbs import collect, train
from rvtool.verbs import run as verb_run

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
    collecting, first = stages_of(
        tomli.loads(path.read_text()), {"data": str(data), "first": {"seed": 7}, "train": {"epochs": 5}}
    )
    assert (collecting.verb, first.name, first.verb) == ("collect", "first", "train")
    assert collecting.settings.config == {"path": str(data)}
    assert first.settings.config == {"channels": "4,8", "hidden": 8, "dropout": 0.25}
    assert first.settings.set == {"loss": {"focal": {"gamma": 1.5}}}
    assert (first.settings.epochs, first.settings.seed) == (5, 7)


def test_a_word_may_name_another(recipe):
    path, _ = recipe
    tree = {"few": "{out}/few", "member": "x", **tomli.loads(path.read_text()), "data": "{few}/{member}"}
    collecting, _ = stages_of(tree, {"out": "o"})
    assert collecting.settings.config == {"path": "o/few/x"}


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
        ('out = "{out}/run"', 'out = "{out}/./data"', "'collect' and 'first' of .* have the same 'out'"),
        ("[train]", "train = 3\n[collect]", "'train' of a recipe holds settings and is no value itself"),
        ("dropout = 0.25", "config = 3", "'config' of 'train' is a table of settings, got 3"),
        ("dropout = 0.25", "set = 3", "'set' of 'train' is a table of settings, got 3"),
        ('loss = ["focal"]', "loss = 3", "'loss' of 'train'"),
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


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ({"train": 3}, "'train' of a recipe holds settings and is no value itself; write train.SETTING=VALUE"),
        ({"model": {"alhassan-cnn": 3}}, "write model.NAME.SETTING=VALUE"),
        ({"first": 3}, "'first' is a stage"),
        ({"frist": {"epochs": 3}}, "No table of a recipe is named 'frist'"),
    ],
)
def test_an_override_that_is_no_setting_is_told(recipe, override, says):
    with pytest.raises(ConfigError, match=says):
        stages_of(tomli.loads(recipe[0].read_text()), {"data": "x", **override})


def test_stages_that_are_no_tables_are_told():
    for rows in ([1], "train", {"verb": "train"}):
        with pytest.raises(ConfigError, match="list of tables"):
            stages_of({"stage": rows}, {})


def test_dashes_and_underscores_are_the_same_in_every_layer(recipe):
    text = recipe[0].read_text().replace("dropout = 0.25", "batch-size = 2\nchannels = '2,4'")
    text = text.replace("batch_size = 8", "batch_size = 1")
    for override, size in (({}, 2), ({"train": {"batch_size": 3}}, 3), ({"train": {"batch-size": 3}}, 3)):
        first = stages_of(tomli.loads(text), {"data": "x", **override})[1]
        assert first.settings.batch_size == size
    over = {"model": {"alhassan-cnn": {"learning-rate": 0.5}}, "first": {"learning_rate": 0.25}}
    assert stages_of(tomli.loads(text), {"data": "x", **over})[1].settings.config["learning_rate"] == 0.25


def let_collect(monkeypatch, act):
    """Put what a test says in the place of `rvtool collect`."""
    monkeypatch.setattr(collect, "run", lambda settings, console: act(settings.out) or {})


def collected(recipe):
    """The recipe's first stage alone."""
    path, data = recipe
    text = path.read_text()
    path.write_text(text[: text.rindex("[[stage]]")])
    return path, data


def test_a_stage_that_made_nothing_claims_nothing(recipe, tmp_path, monkeypatch):
    path, data = collected(recipe)

    def fail(out):
        raise DataError("no")

    let_collect(monkeypatch, fail)
    with pytest.raises(DataError, match="no"):
        run(path, data=data)
    (tmp_path / "out/data").mkdir()
    (tmp_path / "out/data/precious").touch()
    with pytest.raises(DataError, match="was not made by this recipe"):
        run(path, data=data)
    assert (tmp_path / "out/data/precious").exists()
    assert not list((tmp_path / "out").glob(".*.lock"))


@pytest.mark.parametrize("change", [{}, {"collect.seed": 3}])
def test_an_interrupted_output_is_moved_aside_and_never_deleted(recipe, tmp_path, monkeypatch, change):
    path, data = collected(recipe)

    def stop(out):
        out.mkdir()
        (out / "half").touch()
        raise KeyboardInterrupt

    let_collect(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        run(path, data=data)
    let_collect(monkeypatch, lambda out: out.mkdir())
    result, told = run(path, data=data, **change)
    assert [stage["status"] for stage in result["stages"]] == ["ran"]
    (aside,) = (tmp_path / "out").glob("data.*/half")
    assert f"the former output is now {aside.parent}" in told


def test_two_runs_do_not_work_on_one_output(recipe, tmp_path):
    path, data = collected(recipe)
    out = tmp_path / "out/data"
    with locked(out), pytest.raises(DataError, match=f"Another rvtool run is working on {out}.*process {os.getpid()}"):
        run(path, data=data)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock = tmp_path / "out/.data.stage.lock"
    for owner, taken in (("", True), (f"{dead.pid} elsewhere", True), (f"{dead.pid} {socket.gethostname()}", False)):
        lock.write_text(owner)
        if taken:
            with pytest.raises(DataError, match="Another rvtool run"):
                run(path, data=data)
            assert lock.exists()
        else:
            run(path, data=data)
            assert not lock.exists()


def test_a_process_that_shares_a_training_does_nothing_else(recipe, tmp_path, monkeypatch):
    path, data = recipe
    out = tmp_path / "out/run"
    seen = []
    monkeypatch.setattr(train, "run", lambda settings, console: seen.append(settings) or {})
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RVTOOL_RUN_PATH", str(out))
    with locked(out):
        run(path, data=data)
    assert [settings.resume for settings in seen] == [out]
    assert not (tmp_path / "out/data").exists()


def make_run(path, started, weights, dataset):
    path.mkdir(parents=True)
    record = {"started": started, "model": "alhassan-cnn", "dataset": {"path": str(dataset)}}
    (path / "run.json").write_text(json.dumps(record))
    (path / "model.safetensors").write_text(weights)


@pytest.mark.parametrize("name", ["latest", "b", "runs/b"])
def test_a_stage_depends_on_the_weights_and_the_data_of_its_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RVTOOL_RUNS", raising=False)
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    (dataset / "manifest.parquet").write_text("rows")
    make_run(tmp_path / "runs/a", "1", "first", dataset)
    make_run(tmp_path / "runs/b", "2", "second", dataset)
    (stage,) = stages_of({"stage": [{"verb": "evaluate", "runs": [name], "out": "e"}]}, {})
    seen = [fingerprint(stage)]
    (dataset / "manifest.parquet").write_text("other rows")
    seen.append(fingerprint(stage))
    (tmp_path / "runs/b/model.safetensors").write_text("third")
    seen.append(fingerprint(stage))
    assert len(set(seen)) == 3
    if name == "latest":
        make_run(tmp_path / "runs/c", "3", "fourth", dataset)
        assert fingerprint(stage) not in seen


def test_only_paths_are_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"verb": "collect", "source": "folder", "path": "images", "base_url": ["word"], "out": "o"}]
    (stage,) = stages_of({"stage": rows}, {})
    before = fingerprint(stage)
    Path("word").write_text("no input of this stage")
    Path("folder").mkdir()
    assert fingerprint(stage) == before
    Path("images").mkdir()
    assert fingerprint(stage) != before


def test_a_damaged_record_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (stage,) = stages_of({"stage": [{"verb": "collect", "source": "folder", "path": "images", "out": "o"}]}, {})
    for damaged in ("[]", "{", "3"):
        Path(".o.stage.json").write_text(damaged)
        assert not Ledger(stage).finished()


def test_brackets_in_names_are_shown(recipe, tmp_path):
    path, data = collected(recipe)
    _, told = run(path, data=data, out=f"{tmp_path}/[red]")
    _, again = run(path, data=data, out=f"{tmp_path}/[red]")
    assert f"{tmp_path}/[red]/data" in told[told.rindex("Recipe") :].replace("\n", "")
    assert f"unchanged and complete: {tmp_path}/[red]/data" in again
