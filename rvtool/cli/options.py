"""Settings become options: one command, built from a verb's `Settings` and the config of the component it composes."""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from rvtool.config import typed_name
from rvtool.errors import PluginError, RvtoolError

COMPLETED = {
    "source": "source",
    "simulator": "simulator",
    "model": "model",
    "codec": "codec",
    "loss": "loss",
    "augment": "augmenter",
}
"""Fields whose values are names of components, and their kinds: what shell completion offers."""

HIDDEN = ("config",)  # the settings of the component: flat beside the verb's own
COMMON = ("ctx", "help", "quiet", "json", "recipe", "recipe_file")  # what every command has besides
RECIPE_HELP = "Take settings from this recipe: from its table '{0}', or from its only stage of that verb."


def build(verb: Any, component: Any | None) -> Any:
    """Build the command of a verb, with the options of a component beside the verb's own.

    Raises
    ------
    PluginError
        The component has a setting of the name of one of the verb's.
    """
    module = verb.load()
    parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    own = [_parameter(n, f, verb, component) for n, f in module.Settings.model_fields.items() if n not in HIDDEN]
    parameters += sorted(own, key=lambda p: verb.positional.index(p.name) if p.name in verb.positional else 99)
    if component is not None:
        for name, field in component.config.model_fields.items():
            if name in module.Settings.model_fields or name in COMMON:
                raise PluginError(
                    f"'{component.name}' has a setting '{name}', which is an option of 'rvtool {verb.name}' already; "
                    "its author must rename it."
                )
            parameters.append(_parameter(name, field, None, None, panel=f"Options of {component.name}"))
    parameters += [_flag("quiet", "Print errors only."), _flag("json", "Print the result as JSON on stdout.")]
    parameters.append(_parameter_of("recipe_file", Path | None, None, "--recipe", RECIPE_HELP.format(verb.name)))
    if verb.name == "run":
        parameters.pop()

    def command(**values: Any) -> None:
        _execute(verb, component, values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = f"{verb.summary}\n\n{component.name}: {component.summary}." if component else verb.summary
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(verb.name)(command)
    return typer.main.get_command(app)


def _execute(verb: Any, component: Any | None, values: dict[str, Any]) -> None:
    """Collect what was typed, validate it, run the verb, and turn its errors into exit codes."""
    from rich.console import Console

    from rvtool.runs.recipe import parse_assignments, read_recipe, settings_with

    ctx, quiet, as_json = values.pop("ctx"), values.pop("quiet"), values.pop("json")
    recipe_file = values.pop("recipe_file", None)
    console = Console(stderr=as_json, quiet=quiet)
    try:
        given = {name: value for name, value in values.items() if _typed(ctx, name)}
        if "set" in given:
            given["set"] = parse_assignments(given["set"])
        for name, choices in _choices(verb, component).items():
            if name in given:
                given[name] = choices.get(given[name], given[name])
        if component is not None:
            given[verb.field] = component.name
        recipe = read_recipe(recipe_file) if recipe_file else {}
        result = verb.load().run(settings_with(verb.name, recipe, given), console)
    except RvtoolError as error:
        print(f"rvtool: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except OSError as error:
        from rvtool.data.files import FULL, write_error

        if error.errno not in FULL:
            raise
        print(f"rvtool: {write_error(Path(error.filename or 'The output'), error)}", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(result, indent=1, default=str))
    if isinstance(result, dict) and (result.get("failures") or result.get("unfinished")):
        raise typer.Exit(3)


def _choices(verb: Any, component: Any | None) -> dict[str, dict[str, Any]]:
    """Return for each field of choices what the words mean that stand for them on the command line."""
    fields = {**verb.load().Settings.model_fields, **(component.config.model_fields if component else {})}
    found = {name: _literal(field.annotation) for name, field in fields.items()}
    return {name: {str(value): value for value in values} for name, values in found.items() if values}


def _literal(annotation: Any) -> tuple[Any, ...]:
    """Return the values that a field may have, where it is one of choices or none."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return _literal(inner[0]) if len(inner) == 1 else ()
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _typed(ctx: typer.Context, name: str) -> bool:
    """Tell whether an option was given, and not left at its default."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _parameter(name: str, field: Any, verb: Any | None, component: Any | None, panel: str | None = None) -> Any:
    """Turn one field of a config into a parameter of the command."""
    annotation, default = _plain(field.annotation), field.default
    if _literal(field.annotation) and default is not None and not field.is_required():
        default = str(default)
    help_text = (field.description or "").rstrip(".")
    if name == "set":
        annotation, default = list[str], []
    elif any(type(m).__name__ == "BeforeValidator" for m in field.metadata):  # a tuple typed as one word
        default = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in default)
        annotation, help_text = str, f"{help_text} (comma-separated)"
    elif get_origin(annotation) is tuple:
        annotation, default = list[get_args(annotation)[0]], list(default) if isinstance(default, tuple) else []  # type: ignore[misc]
    bounds = {type(m).__name__: m for m in field.metadata}
    limits: dict[str, Any] = {}
    strict = []
    numeric = annotation in (int, float) or set(get_args(annotation)) <= {int, float, type(None)}
    if numeric and annotation is not str:
        if "Ge" in bounds:
            limits["min"] = bounds["Ge"].ge
        if "Le" in bounds:
            limits["max"] = bounds["Le"].le
        strict += [f"> {bounds['Gt'].gt}"] if "Gt" in bounds else []
        strict += [f"< {bounds['Lt'].lt}"] if "Lt" in bounds else []
    if strict:
        help_text = f"{help_text} ({' and '.join(strict)})"
    kind = COMPLETED.get(name) if verb is not None else None
    if verb is not None and name == verb.field and component is None and name not in verb.positional:
        from rvtool.plugins import components

        help_text = f"{help_text}: {', '.join(components(verb.kind)) or 'none is installed'}"
    extra: dict[str, Any] = {"help": help_text, **limits, "rich_help_panel": panel}
    if kind:
        extra["autocompletion"] = _completer(kind)
    if verb is not None and name in verb.positional:
        required = field.is_required()
        annotation = annotation if required or get_origin(annotation) is list else annotation | None
        marker = typer.Argument(**extra, show_default=False)
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[annotation, marker],
            default=inspect.Parameter.empty if required else default,
        )
    return _parameter_of(name, annotation, default, _option(name, annotation, default), **extra)


