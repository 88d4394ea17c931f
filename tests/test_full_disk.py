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


PACK = """
import sys
from rvtool.data.dataset import open_dataset
from rvtool.data.pack import open_pack
from rvtool.errors import DataError
try:
    open_pack(open_dataset(sys.argv[1]))
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_pack_on_a_disk_that_is_truly_full_is_told(tmp_path, blobs):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        done = subprocess.run(
            [sys.executable, "-c", PACK, blobs(size=64)], capture_output=True, text=True, check=False,
            env={**os.environ, "RVTOOL_CACHE": str(disk)},
        )  # fmt: skip
        assert done.returncode == 0, (done.returncode, done.stderr)
        assert "the disk is full" in done.stdout
        assert not list(disk.rglob("*.partial"))
    finally:
        subprocess.run(["umount", disk], check=True)


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
    assert verb != "collect" or "failures.csv" not in done.stderr
    assert not list(tmp_path.rglob("*.partial"))
    assert len(list(data.rglob("*.png"))) == 40
