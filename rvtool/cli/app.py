"""The command line: finds out which verb and which component are meant, and builds that one command."""

from __future__ import annotations

import os
import sys
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
    if name is None:
        return build(verb, None)
    return build(verb, plugins.component(verb.kind, name))


def chosen(verb: Verb, args: list[str]) -> str | None:
    """Find the component's name among the arguments: after its option, or the first word that is no option's value."""
    from rvtool import plugins

    assert verb.kind is not None
    assert verb.field is not None
    if verb.field not in verb.positional:
        for place, word in enumerate(args):
            if word == f"--{verb.field}" and place + 1 < len(args):
                return args[place + 1]
            if word.startswith(f"--{verb.field}="):
                return word.partition("=")[2]
        default = verb.load().Settings.model_fields[verb.field].default
        return str(default) if default else None
    words = [w for before, w in zip(["", *args], args, strict=False) if not w.startswith("-") and _is_free(before)]
    known = [word for word in words if word in plugins.components(verb.kind)]
    return known[0] if known else words[0] if words else None


def _is_free(before: str) -> bool:
    """Tell whether a word after `before` is one of its own and not an option's value."""
    return not before.startswith("-") or "=" in before or before in ("--quiet", "--json") or before.startswith("--no-")


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
