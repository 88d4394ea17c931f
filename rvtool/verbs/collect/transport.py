"""Fetching bytes, from local files and over HTTP: whatever happens becomes a reply."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit, urlunsplit

from rvtool.kinds import Reply, Request
from rvtool.verbs.collect.politeness import Outcome

if TYPE_CHECKING:
    from aiohttp import ClientSession, TraceConfig

MAX_BYTES = 512 * 2**20
IDLE_S = 15.0
"""How long a connection may take, and a body pause. The answer's first byte may take as long as the deadline allows."""
REDIRECTS = 5
HOPS = "x-rvtool-hops"
"""A header added to every reply that came over HTTP, whole or not: how many requests it took after the first."""
NO_ADDRESS = "no web address (http:// or https://)"


@dataclass(frozen=True)
class Broken(Reply):
    """No whole reply came: the status is 0, the body tells why."""

    outcome: Outcome = Outcome.DOWN


def outcome_of(reply: Reply) -> Outcome:
    """Say what a reply means for its host, before anybody has looked into its body."""
    if isinstance(reply, Broken):
        return reply.outcome
    if reply.status in (429, 503):
        return Outcome.BUSY
    return Outcome.DOWN if reply.status >= 500 else Outcome.CLEAN


def full_url(request: Request, url: str | None = None) -> str:
    """Return the address of a request with its parameters, percent-encoded; `url` stands in for the request's own."""
    parts = urlsplit(url or request.url)
    query = "&".join(filter(None, (parts.query, urlencode(request.params, quote_via=quote_plus))))
    # what is encoded already stays as it is, and so does what a URL may hold
    path, query = (quote(text, safe="%/:=&?~+!$,;'@()*[]") for text in (parts.path, query))
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def redacted(url: str) -> str:
    """Return a URL without the user name and password in it: what may be shown and written down."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


class Transport:
    """Fetches what requests ask for; an asynchronous context manager, which keeps the connections.

    How fast and how many at once is the caller's business (see `rvtool.verbs.collect.politeness`).

    Parameters
    ----------
    contact
        Whom a service may write to; told in the ``User-Agent``.
    max_bytes
        Larger bodies are refused.
    idle_s
        How long nothing may come.
    """

    def __init__(self, contact: str = "", max_bytes: int = MAX_BYTES, idle_s: float = IDLE_S) -> None:
        self._contact = contact
        self._max_bytes = max_bytes
        self._idle_s = idle_s
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, request: Request, deadline_s: float, url: str | None = None) -> Reply:
        """Fetch what a request asks for, and then its pair.

        Only cancellation raises. A file that is not there gives 404, one that may not be read 403.

        Parameters
        ----------
        deadline_s
            How long each of the two may take.
        url
            Asked instead of the request's own address.
        """
        try:
            address = full_url(request, url)
        except ValueError:
            reply: Reply = _broken(request, NO_ADDRESS, Outcome.BAD)
        else:
            local = address.startswith("file:")
            reply = await (
                asyncio.to_thread(_read_file, request, address) if local else self._ask(request, address, deadline_s)
            )
        return reply if request.pair is None else replace(reply, pair=await self.fetch(request.pair, deadline_s))

    async def _ask(self, request: Request, url: str, deadline_s: float) -> Reply:
        sent: list[Any] = []
        reply = await self._come(request, url, deadline_s, sent)
        return replace(reply, headers=reply.headers | {HOPS: str(max(0, len(sent) - 1))})

    async def _come(self, request: Request, url: str, deadline_s: float, sent: list[Any]) -> Reply:
        """Ask and wait; each request that is sent, those that redirects lead to too, is added to `sent`."""
        import aiohttp

        now = asyncio.get_running_loop().time
        end_s = now() + deadline_s
        came = bytearray()
        try:
            async with asyncio.timeout_at(end_s) as patience, self._open(request, url, sent) as response:
                if (response.content_length or 0) > self._max_bytes:
                    return self._too_large(request)
                patience.reschedule(min(end_s, now() + self._idle_s))
                async for block in response.content.iter_any():
                    came += block
                    if len(came) > self._max_bytes:
                        return self._too_large(request)
                    patience.reschedule(min(end_s, now() + self._idle_s))
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(request, response.status, headers, bytes(came))
        except TimeoutError as error:
            if isinstance(error, aiohttp.ServerTimeoutError):
                return _broken(request, f"no connection within {self._idle_s:g} s")
            slow = now() >= end_s
            reason = f"not whole after {deadline_s:g} s" if slow else f"nothing came for {self._idle_s:g} s"
            return _broken(request, f"{reason} ({len(came)} bytes came)", Outcome.TIMEOUT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _broken(request, *_reason(error, urlsplit(url).hostname or "", len(came)))

    def _open(self, request: Request, url: str, sent: list[Any]) -> Any:
        """Send a request; gives the response's context manager."""
        import aiohttp
        from yarl import URL

        # packed files are kept as they are, though some servers call their packing an encoding of the transport
        packed = urlsplit(url).path.endswith((".gz", ".tgz"))
        headers = {"Accept-Encoding": "identity"} if packed else {}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if self._session is None:
            from rvtool import __version__

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._idle_s),
                headers={"User-Agent": f"rvtool/{__version__}" + (f" (+{self._contact})" if self._contact else "")},
                trace_configs=[_counting()],
                trust_env=bool(urllib.request.getproxies()),  # asking at every request doubles its cost
            )
        return self._session.request(
            "GET" if request.body is None else "POST",
            URL(url, encoded=True),
            data=request.body,
            headers=headers,
            auto_decompress=not packed,
            max_redirects=REDIRECTS + 1,  # the number that is refused
            trace_request_ctx=sent,
        )

    def _too_large(self, request: Request) -> Broken:
        return _broken(request, f"larger than {self._max_bytes} bytes", Outcome.BAD)


