"""The command line as people type it."""

import json
import os
import subprocess
import sys

import pytest

from rvtool.cli.app import chosen
from rvtool.runs.verbs import VERBS


def rvtool(*args, cwd=None, **env):
    return subprocess.run(
        [sys.executable, "-m", "rvtool", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "TERMINAL_WIDTH": "200", **env},
        check=False,
    )


def test_help_lists_every_verb():
    done = rvtool("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


def test_version_loads_nothing():
    code = "import sys; sys.argv = ['rvtool', '--version']; from rvtool.cli.app import main; main(); "
    code += "print([m for m in ('torch', 'astropy', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"


def test_a_menu_lists_the_components():
    done = rvtool("train", "--help")
    assert done.returncode == 0
    assert "alhassan-cnn" in done.stdout
    assert "Alhassan et al. 2018" in done.stdout
    assert "--resume" in done.stdout
    assert "radio-galaxy" in rvtool("simulate", "--help").stdout


@pytest.mark.parametrize(
    ("args", "own", "verbs"),
    [
        (("train", "alhassan-cnn"), ("--dropout", "--learning-rate", "default: 0.3"), ("--epochs", "--gpus", "x>=1")),
        (("collect", "--source", "folder"), ("--path", "--pixel-arcsec"), ("--out", "--split")),
        (("collect", "--source=folder"), ("--path",), ("--out",)),
        (("simulate", "radio-galaxy"), ("--rms-jy-beam", "observed"), ("--count", "--seed")),
        (("compress", "--codec", "rice"), (), ("--max-error", "0.25sigma", "--lossless")),
        (("compress",), (), ("--max-error",)),
        (("evaluate",), (), ("--ensemble",)),
        (("run",), (), ("--set",)),
    ],
)
def test_options_come_from_the_configs(args, own, verbs):
    done = rvtool(*args, "--help")
    assert done.returncode == 0, done.stderr
    for word in (*own, *verbs):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("collect",), "--source folder --path images"),
        (("collect", "--source", "first"), "No source is named 'first'"),
        (("collect", "--source", "folder"), "needs --path DIR"),
        (("train",), "rvtool train alhassan-cnn --data"),
        (("train", "alhassan-cnn"), "--data DATASET_OR_FOLDER"),
        (("train", "pix2pix", "--gpus", "1"), "No model is named 'pix2pix'"),
        (("train", "alhasan-cnn", "--epochs", "3"), "did you mean 'alhassan-cnn'"),
        (("simulate", "radio-galxy"), "did you mean 'radio-galaxy'"),
        (("compress", "x.fits", "--codec", "ryce"), "did you mean 'rice'"),
        (("run", "nowhere.toml"), "nowhere.toml cannot be read"),
        (("evaluate", "nowhere"), "nowhere is no run"),
        (("train", "alhassan-cnn", "--set", "loss.focal"), "dotted.key=value"),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(tmp_path, args, says):
    done = rvtool(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("trian",), "Did you mean 'train'"),
        (("train", "alhassan-cnn", "--epoch", "3"), "--epochs"),
        (("train", "alhassan-cnn", "--epochs", "0"), "greater than or equal to 1"),
        (("train", "alhassan-cnn", "--precision", "8"), "bf16"),
    ],
)
def test_a_usage_error_exits_2(args, says):
    done = rvtool(*args)
    assert done.returncode == 2
    assert says in done.stderr


def test_plugins_as_json():
    rows = json.loads(rvtool("plugins", "--kind", "loss", "--json").stdout)
    assert {row["name"] for row in rows} >= {"cross-entropy", "focal"}
    assert set(rows[0]) == {"kind", "name", "distribution", "version", "summary", "status"}
    assert {row["kind"] for row in rows} == {"loss"}


def complete(line):
    env = {"_RVTOOL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    code = "import sys; sys.argv = ['rvtool']; from rvtool.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}, check=False
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("rvtool tr", "train"),
        ("rvtool train ", "alhassan-cnn"),
        ("rvtool train mob", "mobilenet-v2"),
        ("rvtool train alhassan-cnn --drop", "--dropout"),
        ("rvtool train alhassan-cnn --loss fo", "focal"),
        ("rvtool train alhassan-cnn --augment ro", "rotate-flip"),
        ("rvtool collect --source fo", "folder"),
        ("rvtool compress --codec r", "rice"),
        ("rvtool simulate ra", "radio-galaxy"),
    ],
)
def test_the_shell_completes_names(line, word):
    assert word in complete(line)


def test_the_component_is_found_among_the_options():
    train = VERBS["train"]
    assert chosen(train, ["alhassan-cnn", "--epochs", "3"]) == "alhassan-cnn"
    assert chosen(train, ["--epochs", "3", "alhassan-cnn"]) == "alhassan-cnn"
    assert chosen(train, ["--data", "images", "--epochs", "3"]) is None
    assert chosen(train, ["--resume", "runs/x"]) is None
    assert chosen(VERBS["compress"], ["a.fits"]) == "rice"
