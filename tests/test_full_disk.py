"""A disk that fills up: one sentence, exit 1, what was there stays (a limit on file size stands in for the disk)."""

import os
import resource
import subprocess
import sys

import pytest


def limited(size, *args):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        [sys.executable, "-m", "rvtool", *map(str, args)],
        capture_output=True, text=True, check=False, preexec_fn=limit, env={**os.environ},
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["collect", "simulate", "train"])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, blobs, verb):
    data = blobs(size=32)
    out = tmp_path / "out"
    size, *args = {
        "collect": (300, "collect", "--source", "folder", "--path", data),
        "simulate": (20_000, "simulate", "radio-galaxy", "--count", 64, "--size", 32, "--device", "cpu"),
        "train": (
            60_000, "train", "alhassan-cnn", "--data", data, "--epochs", 2, "--batch-size", 8, "--crop", 0,
            "--channels", "8,8", "--gpus", 0,
        ),
    }[verb]  # fmt: skip
    done = limited(size, *args, "--out", out)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "full" in done.stderr.strip().splitlines()[-1]
    assert not list(tmp_path.rglob("*.partial"))
    assert len(list(data.rglob("*.png"))) == 40
