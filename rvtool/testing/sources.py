"""The contract of sources."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn

from rvtool.component import Component
from rvtool.kinds import Absent, Fatal, Found, Reply, Request, Retry, Source, SourceInfo, Target

ANSWERS = (Found, Absent, Retry, Fatal)
LOOKED_AT = 20  # targets

BUSY: dict[str, tuple[int, dict[str, str], bytes]] = {
    "429 Too Many Requests": (429, {"Retry-After": "7"}, b"slow down"),
    "503 Service Unavailable": (503, {}, b"<html>busy</html>"),
    "500 with an empty body": (500, {}, b""),
}
"""Replies of a service that may answer later."""

FAULTY: dict[str, tuple[int, dict[str, str], bytes]] = {
    "404 Not Found": (404, {}, b"<html>not found</html>"),
    "403 Forbidden": (403, {}, b""),
    "no connection": (0, {}, b"Connection refused"),
}
"""Replies without an image."""

NONSENSE: dict[str, tuple[int, dict[str, str], bytes]] = {
    "200 with an empty body": (200, {}, b""),
    "200 with a web page": (200, {"Content-Type": "text/html"}, b"<html><body>Service down</body></html>"),
    "200 with a FITS file cut off in its header": (200, {}, b"SIMPLE  =                    T / standard".ljust(100)),
}
"""Replies that a service called good."""


def check_source(
    component: Component,
    settings: Mapping[str, Any] | None = None,
    *,
    recorded: Sequence[tuple[Target, Reply, type]] = (),
) -> None:
    """Check that a source is pure, tells the facts of its survey, and takes every faulty reply.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.
    recorded
        Real replies: target, reply, and which of `Found`, `Absent`, `Retry` and `Fatal` each is.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    name = f"Source '{component.name}'"
    with _offline(name):
        source = component.load()(component.configure(settings))
        assert isinstance(source, Source), f"{name} needs the attribute 'info' and targets(), request() and read()."
        _check_info(name, source.info)
        targets = list(islice(source.targets(), LOOKED_AT))
        assert targets == list(islice(source.targets(), LOOKED_AT)), f"{name} lists other targets the second time."
        assert targets, f"{name} has no targets with these settings; give check_source settings that name some."
        ids = [target.id for target in targets]
        assert len(set(ids)) == len(ids), f"{name} gives several targets one id; an id names one image."
        for target in targets:
            _check_target(name, source, target)
        for target, reply, expected in recorded:
            answer = _read(name, source, target, reply, f"the recorded reply to {target.id}")
            assert isinstance(answer, expected), (
                f"{name} read the recorded reply to '{target.id}' as {answer!r}, not as {expected.__name__}."
            )
            if isinstance(answer, Found):
                assert answer.body and answer.suffix.startswith("."), (
                    f"{name}: Found for '{target.id}' needs bytes and a suffix such as '.fits'."
                )


def _check_info(name: str, info: SourceInfo) -> None:
    assert isinstance(info, SourceInfo), f"{name}: info is {info!r}, not a rvtool.kinds.SourceInfo."
    assert info.max_rate_per_s > 0 and info.max_connections >= 1, f"{name}: info must allow some requests."
    if info.base_url.startswith("http"):
        assert info.licence and info.citation, (
            f"{name}: info must state licence and citation, which travel with every dataset made from the service."
        )


def _check_target(name: str, source: Source, target: Target) -> None:
    assert isinstance(target, Target) and target.id, (
        f"{name}: targets() gave {target!r}, which is no Target with an id."
    )
    request = source.request(target)
    assert request == source.request(target), f"{name} asks differently for '{target.id}' the second time."
    assert request.url.startswith(source.info.base_url), (
        f"{name} asks {request.url}, which is not under its base_url {source.info.base_url}; users point a source at a "
        "mirror by the base URL."
    )
    for what, reply in BUSY.items():
        answer = _read(name, source, target, _reply(request, reply), what)
        assert not isinstance(answer, Found), f"{name} takes '{what}' for an image."
        if source.info.base_url.startswith("http"):
            assert isinstance(answer, Retry), f"{name} reads '{what}' as {answer!r}; a service that is busy is a Retry."
    for what, reply in FAULTY.items():
        answer = _read(name, source, target, _reply(request, reply), what)
        assert not isinstance(answer, Found), f"{name} takes '{what}' for an image."
    for what, reply in NONSENSE.items():
        answer = _read(name, source, target, _reply(request, reply), what)
        # what stands in a local file is judged by whoever opens it
        assert not isinstance(answer, Found) or request.url.startswith("file:"), (
            f"{name} takes '{what}' for an image; look at the first bytes before saying Found."
        )


def _reply(request: Request, reply: tuple[int, dict[str, str], bytes]) -> Reply:
    return Reply(request, *reply, pair=_reply(request.pair, reply) if request.pair else None)


def _read(name: str, source: Source, target: Target, reply: Reply, what: str) -> Any:
    try:
        answer = source.read(target, reply)
    except Exception as error:
        raise AssertionError(
            f"{name}: read() raised {type(error).__name__}: {error} on '{what}'; return Absent, Retry or Fatal with a "
            "reason instead, so that one bad reply never loses the others."
        ) from error
    assert isinstance(answer, ANSWERS), f"{name}: read() returned {answer!r} for '{what}'."
    assert answer == source.read(target, reply), f"{name} reads '{what}' differently the second time."
    if not isinstance(answer, Found):
        assert answer.reason, f"{name}: {type(answer).__name__} for '{what}' needs a reason that a person can read."
    return answer


@contextmanager
def _offline(name: str) -> Iterator[None]:
    """Fail if a connection is opened: the core does all downloading."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError(f"{name} opens a connection itself; return a Request and the core will fetch it.")

    kept = socket.socket.connect
    socket.socket.connect = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.socket.connect = kept  # type: ignore[method-assign]
