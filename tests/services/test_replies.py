"""Replies: what the HTTP status means, when to come back, and what was said instead."""

from __future__ import annotations

import datetime

import pytest

from rvtool.kinds import Absent, Fatal, Reply, Request, Retry
from rvtool.services import replies


def reply(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
    """Return a reply."""
    return Reply(Request("https://example.org"), status, headers or {}, body)


@pytest.mark.parametrize("status", [0, 408, 425, 429, 500, 502, 503, 504, 520])
def test_later(status: int) -> None:
    assert isinstance(replies.refusal(reply(status)), Retry)


@pytest.mark.parametrize(("status", "kind"), [(401, Fatal), (403, Fatal), (400, Absent), (404, Absent), (410, Absent)])
def test_never(status: int, kind: type) -> None:
    assert isinstance(replies.refusal(reply(status)), kind)


@pytest.mark.parametrize("status", [200, 204, 206])
def test_the_body_tells(status: int) -> None:
    assert replies.refusal(reply(status)) is None


def test_reasons() -> None:
    assert replies.refusal(reply(0, b"timed out")) == Retry("timed out")
    assert replies.refusal(reply(503, headers={"retry-after": "7"})) == Retry("HTTP 503", 7.0)
    assert replies.refusal(reply(404, b"<h1>Not here</h1>")) == Absent("HTTP 404: Not here")


NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("", None),
        ("30", 30.0),
        ("1.5", 1.5),
        ("Thu, 01 Jan 2026 12:01:30 GMT", 90.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after(said: str, seconds: float | None) -> None:
    assert replies.retry_after(reply(429, headers={"retry-after": said}), NOW) == seconds


def test_fits_needs_a_whole_block() -> None:
    head = b"SIMPLE  =                    T".ljust(2880)
    assert replies.is_fits(head)
    assert not replies.is_fits(head[:-1])
    assert not replies.is_fits(b"<html>".ljust(2880))


def test_words_of_a_page() -> None:
    page = b"<html><style>p {color: red}</style><script>alert('x')</script><p>No <b>image</b>\n here\x07</p></html>"
    assert replies.words(page) == "No image here?"
    assert replies.words(b"x" * 200, 10) == "xxxxxxx..."
