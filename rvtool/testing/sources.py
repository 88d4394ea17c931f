"""The contract of sources."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from rvtool.component import Component
from rvtool.kinds import (
    Absent,
    Catalogues,
    Fatal,
    Fetches,
    Found,
    Further,
    Listed,
    Offers,
    Reply,
    Request,
    Retry,
    SourceInfo,
    Target,
)
from rvtool.services.replies import is_fits

if TYPE_CHECKING:
    from rvtool.testing.sky import Sky

ANSWERS = (Found, Further, Listed, Absent, Retry, Fatal)
GOOD = (Found, Further, Listed)
LOOKED_AT = 20  # targets
MOST_STEPS = 8  # from a target to its image
PROBE = Target("probe", 180.0, 30.0)  # what a source is asked for that knows no targets itself

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
    "200 with a web page": (200, {"content-type": "text/html"}, b"<html><body>Service down</body></html>"),
    "200 with text in <PRE>": (200, {"content-type": "text/html"}, b"<PRE>\nThe server is overloaded\n</PRE>"),
    "200 with a FITS file cut off in its header": (200, {}, b"SIMPLE  =                    T / standard".ljust(100)),
    "200 with a CSV that is an error": (
        200,
        {"content-type": "text/csv"},
        b'#Table1\n"ERROR: Maximum 60 queries allowed per minute. Rejected query: SELECT TOP 1 ra"\n',
    ),
    "200 with a VOTable of QUERY_STATUS=ERROR": (
        200,
        {"content-type": "text/xml"},
        b'<?xml version="1.0"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        b'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">The database is not currently reachable'
        b"</INFO></RESOURCE></VOTABLE>\n",
    ),
    "200 with a JSON error": (200, {"content-type": "application/json"}, b'{"title": "Internal error"}'),
}
"""Replies that a service called good."""


def check_source(
    component: Component,
    settings: Mapping[str, Any] | None = None,
    *,
    recorded: Sequence[tuple[Target, Reply, type]] = (),
    sky: Sky | None = None,
    probe: Target = PROBE,
) -> None:
    """Check that a source is pure, tells the facts of its survey, and takes every faulty reply.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.
    recorded
        Real replies: target, reply, and which of `Found`, `Absent`, `Retry` and `Fatal` each is.
    sky
        The stand-in sky, where it speaks the source's protocol (`rvtool.testing.sky`): its good answers must be found
        good, and every named fault of a reply must not.
    probe
        What is asked for where the source knows no targets itself.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    name = f"Source '{component.name}'"
    with _offline(name):
        source = component.load()(component.configure(settings))
        _check_info(name, getattr(source, "info", None))
        assert isinstance(source, Fetches | Catalogues), (
            f"{name} needs request() and read() to give images, or classes, query() and entries() to list targets."
        )
        if isinstance(source, Fetches):
            for target in _targets(name, source, probe):
                _check_target(name, source, target)
                if sky is not None:
                    _check_steps(name, source, target, sky)
        if isinstance(source, Catalogues):
            _check_catalogue(name, source)
        for target, reply, expected in recorded:
            read = _reader(source, target, expected)
            answer = _read(name, read, reply, f"the recorded reply to {target.id}")
            assert isinstance(answer, expected), (
                f"{name} read the recorded reply to '{target.id}' as {answer!r}, not as {expected.__name__}."
            )
            if isinstance(answer, Found):
                assert answer.body and answer.suffix.startswith("."), (
                    f"{name}: Found for '{target.id}' needs bytes and a suffix such as '.fits'."
                )


def _targets(name: str, source: Any, probe: Target) -> list[Target]:
    if not isinstance(source, Offers):
        return [probe]
    targets = list(islice(source.targets(), LOOKED_AT))
    assert targets == list(islice(source.targets(), LOOKED_AT)), f"{name} lists other targets the second time."
    assert targets, f"{name} has no targets with these settings; give check_source settings that name some."
    ids = [target.id for target in targets]
    assert len(set(ids)) == len(ids), f"{name} gives several targets one id; an id names one image."
    return targets


def _reader(source: Any, target: Target, expected: type) -> Callable[[Reply], Any]:
    """Return what reads a recorded reply: the catalogue's side for a list, else the images'."""
    if expected is Listed or not isinstance(source, Fetches):
        return partial(source.entries, str(target.columns.get("label", "")))
    return partial(source.read, target)


def _check_info(name: str, info: Any) -> None:
    assert isinstance(info, SourceInfo), f"{name}: info is {info!r}, not a rvtool.kinds.SourceInfo."
    assert info.max_rate_per_s > 0 and info.max_connections >= 1, f"{name}: info must allow some requests."
    if info.base_url.startswith("http"):
        assert info.licence and info.citation, (
            f"{name}: info must state licence and citation, which travel with every dataset made from the service."
        )


