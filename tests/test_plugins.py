"""The plugin host: what it finds, what it refuses, and that one broken plugin stops nobody."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from rvtool import Component, Config, hookimpl, hookspecs, plugins
from rvtool.errors import ConfigError, PluginError

HEAVY = ["torch", "lightning", "astropy", "numpy", "scipy", "matplotlib", "pyarrow"]
HOOKS = [name for name in dir(hookspecs) if name.startswith("rvtool_")]


class Settings(Config):
    depth: int = 3


class Offering:
    @hookimpl
    def rvtool_models(self):
        return [Component("net", "A net.", Settings, "collections:OrderedDict")]


@pytest.fixture
def installed(monkeypatch):
    """Pretend that these entry points are installed, and nothing else."""

    def install(**values):
        entries = [EntryPoint(name, value, "rvtool") for name, value in values.items()]
        monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
        plugins.offers.cache_clear()
        plugins.components.cache_clear()

    yield install
    plugins.offers.cache_clear()
    plugins.components.cache_clear()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write an importable module."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))

    return write


GOOD = """
from rvtool import Component, Config, hookimpl
class S(Config): pass
@hookimpl
def rvtool_models(): return [Component("net", "A net.", S, "json:JSONDecoder")]
"""


def test_the_surface_is_seven_hooks_on_one_screen():
    assert sorted(HOOKS) == sorted(plugins.hook_name(kind) for kind in plugins.KINDS)
    assert len(Path(hookspecs.__file__).read_text().splitlines()) < 60


def test_the_documentation_names_every_hook_and_verb():
    from rvtool.runs.verbs import VERBS

    docs = Path(__file__).parents[1] / "docs"
    text = (docs / "plugins.md").read_text()
    assert all(hook in text for hook in HOOKS)
    readme = (docs.parent / "README.md").read_text()
    assert all(f"rvtool {verb}" in readme for verb in VERBS)


def test_a_broken_plugin_costs_one_line_and_a_row(installed, module, capsys):
    module("good_plugin", GOOD)
    module("bad_plugin", "raise RuntimeError('no luck')")
    installed(good="good_plugin", bad="bad_plugin", missing="no_such_module")
    assert list(plugins.components("model")) == ["net"]
    rows = {offer.name: offer for offer in plugins.offers()}
    assert rows["bad"].status == "broken: RuntimeError: no luck"
    assert rows["missing"].status.startswith("broken: ModuleNotFoundError")
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 2
    assert "plugin 'bad'" in told[0]
    assert "RVTOOL_STRICT_PLUGINS=1" in told[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from rvtool import hookimpl\n@hookimpl\ndef rvtool_models(): return ['net']", "which is no rvtool.Component"),
        ("from rvtool import hookimpl\n@hookimpl\ndef rvtool_modells(): return []", "unknown hook 'rvtool_modells'"),
        ("from rvtool import hookimpl\n@hookimpl\ndef rvtool_models(): 1/0", "ZeroDivisionError"),
    ],
)
def test_a_plugin_that_breaks_the_contract_is_told(installed, module, capsys, text, says):
    module("bad_plugin", text)
    installed(bad="bad_plugin")
    assert plugins.components("model") == {}
    assert says in capsys.readouterr().err
    sys.modules.pop("bad_plugin")


def test_strict_plugins_raise(installed, module, monkeypatch):
    module("bad_plugin", "raise RuntimeError('no luck')")
    installed(bad="bad_plugin")
    monkeypatch.setenv("RVTOOL_STRICT_PLUGINS", "1")
    with pytest.raises(RuntimeError, match="no luck"):
        plugins.offers()
    sys.modules.pop("bad_plugin", None)


def test_two_components_of_one_name_are_refused(installed, module):
    module("good_plugin", GOOD)
    module("other_plugin", GOOD)
    installed(good="good_plugin", other="other_plugin")
    with pytest.raises(PluginError, match="Two plugins offer a model named 'net'"):
        plugins.components("model")
    assert plugins.components("codec") == {}


def test_settings_are_checked_with_the_nearest_name():
    component = Component("net", "A net.", Settings, "collections:OrderedDict")
    assert component.configure({"depth": 4}).depth == 4
    with pytest.raises(ConfigError, match=r"did you mean 'depth'\? \(settings of 'net'\)"):
        component.configure({"dept": 4})
    with pytest.raises(ConfigError, match=r"Setting 'depth' of 'net': .*integer"):
        component.configure({"depth": "x"})


def test_a_target_that_does_not_load_names_itself():
    with pytest.raises(PluginError, match=r"'net' cannot be loaded from no.module:X"):
        Component("net", "A net.", Settings, "no.module:X").load()


@pytest.mark.parametrize("name", ["rvtool", "rvtool.kinds", "rvtool.plugins", "rvtool.cli.app", "rvtool.component"])
def test_the_light_surface_stays_light(name):
    code = f"import sys, {name}; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_declaring_every_component_loads_nothing_heavy():
    code = (
        "import sys; from rvtool import plugins; [plugins.components(k) for k in plugins.KINDS];"
        f"print([m for m in {HEAVY} if m in sys.modules], [o.status for o in plugins.offers() if o.status != 'ok'])"
    )
    env = {**os.environ, "RVTOOL_STRICT_PLUGINS": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert out.strip() == "[] []"


def test_the_core_never_imports_a_plugin():
    root = Path(plugins.__file__).parent
    assert not [str(p) for p in root.rglob("*.py") if "rvtool_plugins" in p.read_text() and p.name != "errors.py"]


def test_the_newest_version_of_the_changelog_is_the_package_s():
    import re

    import rvtool

    text = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(\d[^\]]*)\]", text, re.M)[:1] == [rvtool.__version__]
