"""Recipes: TOML files that describe work, stage by stage.

Top-level plain values are names for use in strings (``"{out}/sim"``); a table named like a verb holds defaults for
its stages; ``[kind.component]`` holds a component's settings; each ``[[stage]]`` names a ``verb`` and, beside it, what
one would give the command line, the component's own settings among them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
import tomli_w
from pydantic import BaseModel

from rvtool import plugins
from rvtool.component import validate
from rvtool.errors import ConfigError, DataError, unknown
from rvtool.runs.run import is_run
from rvtool.runs.verbs import VERBS, verb


@dataclass(frozen=True)
class Stage:
    """One stage, ready to run: its name, its verb, and the verb's validated settings."""

    name: str
    verb: str
    settings: Any


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe file.

    Raises
    ------
    DataError
        It does not exist or may not be read.
    ConfigError
        It is no valid TOML.
    """
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}.") from error


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn ``a.b=1`` and the like into nested tables; values are read as TOML, and as plain text where they are none.

    Raises
    ------
    ConfigError
        One has no ``=``, or names a table where another put a value.
    """
    tree: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"Setting '{assignment}' is not of the form dotted.key=value.")
        try:
            value = tomli.loads(f"value = {text}")["value"]
        except tomli.TOMLDecodeError:
            value = text
        *parents, last = [part.strip() for part in path.split(".")]
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"Setting '{assignment}' goes through '{parent}', which has a value already.")
        table[last] = value
    return tree


def stages_of(recipe: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[Stage]:
    """Resolve a recipe into stages.

    Parameters
    ----------
    recipe
        As read from TOML.
    overrides
        Nested tables that win over the recipe's: by a verb's or a stage's name for its settings, else by their place.

    Raises
    ------
    ConfigError
        A key, name, verb or value is wrong; the nearest right ones are named.
    """
    tree = copy.deepcopy(dict(recipe))
    rows = tree.pop("stage", None)
    if not isinstance(rows, list) or not rows:
        raise ConfigError('The recipe has no [[stage]]; each stage names a verb, for example verb = "train".')
    names = [str(row.get("name", row.get("verb", ""))) for row in rows]
    for key, value in overrides.items():
        if key in names or key in VERBS:
            continue  # applied to the stages below
        tree[key] = _merge(tree[key], value) if isinstance(tree.get(key), dict) else value
    for key, value in tree.items():
        if isinstance(value, dict) and key not in VERBS and key not in plugins.KINDS:
            raise unknown("table of a recipe", key, [*VERBS, *plugins.KINDS, "stage"])
    words = {key: value for key, value in tree.items() if not isinstance(value, dict | list)}
    stages = []
    for name, row in zip(names, rows, strict=True):
        named = verb(str(row.get("verb", "")))
        merged = {**tree.get(named.name, {}), **row, **overrides.get(named.name, {}), **overrides.get(name, {})}
        merged.pop("verb"), merged.pop("name", None)
        given = {key.replace("-", "_"): _fill(value, words) for key, value in merged.items()}
        stages.append(Stage(name, named.name, settings_of(named.name, given, tree)))
    return stages


def settings_of(verb_name: str, given: Mapping[str, Any], tables: Mapping[str, Any]) -> Any:
    """Sort flat settings into a verb's own and its component's, and validate both.

    Parameters
    ----------
    given
        Field name to value: the verb's fields, and those of the component that it names.
    tables
        A recipe's ``[kind.component]`` tables, for whatever `given` does not say.
    """
    named = verb(verb_name)
    model: type[BaseModel] = named.load().Settings
    own = {key: value for key, value in given.items() if key in model.model_fields}
    rest = {key: value for key, value in given.items() if key not in own}
    if named.kind and named.field:
        default = model.model_fields[named.field].default
        chosen = str(own.get(named.field, default or ""))
        if chosen and not is_run(chosen):  # a run stands wherever a component's name can
            component = plugins.component(named.kind, chosen)
            for key in rest:
                if key not in component.config.model_fields:
                    known = [*model.model_fields, *component.config.model_fields]
                    raise unknown("setting", key, known, hint=f"(of {verb_name} {chosen})")
            config = {**tables.get(named.kind, {}).get(chosen, {}), **own.get("config", {}), **rest}
            component.configure(config)
            own["config"], rest = config, {}
    if "set" in model.model_fields:
        own["set"] = _merge(_nested(tables, own), own.get("set", {}))
    return validate(model, {**own, **rest}, f"'{verb_name}'")


def dump_recipe(verb_name: str, settings: BaseModel) -> str:
    """Write settings as a recipe of one stage that does the same again."""
    stage = {"verb": verb_name, **settings.model_dump(mode="json", exclude_none=True)}
    stage |= stage.pop("config", {})
    return tomli_w.dumps({"stage": [{key: value for key, value in stage.items() if value not in ([], {})}]})


def _nested(tables: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Take the recipe's tables of losses and augmenters that a stage uses (all, where it names none)."""
    nested = {}
    for kind, field in (("loss", "loss"), ("augmenter", "augment")):
        used = {str(name).partition(":")[0] for name in own.get(field, ())}
        chosen = {name: values for name, values in tables.get(kind, {}).items() if not used or name in used}
        if chosen:
            nested[kind] = chosen
    return nested


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _fill(value: Any, words: Mapping[str, Any]) -> Any:
    """Put top-level values where strings name them in braces."""
    if isinstance(value, list):
        return [_fill(item, words) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, words) for key, item in value.items()}
    if not isinstance(value, str) or "{" not in value:
        return value
    try:
        filled = value.format_map(words)
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"'{value}' names {error}, which the recipe does not define; give it: --set {error}=..."
        ) from None
    for word, content in words.items():
        if content == "" and f"{{{word}}}" in value:
            raise ConfigError(f"The recipe leaves '{word}' open; give it: --set {word}=...")
    return filled