def _check_target(name: str, source: Any, target: Target) -> None:
    assert isinstance(target, Target) and target.id, (
        f"{name}: targets() gave {target!r}, which is no Target with an id."
    )
    request = source.request(target)
    assert request == source.request(target), f"{name} asks differently for '{target.id}' the second time."
    _check_request(name, source.info, request)
    _check_replies(name, source.info, request, partial(source.read, target))


def _check_steps(name: str, source: Any, target: Target, sky: Sky) -> None:
    """Follow a target to its image in the stand-in sky, and spoil every reply on the way by every named fault."""
    from rvtool.testing.sky.answers import respond
    from rvtool.testing.sky.asked import Asked
    from rvtool.testing.sky.faults import PURE, faulty

    request, answer = source.request(target), None
    for step in range(MOST_STEPS):
        good = respond(Asked.of(request, "http://127.0.0.1"), sky)
        for fault in PURE:
            spoilt = faulty(fault, good)
            if spoilt == good or is_fits(spoilt.body) or fault == "votable-overflow":
                continue  # images that are wrong inside are for the core to find, and what overflows is good so far
            answer = _read(name, partial(source.read, target), spoilt.reply(request), f"the fault '{fault}'")
            assert not isinstance(answer, GOOD), f"{name} takes the fault '{fault}' for good in step {step + 1}."
        answer = _read(name, partial(source.read, target), good.reply(request), "the stand-in's answer")
        if not isinstance(answer, Further):
            break
        request = answer.request
    assert isinstance(answer, Found), f"{name} reads the stand-in's answer as {answer!r}, not as Found."


def _check_catalogue(name: str, source: Any) -> None:
    for label in (*source.classes, ""):
        requests = source.query(label, 10 if label else None)
        assert isinstance(requests, tuple), f"{name}: query() gives a tuple of requests."
        assert requests or not label, f"{name} offers the class '{label}' and asks nobody for it."
        assert requests == source.query(label, 10 if label else None), f"{name} asks differently the second time."
        for request in requests[:2]:
            _check_request(name, source.info, request)
            _check_replies(name, source.info, request, partial(source.entries, label))


def _check_request(name: str, info: SourceInfo, request: Request) -> None:
    assert request.url.startswith((info.base_url, *info.further_urls)), (
        f"{name} asks {request.url}, which is not under its base_url {info.base_url}; users point a source at a "
        "mirror by the base URL."
    )


def _check_replies(name: str, info: SourceInfo, request: Request, read: Callable[[Reply], Any]) -> None:
    for what, reply in BUSY.items():
        answer = _read(name, read, _reply(request, reply), what)
        assert not isinstance(answer, GOOD), f"{name} takes '{what}' for good."
        if info.base_url.startswith("http"):
            assert isinstance(answer, Retry), f"{name} reads '{what}' as {answer!r}; a service that is busy is a Retry."
    for what, reply in FAULTY.items():
        answer = _read(name, read, _reply(request, reply), what)
        assert not isinstance(answer, GOOD), f"{name} takes '{what}' for good."
    for what, reply in NONSENSE.items():
        answer = _read(name, read, _reply(request, reply), what)
        # what stands in a local file is judged by whoever opens it
        assert not isinstance(answer, GOOD) or request.url.startswith("file:"), (
            f"{name} takes '{what}' for good; look at the first bytes before believing a reply."
        )


def _reply(request: Request, reply: tuple[int, dict[str, str], bytes]) -> Reply:
    status, headers, body = reply
    lower = {key.lower(): value for key, value in headers.items()}
    return Reply(request, status, lower, body, pair=_reply(request.pair, reply) if request.pair else None)


def _read(name: str, read: Callable[[Reply], Any], reply: Reply, what: str) -> Any:
    try:
        answer = read(reply)
    except Exception as error:
        raise AssertionError(
            f"{name}: reading raised {type(error).__name__}: {error} on '{what}'; return Absent, Retry or Fatal with a "
            "reason instead, so that one bad reply never loses the others."
        ) from error
    assert isinstance(answer, ANSWERS), f"{name}: reading returned {answer!r} for '{what}'."
    again = read(reply)
    if isinstance(answer, Retry) and isinstance(again, Retry):  # a date as Retry-After comes nearer
        again = replace(again, after_s=answer.after_s)
    assert answer == again, f"{name} reads '{what}' differently the second time."
    if not isinstance(answer, GOOD):
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
