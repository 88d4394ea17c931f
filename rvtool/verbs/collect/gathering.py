"""The images of a collection: takes targets from the journal, class by class in turn, and keeps what comes of them."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rvtool.data.files import write_bytes
from rvtool.errors import SourceError
from rvtool.kinds import Absent, Found, Reply, Target
from rvtool.verbs.collect.hosts import Failed, Question
from rvtool.verbs.collect.journal import ABSENT, ASIDE, DUPLICATE, FAILED, HAD, PENDING, Journal
from rvtool.verbs.collect.provenance import provenance
from rvtool.verbs.collect.services import Service, fetches, origin_of
from rvtool.verbs.collect.validate import Expected, check

AHEAD = 200  # targets of a class taken from the journal at once


@dataclass(frozen=True)
class Kept:
    """An image on the disk, with the row that the journal shall have of it; or one that is larger than its cutout."""

    row: dict[str, Any]
    larger: bool = False


@dataclass
class Wanted:
    """A target on its way.

    Attributes
    ----------
    factor
        How many times the settings' field it is asked for.
    """

    number: int
    stem: str
    target: Target
    missing: deque[str]
    factor: int = 1


class Gathering:
    """Feeds the fetcher with targets, and keeps their images.

    Parameters
    ----------
    sides
        The services by the names of a dataset's sides: ``image``, and ``target`` for pairs.
    ask
        Asks a question at once (`Fetcher.put`).
    """

    def __init__(self, journal: Journal, out: Path, sides: Mapping[str, Service], settings: Any) -> None:
        for service in sides.values():
            if not fetches(service):
                raise SourceError(f"Source '{service.name}' lists targets and gives no images; name another --source.")
        self.journal, self.out, self.sides, self.settings = journal, out, sides, settings
        self.ask: Any = None
        self.had: Counter[str | None] = Counter()
        self.missed: Counter[str | None] = Counter()
        self.live: Counter[str | None] = Counter()
        self.left: Counter[str | None] = Counter()
        for (label, state), count in journal.counts().items():
            self.had[label] += count if state == HAD else 0
            self.left[label] += count if state == PENDING else 0
        self._ahead: dict[str | None, deque[tuple[int, int, str, Target]]] = {label: deque() for label in self.left}
        self._cursor: dict[str | None, int] = dict.fromkeys(self.left, -1)
        self._wider: dict[tuple[str, int], Service | None] = {}

    def wanted(self, label: str | None) -> int:
        """Return how many images of a class are still worth asking for."""
        quota = self.settings.count
        return self.left[label] if quota is None else min(self.left[label], quota - self.had[label] - self.live[label])

    def feed(self) -> Question | None:
        """Give the next target's question: of the class of which there is least so far."""
        open_labels = [label for label in self._ahead if self.wanted(label) > 0]
        for label in sorted(open_labels, key=lambda one: (self.had[one] + self.live[one], str(one))):
            if not self._ahead[label]:
                self._ahead[label].extend(self.journal.pending(label, self._cursor[label], AHEAD))
            if not self._ahead[label]:
                self.left[label] = 0
                continue
            rank, number, stem, target = self._ahead[label].popleft()
            self._cursor[label] = rank
            self.left[label] -= 1
            self.live[label] += 1
            there = self.journal.sides(number) if len(self.sides) > 1 else set()
            wanted = Wanted(number, stem, target, deque(side for side in self.sides if side not in there))
            return self._question(wanted)
        return None

    def spare(self) -> None:
        """Dismiss what is not needed any more, as every quota that can be filled is filled."""
        if self.settings.count is not None:
            full = [label for label in self._ahead if self.had[label] >= self.settings.count]
            self.journal.spare(full, "enough of its class")

    # ------------------------------------------------------------------ one image

    def _question(self, wanted: Wanted) -> Question:
        side = wanted.missing[0]
        service = self._service(side, wanted.factor) or self.sides[side]
        return Question(
            wanted.target.id,
            service,
            service.source.request(wanted.target),
            partial(service.source.read, wanted.target),
            partial(self._keep, wanted, side, service),
            partial(self._tell, wanted),
        )

    def _service(self, side: str, factor: int) -> Service | None:
        if (side, factor) not in self._wider:
            self._wider[side, factor] = self.sides[side] if factor == 1 else self.sides[side].wider(factor)
        return self._wider[side, factor]

    def _keep(self, wanted: Wanted, side: str, service: Service, found: Found, reply: Reply) -> Kept:
        """Validate an image and write it, in a thread."""
        target, info = wanted.target, service.info
        local = origin_of(reply.request.url) == "file:"
        expected = Expected(
            ra_deg=target.ra_deg,
            dec_deg=target.dec_deg,
            field_arcmin=info.field_arcmin,
            pixel_arcsec=info.pixel_arcsec,
            unit=info.unit,
            las_arcsec=_number(target.columns.get("las_arcsec")),
            strict=not local,
            max_blank=self.settings.max_blank,
        )
        checked = check(found.body, found.suffix, expected)
        if checked.larger and not local and self.settings.larger != "keep":
            return Kept({}, larger=True)
        seen = asdict(checked)
        if found.pair is not None:
            check(found.pair.body, found.pair.suffix, Expected(strict=False))
            seen["pair"] = self._write(wanted, "target", found.pair)
        row = self._write(wanted, side, found) | {"seen": seen}
        row["pixels_sha256"] = checked.pixels_sha256
        row["columns"] = found.columns | ({"field_factor": wanted.factor} if wanted.factor > 1 else {})
        row["provenance"] = {"source": service.name} if local else provenance(service, reply)
        return Kept(row)

    def _write(self, wanted: Wanted, side: str, found: Found) -> dict[str, Any]:
        folder = f"originals/{self.sides[side].name}" if len(self.sides) > 1 else f"{side}s"
        path = f"{folder}/{wanted.stem}{found.suffix}"
        write_bytes(self.out / path, found.body)
        return {"path": path, "bytes": len(found.body), "sha256": hashlib.sha256(found.body).hexdigest()}

    def _tell(self, wanted: Wanted, answer: Any) -> None:
        """Write down what became of a question, and ask the target's next."""
        match answer:
            case Kept():
                self._kept(wanted, answer)
            case Absent():
                self._over(wanted, ABSENT, answer.reason)
            case Failed():
                self._over(wanted, FAILED, answer.reason)

    def _kept(self, wanted: Wanted, kept: Kept) -> None:
        side, row = wanted.missing[0], kept.row
        if kept.larger:
            if self.settings.larger == "refetch" and wanted.factor == 1 and self._service(side, 2) is not None:
                wanted.factor = 2
                self.ask(self._question(wanted))
                return
            self._over(wanted, ASIDE, f"larger than the cutout{' at twice the field too' if wanted.factor > 1 else ''}")
            return
        local = "request" not in row["provenance"]
        if not local and (twin := self.journal.same_pixels(wanted.number, side, row["pixels_sha256"])) is not None:
            (self.out / row["path"]).unlink(missing_ok=True)
            self._over(wanted, DUPLICATE, f"the very pixels of {twin}")
            return
        wanted.missing.popleft()
        self.journal.had(wanted.number, side, row, complete=not wanted.missing)
        if wanted.missing:
            wanted.factor = 1
            self.ask(self._question(wanted))
            return
        label = wanted.target.columns.get("label")
        self.live[label] -= 1
        self.had[label] += 1

    def _over(self, wanted: Wanted, state: str, reason: str) -> None:
        label = wanted.target.columns.get("label")
        self.live[label] -= 1
        self.missed[label] += 1
        self.journal.settle(wanted.number, state, reason)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
