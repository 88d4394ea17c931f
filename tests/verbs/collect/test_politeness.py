"""Manners towards a host, on a clock that the test moves: pace, window, pauses, what is learnt, circuit breaker."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.verbs.collect.politeness import Manners, Outcome, Ticket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def manners(rate: float = 1000.0, connections: int = 16) -> tuple[Manners, Clock]:
    clock = Clock()
    return Manners(rate, connections, clock, random.Random(0)), clock


def one(host: Manners, clock: Clock, outcome: Outcome, after_s: float | None = None, took_s: float = 0.1) -> None:
    """Send one request as soon as it may be sent, and end it."""
    wait = host.wait()
    assert wait is not None
    clock.now += wait
    ticket = host.started()
    clock.now += took_s
    host.ended(ticket, outcome, after_s)


# ------------------------------------------------------------------ a simulated server


@dataclass
class Server:
    """Allows a rate, with an allowance on top of it, and refuses the rest; answers within 0.1 to 0.3 s.

    Everything is asked for in `hops` more requests, which count too.
    """

    rate_per_s: float = float("inf")
    allowance: float = 1.0
    refusal: Callable[[random.Random], tuple[Outcome, float | None]] = lambda _: (Outcome.BUSY, None)
    hops: int = 0
    starts_s: list[float] = field(default_factory=list)
    refused: int = 0

    def run(self, host: Manners, clock: Clock, count: int, seed: int = 0, jitter_s: float = 0.0) -> float:
        """Fetch so many things, refused ones again; returns the seconds that it took."""
        rng = random.Random(seed)
        tokens, filled_s, todo, done, begun = self.allowance, clock.now, count, 0, clock.now
        flying: list[tuple[float, int, Ticket, bool]] = []
        while done < count:
            wait = host.wait() if todo else None
            if wait == 0:
                tokens = min(self.allowance, tokens + (clock.now - filled_s) * self.rate_per_s)
                filled_s, fine = clock.now, tokens >= 1 + self.hops
                tokens -= fine * (1 + self.hops)
                todo -= 1
                self.starts_s.append(clock.now)
                heapq.heappush(flying, (clock.now + rng.uniform(0.1, 0.3), len(self.starts_s), host.started(), fine))
                continue
            awake = float("inf") if wait is None else clock.now + wait + rng.random() * jitter_s
            if not flying or awake < flying[0][0]:
                clock.now = awake
                continue
            clock.now, _, ticket, fine = heapq.heappop(flying)
            done, todo, self.refused = done + fine, todo + (not fine), self.refused + (not fine)
            host.charge(self.hops)
            host.ended(ticket, *((Outcome.CLEAN, None) if fine else self.refusal(rng)))
        return clock.now - begun


@pytest.mark.parametrize("refusal", [(Outcome.BUSY, None), (Outcome.BUSY, 1.0)], ids=["bare", "Retry-After 1"])
def test_an_untold_limit_is_learnt(refusal: tuple[Outcome, float | None]) -> None:
    refused = []
    for seed in range(10):
        host, clock = manners(rate=100)
        server = Server(10, 10, lambda _: refusal)
        assert server.run(host, clock, 1000, seed) <= 1.05 * 100
        refused.append(server.refused)
    assert sum(refused) / len(refused) <= (0.01 if refusal[1] else 0.012) * 1000
    assert max(refused) <= 0.015 * 1000  # one round trip at the start, before the first refusal has come back


def test_a_told_limit_is_kept_without_a_refusal() -> None:
    host, clock = manners(rate=10)
    server = Server(10, 10)
    assert server.run(host, clock, 1000) <= 1.01 * 100
    assert server.refused == 0


def test_redirects_count_for_a_told_limit() -> None:
    host, clock = manners(rate=10)
    server = Server(10, 10, hops=1)
    assert server.run(host, clock, 500) == pytest.approx(100, rel=0.02)
    assert server.refused == 0
    assert host.rate_per_s == pytest.approx(10, rel=0.05)


def test_redirects_count_for_an_untold_limit() -> None:
    host, clock = manners(rate=100)
    server = Server(10, 10, hops=1)
    assert server.run(host, clock, 500) <= 1.2 * 100
    assert server.refused <= 0.03 * 500


@pytest.mark.parametrize("allowance", [5, 20, 50])
def test_other_allowances_are_learnt_too(allowance: int) -> None:
    host, clock = manners(rate=100)
    server = Server(10, allowance)
    assert server.run(host, clock, 1000) <= 1.2 * 100
    assert server.refused <= 0.03 * 1000


def test_refusals_by_chance_do_not_stop_the_flow() -> None:
    host, clock = manners(rate=1000)
    chance = random.Random(1)
    for _ in range(300):
        one(host, clock, Outcome.BUSY if chance.random() < 0.02 else Outcome.CLEAN, 0.0)
    assert clock.now < 1.5 * 300 * 0.1


def test_what_was_learnt_is_forgotten_after_ten_minutes() -> None:
    host, clock = manners(rate=100)
    Server(10, 10).run(host, clock, 200)
    assert host.allowed_per_s < 15
    clock.now += 600
    assert host.allowed_per_s == pytest.approx(100)


# ------------------------------------------------------------------ pace


@pytest.mark.parametrize("jitter_s", [0.0, 0.05])
def test_jitter_loses_no_throughput(jitter_s: float) -> None:
    host, clock = manners(rate=10)
    assert Server().run(host, clock, 1000, jitter_s=jitter_s) == pytest.approx(100, rel=0.01)


def test_no_burst_at_the_start_nor_after_a_rest() -> None:
    host, clock = manners(rate=4)
    one(host, clock, Outcome.CLEAN, took_s=0)
    assert host.wait() == pytest.approx(0.25)
    clock.now += 100
    one(host, clock, Outcome.CLEAN, took_s=0)
    one(host, clock, Outcome.CLEAN, took_s=0)  # what 0.25 s of lateness may make up for
    assert host.wait() == pytest.approx(0.25)


def test_a_large_rate_is_reached_in_steps() -> None:
    host, clock = manners(rate=100)
    assert host.allowed_per_s == 10
    one(host, clock, Outcome.CLEAN, took_s=0.5)
    assert host.allowed_per_s == 20
    clock.now += 2
    assert host.allowed_per_s == 100


def test_what_is_charged_moves_the_next_start() -> None:
    host, clock = manners(rate=4)
    ticket = host.started()
    clock.now += 0.1
    host.charge(3)
    host.ended(ticket, Outcome.CLEAN)
    assert host.wait() == pytest.approx(0.25 + 3 * 0.25 - 0.1)
    host.charge(0)
    assert host.wait() == pytest.approx(0.9)
    assert host.pause_s == 0


# ------------------------------------------------------------------ window


def test_the_window_doubles_with_every_round_trip_up_to_the_most() -> None:
    host, clock = manners(connections=20)
    sizes = []
    for _ in range(4):
        sizes.append(host.connections)
        tickets = [host.started() for _ in range(host.connections)]
        assert host.wait() is None
        clock.now += 0.2
        for ticket in tickets:
            host.ended(ticket, Outcome.CLEAN)
    assert sizes == [4, 8, 16, 20]


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.TIMEOUT])
def test_the_window_halves_once_a_round_trip(outcome: Outcome) -> None:
    host, clock = manners()
    for _ in range(12):
        one(host, clock, Outcome.CLEAN)
    assert host.connections == 16
    tickets = [host.started() for _ in range(4)]
    clock.now += 0.2
    for ticket, became in zip(tickets, (outcome, outcome, Outcome.CLEAN, outcome), strict=True):
        host.ended(ticket, became, 0.0)
    assert host.connections == 8
    one(host, clock, outcome, 0.0)
    assert host.connections == 4
    one(host, clock, Outcome.BAD)
    assert host.connections == 4
    one(host, clock, Outcome.CLEAN)
    assert host.connections == 5


# ------------------------------------------------------------------ pauses


def test_nothing_starts_before_the_host_said() -> None:
    host, clock = manners()
    first, second = host.started(), host.started()
    clock.now += 0.1
    host.ended(first, Outcome.BUSY, 30.0)
    host.ended(second, Outcome.BUSY, 2.0)  # a shorter one does not shorten it
    assert host.wait() == pytest.approx(30)
    clock.now += 29
    assert host.wait() == pytest.approx(1)
    clock.now += 1
    assert host.wait() == 0


@pytest.mark.parametrize("outcome", Outcome)
def test_whatever_came_the_host_may_say_when_to_come_back(outcome: Outcome) -> None:
    host, clock = manners(rate=10)
    for _ in range(30):
        one(host, clock, Outcome.CLEAN)
    assert host.pause_s == 0
    one(host, clock, outcome, 20.0)
    assert host.wait() == host.pause_s == pytest.approx(20)
    clock.now += 15
    assert host.pause_s == pytest.approx(5)
    clock.now += 10
    assert host.pause_s == 0
    assert (host.allowed_per_s < 10) is (outcome is Outcome.BUSY)  # only refusals are learnt from
    one(host, clock, Outcome.BUSY)
    assert (host.pause_s > 0) is (outcome is Outcome.BUSY)  # the second one running


def test_repeated_bare_refusals_double_the_pause_up_to_a_minute_until_a_clean_reply() -> None:
    host, clock = manners()
    pauses = []
    for _ in range(8):
        one(host, clock, Outcome.BUSY)
        pauses.append(host.wait())
    assert pauses == pytest.approx([0, 1, 2, 4, 8, 16, 32, 60])
    one(host, clock, Outcome.CLEAN)
    clock.now += 60  # past what the learnt rate asks for
    one(host, clock, Outcome.BUSY)
    assert host.wait() == 0
    one(host, clock, Outcome.BUSY)
    assert host.wait() == pytest.approx(1)


def test_refusals_together_are_one() -> None:
    host, clock = manners()
    tickets = [host.started() for _ in range(4)]
    clock.now += 0.1
    for ticket in tickets:
        host.ended(ticket, Outcome.BUSY)
    one(host, clock, Outcome.BUSY)
    assert host.wait() == pytest.approx(1)


def test_lone_refusals_neither_pause_the_host_nor_slow_it() -> None:
    host, clock = manners(rate=1000)
    for number in range(400):
        one(host, clock, Outcome.BUSY if number % 50 == 49 else Outcome.CLEAN, 0.0)
    assert host.allowed_per_s == 1000


# ------------------------------------------------------------------ circuit breaker


def test_five_failures_open_the_breaker_and_probes_are_ever_rarer() -> None:
    host, clock = manners()
    for _ in range(4):
        one(host, clock, Outcome.DOWN)
    assert host.state == "closed"
    one(host, clock, Outcome.DOWN)
    assert host.state == "open"
    waits = []
    for outcome in (Outcome.DOWN, Outcome.TIMEOUT, Outcome.DOWN, Outcome.DOWN, Outcome.DOWN):
        waits.append(host.wait())
        one(host, clock, outcome)
    assert waits == pytest.approx([30, 60, 120, 240, 300])
    clock.now += 300
    assert host.state == "half-open"
    probe = host.started()
    assert host.wait() is None
    clock.now += 0.1
    host.ended(probe, Outcome.CLEAN)
    assert host.state == "closed"
    assert host.wait() == 0


def test_an_open_breaker_is_a_pause() -> None:
    host, clock = manners()
    for _ in range(5):
        one(host, clock, Outcome.DOWN)
    assert host.pause_s == pytest.approx(30)
    clock.now += 30
    assert (host.state, host.pause_s) == ("half-open", 0)


def test_an_answer_in_between_keeps_the_breaker_closed() -> None:
    host, clock = manners()
    for outcome in (*[Outcome.DOWN] * 4, Outcome.CLEAN, *[Outcome.DOWN] * 4):
        one(host, clock, outcome)
    assert host.state == "closed"


def test_stragglers_do_not_lengthen_the_break() -> None:
    host, clock = manners(connections=8)
    for _ in range(4):
        one(host, clock, Outcome.CLEAN)
    tickets = [host.started() for _ in range(8)]
    clock.now += 0.1
    for ticket in tickets:
        host.ended(ticket, Outcome.DOWN)
    assert host.wait() == pytest.approx(30)


def test_never_answered() -> None:
    host, clock = manners()
    assert not host.never_answered
    one(host, clock, Outcome.DOWN)
    one(host, clock, Outcome.TIMEOUT)
    assert host.never_answered
    one(host, clock, Outcome.BUSY)
    assert not host.never_answered


# ------------------------------------------------------------------ asking in vain


def test_asking_in_vain_is_counted_from_the_first_start() -> None:
    host, clock = manners()
    clock.now += 1000
    one(host, clock, Outcome.CLEAN)
    assert host.unclean_s == 0
    clock.now += 1000
    one(host, clock, Outcome.DOWN, took_s=2)
    assert host.unclean_s == pytest.approx(2)
    one(host, clock, Outcome.TIMEOUT, took_s=60)
    assert host.unclean_s == pytest.approx(62)
    one(host, clock, Outcome.CLEAN)
    assert host.unclean_s == 0


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.TIMEOUT, Outcome.BAD])
def test_the_pauses_of_a_host_that_gives_nothing_count(outcome: Outcome) -> None:
    host, clock = manners()
    for _ in range(11):
        one(host, clock, outcome, 60.0, took_s=0)
    assert host.unclean_s == pytest.approx(600)


def test_breaks_count_as_asking_in_vain() -> None:
    host, clock = manners()
    for _ in range(9):
        one(host, clock, Outcome.DOWN, took_s=0)
    assert host.unclean_s == pytest.approx(30 + 60 + 120 + 240, abs=0.1)


def test_a_host_that_nobody_asks_is_not_asked_in_vain() -> None:
    host, clock = manners()
    one(host, clock, Outcome.BAD, took_s=1)
    clock.now += 3600
    assert host.unclean_s == pytest.approx(1)
    one(host, clock, Outcome.BAD, took_s=1)
    assert host.unclean_s == pytest.approx(2)
    one(host, clock, Outcome.DOWN, 10.0, took_s=1)
    clock.now += 3600
    one(host, clock, Outcome.BAD, took_s=1)
    assert host.unclean_s == pytest.approx(2 + 1 + 10 + 1)


def test_what_ends_after_a_clean_end_counts_from_it() -> None:
    host, clock = manners()
    slow, quick = host.started(), host.started()
    clock.now += 5
    host.ended(quick, Outcome.CLEAN)
    clock.now += 3
    host.ended(slow, Outcome.TIMEOUT)
    assert host.unclean_s == pytest.approx(3)


# ------------------------------------------------------------------ one request


@pytest.mark.parametrize(("took_s", "deadline_s"), [(0.2, 3), (2.0, 20), (30.0, 120)])
def test_the_deadline_follows_what_is_usual(took_s: float, deadline_s: float) -> None:
    host, clock = manners()
    for _ in range(19):
        one(host, clock, Outcome.CLEAN, took_s=took_s)
    one(host, clock, Outcome.TIMEOUT, took_s=60)
    assert [host.deadline_s(attempt) for attempt in range(3)] == [60, 120, 240]
    one(host, clock, Outcome.CLEAN, took_s=took_s)
    assert [host.deadline_s(attempt) for attempt in range(2)] == pytest.approx([deadline_s, 2 * deadline_s])


def test_the_backoff_is_full_jitter() -> None:
    host, _ = manners()
    drawn = [[host.backoff_s(attempt) for _ in range(2000)] for attempt in (0, 3, 20)]
    for values, most in zip(drawn, (0.5, 4, 60), strict=True):
        assert 0 <= min(values) < 0.01 * most
        assert 0.99 * most < max(values) <= most
        assert sum(values) / 2000 == pytest.approx(most / 2, rel=0.05)


def test_figures() -> None:
    host, clock = manners(rate=5)
    host.started()
    for outcome in [*[Outcome.CLEAN] * 100, Outcome.BAD]:
        one(host, clock, outcome, took_s=0.01)
    assert host.in_flight == 1
    assert host.rate_per_s == pytest.approx(5, rel=0.05)
    assert host.outcomes == {Outcome.CLEAN: 100, Outcome.BAD: 1}


# ------------------------------------------------------------------ whatever happens


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0.5, 200),
    st.integers(1, 32),
    st.lists(
        st.tuples(st.sampled_from(Outcome), st.none() | st.floats(0, 100), st.floats(0, 5), st.integers(0, 31)),
        max_size=60,
    ),
)
def test_the_bounds_hold_whatever_happens(
    rate: float, connections: int, ends: list[tuple[Outcome, float | None, float, int]]
) -> None:
    host, clock = manners(rate, connections)
    flying: list[Ticket] = []
    starts: list[float] = []
    forbidden_until = 0.0
    for outcome, after_s, later_s, which in ends:
        while host.wait() == 0:
            assert clock.now >= forbidden_until - 1e-6
            flying.append(host.started())
            starts.append(clock.now)
            assert len(flying) == host.in_flight <= connections
        if flying:
            host.ended(flying.pop(which % len(flying)), outcome, after_s)
            if after_s is not None:
                assert host.pause_s >= after_s - 1e-6
                forbidden_until = max(forbidden_until, clock.now + after_s)
        clock.now += later_s
        assert 0 < host.allowed_per_s <= rate * (1 + 1e-9)
        assert 1 <= host.connections <= connections
        assert 0 <= host.unclean_s <= clock.now
    for first, start in enumerate(starts):
        within = [later for later in starts[first:] if later < start + 1]
        assert len(within) <= 1.25 * rate + 1 + 1e-6
