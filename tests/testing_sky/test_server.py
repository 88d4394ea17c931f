"""The stand-in over HTTP: what a client meets, and what the server counts of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from rvtool.errors import ConfigError
from rvtool.testing.sky import sky_server
from rvtool.testing.sky.server import ON_ITS_WAY_S, Settings, SkyServer

PATH = "/cgi-bin/nph-sesame/SNV?M87"
Client = Callable[..., Awaitable[tuple[int, bytes]]]


def visit(settings: Settings, calls: Callable[[Client], Awaitable[Any]]) -> tuple[Any, SkyServer]:
    """Run a server and a client of it in one loop."""

    async def run() -> Any:
        listening, url = await server.start()
        async with listening, aiohttp.ClientSession() as session:

            async def ask(path: str = PATH, method: str = "GET", **options: Any) -> tuple[int, bytes]:
                async with session.request(method, url + path, **options) as reply:
                    return reply.status, await reply.read()

            return await calls(ask)

    server = SkyServer(settings)
    return asyncio.run(run()), server


def test_get_and_post_are_answered_and_counted():
    async def calls(ask: Client) -> list[tuple[int, bytes]]:
        form = {"RA": "12.0 30.0", "ImageSize": "1"}
        return [
            await ask("/cgi-bin/firstcutout", params=form),
            await ask("/cgi-bin/firstcutout", "POST", data=form),
            await ask("/nothing"),
            await ask("/stats"),
        ]

    (got, posted, missing, stats), server = visit(Settings(), calls)
    assert got[1].startswith(b"SIMPLE")
    assert got[1][80:] == posted[1][80:]  # but for the time of day
    assert (got[0], posted[0], missing[0], stats[0]) == (200, 200, 404, 200)
    assert server.stats.total == 3
    assert server.stats.paths == {"/cgi-bin/firstcutout": 2, "/nothing": 1}
    assert server.stats.statuses == {200: 2, 404: 1}
    assert server.stats.bytes == len(got[1]) + len(posted[1]) + len(missing[1])


def test_counts_begin_anew():
    async def calls(ask: Client) -> None:
        await ask()
        await ask("/stats/reset", "POST")
        await ask()

    _, server = visit(Settings(), calls)
    assert server.stats.total == 1


def test_requests_in_flight_wait_for_the_latency_together():
    async def calls(ask: Client) -> float:
        began = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(20)))
        return time.monotonic() - began

    took_s, server = visit(Settings(latency_s=(0.2, 0.3)), calls)
    assert 0.2 <= took_s < 1.0
    assert server.stats.max_in_flight == 20


@pytest.mark.parametrize(
    ("name", "said"),
    [("truncated", "received 53 of 107"), ("truncated-chunked", "Not enough data"), ("reset", "reset by peer")],
)
@pytest.mark.parametrize("every", [False, True])
def test_a_connection_that_fails_does_so_the_first_time_or_every_time(name, said, every):
    async def calls(ask: Client) -> None:
        with pytest.raises(aiohttp.ClientPayloadError, match=said):
            await ask()
        if every:
            with pytest.raises(aiohttp.ClientPayloadError):
                await ask()
        else:
            assert (await ask())[0] == 200

    _, server = visit(Settings(faults=1.0, names=(name,), every=every), calls)
    assert server.stats.faults == {name: 1 + every}
    assert server.stats.max_in_flight == 1  # none is left over


def test_a_slow_body_comes_at_its_rate_and_a_client_may_give_up():
    async def calls(ask: Client) -> tuple[float, bytes]:
        form = {"RA": "12.0 30.0", "ImageSize": "0.1"}  # two blocks of header, one of pixels
        with pytest.raises(TimeoutError):
            await ask("/cgi-bin/firstcutout", params=form, timeout=aiohttp.ClientTimeout(0.3))
        return await ask("/cgi-bin/firstcutout", params=form)

    began = time.monotonic()
    (status, body), server = visit(Settings(faults=1.0, names=("slow",)), calls)
    assert time.monotonic() - began < 2
    assert (status, len(body)) == (200, 3 * 2880)
    assert server.stats.max_in_flight == 1


def test_a_slow_body_is_whole_in_the_end():
    async def calls(ask: Client) -> float:
        began = time.monotonic()
        assert (await ask("/MocServer/query?ID=CDS/P/NVSS&get=moc&fmt=json&order=6"))[1].rstrip().endswith(b"}")
        return time.monotonic() - began

    took_s, server = visit(Settings(faults=1.0, names=("slow",)), calls)
    assert server.stats.bytes > 2880
    assert took_s == pytest.approx(server.stats.bytes / 2880, abs=0.3)


def test_beyond_the_limit_the_answer_is_429():
    async def calls(ask: Client) -> list[int]:
        statuses = [(await ask())[0] for _ in range(12)]
        await asyncio.sleep(0.5)  # five tokens
        return statuses + [(await ask())[0] for _ in range(7)]

    statuses, server = visit(Settings(limit_per_s=10), calls)
    assert statuses[:10] == [200] * 10
    assert statuses[11] == 429
    assert statuses[12:].count(200) == pytest.approx(5, abs=1)
    assert server.stats.statuses[429] == statuses.count(429)


@pytest.mark.parametrize(("wait_s", "too_soon"), [(0.0, 0), (2 * ON_ITS_WAY_S, 1), (1.05, 0)])
def test_a_request_before_retry_after_has_passed_is_counted_unless_it_was_on_its_way(wait_s, too_soon):
    async def calls(ask: Client) -> None:
        assert (await ask())[0] == 429
        await asyncio.sleep(wait_s)
        assert (await ask())[0] == 200

    _, server = visit(Settings(faults=1.0, names=("429-seconds",)), calls)
    assert server.stats.too_soon == too_soon


def test_what_is_down_says_so_every_time():
    async def calls(ask: Client) -> list[int]:
        return [(await ask())[0], (await ask())[0], (await ask("/nothing"))[0]]

    statuses, _ = visit(Settings(down=("/cgi-bin",)), calls)
    assert statuses == [503, 503, 404]


def test_a_mistake_in_a_route_is_answered(monkeypatch):
    monkeypatch.setattr("rvtool.testing.sky.routes.sesame.resolve", lambda name: 1 / 0)
    (status, body), _ = visit(Settings(), lambda ask: ask())
    assert status == 500
    assert b"ZeroDivisionError" in body


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"DELETE / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_request_is_refused(sent):
    async def run() -> bytes:
        listening, url = await SkyServer(Settings()).start()
        async with listening:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(sent)
            said = await reader.read()
            writer.close()
            return said

    assert asyncio.run(run()).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_requests_in_pieces_and_in_a_row_are_answered_one_after_the_other():
    async def run() -> bytes:
        listening, url = await SkyServer(Settings()).start()
        async with listening:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET /nothing HTTP/1.1\r\n\r\nPOST /cgi-bin/nph-sesame/ HTTP/1.1\r\nConnection: close\r\n")
            await asyncio.sleep(0.05)
            writer.write(b"Content-Length: 2\r\n\r\nM")
            await asyncio.sleep(0.05)
            writer.write(b"8")
            said = await reader.read()
            writer.close()
            return said

    said = asyncio.run(run())
    assert said.count(b"HTTP/1.1") == 2
    assert said.index(b"HTTP/1.1 404") < said.index(b"HTTP/1.1 200")


def test_an_unknown_fault_is_named():
    with pytest.raises(ConfigError, match="No fault is named 'slo'"):
        SkyServer(Settings(names=("slo",)))


def test_it_runs_in_a_process_of_its_own():
    with sky_server(seed=1, latency_s=(0.01, 0.02), faults=1.0, names=("503",), every=True, down=("/x",)) as running:

        async def ask() -> list[int]:
            async with aiohttp.ClientSession() as session:
                return [(await session.get(running.url + path)).status for path in (PATH, PATH, "/x")]

        assert asyncio.run(ask()) == [503, 503, 503]
        stats = running.stats()
        assert (stats["total"], stats["faults"], stats["statuses"]) == (3, {"503": 2}, {"503": 3})
        running.reset()
        assert running.stats()["total"] == 0
    with pytest.raises(OSError, match="refused"):
        running.stats()
