"""The command line as people type it."""

import contextlib
import json
import os
import subprocess
import sys
import warnings

import pytest
from pydantic import Field

from rvtool import Component, Config
from rvtool.cli.app import chosen
from rvtool.cli.options import build
from rvtool.errors import PluginError
from rvtool.runs.verbs import VERBS
from rvtool.verbs import train


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
        (("train", "mobilenet-v2"), ("<1|2>", "default: 1"), ()),
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
        (("collect", "--source", "frist"), "No source is named 'frist': did you mean 'first'?"),
        (("collect", "--source", "first"), "Say what to fetch from 'first': --targets FILE"),
        (("collect", "--source", "folder"), "needs --path DIR"),
        (("train",), "rvtool train alhassan-cnn --data"),
        (("train", "alhassan-cnn"), "--data DATASET_OR_FOLDER"),
        (("train", "pix2pics", "--gpus", "1"), "did you mean 'pix2pix'"),
        (("train", "alhasan-cnn", "--epochs", "3"), "did you mean 'alhassan-cnn'"),
        (("simulate", "radio-galxy"), "did you mean 'radio-galaxy'"),
        (("compress", "x.fits", "--codec", "ryce"), "did you mean 'rice'"),
        (("run", "nowhere.toml"), "nowhere.toml cannot be read"),
        (("evaluate", "nowhere"), "nowhere is no run"),
        (("compress", "image.fits", "--codec", "runs/nowhere"), "runs/nowhere is no run"),
        (("train", "alhassan-cnn", "--set", "loss.focal"), "dotted.key=value"),
        (("train", "--recipe", "nowhere.toml"), "nowhere.toml cannot be read"),
        (
            ("simulate", "run"),
            "run is a run of 'alhassan-cnn', which makes no images; name a simulator (dirty-map, ",
        ),
        (("compress", "x.fits", "--codec", "run"), "run is a run of 'alhassan-cnn', which is no autoencoder, so that"),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(tmp_path, args, says):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text('{"model": "alhassan-cnn"}')
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
        (("train", "mobilenet-v2", "--stem-stride", "3"), "'1', '2'"),
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


def test_an_empty_argument_is_no_folder() -> None:
    done = rvtool("compress", "", "--delete-source")
    assert done.returncode == 2
    assert "is empty" in done.stderr


def test_the_component_is_found_among_the_options():
    train = VERBS["train"]
    assert chosen(train, ["alhassan-cnn", "--epochs", "3"]) == "alhassan-cnn"
    assert chosen(train, ["--epochs", "3", "alhassan-cnn"]) == "alhassan-cnn"
    assert chosen(train, ["--data", "images", "--epochs", "3"]) is None
    assert chosen(train, ["--resume", "runs/x"]) is None
    assert chosen(VERBS["compress"], ["a.fits"]) == "predictive"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("train --find-learning-rate alhassan-cnn --data x", "alhassan-cnn"),
        ("train -- alhassan-cnn", "alhassan-cnn"),
        ("train -o x --quiet alhassan-cnn", "alhassan-cnn"),
        ("train -ox alhassan-cnn", "alhassan-cnn"),
        ("train --data alhassan-cnn", None),
        ("train --data alhassan-cnn mobilenet-v2", "mobilenet-v2"),
        ("simulate --beam-angle-deg -30 radio-galaxy", "radio-galaxy"),
        ("simulate --rms-jy-beam -1e-5 radio-galaxy", "radio-galaxy"),
        ("compress --codec a --codec rice x.fits", "rice"),
        ("compress --codec=a --lossless x.fits --codec=b", "b"),
        ("compress x.fits -- --codec b", "predictive"),
        ("collect --out --source --source folder", "folder"),
    ],
)
def test_words_are_told_from_values_as_the_command_tells_them(line, name):
    verb, *args = line.split()
    assert chosen(VERBS[verb], args) == name


@pytest.mark.parametrize("name", ["quiet", "json", "recipe", "recipe_file", "ctx", "epochs"])
def test_a_setting_named_like_an_option_is_the_plugin_s_error(name):
    warnings.simplefilter("ignore", UserWarning)  # pydantic has a word of its own for 'json'
    config = type("Own", (Config,), {"__annotations__": {name: int}, name: Field(1, description="x")})
    with pytest.raises(PluginError, match=f"'mine' has a setting '{name}', which is an option of 'rvtool train'"):
        build(VERBS["train"], Component("mine", "mine", config, "x:Y"))


def settings_from(monkeypatch, capsys, *args):
    """What the command line would run `train` with."""
    from rvtool.cli.app import _command

    seen = []
    monkeypatch.setattr(train, "run", lambda settings, console: seen.append(settings) or {})
    words = [str(word) for word in args]
    with contextlib.suppress(SystemExit):
        _command(VERBS["train"], words).main(words, standalone_mode=False)
    return seen[0] if seen else capsys.readouterr().err


def test_a_choice_of_numbers_arrives_as_a_number(monkeypatch, capsys):
    settings = settings_from(monkeypatch, capsys, "mobilenet-v2", "--stem-stride", "2")
    assert settings.config == {"stem_stride": 2}


def test_a_recipe_gives_settings_to_one_command(monkeypatch, capsys, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        'words = "x"\n[train]\nbatch-size = 4\ndata = "{words}/y"\n[model.alhassan-cnn]\nhidden = 8\n'
        '[loss.focal]\ngamma = 1.5\n[[stage]]\nverb = "train"\nmodel = "mobilenet-v2"'
    )
    settings = settings_from(monkeypatch, capsys, "alhassan-cnn", "--recipe", path, "--set", "loss.focal.gamma=2")
    assert (settings.batch_size, str(settings.data), settings.config) == (4, "x/y", {"hidden": 8})
    assert settings.set == {"loss": {"focal": {"gamma": 2}}}
    settings = settings_from(monkeypatch, capsys, "alhassan-cnn", "--recipe", path, "--batch-size", 3, "--hidden", 9)
    assert (settings.batch_size, settings.config) == (3, {"hidden": 9})


def test_a_run_s_own_recipe_makes_the_run_again(monkeypatch, capsys, tmp_path):
    from rvtool.runs.recipe import dump_recipe

    path = tmp_path / "recipe.toml"
    first = train.Settings(
        model="alhassan-cnn", data="d", out="one", config={"hidden": 8}, set={"loss": {"focal": {"gamma": 1.5}}}
    )
    path.write_text(dump_recipe("train", first))
    again = settings_from(monkeypatch, capsys, "--recipe", path, "--out", "other", "--dropout", "0.5")
    assert (again.model, str(again.out), str(again.data)) == ("alhassan-cnn", "other", "d")
    assert again.config == {"hidden": 8, "dropout": 0.5}
    assert again.set == first.set


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[trian]\nepochs = 1", "did you mean 'train'"),
        ("train = 3", "'train' of a recipe holds settings"),
        ('[[stage]]\nverb = "train"\n[[stage]]\nverb = "train"', "has 2 stages of 'train'"),
    ],
)
def test_a_wrong_recipe_is_told(tmp_path, text, says):
    (tmp_path / "r.toml").write_text(text)
    done = rvtool("train", "alhassan-cnn", "--recipe", "r.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
