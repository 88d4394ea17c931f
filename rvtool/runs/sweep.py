"""Sweeps: one recipe done with every combination of some values.

``[sweep]`` holds lists of values by the paths of ``--set``: ``train.seed = [0, 1]``. The lists multiply. A value that
is a table sets several settings together: ``train = [{epochs = 5, dropout = 0.1}, {epochs = 9, dropout = 0.3}]``. Each
combination is a member, whose stages are those of the recipe with its values; the word ``{member}`` names it in their
outputs. Stages that are the same for several members are one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rvtool.errors import ConfigError
from rvtool.runs.recipe import Stage, merge, stages_of

LONGEST_NAME = 120


@dataclass(frozen=True)
class Member:
    """One combination of values.

    Attributes
    ----------
    name
        Made of its values, to name its folder; empty where a recipe has no sweep.
    values
        By the dotted paths of the settings.
    stages
        The recipe's with these values.
    """

    name: str
    values: dict[str, Any]
    stages: list[Stage]


@dataclass(frozen=True)
class Job:
    """A stage, and the names of the members that it is the same for."""

    stage: Stage
    members: list[str]


def members_of(recipe: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[Member]:
    """Resolve a recipe into the members of its sweep; into one without a name where it has none.

    Parameters
    ----------
    recipe
        As read from TOML.
    overrides
        Nested tables that win over the recipe's (see `rvtool.runs.recipe.stages_of`), those of ``sweep`` among them.

    Raises
    ------
    ConfigError
        The recipe or the sweep is wrong, two members would do the same, or nothing tells their outputs apart.
    """
    combinations = combine(merge(_table(recipe), _table(overrides)))
    overrides = {key: value for key, value in overrides.items() if key != "sweep"}
    if combinations == [{}]:
        return [Member("", {}, stages_of(recipe, overrides))]
    for path in dict.fromkeys(path for values in combinations for path in values):
        if _holds(overrides, path.split(".")):
            raise ConfigError(f"'{path}' is swept; give it a list: --set sweep.{path}=[VALUE, ...].")
    known: dict[str, Mapping[str, Any]] = {}
    members: dict[str, Member] = {}
    for values in combinations:
        given = merge(overrides, _nested(values))
        alike = str([(stage.verb, stage.settings) for stage in stages_of(recipe, {**given, "member": "*"})])
        if alike in known:
            raise ConfigError(
                f"Two members of the sweep would do the same, {_told(known[alike])} and {_told(values)}; "
                "take out what no stage uses, and what stands twice."
            )
        known[alike] = values
        name = _name(values)
        if name in members:
            raise ConfigError(f"Two members of the sweep would have the name '{name}'; change their values.")
        members[name] = Member(name, values, stages_of(recipe, {**given, "member": name}))
    found = list(members.values())
    sweep_folder(found[0])
    names = [stage.name for stage in found[0].stages]
    for stage_name in names:
        if names.count(stage_name) > 1:
            raise ConfigError(f"Two stages of the sweep are called '{stage_name}'; give each a name of its own.")
    return found


def combine(sweep: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Multiply the lists of a sweep: the values of each member by dotted path, the last list moving fastest.

    Raises
    ------
    ConfigError
        Something is no list, or an empty one.
    """
    axes = []
    for path, values in _leaves(sweep):
        if not isinstance(values, list) or not values:
            raise ConfigError(f"'{path}' of a sweep is a list of values, as sweep.{path} = [1, 2]; got {values!r}.")
        axes.append([dict(_leaves(value, path)) for value in values])
    return [{path: value for part in parts for path, value in part.items()} for parts in product(*axes)]


def jobs_of(members: Sequence[Member]) -> list[Job]:
    """Return what is to be done, member by member; a stage that is the same for several stands once."""
    jobs: dict[str, Job] = {}
    for member in members:
        for number, stage in enumerate(member.stages):
            jobs.setdefault(str((number, stage.settings)), Job(stage, [])).members.append(member.name)
    return list(jobs.values())


def sweep_folder(member: Member) -> Path:
    """Return the folder that holds those of all members.

    Raises
    ------
    ConfigError
        No stage names the member in its output.
    """
    for stage in member.stages:
        parts = Path(getattr(stage.settings, "out", None) or "").parts
        for number, part in enumerate(parts):
            if member.name in part:
                return Path(*parts[:number])
    raise ConfigError(
        "No stage of the sweep names {member} in its 'out', which tells the members' outputs apart; "
        'write for example out = "{out}/{member}".'
    )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the shortest ending of each dotted path that no other has."""

    def ending(path: str, count: int) -> str:
        return ".".join(path.split(".")[-count:])

    short = {}
    for path in paths:
        counts = range(1, path.count(".") + 1)
        others = [other for other in paths if other != path]
        alone = (ending(path, n) for n in counts if ending(path, n) not in {ending(other, n) for other in others})
        short[path] = next(alone, path)
    return short


def value_text(value: Any) -> str:
    """Write a setting's value in few characters: ``rotate-flip+shift``."""
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(value_text, value)) if isinstance(value, list | tuple) else str(value)


def _name(values: Mapping[str, Any]) -> str:
    short = short_names(list(values))
    words = {path: re.sub(r"[^\w.+-]+", "-", value_text(value)).strip("-") for path, value in values.items()}
    name = ",".join(f"{short[path]}={word}" for path, word in words.items())
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={value_text(value)}" for path, value in values.items())


def _table(tree: Mapping[str, Any]) -> dict[str, Any]:
    sweep = tree.get("sweep", {})
    if not isinstance(sweep, dict):
        raise ConfigError(f"'sweep' of a recipe is a table of lists, as sweep.train.seed = [0, 1]; got {sweep!r}.")
    return sweep


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}.{key}" if path else key)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        for part in reversed(path.split(".")):
            value = {part: value}  # noqa: PLW2901
        tree = merge(tree, value)
    return tree


def _holds(tree: Any, parts: Sequence[str]) -> bool:
    return not parts or (isinstance(tree, dict) and parts[0] in tree and _holds(tree[parts[0]], parts[1:]))
