"""The stand-in over HTTP: latency, limits and faults as real services have them, and counts of what clients did."""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import socket
import struct
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from rvtool.testing.sky.answers import respond
from rvtool.testing.sky.asked import Answer, Asked, page
from rvtool.testing.sky.faults import USUAL, WHOLE, Delivery, drawn, identity, named
from rvtool.testing.sky.sky import Sky

ON_ITS_WAY_S = 0.05
"""A request that comes so soon after a 429 was sent has left before it."""

BEFORE_RESET_S = 0.05
"""What was sent before a reset has so long to arrive."""

TICK_S = 0.1
"""A slow body is sent in pieces of so long."""

NO_LINGER = struct.pack("ii", 1, 0)  # closing the socket then sends a reset
NOTHING = Answer(b"", "text/plain")


@dataclass(frozen=True)
class Settings:
    """How the server behaves.

    Attributes
    ----------
    latency_s
        The least and the most time before an answer, drawn uniformly.
    faults
        The fraction of requests that meet a fault.
    names
        Which faults (`rvtool.testing.sky.faults.FAULTS`), in equal parts.
    every
        A fault meets every attempt of its request, not only the first.
    limit_per_s
        Requests beyond this rate are answered with 429 and ``Retry-After: 1``; 0: no limit.
    down
        Beginnings of paths that answer 503.
    """

    seed: int = 0
    latency_s: tuple[float, float] = (0.0, 0.0)
    faults: float = 0.0
    names: tuple[str, ...] = USUAL
    every: bool = False
    limit_per_s: float = 0.0
    down: tuple[str, ...] = ()


@dataclass
class Stats:
    """What was asked and answered.

    Attributes
    ----------
    total
        Requests; `paths` has their numbers by path, `statuses` by HTTP status.
    faults
        Faults sent, by name.
    max_in_flight
        Most requests that waited for the end of their answers at the same time.
    too_soon
        Requests that began inside a ``Retry-After`` that had been announced.
    bytes
        Sent in bodies.
    cpu_s
        Processor time of the server.
    """

    total: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    max_in_flight: int = 0
    too_soon: int = 0
    bytes: int = 0
    cpu_s: float = 0.0


