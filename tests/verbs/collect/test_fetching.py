"""The fetcher alone, with a transport that answers from a script: mirrors, shared replies, doubts, giving up."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from rvtool.errors import DataError, SourceError, WriteError
from rvtool.kinds import Absent, Fatal, Found, Further, Reply, Request, Retry, SourceInfo
from rvtool.services.replies import refusal
from rvtool.verbs.collect import fetching
from rvtool.verbs.collect.fetching import Fetcher
from rvtool.verbs.collect.hosts import Failed, Question
from rvtool.verbs.collect.politeness import Breaker, Manners
from rvtool.verbs.collect.services import Service
from rvtool.verbs.collect.transport import Broken

SETTINGS = SimpleNamespace(attempts=5, max_rate=10_000.0, max_connections=4)
HOME, MIRROR = "https://home.example", "https://mirror.example"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Rest a hundredth of the usual time before another attempt."""
    patient = Manners.backoff_s
    monkeypatch.setattr(Manners, "backoff_s", lambda self, attempt: patient(self, attempt) / 100)


class Script:
    """Answers by a function of the URL and how often it was asked, and counts."""

    def __init__(self, answer):
        self.answer, self.asked = answer, Counter()

    async def fetch(self, request, deadline_s, url=None):
        await asyncio.sleep(0.001)
        self.asked[url] += 1
        status, headers, body = self.answer(url, self.asked[url])
        return Reply(request, status, headers, body) if status else Broken(request, 0, headers, body)


def read(reply):
    return refusal(reply) or Found(reply.body, ".fits")


def fetch(answer, requests, tmp_path, *, read=read, keep=lambda answer, reply: answer, info=None, base_url=""):
    """Ask for all requests, and return what was told of each, the script and the fetcher."""
    info = info or SourceInfo(HOME, max_rate_per_s=1e4, max_connections=4)
    service = Service("script", SimpleNamespace(info=info), None, base_url)
    told = {}
    waiting = iter(
        Question(str(number), service, request, read, keep, lambda answer, number=number: told.update({number: answer}))
        for number, request in enumerate(requests)
    )
    script = Script(answer)

    async def run():
        fetcher = Fetcher(script, {"script": service}, SETTINGS, lambda: next(waiting, None), tmp_path / "replies")
        await asyncio.wait_for(fetcher.run(), 60)
        return fetcher

    return told, script, asyncio.run(run())


def urls(count):
    return [Request(f"{HOME}/{number}") for number in range(count)]


def test_what_fails_at_first_is_asked_again_and_what_is_absent_is_not(tmp_path):
    def answer(url, time):
        if url.endswith("/3"):
            return 404, {}, b"nothing here"
        return (502 if time == 1 else 200), {}, b"image"

    told, script, fetcher = fetch(answer, urls(5), tmp_path)
    assert [type(told[n]) for n in range(5)] == [Found, Found, Found, Absent, Found]
    assert script.asked == {f"{HOME}/{n}": 1 if n == 3 else 2 for n in range(5)}
    assert fetcher.requests == 9


def test_what_never_comes_fails_after_its_attempts(tmp_path):
    told, script, _ = fetch(lambda url, time: (200, {}, b"x"), urls(1), tmp_path, read=lambda reply: Retry("no image"))
    assert told[0] == Failed("no image")
    assert script.asked.total() == SETTINGS.attempts


def test_the_same_bad_image_twice_is_the_answer_of_the_service(tmp_path):
    def keep(answer, reply):
        raise DataError("every pixel is 0")

    told, script, _ = fetch(lambda url, time: (200, {}, b"x"), urls(1), tmp_path, keep=keep)
    assert told[0] == Failed("every pixel is 0")
    assert script.asked.total() == 2


def test_a_mirror_stands_in_for_a_service_that_is_down_and_back_again(tmp_path):
    info = SourceInfo(HOME, max_rate_per_s=1e4, max_connections=4, mirrors=(MIRROR,))
    told, script, _ = fetch(
        lambda url, time: (500, {}, b"") if url.startswith(HOME) else (200, {}, b"image"), urls(30), tmp_path, info=info
    )
    assert all(isinstance(answer, Found) for answer in told.values())
    assert sum(n for url, n in script.asked.items() if url.startswith(HOME)) < 15


