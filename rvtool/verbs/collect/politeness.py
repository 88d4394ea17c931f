"""Manners towards one host: how fast, how many at once, when to wait, and when to leave it alone.

Pure logic on a clock that is given: nothing here sleeps, sends or receives. All times are seconds of that clock.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from rvtool.verbs.collect.pace import Pace


class Outcome(Enum):
    """What became of a request, as far as its host is concerned."""

    CLEAN = "answered"
    BUSY = "refused for now"  # 429, 503, or the service's own words for them
    TIMEOUT = "too slow"
    DOWN = "down"  # no connection, or a server error
    BAD = "no use"  # it came, but cut off or garbled


@dataclass(frozen=True)
class Ticket:
    """A request on its way, and when it started."""

    started_s: float


class Manners:
    """Decides when the next request to a host may start, from what became of the earlier ones.

    Ask `wait`; once it says 0, call `started` and keep the ticket; hand it to `ended` with what became of it. A request
    that was given up (cancelled) has ended too, as `Outcome.BAD`.

    Parameters
    ----------
    max_rate_per_s, max_connections
        Never more than these, however willing the host is.
    clock
        Seconds of a clock that never goes back.
    rng
        Draws the jitter of `backoff_s`.

    Attributes
    ----------
    unclean_s
        How long the host had been asked in vain when a request last ended: since the last clean end, or the first start
        after it where that is later. Time in which it could have been asked and was not does not count.
    """

    def __init__(
        self,
        max_rate_per_s: float,
        max_connections: int,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.in_flight = 0
        self.unclean_s = 0.0
        self._clock = clock
        self._rng = rng or random.Random()
        self._pace = Pace(max_rate_per_s, clock())
        self._window = Window(max_connections)
        self._breaker = Breaker()
        self._took_s: deque[float] = deque(maxlen=101)
        self._paused_until_s = self._paused_at_s = clock()
        self._repeats = 0
        self._asked_s = self._ended_s = clock()  # what `unclean_s` counts from, and the last end
        self._anew = True  # nothing started since the last clean end

    # ------------------------------------------------------------------ asking

    def wait(self) -> float | None:
        """Return the seconds until the next request may start: 0 now, None not before one in flight has ended."""
        now = self._clock()
        if self.in_flight >= self._window.size or self._breaker.probing(now):
            return None
        wait = self._free_s() - now
        return wait if wait > 1e-6 else 0.0  # a clock that was moved on by the wait may fall short by its last bit

    def started(self) -> Ticket:
        """Take note that a request starts now."""
        ticket = Ticket(self._clock())
        if self._anew:
            self._asked_s, self._anew = ticket.started_s, False
        elif not self.in_flight:
            self._asked_s += max(0.0, ticket.started_s - max(self._free_s(), self._ended_s))
        self.in_flight += 1
        self._pace.started(ticket.started_s)
        self._breaker.started(ticket)
        return ticket

    def ended(self, ticket: Ticket, outcome: Outcome, after_s: float | None = None) -> None:
        """Take note of what became of a request; `after_s` is what the host said about when to come back."""
        now = self._ended_s = self._clock()
        self.in_flight -= 1
        self.outcomes[outcome] += 1
        self._window.ended(ticket, outcome, now)
        if self._breaker.ended(ticket, outcome, now):
            self._window.restart()
        if outcome is Outcome.CLEAN:
            self._asked_s, self._anew = now, True
            self._took_s.append(now - ticket.started_s)
            if ticket.started_s >= self._paused_until_s:
                self._repeats = 0
        self.unclean_s = now - self._asked_s
        self._pause(ticket, outcome, after_s, now)
        if outcome is Outcome.BUSY:
            self._pace.refused(ticket.started_s, self._paused_until_s, now)

    def charge(self, requests: int) -> None:
        """Count requests that the host got besides those that `started` was told of, such as redirects."""
        self._pace.charge(requests, self._clock())

    def _free_s(self) -> float:
        """Return when the next request may start, as far as the one before it matters."""
        return max(self._paused_until_s, self._breaker.open_until_s, self._pace.next_s)

    def _pause(self, ticket: Ticket, outcome: Outcome, after_s: float | None, now: float) -> None:
        """Keep everybody off the host for as long as it said.

        Where it only refused, one refusal may be chance; while it goes on refusing: for 1 s, doubled each time.
        """
        if outcome is Outcome.BUSY:
            if ticket.started_s >= self._paused_at_s:  # one refusal; those in flight beside it are the same one
                self._repeats += 1
                self._paused_at_s = now
            if after_s is None:
                after_s = min(60.0, 2.0 ** (self._repeats - 2)) if self._repeats > 1 else 0.0
        if after_s is not None:
            self._paused_until_s = max(self._paused_until_s, now + after_s)

    # ------------------------------------------------------------------ one request

    def deadline_s(self, attempt: int) -> float:
        """Return how long a request may take that was tried `attempt` times before.

        Ten times what is usual here (within 3 s to 120 s), once 20 clean replies tell; doubled with every attempt.
        """
        usual = 60.0 if len(self._took_s) < 20 else min(120.0, max(3.0, 10 * statistics.median(self._took_s)))
        return usual * 2**attempt

    def backoff_s(self, attempt: int) -> float:
        """Draw how long a request rests that failed after `attempt` earlier attempts ("full jitter")."""
        return min(60.0, 0.5 * 2**attempt) * self._rng.random()

    # ------------------------------------------------------------------ figures

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Of the circuit breaker: requests flow, none is sent, or one is sent to see whether the host is back."""
        return self._breaker.state(self._clock())

    @property
    def pause_s(self) -> float:
        """What is left of a pause that the host asked for, or that it gets while it refuses or is down, in seconds."""
        return max(0.0, max(self._paused_until_s, self._breaker.open_until_s) - self._clock())

    @property
    def never_answered(self) -> bool:
        """Whether requests have ended, and every one of them because the host was down or too slow."""
        return 0 < self.outcomes.total() == self.outcomes[Outcome.DOWN] + self.outcomes[Outcome.TIMEOUT]

    @property
    def connections(self) -> int:
        """How many requests may be in flight at present."""
        return self._window.size

    @property
    def allowed_per_s(self) -> float:
        """Requests a second that may start at present."""
        return self._pace.allowed_per_s(self._clock())

    @property
    def rate_per_s(self) -> float:
        """Requests a second that did start, over the last 10 s."""
        return self._pace.measured_per_s(self._clock())


