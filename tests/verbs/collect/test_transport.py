"""Fetching over loopback from a server with every fault, and from local files."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from rvtool.kinds import Reply, Request
from rvtool.verbs.collect.politeness import Outcome
from rvtool.verbs.collect.transport import HOPS, Broken, Transport, full_url, outcome_of, redacted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/fits\r\n"
FRAME = bytes(range(256)) * 371  # about one cutout of 150x150 pixels


@asynccontextmanager
async def raw_server(script: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve what a script writes, byte for byte, to whoever sends a request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await script(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cutout"


@asynccontextmanager
async def web_server(*routes: web.RouteDef) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def fetch_raw(
    script: Callable[[asyncio.StreamWriter], Awaitable[None]], deadline_s: float = 5.0, **limits: float
) -> Reply:
    async def run() -> Reply:
        async with raw_server(script) as url, Transport(**limits) as transport:
            return await transport.fetch(Request(url), deadline_s)

    return asyncio.run(run())


def fetch_web(request: Callable[[str], Request], *routes: web.RouteDef, contact: str = "") -> Reply:
    async def run() -> Reply:
        async with web_server(*routes) as base, Transport(contact) as transport:
            return await transport.fetch(request(base), 5.0)

    return asyncio.run(run())


def failure(reply: Reply) -> tuple[str, Outcome]:
    assert isinstance(reply, Broken)
    assert reply.status == 0
    return reply.body.decode(), outcome_of(reply)


async def echo(request: web.Request) -> web.Response:
    """Tell the request back in the reply's headers, its body in the body."""
    told = {f"x-{name.lower()}": value for name, value in request.headers.items()}
    return web.Response(body=await request.read(), headers={"X-Line": f"{request.method} {request.raw_path}", **told})


# ------------------------------------------------------------------ addresses


def test_parameters_are_encoded_and_join_the_query_that_is_there() -> None:
    request = Request("http://host/cgi?Equinox=J2000&RA=1+2%2B3", {"Dec": "+12 30", "name": "Müller & Söhne"})
    assert full_url(request) == (
        "http://host/cgi?Equinox=J2000&RA=1+2%2B3&Dec=%2B12+30&name=M%C3%BCller+%26+S%C3%B6hne"
    )


def test_the_address_that_stands_in_gets_the_parameters() -> None:
    assert full_url(Request("http://host/a", {"x": "1"}), "http://127.0.0.1:8/b#part") == "http://127.0.0.1:8/b?x=1"


def test_what_no_url_may_hold_is_encoded_once() -> None:
    assert full_url(Request("http://host/a b/ü%20c.fits?q=x y")) == "http://host/a%20b/%C3%BC%20c.fits?q=x%20y"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:s3cret@host:81/a?b=c@d", "https://host:81/a?b=c@d"),
        ("https://me@host/", "https://host/"),
        ("https://host/a@b", "https://host/a@b"),
        ("http://[broken:pw@host", "http://host"),
    ],
)
def test_redacted_keeps_everything_but_who(url: str, shown: str) -> None:
    assert redacted(url) == shown


# ------------------------------------------------------------------ what goes well


def test_a_request_is_sent_as_it_should_be() -> None:
    reply = fetch_web(
        lambda base: Request(f"{base}/cutout", {"RA": "10 50", "ort": "Köln"}),
        web.get("/cutout", echo),
        contact="me@example.org",
    )
    assert reply.status == 200
    assert reply.headers["x-line"] == "GET /cutout?RA=10+50&ort=K%C3%B6ln"
    assert reply.headers["x-user-agent"].startswith("rvtool/")
    assert reply.headers["x-user-agent"].endswith(" (+me@example.org)")
    assert all(name == name.lower() for name in reply.headers)
    assert outcome_of(reply) is Outcome.CLEAN