def test_a_dead_mirror_ends_nothing_while_the_service_itself_has_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(Breaker, "FIRST_S", 0.3)
    info = SourceInfo(HOME, max_rate_per_s=1e4, max_connections=4, mirrors=(MIRROR,))
    began = time.monotonic()

    def answer(url, count):
        if url.startswith(MIRROR):
            return 0, {}, b"no connection"
        return (500, {}, b"") if 0.05 < time.monotonic() - began < 0.6 else (200, {}, b"image")

    monkeypatch.setattr(SETTINGS, "attempts", 50)
    told, _, _ = fetch(answer, urls(400), tmp_path, info=info)
    assert Counter(type(answer) for answer in told.values()) == {Found: 400}


def test_a_service_that_was_never_reached_ends_it_at_once(tmp_path):
    with pytest.raises(SourceError, match=r"home\.example cannot be reached \(Connection refused\)"):
        fetch(lambda url, time: (0, {}, b"Connection refused"), urls(40), tmp_path)


def test_a_service_that_answers_nothing_well_for_long_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "GIVE_UP_S", 0.3)
    with pytest.raises(SourceError, match="has not answered well for ten minutes"):
        fetch(lambda url, time: (503, {"retry-after": "0.1"}, b""), urls(40), tmp_path)


def test_a_service_that_wants_to_be_left_alone_for_a_day_ends_it(tmp_path):
    with pytest.raises(SourceError, match=r"asks to be left alone for 24\.0 h.*go on then"):
        fetch(lambda url, time: (429, {"retry-after": "86400"}, b""), urls(40), tmp_path)


def test_fatal_ends_it(tmp_path):
    with pytest.raises(SourceError, match="stopped at 0: no access"):
        fetch(lambda url, time: (200, {}, b""), urls(3), tmp_path, read=lambda reply: Fatal("no access"))


def test_a_disk_that_is_full_ends_it(tmp_path):
    def keep(answer, reply):
        raise WriteError("the disk is full")

    with pytest.raises(WriteError):
        fetch(lambda url, time: (200, {}, b"x"), urls(3), tmp_path, keep=keep)


def test_what_a_source_raises_is_a_failure_of_that_image_alone(tmp_path):
    def clumsy(reply):
        return 1 / 0 if reply.request.url.endswith("/1") else Found(b"x", ".fits")

    told, _, _ = fetch(lambda url, time: (200, {}, b"x"), urls(3), tmp_path, read=clumsy)
    assert "ZeroDivisionError" in told[1].reason
    assert isinstance(told[2], Found)


@pytest.mark.parametrize("failing", [0, 2])
def test_a_shared_reply_is_asked_for_once_whoever_needs_it(tmp_path, failing):
    def answer(url, time):
        return (502, {}, b"") if time <= failing else (200, {}, b"frame")

    shared = [Request(f"{HOME}/frame", shared=True) for _ in range(20)]
    told, script, _ = fetch(answer, shared, tmp_path)
    assert [told[n].body for n in range(20)] == [b"frame"] * 20
    assert script.asked.total() == 1 + failing
    told, script, _ = fetch(answer, shared, tmp_path)  # another day
    assert script.asked.total() == 0
    assert told[7].body == b"frame"


def test_a_shared_reply_that_never_comes_fails_all_and_is_not_kept(tmp_path):
    shared = [Request(f"{HOME}/frame", shared=True) for _ in range(20)]
    never = {"read": lambda reply: Retry("a page")}
    told, script, _ = fetch(lambda url, time: (200, {}, b"<html>"), shared, tmp_path, **never)
    assert set(told.values()) == {Failed("a page")}
    assert script.asked.total() == SETTINGS.attempts
    assert not (tmp_path / "replies").exists()


def test_replies_of_another_server_are_not_taken(tmp_path):
    shared = [Request(f"{HOME}/frame", shared=True)]
    for base_url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        told, script, _ = fetch(lambda url, time: (200, {}, url.encode()), shared, tmp_path, base_url=base_url)
        assert told[0].body.decode() == f"{base_url}/frame"
        assert script.asked.total() == 1


def test_a_reply_never_leads_to_a_file_of_this_machine_nor_on_for_ever(tmp_path):
    told, _, _ = fetch(
        lambda url, time: (200, {}, b""), urls(1), tmp_path, read=lambda reply: Further(Request("file:///etc/passwd"))
    )
    assert told[0] == Failed("the service points to a file of this machine")
    told, script, _ = fetch(
        lambda url, time: (200, {}, b""), urls(1), tmp_path, read=lambda reply: Further(Request(f"{HOME}/on"))
    )
    assert "leads on and on" in told[0].reason
    assert script.asked.total() == fetching.MOST_STEPS + 1
