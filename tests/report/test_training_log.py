"""Logs of other programs are read by name, step and side, whatever their shape, and never crash the reader."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.errors import DataError
from rvtool.report.training_log import read_run_log, read_text_log


def read(tmp_path, text, name="train.log"):
    path = tmp_path / name
    path.write_text(text)
    return read_text_log(path)


def values(log):
    return {
        name: dict(zip(curve.step.tolist(), curve.value.tolist(), strict=True)) for name, curve in log.curves.items()
    }


# a fraction as step with its total, timestamps, a configuration before the first step, a comma at the end
STEPS = """2025-08-15 20:41:04,001 {'model': {'lr': 5e-06}, 'train_num_steps': 150000}
2025-08-15 20:41:07,000 [Train Step] 49900/150000: train/total_loss: -1916.70959, train/kl_loss: 1.5e5, lr: 0.00001,
2025-08-15 20:43:07,500 [Train Step] 50000/150000: train/total_loss: nan, train/kl_loss: 160000, lr: 0.00001,
"""


def test_steps_totals_and_clocks_of_a_text_log(tmp_path):
    log = read(tmp_path, STEPS)
    assert (log.unit, log.begin, log.last, log.total) == ("step", 49900, 50000, 150000)
    assert set(log.curves) == {"train/total_loss", "train/kl_loss", "lr"}
    assert log.curves["train/total_loss"].value[0] == -1916.70959
    assert np.isnan(log.curves["train/total_loss"].value[1])
    assert log.elapsed.value.tolist() == [0, 120.5]


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        # sides by name, by the words before, and inherited within a line
        (
            "Epoch [1/20] | Train Loss: 0.5 Acc: 0.8 | Test Loss: 0.3 Acc: 0.9\nEpoch [2/20] | Train Loss: 0.4\n",
            "epoch",
            {"train/loss": {1: 0.5, 2: 0.4}, "train/acc": {1: 0.8}, "val/loss": {1: 0.3}, "val/acc": {1: 0.9}},
        ),
        # our own lines: names and values with nothing between, speeds and times left out
        (
            "epoch 1/3  loss 0.35  val loss 0.32  val/psnr 47.0  24 images/s  0:00:21 left\nepoch 2/3  loss 0.25\n",
            "epoch",
            {"train/loss": {1: 0.35, 2: 0.25}, "val/loss": {1: 0.32}, "val/psnr": {1: 47.0}},
        ),
        # a number in front, and JSON; what is no number is left out
        ("100: loss=0.5\n200: loss=.25 version=2.1.0\n", "step", {"train/loss": {100: 0.5, 200: 0.25}}),
        (
            '{"step": 1, "loss": 2, "val": {"loss": 3}, "name": "x", "ok": true}\n{"step": 2, "loss": 1, "lr": 1e-4}\n',
            "step",
            {"train/loss": {1: 2, 2: 1}, "val/loss": {1: 3}, "lr": {2: 1e-4}},
        ),
        # counting that starts anew in each epoch goes on; a lone line belongs to the step before
        (
            "Epoch: [0][ 5/10] Loss 4.0\nEpoch: [0][10/10] Loss 3.0\nval_loss: 9\nEpoch: [1][ 5/10] Loss 2.0\n",
            "step",
            {"train/loss": {5: 4, 10: 3, 15: 2}, "val/loss": {10: 9}},
        ),
        # a progress bar overwrites its line; a resumed training overwrites its steps
        (
            "\r 1/9 [00:34<00:40, 5.29it/s, loss=3]\r 2/9 [00:35<00:39, loss=2]\niter 1: loss: 8\n",
            "step",
            {"train/loss": {1: 8, 2: 2}},
        ),
        ("loss: 3\nloss: 2\n", "row", {"train/loss": {1: 3, 2: 2}}),
    ],
)
def test_shapes_of_logs(tmp_path, text, unit, expected):
    log = read(tmp_path, text)
    assert log.unit == unit
    assert values(log) == expected


def test_a_table_of_another_program(tmp_path):
    log = read(tmp_path, "epoch,accuracy,val_loss\n0,0.5,2\n1,0.75,\n", "keras.csv")
    assert values(log) == {"train/accuracy": {0: 0.5, 1: 0.75}, "val/loss": {0: 2}}


@pytest.mark.parametrize("content", [b"", b"Hello: world\n", b"step 3: loss: 0.5\n", b"\x00\x01 step 1 loss: 2\n"])
def test_what_is_no_log_is_refused(tmp_path, content):
    (tmp_path / "x.log").write_bytes(content)
    with pytest.raises(DataError, match="expected are lines such as"):
        read_text_log(tmp_path / "x.log")


@pytest.mark.parametrize("name", ["missing.log", "."])
def test_what_cannot_be_opened_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="check --log"):
        read_text_log(tmp_path / name)


PIECES = st.sampled_from(
    [
        *("loss", "epoch", "step", "[", "]", "/", ":", "=", " ", "\n", "{", "}", '"', "lr", "val", "train/", ",", "\r"),
        *("nan", "-inf", "1e999", "9" * 400, "0.5", "3", "7/9", "e-05", "2025-13-41 99:99:99", "\x1b[0m"),
    ]
)


@settings(max_examples=150)
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join), st.sampled_from(["fuzz.log", "fuzz.csv"]))
def test_no_text_crashes_the_reader(tmp_path_factory, text, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text, errors="replace")
    try:
        log = read_text_log(path)
    except DataError:
        return
    assert all(np.isfinite(curve.step).all() and (np.diff(curve.step) > 0).all() for curve in log.curves.values())


def test_the_clock_of_a_run_goes_on_through_its_epochs(tmp_path):
    # seconds begin anew in each epoch, whose last step has two rows
    rows = ["epoch,step,train/loss,val/loss,seconds", "0,5,3,,10", "0,10,2,,20", "0,10,2,4,21", "1,15,1,,5"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows))
    log = read_run_log(tmp_path / "metrics.csv")
    assert log.elapsed.step.tolist() == [0, 5, 10, 15]
    assert log.elapsed.value.tolist() == [0, 10, 21, 26]
    assert log.curves["train/loss"].value.tolist() == [3, 2, 1]
