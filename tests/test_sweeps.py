"""Sweeps and searches from end to end, on made-up blobs: they go on after a kill as if there had been none."""

import csv
import signal
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import optuna
import pytest
import tomli_w
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.runs.run import load_run
from rvtool.verbs import evaluate, train
from rvtool.verbs import run as verb_run
from rvtool.verbs.train import search

TRAIN = {"model": "alhassan-cnn", "channels": "2", "hidden": 4, "crop": 12, "gpus": 0, "epochs": 2, "batch_size": 8}
KILLED = """
import os, signal
from rvtool.verbs.train.callbacks import Keeper
kept = Keeper._save
def save(self, trainer, module, name):
    kept(self, trainer, module, name)
    if name == "last.ckpt":
        os.kill(os.getpid(), signal.SIGKILL)
Keeper._save = save
from rvtool.cli.app import main
main()
"""


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def sweep(tmp_path, blobs, monkeypatch):
    """Write a recipe with a sweep, into a folder of its name; return its path. It judges with a fixed answer."""

    def judge(settings, console):
        settings.out.mkdir(parents=True)
        return {"accuracy": {"value": 0.75}, "images": 3}

    monkeypatch.setattr(evaluate, "run", judge)

    def write(name, axes, *further):
        training = {"verb": "train", "data": str(blobs()), "out": "{out}/{member}/run", **TRAIN}
        path = tmp_path / f"{name}.toml"
        recipe = {"out": str(tmp_path / name), "sweep": {"train": axes}, "stage": [training, *further]}
        path.write_text(tomli_w.dumps(recipe))
        return path

    return write


JUDGING = {"verb": "evaluate", "runs": ["{out}/{member}/run"], "out": "{out}/{member}/judged"}


def run(path, **settings):
    told = StringIO()
    return verb_run.run(verb_run.Settings(recipe=path, **settings), Console(file=told, width=200)), told.getvalue()


