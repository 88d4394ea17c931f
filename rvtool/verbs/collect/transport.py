"""Fetching bytes: from local files, and over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path

from rvtool.kinds import Reply, Request

TIMEOUT_S = 60.0


def fetch(request: Request) -> Reply:
    """Fetch what a request asks for, and its pair.

    A service that cannot be reached gives status 0 and the reason as the body; a file that is not there, 404.
    """
    reply = _read_file(request) if request.url.startswith("file:") else _get(request)
    return replace(reply, pair=fetch(request.pair)) if request.pair is not None else reply


def _read_file(request: Request) -> Reply:
    path = Path(urllib.request.url2pathname(urllib.parse.urlparse(request.url).path))
    try:
        return Reply(request, 200, {}, path.read_bytes())
    except FileNotFoundError:
        return Reply(request, 404, {}, b"no such file")
    except OSError as error:
        return Reply(request, 403, {}, str(error.strerror).encode())


def _get(request: Request) -> Reply:
    from rvtool import __version__

    url = request.url + ("?" + urllib.parse.urlencode(request.params) if request.params else "")
    asked = urllib.request.Request(url, data=request.body, headers={"User-Agent": f"rvtool/{__version__}"})
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            return Reply(request, answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Reply(request, error.code, dict(error.headers), error.read())
    except OSError as error:
        return Reply(request, 0, {}, str(getattr(error, "reason", error)).encode())
