"""What the stand-in server is asked and what it answers: each service's route is a pure function between the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from rvtool.kinds import Reply, Request

if TYPE_CHECKING:
    from rvtool.testing.sky.sky import Sky

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Asked:
    """A request as it reaches the server.

    Attributes
    ----------
    query
        The decoded query string, and the fields of a form that was posted.
    origin
        Scheme and host that the client used: what links in a reply must begin with.
    """

    method: str
    path: str
    query: dict[str, str]
    body: bytes = b""
    origin: str = "http://127.0.0.1"

    @classmethod
    def read(cls, method: str, target: str, body: bytes, content_type: str, origin: str) -> Asked:
        """Take an HTTP request apart: `target` is its path and query, as they were sent."""
        path, _, query = target.partition("?")
        fields = dict(parse_qsl(query, keep_blank_values=True))
        if content_type.startswith(FORM):
            fields |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        return cls(method, unquote(path), fields, body, origin)

    @classmethod
    def of(cls, request: Request, base_url: str) -> Asked:
        """Return what a source's request becomes on the wire, `base_url` standing in for its own address."""
        url = urlsplit(request.url)
        target = f"{url.path}?{'&'.join(filter(None, (url.query, urlencode(request.params))))}"
        method = "GET" if request.body is None else "POST"
        return cls.read(method, target, request.body or b"", request.content_type, base_url)


@dataclass(frozen=True)
class Answer:
    """What a route answers."""

    body: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def reply(self, request: Request) -> Reply:
        """Return what the core would hand to the source."""
        headers = {"content-type": self.content_type} | {k.lower(): v for k, v in self.headers.items()}
        return Reply(request, self.status, headers, self.body)


class Route:
    """A service of the stand-in: the paths that it owns (prefixes), and ``answer(asked, sky) -> Answer``."""

    paths: tuple[str, ...] = ()

    def answer(self, asked: Asked, sky: Sky) -> Answer:
        """Answer as the real service would."""
        raise NotImplementedError


def page(text: str, status: int = 200) -> Answer:
    """Return a web page: what most services send, with status 200, where they have no image."""
    return Answer(f"<html><body><p>{text}</p></body></html>\n".encode(), "text/html", status)


def fits_file(body: bytes, name: str = "") -> Answer:
    """Return a FITS file, under a name if clients are to be told one."""
    headers = {"Content-Disposition": f"attachment; filename={name}"} if name else {}
    return Answer(body, "image/x-fits", headers=headers)