def test_a_killed_sweep_ends_as_one_that_was_not(sweep, tmp_path):
    killed, whole = (sweep(name, {"seed": [0, 1]}) for name in ("killed", "whole"))
    arguments = [sys.executable, "-c", KILLED, "run", str(killed)]
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == -signal.SIGKILL
    _, told = run(killed)
    assert "going on with" in told
    run(whole)
    for name in ("sweep.csv", "sweep_means.csv", "seed=0/run/model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    rows = table(tmp_path / "whole/sweep.csv")
    assert [row["train.seed"] for row in rows] == ["0", "1"]
    for row in rows:
        best = load_run(tmp_path / "whole" / row["name"] / "run").record["best"]
        assert float(row["train.val/loss"]) == best["value"]
        assert float(row["train.val/accuracy"]) == best["shown"]["val/accuracy"]
    plan, _ = run(killed, dry_run=True)
    assert [stage["status"] for stage in plan["stages"]] == ["complete", "complete"]


def test_a_member_that_diverges_does_not_end_the_sweep(sweep, tmp_path):
    path = sweep("s", {"learning_rate": [1e30, 1e-3], "epochs": [1]}, JUDGING)
    plan, told = run(path, dry_run=True)
    assert [stage["status"] for stage in plan["stages"]] == ["to do"] * 4
    assert "learning_rate=0.001,epochs=1/judged" in told
    result, told = run(path)
    assert [stage["status"] for stage in result["stages"]] == ["diverged", "left out", "ran", "ran"]
    assert len(result["failures"]) == 1
    assert "1 diverged, 1 left out, 2 ran" in told
    first, second = table(tmp_path / "s/sweep.csv")
    assert (first["train.val/loss"], first["evaluate.accuracy"]) == ("", "")
    assert float(second["evaluate.accuracy"]) == result["members"][1]["figures"]["evaluate.accuracy"] == 0.75
    assert (tmp_path / "s/sweep.png").stat().st_size > 5000
    assert not (tmp_path / "s/sweep_means.csv").exists()


def test_members_that_share_an_output_are_told(sweep, tmp_path):
    path = sweep("s", {"seed": [0, 1]}, JUDGING | {"out": "{out}/judged"})
    with pytest.raises(ConfigError, match=r"share the 'out' of 'evaluate'; name \{member} in it"):
        run(path)
    assert not (tmp_path / "s").exists()


def look(out, data, count, **changes):
    fixed = {name: TRAIN[name] for name in ("model", "crop", "gpus", "epochs", "batch_size")}
    config = {"channels": "2", "hidden": 4, "weight_decay": 0.01}
    told = StringIO()
    settings = train.Settings(**{**fixed, "config": config, "data": data, "out": out, "search": count, **changes})
    return train.run(settings, Console(file=told, width=200)), told.getvalue()


class Killed(BaseException):
    """What nothing catches."""


def test_a_search_goes_on_and_counts_all(tmp_path, blobs, monkeypatch):
    data = blobs()
    whole, told = look(tmp_path / "whole", data, 3)
    rows = table(tmp_path / "whole/search.csv")
    assert [row["name"] for row in rows] == ["000", "001", "002"]
    assert (float(rows[0]["learning_rate"]), float(rows[0]["dropout"])) == (1e-3, 0.3)  # the model's own first
    for row in rows:
        trial = load_run(tmp_path / "whole/trials" / row["name"])
        assert trial.record["best"]["value"] == float(row["val/loss"])
        assert trial.record["config"]["learning_rate"] == float(row["learning_rate"])
        assert trial.record["config"]["weight_decay"] == 0.01  # given, so not looked for
    best = min(rows, key=lambda row: float(row["val/loss"]))
    assert whole["best"]["value"] == float(best["val/loss"])
    assert load_run(tmp_path / "whole").model.config.dropout == float(best["dropout"])
    assert (tmp_path / "whole/search.png").stat().st_size > 5000

    tell = search._Watch.on_train_epoch_end

    def die(self, trainer, module):
        tell(self, trainer, module)
        if self.trial.number == 1:
            raise Killed

    monkeypatch.setattr(search._Watch, "on_train_epoch_end", die)
    with pytest.raises(Killed):
        look(tmp_path / "killed", data, 2)
    monkeypatch.undo()
    monkeypatch.setenv("RVTOOL_CACHE", str(tmp_path / "cache"))
    look(tmp_path / "killed", data, 2)
    _, told = look(tmp_path / "killed", data, 3)
    assert "the best of 3 trials" in told
    assert (tmp_path / "killed/search.csv").read_bytes() == (tmp_path / "whole/search.csv").read_bytes()
    with pytest.raises(ConfigError, match="was begun with another epochs; choose another --out"):
        look(tmp_path / "killed", data, 3, epochs=5)


def test_a_hopeless_trial_is_stopped_once_it_had_its_chance():
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    good = study.ask()
    for epoch in range(8):
        good.report(0.1, epoch)
    study.tell(good, 0.1)
    trial = study.ask()
    watch = search._Watch(trial, "val/loss")
    trainer = SimpleNamespace(max_epochs=8, should_stop=False)
    for epoch, score, stops in ((0, 1.0, False), (1, 0.05, False), (2, float("nan"), False)):
        trainer.current_epoch, trainer.callback_metrics = epoch, {"val/loss": score}
        watch.on_train_epoch_end(trainer, None)
        assert trainer.should_stop == stops
    hopeless = search._Watch(study.ask(), "val/loss")
    for epoch, stops in ((0, False), (1, True)):
        trainer.current_epoch, trainer.callback_metrics = epoch, {"val/loss": 1.0}
        hopeless.on_train_epoch_end(trainer, None)
        assert trainer.should_stop == stops
    assert hopeless.trial.user_attrs == {"cut": True}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "vgg16", "config": {}}, "'vgg16' declares no settings to search"),
        (
            {"config": {"channels": "2", "hidden": 4, "weight_decay": 0.1, "dropout": 0.1, "learning_rate": 1e-3}},
            "all are",
        ),
        ({"find_learning_rate": True}, "--search trains, and --find-learning-rate does not"),
        ({"gpus": 2}, "--search trains on one device"),
    ],
)
def test_what_cannot_be_searched_is_told_before_anything_is_written(tmp_path, changes, says):
    with pytest.raises(ConfigError, match=says):
        look(tmp_path / "s", tmp_path, 2, **changes)
    assert not (tmp_path / "s").exists()


def test_a_folder_of_something_else_is_kept(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/mine").touch()
    with pytest.raises(DataError, match="holds no search"):
        look(tmp_path / "s", tmp_path, 2)