@pytest.mark.parametrize("body", [b"RA=1&Dec=2", b""])
def test_a_body_makes_it_a_post(body: bytes) -> None:
    reply = fetch_web(lambda base: Request(f"{base}/q", body=body, content_type="text/csv"), web.post("/q", echo))
    assert (reply.status, reply.body) == (200, body)
    assert reply.headers["x-content-type"] == "text/csv"
    assert reply.headers["x-content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(404, Outcome.CLEAN), (429, Outcome.BUSY), (503, Outcome.BUSY), (500, Outcome.DOWN), (502, Outcome.DOWN)],
)
def test_a_status_is_told_with_headers_and_body(status: int, outcome: Outcome) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "7"}, text="not now")

    reply = fetch_web(Request, web.get("/", refuse))
    assert (reply.status, reply.headers["retry-after"], reply.body) == (status, "7", b"not now")
    assert outcome_of(reply) is outcome


@pytest.mark.parametrize(("name", "body"), [("cutout", FRAME), ("psrcat.tar.gz", gzip.compress(FRAME, mtime=0))])
def test_only_a_packed_file_stays_packed(name: str, body: bytes) -> None:
    async def packed(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(FRAME, mtime=0), headers={"Content-Encoding": "gzip"})

    assert fetch_web(lambda base: Request(f"{base}/{name}"), web.get(f"/{name}", packed)).body == body


def test_credentials_in_the_address_are_sent_as_basic_auth_only() -> None:
    reply = fetch_web(lambda base: Request(base.replace("//", "//me:s3%40cret@") + "/a"), web.get("/a", echo))
    assert base64.b64decode(reply.headers["x-authorization"].removeprefix("Basic ")) == b"me:s3@cret"
    assert "@" not in reply.headers["x-host"]


def test_connections_are_kept() -> None:
    peers = set()

    async def count(request: web.Request) -> web.Response:
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=FRAME)

    async def run() -> None:
        async with web_server(web.get("/", count)) as base, Transport() as transport:
            for _ in range(3):
                await asyncio.gather(*(transport.fetch(Request(base), 5.0) for _ in range(4)))

    asyncio.run(run())
    assert len(peers) == 4


def test_a_pair_is_fetched_too() -> None:
    reply = fetch_web(lambda base: Request(f"{base}/a", pair=Request(f"{base}/a", {"n": "2"})), web.get("/a", echo))
    assert reply.pair is not None
    assert reply.pair.headers["x-line"] == "GET /a?n=2"


def test_another_address_stands_in() -> None:
    async def run() -> Reply:
        async with web_server(web.get("/a", echo)) as base, Transport() as transport:
            return await transport.fetch(Request("http://nowhere.invalid/b", {"x": "1"}), 5.0, f"{base}/a")

    reply = asyncio.run(run())
    assert reply.headers["x-line"] == "GET /a?x=1"
    assert reply.request.url == "http://nowhere.invalid/b"


def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> Reply:
        async with web_server(web.get("/{path:.*}", echo)) as base, Transport() as transport:
            monkeypatch.setenv("http_proxy", base)
            return await transport.fetch(Request("http://nowhere.invalid/a"), 5.0)

    assert asyncio.run(run()).headers["x-host"] == "nowhere.invalid"


# ------------------------------------------------------------------ redirects


async def hop(request: web.Request) -> web.Response:
    left = int(request.match_info["left"])
    raise web.HTTPFound(f"/hop/{left - 1}" if left > 1 else "/end")


@pytest.mark.parametrize(("hops", "status"), [(5, 200), (6, 0)])
def test_five_redirects_are_followed(hops: int, status: int) -> None:
    reply = fetch_web(lambda base: Request(f"{base}/hop/{hops}"), web.get("/hop/{left}", hop), web.get("/end", echo))
    assert reply.status == status
    assert reply.headers[HOPS] == "5"
    if not status:
        assert failure(reply) == ("redirected more than 5 times", Outcome.BAD)


