"""Recipes: TOML files that describe work, stage by stage.

Top-level plain values are names for use in strings (``"{out}/sim"``); a table named like a verb holds defaults for
its stages; ``[kind.component]`` holds a component's settings; each ``[[stage]]`` names a ``verb`` and, beside it, what
one would give the command line, the component's own settings among them. ``[sweep]`` has the recipe done with many
values (`rvtool.runs.sweep`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
import tomli_w
from pydantic import BaseModel

from rvtool import plugins
from rvtool.component import validate
from rvtool.config import field_name
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
    names = [str(row.get("name", row.get("verb", ""))) for row in _rows(recipe)]
    if not names:
        raise ConfigError('The recipe has no [[stage]]; each stage names a verb, for example verb = "train".')
    of_stages = {key: value for key, value in overrides.items() if key in names and key not in VERBS}
    for key, value in list(of_stages.items()):
        if not isinstance(value, dict):
            if key not in recipe:
                raise ConfigError(f"'{key}' is a stage, which takes settings and no value; write {key}.SETTING=VALUE.")
            del of_stages[key]  # a word of the same name
    over = _checked({key: value for key, value in overrides.items() if key not in of_stages})
    tree = merge(_checked(recipe), {key: value for key, value in over.items() if key not in VERBS})
    words = _words(tree)
    stages = []
    for name, row in zip(names, _rows(recipe), strict=True):
        named = verb(str(row.get("verb", "")))
        merged = dict(tree.get(named.name, {}))
        for above in (row, over.get(named.name, {}), of_stages.get(name, {})):
            merged = merge(merged, _named(above))
        merged.pop("verb"), merged.pop("name", None)
        stages.append(Stage(name, named.name, settings_of(named.name, _fill(merged, words), tree)))
    return stages


def settings_with(verb_name: str, recipe: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Validate what was given to one command, over what a recipe says of it (see `said_of`)."""
    tree = _checked(recipe)
    said = said_of(verb_name, recipe)
    below = {key: _fill(value, _words(tree)) for key, value in said.items() if key not in given or key == "set"}
    return settings_of(verb_name, merge(below, _named(given)), tree)


def said_of(verb_name: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's settings of one command: its table, or else those of its only stage of that verb.

    Raises
    ------
    ConfigError
        There is no such table and more than one such stage, or the recipe is wrong.
    """
    tree = _checked(recipe)
    if verb_name in tree:
        return dict(tree[verb_name])
    rows = [row for row in _rows(recipe) if row.get("verb") == verb_name]
    if len(rows) > 1:
        raise ConfigError(
            f"The recipe has {len(rows)} stages of '{verb_name}' and no table [{verb_name}]; which one is meant? "
            "'rvtool run' runs them all."
        )
    return {key: value for row in rows for key, value in _named(row).items() if key not in ("verb", "name")}


def _rows(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = recipe.get("stage", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError("'stage' of a recipe is a list of tables; write [[stage]] above each.")
    return rows


def _checked(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe without its stages and its sweep, with ``_`` in every setting's name.

    Raises
    ------
    ConfigError
        A table is unknown, or something else stands where a table should.
    """
    tree = {key: value for key, value in recipe.items() if key not in ("stage", "sweep")}
    for key, value in tree.items():
        if key in VERBS or key in plugins.KINDS:
            path = f"{key}.SETTING" if key in VERBS else f"{key}.NAME.SETTING"
            parts = value.values() if key in plugins.KINDS and isinstance(value, dict) else ()
            if not isinstance(value, dict) or not all(isinstance(part, dict) for part in parts):
                raise ConfigError(f"'{key}' of a recipe holds settings and is no value itself; write {path}=VALUE.")
            tree[key] = _named(value) if key in VERBS else {name: _named(part) for name, part in value.items()}
        elif isinstance(value, dict):
            raise unknown("table of a recipe", key, [*VERBS, *plugins.KINDS, "stage", "sweep"])
    return tree


def _named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write settings' names with ``_``, also those of a component (``config``) and of nested ones (``set``)."""
    named = {field_name(key): value for key, value in settings.items()}
    if isinstance(config := named.get("config"), dict):
        named["config"] = _named(config)
    if isinstance(nested := named.get("set"), dict):
        named["set"] = {
            kind: {name: _named(part) if isinstance(part, dict) else part for name, part in parts.items()}
            if isinstance(parts, dict)
            else parts
            for kind, parts in nested.items()
        }
    return named


def _words(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the top-level plain values, which strings may name; each may name those above it."""
    plain = {key: value for key, value in tree.items() if not isinstance(value, dict | list)}
    words: dict[str, Any] = {}
    for key, value in sorted(plain.items(), key=lambda item: "{" in str(item[1])):
        words[key] = _fill(value, words) if value != "" else ""
    return words


def settings_of(verb_name: str, given: Mapping[str, Any], tables: Mapping[str, Any]) -> Any:
    """Sort flat settings into a verb's own and its component's, and validate both.

    Parameters
    ----------
    given
        Field name to value: the verb's fields, and those of the component that it names.
    tables
        A recipe's ``[kind.component]`` tables, for whatever `given` does not say; names are written with ``_``.
    """
    named = verb(verb_name)
    model: type[BaseModel] = named.load().Settings
    own = {key: value for key, value in given.items() if key in model.model_fields}
    rest = {key: value for key, value in given.items() if key not in own}
    for key in ("config", "set"):
        if not isinstance(own.get(key, {}), dict):
            raise ConfigError(f"'{key}' of '{verb_name}' is a table of settings, got {own[key]!r}.")
    if named.kind and named.field:
        default = model.model_fields[named.field].default
        chosen = str(own.get(named.field, default or ""))
        if chosen and not is_run(chosen) and "/" not in chosen:  # a run stands wherever a component's name can
            component = plugins.component(named.kind, chosen)
            for key in rest:
                if key not in component.config.model_fields:
                    known = [*model.model_fields, *component.config.model_fields]
                    raise unknown("setting", key, known, hint=f"(of {verb_name} {chosen})")
            config = {**tables.get(named.kind, {}).get(chosen, {}), **own.get("config", {}), **rest}
            component.configure(config)
            own["config"], rest = config, {}
    if "set" in model.model_fields:
        own["set"] = merge(_nested(named.nested, tables, own), own.get("set", {}))
    return validate(model, {**own, **rest}, f"'{verb_name}'")


def dump_recipe(verb_name: str, settings: BaseModel) -> str:
    """Write settings as a recipe of one stage that does the same again."""
    stage = {"verb": verb_name, **settings.model_dump(mode="json", exclude_none=True)}
    stage |= stage.pop("config", {})
    return tomli_w.dumps({"stage": [{key: value for key, value in stage.items() if value not in ([], {})}]})


def _nested(kinds: Sequence[tuple[str, str]], tables: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Take the recipe's tables of the further components that a stage uses (all, where it names none)."""
    nested = {}
    for kind, field in kinds:
        names = own.get(field, ())
        used = {str(name).partition(":")[0] for name in names} if isinstance(names, list | tuple) else set()
        chosen = {name: values for name, values in tables.get(kind, {}).items() if not used or name in used}
        if chosen:
            nested[kind] = chosen
    return nested


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested tables over others; what is above wins."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
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
