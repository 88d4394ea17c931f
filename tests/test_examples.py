"""Every example is run, and every command of the documentation is one that the command line knows."""

import importlib.util
import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
import tomli
from rich.console import Console

from rvtool.cli import app
from rvtool.runs.recipe import parse_assignments
from rvtool.runs.sweep import members_of
from rvtool.runs.verbs import VERBS
from rvtool.verbs import run as verb_run

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL = ["galaxies.count=60", "train.epochs=1", "train.gpus=0", "evaluate.bootstrap=100"]


def run(name, *changes):
    told = StringIO()
    settings = verb_run.Settings(recipe=EXAMPLES / name, set=parse_assignments(changes))
    return verb_run.run(settings, Console(file=told, width=120)), told.getvalue()


def test_the_quickstart(tmp_path):
    result, told = run("quickstart.toml", f"out={tmp_path}/q", *SMALL)
    assert [stage["status"] for stage in result["stages"]] == ["ran"] * 5
    for name in ("galaxies/dataset.toml", "run/model.safetensors", "evaluation/metrics.json", "evaluation/report.html"):
        assert (tmp_path / "q" / name).stat().st_size > 0
    assert (tmp_path / "q/evaluation/predictions.png").stat().st_size > 10_000
    assert "accuracy" in told[told.rindex("Recipe") :]


def test_the_recipe_for_real_images(tmp_path, blobs):
    result, _ = run(
        "first.toml", f"out={tmp_path}/f", f"data={blobs()}", "train.epochs=1", "train.crop=24", "train.gpus=0"
    )
    assert [stage["status"] for stage in result["stages"]] == ["ran"] * 3


def test_the_python_twin(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("quickstart", EXAMPLES / "quickstart.py")
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    monkeypatch.setattr(twin, "OUT", tmp_path)
    twin.main(count=60, epochs=1)
    assert (tmp_path / "field.rv.fits").stat().st_size > 0
    assert (tmp_path / "evaluation/metrics.json").stat().st_size > 0


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml")))
def test_every_shipped_recipe_is_valid(name):
    recipe = tomli.loads((EXAMPLES / name).read_text())
    assert members_of(recipe, {"data": "somewhere"})


def documented():
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")), *EXAMPLES.glob("*.toml")]:
        for line in re.findall(r"^(?:#? {4})(?:uv run )?rvtool (.+)$", document.read_text(), re.M):
            for part in line.split(" && "):
                yield pytest.param(part.removeprefix("uv run rvtool "), id=f"{document.name}: {part}")


@pytest.mark.parametrize("line", list(documented()))
def test_every_documented_command_exists(line, monkeypatch):
    monkeypatch.setattr(app, "_is_run", lambda name: name.startswith("runs/"))  # those of the lines before
    words = shlex.split(line.replace("[", "").replace("]", ""), comments=True)
    if words[0].startswith("-"):
        return
    verb = VERBS[words[0]]
    command = app._command(verb, words[1:])
    command.make_context(verb.name, words[1:])  # raises where an option is unknown or a value out of bounds
