"""What is asked of every component, whatever its kind."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

from pydantic import BaseModel

from rvtool.component import Component
from rvtool.errors import PluginError

HEAVY = ("torch", "lightning", "astropy", "numpy", "scipy")


def check_component(component: Component) -> None:
    """Check the record that a hook returned: its name, its settings, its target, and that declaring it is cheap.

    Raises
    ------
    AssertionError
        The record cannot become a command-line option, a recipe or a row of `rvtool plugins`.
    """
    name = component.name
    assert re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name), (
        f"'{name}': a component's name is typed on the command line; use lower-case letters, digits and '-'."
    )
    assert component.summary.strip() and "\n" not in component.summary, f"'{name}': the summary must be one line."
    _check_settings(component)
    module = component.config.__module__
    if module != "__main__":
        loaded = _loaded_by(module)
        assert not loaded, (
            f"'{name}': importing {module}, which declares it, loads {', '.join(loaded)}; move the heavy imports to "
            f"the module of its target, so that 'rvtool --help' stays quick."
        )
    try:
        component.load()
    except PluginError as error:
        raise AssertionError(str(error)) from error


def _check_settings(component: Component) -> None:
    name, config = component.name, component.config
    assert isinstance(config, type) and issubclass(config, BaseModel), (
        f"'{name}': config is {config!r}; derive it from rvtool.Config."
    )
    assert config.model_config.get("extra") == "forbid", (
        f"'{name}': {config.__name__} takes unknown settings in silence; derive it from rvtool.Config."
    )
    for key, field in config.model_fields.items():
        where = f"'{name}': setting '{key}'"
        assert not field.is_required(), f"{where} has no default; every setting has one."
        assert field.description, f"{where} has no description; write Field(..., description='... in its unit')."
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        assert not nested, f"{where} is itself a record; settings are flat, since they become options."
    default = component.configure()
    again = config.model_validate_json(default.model_dump_json())
    assert again == default, f"'{name}': its settings change when written to a recipe and read back."


@cache
def _loaded_by(module: str) -> list[str]:
    """Return which heavy libraries importing a module loads; asked once, for several components may share one."""
    code = f"import sys, {module}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{module} does not import in a fresh process: {done.stderr.strip().splitlines()[-1]}"
    return done.stdout.split()