def _counting() -> TraceConfig:
    """Return what adds every request that aiohttp sends to the list in its ``trace_request_ctx``."""
    from aiohttp import TraceConfig

    async def count(_: Any, context: Any, sent: Any) -> None:
        context.trace_request_ctx.append(sent)

    tracing = TraceConfig()
    tracing.on_request_headers_sent.append(count)
    return tracing


def _read_file(request: Request, url: str) -> Reply:
    path = Path(urllib.request.url2pathname(urlsplit(url).path))
    try:
        return Reply(request, 200, {}, path.read_bytes())
    except FileNotFoundError:
        return Reply(request, 404, {}, b"no such file")
    except OSError as error:
        return Reply(request, 403, {}, str(error.strerror).encode())


def _broken(request: Request, reason: str, outcome: Outcome = Outcome.DOWN) -> Broken:
    return Broken(request, 0, {}, reason.encode(), outcome=outcome)


def _reason(error: Exception, host: str, came: int) -> tuple[str, Outcome]:
    """Say in own words what went wrong: those of libraries may hold the address, and its password."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the name {host} does not resolve", Outcome.DOWN
        case aiohttp.ClientSSLError():
            return f"no secure connection to {host}: {_words(error.os_error)}", Outcome.DOWN
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return f"the proxy gives no connection to {host}", Outcome.DOWN
        case aiohttp.ClientConnectorError():
            return f"no connection to {host}: {_words(error.os_error)}", Outcome.DOWN
        case aiohttp.TooManyRedirects():
            return f"redirected more than {REDIRECTS} times", Outcome.BAD
        case aiohttp.RedirectClientError():
            return "redirected to something that is no web address", Outcome.BAD
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
            return NO_ADDRESS, Outcome.BAD
        case aiohttp.ClientPayloadError():
            return f"the body is cut off or garbled after {came} bytes", Outcome.BAD
        case aiohttp.ClientResponseError():
            return "the answer is no HTTP", Outcome.BAD
    if came:
        return f"the connection broke after {came} bytes", Outcome.BAD
    return f"{host} closed the connection without an answer", Outcome.DOWN


def _words(error: OSError) -> str:
    """Return what the system said of a connection, for example ``Connection refused``."""
    told = getattr(error, "verify_message", "") or getattr(error, "reason", "")  # what TLS has to say
    return told or (os.strerror(error.errno) if error.errno else "the host cannot be reached")
