"""Replies that many questions need (survey frames, archives, coverage maps): fetched once, and kept on the disk."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path

from rvtool.data.files import write_bytes
from rvtool.kinds import Reply, Request
from rvtool.verbs.collect.hosts import Question
from rvtool.verbs.collect.transport import full_url, redacted

KEPT_DAYS = 30.0  # services mend their catalogues and coverage


class Shelf:
    """The replies of one folder, and who waits for one that is being fetched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[str, list[Question]] = {}

    def key(self, request: Request, url: str) -> str:
        """Name a reply by what was asked, and where."""
        asked = (redacted(full_url(request, url)), request.body)
        return hashlib.sha256(repr(asked).encode()).hexdigest()

    def path(self, key: str) -> Path | None:
        """Return the file of a reply that is kept and not too old."""
        path = self._folder / key
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < KEPT_DAYS * 86_400:
                return path
        return None

    def leads(self, key: str, question: Question) -> bool:
        """Tell whether a question shall ask; one that another asks already waits for it."""
        if key in self._waiting:
            self._waiting[key].append(question)
            return False
        self._waiting[key] = []
        question.leads = key
        return True

    def keep(self, key: str, reply: Reply) -> None:
        """Keep a good reply.

        Raises
        ------
        WriteError
            It cannot be written.
        """
        write_bytes(self._folder / key, reply.body)

    def release(self, question: Question) -> list[Question]:
        """Return those who waited for what a question asked, once it has its answer or will never have one."""
        key, question.leads = question.leads, ""
        return self._waiting.pop(key, []) if key else []
