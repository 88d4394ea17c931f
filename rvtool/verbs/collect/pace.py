"""How fast requests to one host may follow each other: a smooth rate, and what was learnt about it."""

from __future__ import annotations

from collections import deque

RECENT_S = 10.0
"""What the rate is measured over."""


class Pace:
    """A smooth rate of starts, and what was learnt about how much of it the host takes.

    The starts are due at fixed moments, so that a timer's jitter costs no throughput: what came late is made up for,
    as far as `SLACK_S`. The rate doubles from a gentle one until refusals set it a little below what the host took.
    From there it climbs to what was refused within `AGAIN_S`, and to the largest within `FORGET_S`, slowly at first
    (the cubic law of TCP CUBIC).
    """

    SLACK_S = 0.25
    FIRST_PER_S = 10.0  # at least; a tenth of the largest
    DOUBLES_S = 0.5
    BELOW = 0.97
    ALLOWANCE_S = 1.0  # hosts commonly let a burst of a second's worth through on top of their rate
    # where fewer of the requests are refused, of those beside the first and of the recent ones, it need not be the rate
    CHANCE, LATELY = 0.25, 0.08
    BOUND = 0.8  # of the allowed rate is as much as the jitter of timers and replies lets through
    AGAIN_S = 120.0
    FORGET_S = 600.0

    def __init__(self, max_rate_per_s: float, now: float) -> None:
        self.next_s = now
        self._max_per_s = max_rate_per_s
        self._starts_s: deque[float] = deque()
        self._refused_s: deque[float] = deque()
        self._resumed_s = self._begun_s = self._first_s = now
        self._before_per_s = max_rate_per_s
        self._learnt: tuple[float, float, float] | None = None  # what went well, what was refused, and when

    def allowed_per_s(self, now: float) -> float:
        """Return the rate of starts that holds now."""
        if self._learnt is None:
            doubled = (now - self._starts_s[0]) / self.DOUBLES_S if self._starts_s else 0.0
            return min(self._max_per_s, max(self.FIRST_PER_S, self._max_per_s / 10) * 2 ** min(doubled, 10.0))
        well, refused, learnt_s = self._learnt
        again, forgotten = (min(1.0, (now - learnt_s) / climb_s) ** 3 for climb_s in (self.AGAIN_S, self.FORGET_S))
        return well + (refused - well) * again + (self._max_per_s - refused) * forgotten

    def measured_per_s(self, now: float) -> float:
        """Return the starts a second over the last 10 s, or since the first."""
        recent = [start for start in self._starts_s if start > now - RECENT_S]
        return len(recent) / max(1.0, now - recent[0]) if recent else 0.0

    def started(self, now: float) -> None:
        """Note a start, and when the next one is due."""
        for times in (self._starts_s, self._refused_s):
            while times and times[0] < now - 2 * RECENT_S:
                times.popleft()
        self._starts_s.append(now)
        self.next_s = max(self.next_s, now - self.SLACK_S) + 1 / self.allowed_per_s(now)

    def charge(self, requests: int, now: float) -> None:
        """Count requests that followed from one that started, as if each had had its turn."""
        self._starts_s.extend([now] * requests)
        self.next_s += requests / self.allowed_per_s(now)

    def refused(self, started_s: float, resume_s: float, now: float) -> None:
        """Learn from a refusal that is followed by a pause until `resume_s`.

        Many refusals are a limit, and what went well before them holds the host's allowance besides its rate. A lone
        one is chance where the rate was not at its bound; where it was, a step below what went well for a second at
        least will do.
        """
        if started_s >= self._resumed_s:  # else it is one of those that led to the last pause
            self._begun_s, self._first_s = max(self._resumed_s, started_s - RECENT_S), started_s
            self._before_per_s = self.allowed_per_s(now)
        self._first_s = min(self._first_s, started_s)
        self._resumed_s = resume_s
        self._refused_s.append(started_s)
        taken_s = [start for start in self._starts_s if self._begun_s <= start < self._first_s]
        if not taken_s:
            return  # nothing was asked before it
        lasted_s = self._first_s - taken_s[0]
        limited = self._limited(self._first_s, 2, self.CHANCE) or self._limited(now - RECENT_S, 3, self.LATELY)
        bound = len(taken_s) >= self.BOUND * self._before_per_s * lasted_s
        if limited or (bound and lasted_s >= 1):
            refused = min(self._before_per_s, len(taken_s) / lasted_s)
            rightful = lasted_s / (lasted_s + self.ALLOWANCE_S) if limited else 1.0
            self._learnt = refused * max(0.5, self.BELOW * rightful), refused, now

    def _limited(self, since_s: float, least: int, share: float) -> bool:
        """Tell whether too much was refused of what started since then to be chance."""
        refused, started = (sum(s >= since_s for s in times) for times in (self._refused_s, self._starts_s))
        return refused >= max(least, share * started)
