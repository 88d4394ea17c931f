"""What the stand-in answers to a request, by the route of the service that owns its path."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from functools import cache

from rvtool.kinds import Reply, Request
from rvtool.testing.sky import routes
from rvtool.testing.sky.asked import Answer, Asked, Route
from rvtool.testing.sky.sky import Sky


def respond(asked: Asked, sky: Sky) -> Answer:
    """Answer a request as the service that owns its path would."""
    for prefix, route in _routes():
        if asked.path.startswith(prefix):
            return route.answer(asked, sky)
    return Answer(b"<html><body><h1>Not Found</h1></body></html>", "text/html", 404)


def answer(request: Request, base_url: str, sky: Sky) -> Reply:
    """Answer a source's request, and its pair's, without a network: what the core would hand to the source."""
    reply = respond(Asked.of(request, base_url), sky).reply(request)
    return reply if request.pair is None else replace(reply, pair=answer(request.pair, base_url, sky))


@cache
def _routes() -> list[tuple[str, Route]]:
    """Return the routes of every module in `routes`, the longest prefixes first."""
    for module in pkgutil.iter_modules(routes.__path__):
        importlib.import_module(f"{routes.__name__}.{module.name}")
    known = [(prefix, route()) for route in Route.__subclasses__() for prefix in route.paths]
    return sorted(known, key=lambda item: -len(item[0]))
