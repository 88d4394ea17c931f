"""Finds plugins, keeps broken ones apart, and answers one question: which components of a kind are there?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import pluggy

from rvtool import hookspecs
from rvtool.component import Component
from rvtool.errors import PluginError, unknown

GROUP = "rvtool"
KINDS = ("source", "simulator", "model", "loss", "augmenter", "metric", "codec")


def hook_name(kind: str) -> str:
    """Return the hook of a kind: ``rvtool_losses`` for ``loss``."""
    return "rvtool_losses" if kind == "loss" else f"rvtool_{kind}s"


@dataclass(frozen=True)
class Offer:
    """A row of `rvtool plugins`: a component, or a plugin that could not give any."""

    kind: str
    name: str
    distribution: str
    version: str
    summary: str
    status: str
    component: Component | None = None


def _origin(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("(unknown)", "")


def _strict() -> bool:
    return os.environ.get("RVTOOL_STRICT_PLUGINS", "") not in ("", "0")


def _load(entry: EntryPoint) -> list[Offer]:
    """Load one entry point and ask each of its hooks, in a manager of its own so that no plugin can hurt another."""
    distribution, version = _origin(entry)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(entry.load(), entry.name)
    manager.check_pending()
    offers = []
    for kind in KINDS:
        for components in getattr(manager.hook, hook_name(kind))():
            for component in components:
                if not isinstance(component, Component):
                    raise PluginError(f"{hook_name(kind)}() returned {component!r}, which is no rvtool.Component")
                offers.append(Offer(kind, component.name, distribution, version, component.summary, "ok", component))
    return offers


@cache
def offers() -> tuple[Offer, ...]:
    """Load every plugin once and list what each offers, the broken ones with their cause.

    Raises
    ------
    Exception
        Whatever a plugin raised, if ``RVTOOL_STRICT_PLUGINS=1``.
    """
    found: list[Offer] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        try:
            found += _load(entry)
        except Exception as error:  # a plugin may raise anything; the other plugins must go on
            if _strict():
                raise
            distribution, version = _origin(entry)
            cause = f"{type(error).__name__}: {error}".splitlines()[0]
            found.append(Offer("", entry.name, distribution, version, f"entry point {entry.value}", f"broken: {cause}"))
            print(
                f"rvtool: plugin '{entry.name}' of {distribution} {version} is left out: {cause} "
                "(RVTOOL_STRICT_PLUGINS=1 shows where)",
                file=sys.stderr,
            )
    return tuple(found)


@cache
def components(kind: str) -> dict[str, Component]:
    """Return the components of a kind by name: the only way in.

    Raises
    ------
    PluginError
        Two distributions offer the same name in this kind.
    """
    table: dict[str, Component] = {}
    givers: dict[str, str] = {}
    for offer in offers():
        if offer.kind != kind or offer.component is None:
            continue
        if offer.name in table:
            raise PluginError(
                f"Two plugins offer a {kind} named '{offer.name}': {givers[offer.name]} and {offer.distribution}. "
                "Uninstall one of them."
            )
        table[offer.name] = offer.component
        givers[offer.name] = offer.distribution
    return dict(sorted(table.items()))


def component(kind: str, name: str) -> Component:
    """Return one component by name.

    Raises
    ------
    ConfigError
        Nobody offers that name; the nearest names are told.
    """
    known = components(kind)
    if name not in known:
        raise unknown(kind, name, known, hint=f"'rvtool plugins --kind {kind}' lists them all.")
    return known[name]


def version_of(kind: str, name: str) -> str:
    """Return ``distribution version`` of the plugin that offers a component."""
    return next(f"{o.distribution} {o.version}" for o in offers() if (o.kind, o.name) == (kind, name))
