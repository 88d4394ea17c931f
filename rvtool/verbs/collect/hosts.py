"""Questions, and the hosts at which they wait for their turn."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rvtool.kinds import Reply, Request
from rvtool.verbs.collect.politeness import Manners
from rvtool.verbs.collect.services import Service


@dataclass(frozen=True)
class Failed:
    """A question that stays without an answer."""

    reason: str


@dataclass
class Question:
    """One thing wanted, from its first request to its answer.

    Attributes
    ----------
    read
        What the source makes of a reply.
    keep
        What is done with a good answer, in a thread; a `DataError` that it raises means that the reply is not to be
        believed, and is asked for once more.
    tell
        Is given what `keep` returned, or `Absent`, or `Failed`.
    patience
        Answers of "too many requests", which are no fault of the question, before it fails.
    leads
        The key of a shared reply that others wait for.
    """

    name: str
    service: Service
    request: Request
    read: Callable[[Reply], Any]
    keep: Callable[[Any, Reply], Any]
    tell: Callable[[Any], None]
    patience: int = 30
    attempt: int = 1
    refusals: int = 0
    steps: int = 0
    leads: str = ""
    doubt: tuple[str, str] = ("", "")  # the last reason not to believe, and the hash of the reply


@dataclass
class Host:
    """A host, what waits for it, and how it is treated; never more than `most` requests are in flight."""

    origin: str
    most: int
    manners: Manners
    ready: deque[Question] = field(default_factory=deque)
    later: list[tuple[float, int, Question]] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    retries: int = 0
    in_hand: int = 0  # in flight, or answered and not yet on the disk: what a kill may cost

    def put(self, question: Question, not_before: float | None = None, tie: int = 0) -> None:
        """Let a question wait for its turn, or until a time."""
        if not_before is None:
            self.ready.append(question)
        else:
            heapq.heappush(self.later, (not_before, tie, question))
        self.wake.set()

    def due(self, now: float) -> None:
        """Move what has waited long enough to those whose turn comes next."""
        while self.later and self.later[0][0] <= now:
            self.ready.appendleft(heapq.heappop(self.later)[2])

    async def sleep(self, seconds: float | None) -> None:
        """Wait for news, or for a time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()
