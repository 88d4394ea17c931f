"""Fixtures: a source asks for a target, of the stand-in sky or of the real service, until it has its answer."""

import urllib.error
import urllib.parse
import urllib.request

import pytest

from rvtool.kinds import Further, Reply
from rvtool.testing.sky import Sky, answer


def _follow(source, target, fetch):
    request = source.request(target)
    while isinstance(got := source.read(target, fetch(request)), Further):
        request = got.request
    return got


@pytest.fixture(scope="session")
def sky():
    """The stand-in sky of seed 0."""
    return Sky()


@pytest.fixture
def ask_sky(sky):
    """Return ``ask(source, target)``: what the source reads from the stand-in."""
    return lambda source, target: _follow(source, target, lambda request: answer(request, "http://127.0.0.1", sky))


@pytest.fixture
def fetch(socket_enabled):
    """Return ``fetch(request)``: the real service's reply."""

    def get(request):
        url = f"{request.url}?{urllib.parse.urlencode(request.params)}"
        try:
            with urllib.request.urlopen(url, timeout=120) as response:
                return Reply(request, response.status, {}, response.read())
        except urllib.error.HTTPError as error:
            return Reply(request, error.code, {}, error.read())

    return get


@pytest.fixture
def ask_real(fetch):
    """Return ``ask(source, target)``: what the source reads from the real service."""
    return lambda source, target: _follow(source, target, fetch)
