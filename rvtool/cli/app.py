"""The command line: finds out which verb and which component are meant, and builds that one command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from typer.completion import completion_init
from typer.core import TyperCommand, TyperGroup
from typer.main import get_install_completion_arguments

from rvtool.errors import RvtoolError
from rvtool.runs.verbs import VERBS, Verb

HELP = """Machine vision for radio astronomy: collect, simulate, train, evaluate and compress survey images.

Every command composes plugins: 'rvtool plugins' lists them, 'rvtool COMMAND --help' shows what each may be told."""


class Root(TyperGroup):
    """`rvtool` itself: builds a command only when it is called, so that ``--help`` loads no plugin."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Build the command that the arguments mean, with its component's options."""
        if args[0] not in VERBS:
            return super().resolve_command(ctx, args)
        try:
            return args[0], _command(VERBS[args[0]], args[1:]), args[1:]
        except RvtoolError as error:
            print(f"rvtool: {error}", file=sys.stderr)
            ctx.exit(1)


def _command(verb: Verb, args: list[str]) -> Any:
    from rvtool import plugins
    from rvtool.cli.options import build

    if verb.kind is None or verb.field is None:
        return build(verb, None)
    name = chosen(verb, args)
    if name is None and verb.field in verb.positional:
        return _menu(verb)
    if name is None or _is_run(name):  # the verb says what it can do with a run
        return build(verb, None)
    if "/" in name:  # no component is called so: a run was meant, and why it is none is told
        from rvtool.runs.run import load_run

        load_run(name)
    return build(verb, plugins.component(verb.kind, name))


def _is_run(name: str) -> bool:
    from rvtool.runs.run import is_run

    return is_run(name)


def chosen(verb: Verb, args: list[str]) -> str | None:
    """Find the component's name: typed as a word or with its option, else in the recipe, else the default."""
    from rvtool.runs.recipe import read_recipe, said_of

    assert verb.field is not None
    words, values = _parse(verb, args)
    if verb.field in verb.positional:
        place = verb.positional.index(verb.field)
        typed = words[place] if place < len(words) else None
    else:
        typed = values.get(f"--{verb.field.replace('_', '-')}")
    if typed is None and "--recipe" in values:
        typed = said_of(verb.name, read_recipe(Path(values["--recipe"]))).get(verb.field)
    typed = typed or verb.load().Settings.model_fields[verb.field].default
    return str(typed) if typed else None


def _parse(verb: Verb, args: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split arguments as the command will: into words of their own, and the last value of each option."""
    from rvtool import plugins
    from rvtool.cli.options import build, flags

    assert verb.kind is not None
    alone = {"--help"}
    for component in plugins.components(verb.kind).values():
        alone |= flags(component.config)
    for parameter in build(verb, None).params:
        names = {*parameter.opts, *parameter.secondary_opts}
        alone = alone | names if getattr(parameter, "is_flag", False) else alone - names
    words: list[str] = []
    values: dict[str, str] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return words + rest, values
        if not word.startswith("-") or word == "-":
            words.append(word)
        elif word.startswith("--") and "=" in word:
            option, _, value = word.partition("=")
            values[option] = value
        elif not word.startswith("--") and len(word) > 2:
            values[word[:2]] = word[2:]  # -oNAME
        elif word not in alone and rest:
            values[word] = rest.pop(0)
    return words, values


def _menu(verb: Verb) -> Any:
    """Build the command without a component: it lists them, and runs where the verb can do without (``--resume``)."""
    from rvtool import plugins
    from rvtool.cli.options import build

    assert verb.kind is not None
    command = build(verb, None)
    panel = f"{verb.kind.capitalize()}s"
    return TyperGroup(
        name=verb.name,
        commands=[
            TyperCommand(name=name, help=c.summary, callback=None, rich_help_panel=panel)
            for name, c in plugins.components(verb.kind).items()
        ],
        params=[p for p in command.params if p.name != verb.field],
        callback=command.callback,
        invoke_without_command=True,
        help=f"{verb.summary}\n\n'rvtool {verb.name} NAME --help' shows what each may be told.",
        rich_markup_mode="rich",
        subcommand_metavar="NAME [OPTIONS]",
    )


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from importlib.metadata import version

        print(f"rvtool {version('rvtool')}")
        return
    if "" in sys.argv[1:]:  # as a path it would mean the folder that one is in
        print(
            "rvtool: an argument is empty (a variable that is not set?); leave it out or give it a value.",
            file=sys.stderr,
        )
        sys.exit(2)
    # threads that wait for work must not spin: beside other programs that slows every network many times over
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    completion_init()
    placeholders = [TyperCommand(name=verb.name, help=verb.summary) for verb in VERBS.values()]
    root = Root(
        name="rvtool",
        commands=placeholders,
        params=list(get_install_completion_arguments()),
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    root.main(prog_name="rvtool")