@pytest.mark.parametrize("status", [200, 404, 503])
def test_what_took_no_redirect_says_so_whatever_the_server_claims(status: int) -> None:
    async def boast(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={HOPS: "1000"})

    assert fetch_web(Request, web.get("/", boast)).headers[HOPS] == "0"


def test_hops_are_told_of_what_broke_after_them() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response()

    async def run() -> Reply:
        async with web_server(web.get("/hop/{left}", hop), web.get("/end", hang)) as base, Transport() as transport:
            return await transport.fetch(Request(f"{base}/hop/2"), 0.2)

    reply = asyncio.run(run())
    assert failure(reply)[1] is Outcome.TIMEOUT
    assert reply.headers[HOPS] == "2"


def test_a_redirect_to_nowhere_is_no_hop() -> None:
    async def lead(_: web.Request) -> web.Response:
        return web.Response(status=302)

    reply = fetch_web(Request, web.get("/", lead))
    assert (reply.status, reply.headers[HOPS]) == (302, "0")


def test_every_request_that_the_server_got_is_told() -> None:
    got = 0

    async def counted(request: web.Request) -> web.Response:
        nonlocal got
        got += 1
        return await hop(request) if "left" in request.match_info else web.Response()

    async def run() -> list[Reply]:
        routes = web.get("/hop/{left}", counted), web.get("/end", counted)
        async with web_server(*routes) as base, Transport() as transport:
            pairs = (Request(f"{base}/hop/{n}", pair=Request(f"{base}/hop/1")) for n in (1, 2, 3))
            return await asyncio.gather(*(transport.fetch(request, 5.0) for request in pairs))

    replies = asyncio.run(run())
    assert [reply.headers[HOPS] for reply in replies] == ["1", "2", "3"]
    assert [reply.pair and reply.pair.headers[HOPS] for reply in replies] == ["1"] * 3
    assert got == sum(2 + n + 1 for n in (1, 2, 3))


def test_no_redirect_leads_to_a_local_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")

    async def lead(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": secret.as_uri()})

    reply = fetch_web(Request, web.get("/", lead))
    assert failure(reply) == ("redirected to something that is no web address", Outcome.BAD)


# ------------------------------------------------------------------ faults


def test_a_refused_connection_names_the_host_but_no_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def run() -> Reply:
        async with Transport() as transport:
            return await transport.fetch(Request(f"http://me:s3cret@127.0.0.1:{port}/"), 5.0)

    assert failure(asyncio.run(run())) == ("no connection to 127.0.0.1: Connection refused", Outcome.DOWN)


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    async def run() -> Reply:
        async with Transport() as transport:
            return await transport.fetch(Request("http://nowhere.invalid/"), 5.0)

    assert failure(asyncio.run(run())) == ("the name nowhere.invalid does not resolve", Outcome.DOWN)


def test_a_server_without_tls() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"this is no handshake at all")
        writer.close()

    async def run() -> Reply:
        server = await asyncio.start_server(garbage, "127.0.0.1", 0)
        async with server, Transport() as transport:
            return await transport.fetch(Request(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), 5.0)

    reason, outcome = failure(asyncio.run(run()))
    assert reason.startswith("no secure connection to 127.0.0.1: ")
    assert outcome is Outcome.DOWN


@pytest.mark.parametrize("url", ["ftp://host/a", "no address", "http://[::1", "http://host:99999/", "http:///a"])
def test_what_is_no_web_address(url: str) -> None:
    async def run() -> Reply:
        async with Transport() as transport:
            return await transport.fetch(Request(url), 5.0)

    assert failure(asyncio.run(run())) == ("no web address (http:// or https://)", Outcome.BAD)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection the hard way."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


@pytest.mark.parametrize("hard", [False, True])
def test_a_connection_closed_before_the_answer(hard: bool) -> None:
    async def close(writer: asyncio.StreamWriter) -> None:
        if hard:
            reset(writer)

    assert failure(fetch_raw(close)) == ("127.0.0.1 closed the connection without an answer", Outcome.DOWN)


