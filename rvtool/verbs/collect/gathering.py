"""The images of a collection: takes targets from the journal, class by class in turn, and writes down what comes."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Target
from rvtool.verbs.collect.hosts import Failed, Question
from rvtool.verbs.collect.journal import ABSENT, ASIDE, DUPLICATE, FAILED, HAD, PENDING, Journal
from rvtool.verbs.collect.keeping import Keeper, Kept, Wanted
from rvtool.verbs.collect.services import Service, fetches

AHEAD = 200  # targets of a class taken from the journal at once


class Gathering:
    """Feeds the fetcher with targets, and writes down what became of them.

    Parameters
    ----------
    sides
        The services by the names of a dataset's sides: ``image``, and ``target`` for pairs.

    Attributes
    ----------
    ask
        Asks a question at once (`Fetcher.put`); set by whoever runs the fetcher.
    had, missed, live, left
        Targets of each class: whose images are there, that have none, on their way, and not yet asked for.
    """

    def __init__(self, journal: Journal, out: Path, sides: Mapping[str, Service], settings: Any) -> None:
        for service in sides.values():
            if not fetches(service):
                raise ConfigError(f"Source '{service.name}' lists targets and gives no images; name another source.")
        self.journal, self.out, self.sides, self.settings = journal, out, sides, settings
        self.ask: Any = None
        self.had: Counter[str | None] = Counter()
        self.missed: Counter[str | None] = Counter()
        self.live: Counter[str | None] = Counter()
        self.left: Counter[str | None] = Counter()
        for (label, state), count in journal.counts().items():
            self.had[label] += count if state == HAD else 0
            self.left[label] += count if state == PENDING else 0
        self._keeper = Keeper(out, sides, settings)
        self._ahead: dict[str | None, deque[tuple[int, int, str, Target]]] = {label: deque() for label in self.left}
        self._cursor: dict[str | None, int] = dict.fromkeys(self.left, -1)
        self._wider: dict[tuple[str, int], Service | None] = {}
        # whose turn it is: classes by how many there are of them, an entry for each of which some are wanted
        self._turns = [(self._started(label), str(label), label) for label in self.left if self.wanted(label) > 0]
        self._resting = {label for label in self.left if self.wanted(label) <= 0}
        heapq.heapify(self._turns)

    def wanted(self, label: str | None) -> int:
        """Return how many images of a class are still worth asking for."""
        quota = self.settings.count
        return self.left[label] if quota is None else min(self.left[label], quota - self._started(label))

    def unfinished(self) -> int:
        """Return how many images are wanted that are not there."""
        return sum(max(0, self.wanted(label)) + self.live[label] for label in self.left)

    def _started(self, label: str | None) -> int:
        return self.had[label] + self.live[label]

    def feed(self) -> Question | None:
        """Give the next target's question: of the class of which there is least so far."""
        while self._turns:
            count, name, label = self._turns[0]
            if count != self._started(label):  # some came or failed meanwhile
                heapq.heapreplace(self._turns, (self._started(label), name, label))
            elif self.wanted(label) > 0 and (row := self._next(label)) is not None:
                self.left[label] -= 1
                self.live[label] += 1
                heapq.heapreplace(self._turns, (self._started(label), name, label))
                return self._question(self._wanted(row))
            else:
                heapq.heappop(self._turns)
                self._resting.add(label)
        return None

    def _next(self, label: str | None) -> tuple[int, int, str, Target] | None:
        ahead = self._ahead[label]
        if not ahead:
            ahead.extend(self.journal.pending(label, self._cursor[label], AHEAD))
        if not ahead:
            self.left[label] = 0
            return None
        self._cursor[label] = ahead[0][0]
        return ahead.popleft()

    def _wanted(self, row: tuple[int, int, str, Target]) -> Wanted:
        """Return a target with the sides that are still missing."""
        _, number, stem, target = row
        there = self.journal.rows(number) if len(self.sides) > 1 else {}
        factor = there["image"]["columns"].get("field_factor", 1) if "image" in there else 1
        return Wanted(number, stem, target, deque(side for side in self.sides if side not in there), there, factor)

    def spare(self) -> None:
        """Dismiss what is not needed any more, of every class whose quota is filled."""
        if self.settings.count is not None:
            full = [label for label in self.left if self.had[label] >= self.settings.count]
            self.journal.spare(full, "enough of its class")

    # ------------------------------------------------------------------ one target

    def _question(self, wanted: Wanted) -> Question:
        side = wanted.missing[0]
        service = self._service(side, wanted.factor) or self.sides[side]
        return Question(
            wanted.target.id,
            service,
            service.source.request(wanted.target),
            partial(service.source.read, wanted.target),
            partial(self._keeper.keep, wanted, side, service),
            partial(self._tell, wanted),
        )

    def _service(self, side: str, factor: int) -> Service | None:
        if (side, factor) not in self._wider:
            self._wider[side, factor] = self.sides[side] if factor == 1 else self.sides[side].wider(factor)
        return self._wider[side, factor]

    def _tell(self, wanted: Wanted, answer: Any) -> None:
        """Write down what became of a question, and ask the target's next."""
        match answer:
            case Kept():
                self._kept(wanted, answer)
            case Absent():
                self._missed(wanted, ABSENT, answer.reason)
            case Failed():
                self._missed(wanted, FAILED, answer.reason)

    def _kept(self, wanted: Wanted, kept: Kept) -> None:
        side = wanted.missing[0]
        if kept.larger:
            if self.settings.larger == "refetch" and wanted.factor == 1 and self._service(side, 2) is not None:
                wanted.factor = 2
                self.ask(self._question(wanted))
                return
            again = " at twice the field too" if wanted.factor > 1 else ""
            self._missed(wanted, ASIDE, f"larger than the cutout{again}")
            return
        row = kept.rows[side]
        local = "request" not in row["provenance"]
        if not local and (twin := self.journal.same_pixels(wanted.number, side, row["pixels_sha256"])) is not None:
            for mine in kept.rows.values():
                (self.out / mine["path"]).unlink(missing_ok=True)
            self._missed(wanted, DUPLICATE, f"the very pixels of {twin}")
            return
        if kept.aside:
            self._missed(wanted, ASIDE, kept.aside)
            return
        wanted.missing.popleft()
        wanted.there |= kept.rows
        self.journal.keep(wanted.number, kept.rows, complete=not wanted.missing)
        if wanted.missing:
            self.ask(self._question(wanted))
            return
        label = wanted.target.columns.get("label")
        self.live[label] -= 1
        self.had[label] += 1

    def _missed(self, wanted: Wanted, state: str, reason: str) -> None:
        label = wanted.target.columns.get("label")
        self.live[label] -= 1
        self.missed[label] += 1
        self.journal.settle(wanted.number, state, reason)
        if label in self._resting and self.wanted(label) > 0:
            self._resting.remove(label)
            heapq.heappush(self._turns, (self._started(label), str(label), label))