class Window:
    """How many requests may be in flight: one more for each clean reply, half after a refusal or a timeout.

    What started before the last halving tells nothing about the window since, so it changes nothing.
    """

    FIRST = 4

    def __init__(self, most: int) -> None:
        self._most = most
        self._halved_s = float("-inf")
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self.size = min(self.FIRST, self._most)

    def ended(self, ticket: Ticket, outcome: Outcome, now: float) -> None:
        """Grow or shrink."""
        if ticket.started_s < self._halved_s:
            return
        if outcome is Outcome.CLEAN:
            self.size = min(self.size + 1, self._most)
        elif outcome in (Outcome.BUSY, Outcome.TIMEOUT):
            self.size = max(1, self.size // 2)
            self._halved_s = now


class Breaker:
    """Leaves a host alone that is down: five failures running open it for 30 s, then one request tries.

    While the host stays down, the time doubles up to five minutes.
    """

    FAILURES = 5
    FIRST_S = 30.0
    MOST_S = 300.0

    def __init__(self) -> None:
        self.open_until_s = float("-inf")
        self._closed = True
        self._open_s = self.FIRST_S
        self._failures = 0
        self._probe: Ticket | None = None

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """Return the state (see `Manners.state`)."""
        if self._closed:
            return "closed"
        return "open" if now < self.open_until_s else "half-open"

    def probing(self, now: float) -> bool:
        """Tell whether the one request that may be sent is on its way."""
        return self._probe is not None and self.state(now) == "half-open"

    def started(self, ticket: Ticket) -> None:
        """Note a start; while the breaker is not closed, it is the probe."""
        if not self._closed:
            self._probe = ticket

    def ended(self, ticket: Ticket, outcome: Outcome, now: float) -> bool:
        """Note an end; returns whether it opened the breaker."""
        probed = ticket is self._probe
        if probed:
            self._probe = None
        if outcome is Outcome.TIMEOUT and not probed:
            return False  # slow is not down
        if outcome not in (Outcome.DOWN, Outcome.TIMEOUT):
            self._closed, self._failures, self._open_s = True, 0, self.FIRST_S
            self.open_until_s = float("-inf")
            return False
        self._failures += 1
        if not probed and (not self._closed or self._failures < self.FAILURES):
            return False
        self._closed = False
        self.open_until_s = now + self._open_s
        self._open_s = min(self.MOST_S, 2 * self._open_s)
        return True
