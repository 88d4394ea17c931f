"""Training through the verb and through the command line, on made-up blobs."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from rvtool.errors import ConfigError, DataError
from rvtool.runs.run import load_run
from rvtool.verbs.train import Settings, run

TINY = {"channels": "4,8", "hidden": 8}
TIMINGS = ("seconds", "images_per_s")


def train(tmp_path, folder, **changes):
    told = StringIO()
    settings = {
        "model": "alhassan-cnn",
        "config": TINY,
        "data": folder,
        "out": tmp_path / "run",
        "epochs": 2,
        "gpus": 0,
    }
    settings |= {"crop": 24, "batch_size": 8, **changes}
    result = run(Settings(**settings), Console(file=told, width=200))
    return result, told.getvalue()


def metrics(path):
    with open(path / "metrics.csv") as stream:
        return [{k: v for k, v in row.items() if k not in TIMINGS} for row in csv.DictReader(stream)]


def test_a_kill_after_the_last_step_loses_no_answers(tmp_path, blobs, monkeypatch):
    from rvtool.verbs.train import loop

    def killed(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "keep_answers", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path, blobs())
    assert load_run(tmp_path / "run").calibration is None
    assert run(Settings(resume=tmp_path / "run"), Console(file=StringIO()))["status"] == "complete"
    assert load_run(tmp_path / "run").calibration is not None


def test_words_that_name_runs_are_no_folders(tmp_path, blobs, monkeypatch):
    folder = blobs()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'default' means a certain run"):
        train(tmp_path, folder, out="default")


def test_a_run_is_complete_and_opens(tmp_path, blobs):
    result, told = train(tmp_path, blobs())
    path = tmp_path / "run"
    assert result["status"] == "complete"
    assert told.strip().splitlines()[-1] == str(path)
    for name in ("recipe.toml", "run.json", "stretch.json", "splits.parquet", "metrics.csv", "log.txt"):
        assert (path / name).stat().st_size > 0
    assert list((path / "tensorboard").glob("events*"))
    opened = load_run(path)
    material = opened.material()
    rows = material.rows("test")
    batch = next(opened.prepare.batches(material, rows, len(rows), torch.device("cpu")))
    probabilities = opened.model.predict(batch)
    assert probabilities.shape == (len(rows), 2)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(rows)))
    columns = metrics(path)[0]
    assert {"train/loss", "train/cross-entropy", "train/accuracy", "val/loss", "val/accuracy", "lr"} <= set(columns)


def test_it_learns_what_can_be_learnt(tmp_path, blobs):
    result, _ = train(
        tmp_path, blobs(count=80), epochs=15, seed=1, config={"channels": "8,16", "hidden": 16, "learning_rate": 3e-3}
    )
    assert result["best"]["shown"]["val/accuracy"] > 0.9


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path, blobs):
    data = blobs()
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path, data, out=tmp_path / name, seed=seed)
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert not all(torch.equal(weights[0][k], weights[2][k]) for k in weights[0])
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


def start(tmp_path, data, out, *more):
    command = [sys.executable, "-m", "rvtool", "train", "alhassan-cnn", "--data", str(data), "--out", str(out)]
    command += [
        "--epochs",
        "20",
        "--batch-size",
        "4",
        "--crop",
        "24",
        "--channels",
        "4,8",
        "--hidden",
        "8",
        "--gpus",
        "0",
    ]
    return subprocess.Popen(
        [*command, "--save-every", "3", "--log-every", "2", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_after_kill_9_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(tmp_path, blobs):
    data = blobs()
    undisturbed = start(tmp_path, data, tmp_path / "whole")
    out, _ = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, out
    victim = start(tmp_path, data, tmp_path / "cut")
    rng = np.random.default_rng()  # a random step: any must do
    checkpoint = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.2))
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["status"] == "running"
    result = run(Settings(resume=tmp_path / "cut"), Console(file=StringIO()))
    assert result["status"] == "complete"
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")
    last = [torch.load(tmp_path / n / "checkpoints/last.ckpt", weights_only=False) for n in ("whole", "cut")]
    for key, value in last[0]["state_dict"].items():
        assert torch.equal(value, last[1]["state_dict"][key])
    for one, other in zip(*(c["optimizer_states"][0]["state"].values() for c in last), strict=True):
        assert torch.equal(one["exp_avg"], other["exp_avg"])


def test_a_checkpoint_in_the_middle_of_an_epoch_is_gone_on_with_exactly(tmp_path, blobs):
    data = blobs()
    train(tmp_path, data, out=tmp_path / "whole", epochs=3, batch_size=4, save_every=2)

    class Killed(Exception):
        pass

    from rvtool.verbs.train import callbacks

    original = callbacks.Journal.on_train_batch_end

    def die(self, trainer, module, outputs, batch, batch_idx):
        original(self, trainer, module, outputs, batch, batch_idx)
        if trainer.current_epoch == 1 and batch_idx == 4:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.Journal, "on_train_batch_end", die)
        with pytest.raises(Killed):
            train(tmp_path, data, out=tmp_path / "cut", epochs=3, batch_size=4, save_every=2)
    run(Settings(resume=tmp_path / "cut"), Console(file=StringIO()))
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")


def test_a_complete_run_is_left_alone(tmp_path, blobs):
    train(tmp_path, blobs(), epochs=1)
    told = StringIO()
    run(Settings(resume=tmp_path / "run"), Console(file=told, width=200))
    assert "complete already" in told.getvalue()


def test_a_loss_that_becomes_nan_stops_at_the_last_good_checkpoint(tmp_path, blobs):
    from rvtool.learning.classifier import Classifier

    original = Classifier.training_step

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        if self.trainer.current_epoch == 1:
            self.log("train/loss", loss.detach() * float("nan"))
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "training_step", step)
        with pytest.raises(DataError, match=r"train/loss became nan at step .*of epoch 1; try a lower --learning-rate"):
            train(tmp_path, blobs(), epochs=3)
    opened = load_run(tmp_path / "run")
    assert opened.record["status"] == "stopped"
    assert all(torch.isfinite(p).all() for p in opened.model.parameters())


def test_steps_count_instead_of_epochs(tmp_path, blobs):
    train(tmp_path, blobs(), steps=7, ema=0.0)
    rows = metrics(tmp_path / "run")
    assert rows[-1]["step"] == "7"
    assert rows[-1]["val/loss"]


def test_patience_stops_early(tmp_path, blobs):
    train(tmp_path, blobs(), epochs=40, patience=2, config=TINY | {"learning_rate": 1e-9})
    assert len(metrics(tmp_path / "run")) <= 4


def test_limit_images_keeps_the_classes_in_proportion(tmp_path, blobs):
    train(tmp_path, blobs(), epochs=1, limit_images=10)
    assert load_run(tmp_path / "run").record["dataset"]["images"]["train"] == 10
    assert load_run(tmp_path / "run").data.class_counts == (5, 5)


def test_pictures_and_learning_rate_search(tmp_path, blobs):
    data = blobs()
    train(tmp_path, data, sample_every=1)
    assert len(list((tmp_path / "run/samples").glob("*.png"))) == 2
    result, told = train(tmp_path, data, out=tmp_path / "rates", find_learning_rate=True)
    assert 1e-6 < result["learning_rate"] < 1
    assert "suggested: --learning-rate" in told
    assert (tmp_path / "rates/learning_rate.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"model": "alhassn-cnn"}, ConfigError, "did you mean 'alhassan-cnn'"),
        ({"model": ""}, ConfigError, "Name the model to train"),
        ({"data": None}, ConfigError, "needs images to learn from: --data"),
        ({"gpus": 2}, ConfigError, "--gpus 2 asks for more GPUs than this machine has"),
        ({"loss": ("focl",)}, ConfigError, "did you mean 'focal'"),
        ({"loss": ("focal:x",)}, ConfigError, "the weight must be a number"),
        ({"augment": ("rotate",)}, ConfigError, "did you mean 'rotate-flip'"),
        ({"config": {"dropuot": 1}}, ConfigError, "did you mean 'dropout'"),
        ({"config": {"dropout": 7}}, ConfigError, "less than 1, got 7"),
        ({"set": {"loss": {"focal": {"gamma": 1}}}}, ConfigError, "focal"),
        ({"set": {"los": {}}}, ConfigError, "did you mean 'loss'"),
        ({"label_column": "lable"}, ConfigError, "did you mean 'label'"),
        ({"where": ("label=one",)}, DataError, "1 classes"),
        ({"fold": 0}, ConfigError, "no column 'fold'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(tmp_path, blobs, changes, error, says):
    if torch.cuda.device_count() > 1 and "gpus" in changes:
        pytest.skip("this machine has two GPUs")
    with pytest.raises(error, match=says):
        train(tmp_path, blobs(), **changes)
    assert not (tmp_path / "run").exists()


def test_a_class_missing_from_a_split_is_told(tmp_path, blobs):
    folder = blobs(count=12)
    (folder / "rare").mkdir()
    (folder / "rare" / "x.png").write_bytes((folder / "one" / "000.png").read_bytes())
    with pytest.raises(DataError, match=r"the (train|val) part has no image of class rare"):
        train(tmp_path, folder)


def test_an_output_folder_that_exists_is_kept(tmp_path, blobs):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.txt").write_text("precious")
    with pytest.raises(DataError, match="exists already; choose another --out"):
        train(tmp_path, blobs())
    assert (tmp_path / "run/mine.txt").read_text() == "precious"


def test_data_that_changed_cannot_be_gone_on_with(tmp_path, blobs):
    data = blobs()
    train(tmp_path, data, epochs=1)
    record = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(record | {"status": "running"}))
    (data / "one/000.png").unlink()
    with pytest.raises(DataError, match="has changed since"):
        run(Settings(resume=tmp_path / "run"), Console(file=StringIO()))


def test_interrupting_says_how_to_go_on(tmp_path, blobs):
    victim = start(tmp_path, blobs(), tmp_path / "run", "--epochs", "500")
    deadline = time.monotonic() + 120
    while not (tmp_path / "run/checkpoints/best.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    victim.send_signal(signal.SIGINT)
    out, _ = victim.communicate(timeout=60)
    assert victim.returncode == 1, out
    assert "rvtool train --resume" in out
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    assert os.path.exists(tmp_path / "run/model.safetensors")


def test_a_short_group_of_accumulated_batches_has_its_full_weight(tmp_path, blobs):
    """28 training images in batches of 7: groups of 3 and of 1; the last steps as a batch of its own would."""
    from rvtool.verbs.train import callbacks

    seen = []

    class Watch(callbacks.EvenGroups):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            before = sum(p.grad.square().sum() for p in module.parameters() if p.grad is not None)
            super().on_before_optimizer_step(trainer, module, optimizer)
            after = sum(p.grad.square().sum() for p in module.parameters() if p.grad is not None)
            seen.append(float((after / before).sqrt()))

    with pytest.MonkeyPatch.context() as patch:
        from rvtool.verbs.train import loop

        patch.setattr(loop, "EvenGroups", Watch)
        train(tmp_path, blobs(), epochs=1, batch_size=7, accumulate=3)
    assert seen == pytest.approx([1, 3], rel=1e-4)


def test_resume_refuses_other_settings(tmp_path, blobs):
    train(tmp_path, blobs(), epochs=1)
    with pytest.raises(ConfigError, match="leave out --epochs, --seed"):
        run(Settings(resume=tmp_path / "run", epochs=60, seed=3), Console(quiet=True))


def test_images_of_other_axes_take_no_augmenter_that_nobody_asked_for(tmp_path):
    from astropy.io import fits

    from rvtool.data.writer import DatasetWriter

    writer = DatasetWriter(tmp_path / "d")
    rng = np.random.default_rng(0)
    (tmp_path / "d/images").mkdir()
    fits.PrimaryHDU(rng.normal(size=(24, 24, 24)).astype(np.float32)).writeto(tmp_path / "d/images/c.fits")
    rows = {"id": [str(n) for n in range(24)], "path": ["images/c.fits"] * 24, "plane": list(range(24))}
    writer.rows({**rows, "label": ["a", "b"] * 12, "group": list(range(24))})
    writer.finish({"image": {"axes": "frequency-time", "unit": ""}}, split="60/20/20")
    result, _ = train(tmp_path, tmp_path / "d", epochs=1)
    assert result["status"] == "complete"
    with pytest.raises(ConfigError, match="is for sky images"):
        train(tmp_path, tmp_path / "d", epochs=1, out=tmp_path / "other", augment=("shift",))
