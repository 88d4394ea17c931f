"""Where an image came from: what the manifest says of every file that was fetched."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Any

from rvtool import plugins
from rvtool.kinds import Reply
from rvtool.verbs.collect.services import Service
from rvtool.verbs.collect.transport import full_url, redacted

PROVENANCE = (
    *("source", "source_version", "request", "request_body", "fetched", "server_date"),
    *("release", "unit", "licence"),
)
"""Columns of the manifest; those that tell nothing are left out."""


def provenance(service: Service, reply: Reply) -> dict[str, Any]:
    """Return the full request, when it was answered, and what the source says of its images."""
    request, info = reply.request, service.info
    told = (
        *(service.name, _version(service.name), redacted(full_url(request, service.actual(request.url)))),
        request.body.decode("latin-1") if request.body else None,
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        *(reply.headers.get("date"), info.release or None, info.unit or None, info.licence or None),
    )
    return {name: value for name, value in zip(PROVENANCE, told, strict=True) if value is not None}


@lru_cache
def _version(source: str) -> str:
    return plugins.version_of("source", source)