def _option(name: str, annotation: Any, default: Any) -> str:
    dashed = typed_name(name)
    short = {"out": "/-o"}.get(name, "")
    if annotation is bool:
        return f"--{dashed}/--no-{dashed}" if default else f"--{dashed}"
    return f"--{dashed}{short}"


def flags(config: Any) -> set[str]:
    """Return the options of a config that take no value."""
    found: set[str] = set()
    for name, field in config.model_fields.items():
        if _plain(field.annotation) is bool:
            found |= set(_option(name, bool, field.default).split("/"))
    return found


def _parameter_of(name: str, annotation: Any, default: Any, option: str, help: str = "", **extra: Any) -> Any:
    declarations = option.split("/") if annotation is not bool else [option]
    marker = typer.Option(
        *declarations, help=help, show_default=default not in (None, [], "") and default is not False, **extra
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, marker], default=default
    )


def _flag(name: str, help_text: str) -> Any:
    marker = typer.Option(f"--{name}", help=help_text, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[bool, marker], default=False)


def _plain(annotation: Any) -> Any:
    """Strip `Annotated`, and write optional types in the way that Typer reads."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [_plain(part) for part in get_args(annotation) if part is not type(None)]
        return typing.Optional[inner[0]] if len(inner) == 1 else str  # noqa: UP045 - built at run time
    if get_origin(annotation) is Literal:  # Typer's choices are strings; what they mean is looked up in `_choices`
        return Literal[tuple(str(value) for value in get_args(annotation))]
    return annotation


def _completer(kind: str) -> Callable[[str], list[tuple[str, str]]]:
    def complete(incomplete: str) -> list[tuple[str, str]]:
        from rvtool.plugins import components

        return [(name, c.summary) for name, c in components(kind).items() if name.startswith(incomplete)]

    return complete