def test_a_connection_reset_in_the_body() -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 95000\r\n\r\n" + FRAME[:4000])
        await writer.drain()
        await asyncio.sleep(0.1)
        reset(writer)

    reason, outcome = failure(fetch_raw(cut))
    assert "after 4000 bytes" in reason
    assert outcome is Outcome.BAD


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 95000\r\n\r\n" + FRAME[:4000],
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfa0\r\n" + FRAME[:4000],
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfa0\r\n" + FRAME[:4000] + b"\r\n",
    ],
    ids=["short of its length", "within a chunk", "no last chunk"],
)
def test_a_body_that_is_cut_off(sent: bytes) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()

    reason, outcome = failure(fetch_raw(cut))
    assert reason == "the body is cut off or garbled after 4000 bytes"
    assert outcome is Outcome.BAD


def test_a_body_that_is_not_packed_as_it_says() -> None:
    async def lie(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n" + FRAME[:100])

    reason, outcome = failure(fetch_raw(lie))
    assert reason.startswith("the body is cut off or garbled")
    assert outcome is Outcome.BAD


def test_an_answer_that_is_no_http() -> None:
    async def mumble(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SIMPLE  =                    T\r\n\r\n")

    assert failure(fetch_raw(mumble)) == ("the answer is no HTTP", Outcome.BAD)


def test_a_trickle_ends_at_the_deadline() -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 95000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    begun = time.monotonic()
    reason, outcome = failure(fetch_raw(trickle, deadline_s=0.3))
    assert reason.startswith("not whole after 0.3 s")
    assert outcome is Outcome.TIMEOUT
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("begun", [b"", b"abc"])
def test_a_body_that_stops_ends_when_idle(begun: bytes) -> None:
    async def stop(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 95000\r\n\r\n" + begun)
        await asyncio.sleep(5)

    reason, outcome = failure(fetch_raw(stop, idle_s=0.2))
    assert reason == f"nothing came for 0.2 s ({len(begun)} bytes came)"
    assert outcome is Outcome.TIMEOUT


def test_an_answer_may_take_longer_than_a_pause_in_the_body() -> None:
    async def think(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        writer.write(HEAD + b"Content-Length: 3\r\n\r\nabc")

    assert fetch_raw(think, idle_s=0.2).body == b"abc"


@pytest.mark.parametrize(
    "head", [HEAD + b"Content-Length: 95000\r\n\r\n", HEAD + b"Connection: close\r\n\r\n"], ids=["told", "not told"]
)
def test_a_body_that_is_too_large(head: bytes) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(head + FRAME[:95000])
        await writer.drain()

    assert failure(fetch_raw(flood, max_bytes=50_000)) == ("larger than 50000 bytes", Outcome.BAD)


def test_a_packed_body_is_measured_unpacked() -> None:
    async def bomb(writer: asyncio.StreamWriter) -> None:
        body = gzip.compress(bytes(10_000_000))
        writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    assert failure(fetch_raw(bomb, max_bytes=1_000_000)) == ("larger than 1000000 bytes", Outcome.BAD)


def test_cancellation_goes_through() -> None:
    async def hang(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async def run() -> None:
        async with raw_server(hang) as url, Transport() as transport:
            task = asyncio.create_task(transport.fetch(Request(url), 5.0))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


# ------------------------------------------------------------------ files


def test_files_and_their_pairs(tmp_path: Path) -> None:
    image = tmp_path / "J1234+5 a.fits"
    image.write_bytes(FRAME)

    async def run(request: Request) -> Reply:
        async with Transport() as transport:
            return await transport.fetch(request, 5.0)

    reply = asyncio.run(run(Request(image.as_uri(), pair=Request((tmp_path / "none.fits").as_uri()))))
    assert (reply.status, reply.body) == (200, FRAME)
    assert reply.pair is not None
    assert (reply.pair.status, reply.pair.body) == (404, b"no such file")
    assert asyncio.run(run(Request(tmp_path.as_uri()))).status == 403