class SkyServer:
    """What the connections share: the sky, the settings and the counts."""

    def __init__(self, settings: Settings) -> None:
        for name in settings.names:
            named(name)
        self.settings = settings
        self.sky = Sky(settings.seed)
        self._random = random.Random(settings.seed)
        self._in_flight = 0
        self._met: set[bytes] = set()
        self._tokens, self._filled = settings.limit_per_s, time.monotonic()
        self._quiet_from, self._quiet_until = 0.0, 0.0
        self.reset()

    def reset(self) -> None:
        """Count from nothing; what has met its fault stays so."""
        self.stats, self._cpu_s = Stats(), time.process_time()

    async def start(self, port: int = 0) -> tuple[asyncio.Server, str]:
        """Listen on the loopback address (0: on any free port); return the running server and its URL."""
        respond(Asked("GET", "/", {}), self.sky)  # the first answer loads the routes
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port, backlog=1024)
        return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def arrived(self, asked: Asked) -> float:
        """Count a request; return the seconds before its answer."""
        self.stats.total += 1
        self.stats.paths[asked.path] += 1
        self.stats.too_soon += self._quiet_from + ON_ITS_WAY_S < time.time() < self._quiet_until
        self._in_flight += 1
        self.stats.max_in_flight = max(self.stats.max_in_flight, self._in_flight)
        return self._random.uniform(*self.settings.latency_s)

    def left(self) -> None:
        """Take note that a request has its answer, or that nobody waits for it any more."""
        self._in_flight -= 1

    def respond(self, asked: Asked) -> tuple[Answer, Delivery]:
        """Return what to answer and how to send it."""
        answer, delivery = self._decide(asked)
        self.stats.statuses[answer.status] += 1
        self.stats.bytes += int(len(answer.body) * delivery.share)
        if said := answer.headers.get("Retry-After"):
            now = time.time()
            until = now + int(said) if said.isdigit() else email.utils.parsedate_to_datetime(said).timestamp()
            if now >= self._quiet_until:
                self._quiet_from = now
            self._quiet_until = max(until, self._quiet_until)
        return answer, delivery

    def report(self, method: str, path: str) -> Answer:
        """Answer ``GET /stats`` and ``POST /stats/reset``."""
        if path.endswith("/reset") and method == "POST":
            self.reset()
        self.stats.cpu_s = time.process_time() - self._cpu_s
        return Answer(json.dumps(vars(self.stats)).encode(), "application/json")

    def _decide(self, asked: Asked) -> tuple[Answer, Delivery]:
        if asked.path.startswith(self.settings.down):
            return named("503").answer(NOTHING), WHOLE
        if not self._within_limit():
            return named("429-seconds").answer(NOTHING), WHOLE
        try:
            answer = respond(asked, self.sky)
        except Exception:  # a mistake in a route is answered, so that whoever asked can read it
            return page(f"<pre>{traceback.format_exc()}</pre>", 500), WHOLE
        name = self._fault(asked)
        if name is None:
            return answer, WHOLE
        self.stats.faults[name] += 1
        return named(name).answer(answer), named(name).delivery

    def _fault(self, asked: Asked) -> str | None:
        name = drawn(asked, self.settings.seed, self.settings.faults, self.settings.names)
        if name is None or identity(asked) in self._met:
            return None
        if not self.settings.every:
            self._met.add(identity(asked))
        return name

    def _within_limit(self) -> bool:
        """Take a token out of a bucket that holds those of one second; False where it is empty."""
        limit = self.settings.limit_per_s
        if not limit:
            return True
        now = time.monotonic()
        self._tokens, self._filled = min(max(limit, 1.0), self._tokens + limit * (now - self._filled)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request after the other."""

    def __init__(self, server: SkyServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None  # of the request that is being answered
        self._waiting = False
        self._keep = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            self._server.left()
            self._waiting = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        """Begin the next request, if the last one is answered and all of it has come."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._waiting or self._transport.is_closing():
            return
        first, *rest = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in rest)}
        length = headers.get("content-length", "0")
        words = first.split(" ")
        if len(words) != 3 or words[0] not in ("GET", "POST") or not length.isdigit():
            self._keep = False
            self._send(page("Bad request", 400), WHOLE)
            return
        stop = end + 4 + int(length)
        if len(self._buffer) < stop:
            return
        body = bytes(self._buffer[end + 4 : stop])
        del self._buffer[:stop]
        self._keep = headers.get("connection", "").lower() != "close"
        method, target, _ = words
        self._waiting = True
        asked = Asked.read(method, target, body, headers.get("content-type", ""), f"http://{headers.get('host', '')}")
        if asked.path.startswith("/stats"):
            self._waiting = False
            self._send(self._server.report(method, asked.path), WHOLE)
            self._next()
            return
        self._timer = self._loop.call_later(self._server.arrived(asked), self._answer, asked)

    def _answer(self, asked: Asked) -> None:
        answer, delivery = self._server.respond(asked)
        if self._send(answer, delivery):
            self._over()

    def _send(self, answer: Answer, delivery: Delivery) -> bool:
        """Send an answer, or begin to; False where its end is still to come."""
        body = answer.body[: int(len(answer.body) * delivery.share)]
        length = "Transfer-Encoding: chunked" if delivery.chunked else f"Content-Length: {len(answer.body)}"
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
            f"Date: {email.utils.formatdate(usegmt=True)}\r\nContent-Type: {answer.content_type}\r\n{length}\r\n"
            + "".join(f"{key}: {value}\r\n" for key, value in answer.headers.items())
            + ("\r\n" if self._keep else "Connection: close\r\n\r\n")
        ).encode("latin-1")
        if delivery.chunked:
            head, body = head + f"{len(body):x}\r\n".encode(), body + b"\r\n"
        if delivery.bytes_per_s:
            self._transport.write(head)
            self._trickle(memoryview(body), round(delivery.bytes_per_s * TICK_S))
            return False
        self._transport.writelines((head, body))
        if delivery.reset:
            self._timer = self._loop.call_later(BEFORE_RESET_S, self._reset)
            return False
        if delivery != WHOLE or not self._keep:
            self._transport.close()
        return True

    def _trickle(self, body: memoryview, piece: int) -> None:
        self._transport.write(body[:piece])
        if len(body) > piece:
            self._timer = self._loop.call_later(TICK_S, self._trickle, body[piece:], piece)
        else:
            self._over()

    def _reset(self) -> None:
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._transport.abort()

    def _over(self) -> None:
        self._timer, self._waiting = None, False
        self._server.left()
        self._next()
