"""What to fetch: targets of a file, typed places, a catalogue or the source itself, made ready in the journal."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from rvtool.data.fits import suffix_of
from rvtool.errors import ConfigError, SourceError
from rvtool.kinds import Absent, Catalogues, Covers, Listed, Offers, Reply, SourceInfo, Target
from rvtool.services import positions, sesame
from rvtool.verbs.collect.hosts import Failed, Question
from rvtool.verbs.collect.journal import DUPLICATE, OUTSIDE, Journal
from rvtool.verbs.collect.services import Service, base_url, catalogues_of, class_name, fetches
from rvtool.verbs.collect.sky import covered, deduplicate, read_moc
from rvtool.verbs.collect.targets import read_targets

UNSAFE = re.compile(r"[^\w.+/-]")
SPARES = 1.5  # candidates asked of a catalogue for each image wanted, as some places have none
CLOSEST_ARCSEC = 2.0  # targets closer than this are one, whatever the beam

Ask = Callable[[list[Question]], None]
"""Asks questions, and returns when all are answered."""


class Sesame:
    """The name resolver, as a service among others."""

    info = SourceInfo(sesame.BASE_URL, max_rate_per_s=2.0, max_connections=2)


def targets_of(services: Sequence[Service], settings: Any, ask: Ask, say: Callable[[str], None]) -> Iterator[Target]:
    """Give what the settings of a collection want fetched; `say` is told what was left out on the way.

    Raises
    ------
    ConfigError
        Nothing is named, or more than one kind of thing, or what is named does not exist.
    DataError
        The table of targets cannot be used.
    SourceError
        A catalogue cannot be had.
    """
    first = services[0]
    ways = [way for way in ("targets", "position", "class_") if getattr(settings, way)]
    if len(ways) > 1:
        raise ConfigError("Say what to fetch in one way: --targets, --position or --class.")
    if settings.targets is not None:
        return read_targets(settings.targets, say)
    if settings.position:
        return iter(places(settings, ask))
    if settings.class_:
        return iter(objects(services, settings, ask, say))
    if isinstance(first.source, Offers):
        return first.source.targets()
    if isinstance(first.source, Catalogues) and first.source.query("", None):
        return iter(listed(first, "", settings.count, ask))
    raise ConfigError(
        f"Say what to fetch from '{first.name}': --targets FILE, --position \"RA Dec\" or --class NAME --count N."
    )


def places(settings: Any, ask: Ask) -> list[Target]:
    """Return the typed positions; names are resolved by Sesame.

    Raises
    ------
    ConfigError
        A position is not on the sky, or a name is unknown.
    """
    found: dict[str, Target | None] = {}
    questions = []
    resolver = Service("sesame", Sesame(), None, base_url("sesame", settings.base_url))
    for text in settings.position:
        try:
            place = positions.parse(text)
        except ValueError as error:
            raise ConfigError(f"Position '{text}': {error}.") from error
        found[text] = Target(positions.j_name(*place), *place) if place else None
        if place is None:

            def tell(answer: Any, name: str = text) -> None:
                if isinstance(answer, Absent):
                    raise ConfigError(
                        f"No position is known of '{name}'; check the name, or give \"RA Dec\" in degrees."
                    )
                if isinstance(answer, Failed):
                    raise SourceError(f"The name '{name}' cannot be resolved now ({answer.reason}); give its position.")
                found[name] = answer.targets[0]

            questions.append(Question(text, resolver, sesame.request(text), partial(_resolved, text), _as_it_is, tell))
    ask(questions)
    return [target for target in found.values() if target is not None]


def _resolved(name: str, reply: Reply) -> Any:
    answer = sesame.read(reply)
    if answer is None:
        return Absent("unknown")
    return Listed((Target(name, *answer),)) if isinstance(answer, tuple) else answer


def _as_it_is(answer: Any, reply: Reply) -> Any:
    return answer


def objects(services: Sequence[Service], settings: Any, ask: Ask, say: Callable[[str], None]) -> list[Target]:
    """Return candidates of every class that was asked for, labelled; of several catalogues one may be out of reach.

    Raises
    ------
    SourceError
        No catalogue of a class can be had.
    """
    found: list[Target] = []
    for label in settings.class_:
        said: list[str] = []
        offering = catalogues_of(label, settings, services)
        if not any(map(fetches, services)):  # one catalogue is to be listed, and no other
            others = ", ".join(f"'{catalogue.name}'" for catalogue in offering)
            offering = [catalogue for catalogue in offering if catalogue in services]
            if not offering:
                raise ConfigError(f"Source '{services[0].name}' does not list '{label}'; {others} does.")
        for catalogue in offering:
            name = class_name(label, catalogue.source)
            wanted = None if settings.count is None else int(np.ceil(settings.count * SPARES))
            try:
                targets = listed(catalogue, name, wanted, ask)
            except SourceError as error:
                said.append(str(error))
                continue
            for target in targets:
                extra = {**target.columns, "label": name, "catalogue": target.columns.get("catalogue", catalogue.name)}
                found.append(Target(target.id, target.ra_deg, target.dec_deg, extra))
        if len(said) == len(offering):
            raise SourceError(said[0])
        for text in said:
            say(text)
    return found


def listed(service: Service, label: str, count: int | None, ask: Ask) -> list[Target]:
    """Return what a catalogue lists, all pages of it.

    Raises
    ------
    SourceError
        A page cannot be had.
    """
    found: dict[int, list[Target]] = {}

    def question(number: int, request: Any) -> Question:
        return Question(
            f"the list of '{label or service.name}'",
            service,
            request,
            partial(service.source.entries, label),
            _as_it_is,
            partial(tell, number),
        )

    further: list[Question] = []

    def tell(number: int, answer: Any) -> None:
        if isinstance(answer, Failed | Absent):
            raise SourceError(f"Source '{service.name}' did not list '{label or 'its targets'}': {answer.reason}.")
        found.setdefault(number, []).extend(answer.targets)
        if answer.further is not None:
            further.append(question(number, answer.further))

    asking = [question(n, request) for n, request in enumerate(service.source.query(label, count))]
    while asking:
        further.clear()
        ask(asking)
        asking = list(further)
    return list(itertools.chain.from_iterable(found[n] for n in sorted(found)))


def with_stems(targets: Iterable[Target]) -> Iterator[tuple[Target, str]]:
    """Give every target with the stem of its files: an id may hold folders, but never leads out of the dataset."""
    for target in targets:
        safe = "/".join(part for part in UNSAFE.sub("_", target.id).split("/") if part.strip("."))
        stem = safe[: -len(suffix)] if (suffix := suffix_of(safe)) else safe
        yield target, stem.rstrip("/") or "image"


def prepare(
    journal: Journal, sides: Mapping[str, Service], settings: Any, ask: Ask, say: Callable[[str], None]
) -> dict[str, Any]:
    """Dismiss what no survey has looked at and what is there twice, and set the order of asking.

    Returns
    -------
    What to tell: ``outside``, ``duplicates`` and ``conflicts`` (pairs of ids with different classes).
    """
    rows = journal.places()
    numbers = np.array([row[0] for row in rows])
    labels = [row[1] for row in rows]
    ra, dec = (np.array([np.nan if row[i] is None else row[i] for row in rows], float) for i in (2, 3))
    placed = np.isfinite(ra) & np.isfinite(dec)
    told: dict[str, Any] = {"outside": 0, "duplicates": 0, "conflicts": []}
    remote = any(not service.info.base_url.startswith("file:") for service in sides.values())
    if remote and placed.any():
        inside = np.ones(len(rows), bool)
        for service in sides.values():
            inside[placed] &= _inside(service, ra[placed], dec[placed], ask, say)
        names = " and ".join(service.name for service in sides.values())
        journal.dismiss((int(n), OUTSIDE, f"outside the coverage of {names}") for n in numbers[~inside])
        told["outside"] = int((~inside).sum())
        kept = np.flatnonzero(inside & placed)
        radius = _radius(sides, settings)
        if radius > 0 and len(kept):
            twice = deduplicate(ra[kept], dec[kept], [labels[i] for i in kept], radius)
            dropped = np.flatnonzero(~twice.keep)
            of, conflicts = twice.duplicate_of, twice.conflicts
            ids = journal.ids(int(numbers[kept[i]]) for i in {*of[of >= 0].tolist(), *conflicts.ravel().tolist()})
            name = {int(i): ids[int(numbers[kept[i]])] for i in (*of[of >= 0], *conflicts.ravel())}
            journal.dismiss(
                (
                    int(numbers[kept[i]]),
                    DUPLICATE,
                    f"within {radius:g} arcsec of {name[int(of[i])]}"
                    if of[i] >= 0
                    else f"catalogues disagree on its class within {radius:g} arcsec",
                )
                for i in dropped
            )
            told["duplicates"] = len(dropped)
            told["conflicts"] = [(name[a], labels[kept[a]], name[b], labels[kept[b]]) for a, b in conflicts.tolist()]
    journal.rank(_order(journal, settings))
    return told


def _inside(service: Service, ra: np.ndarray, dec: np.ndarray, ask: Ask, say: Callable[[str], None]) -> np.ndarray:
    """Tell which positions a survey has looked at, as its MOC says, or else its footprint."""
    if not isinstance(service.source, Covers):
        return covered(ra, dec, service.info.footprint)
    mocs: list[Any] = []

    def tell(answer: Any) -> None:
        if isinstance(answer, Failed):
            say(f"the coverage of '{service.name}' cannot be had now ({answer.reason}): its known footprint is taken")
            return
        mocs.append(answer)

    def read(reply: Reply) -> Any:
        from rvtool.services.replies import refusal

        return refusal(reply) or Listed(())

    request = service.source.coverage()
    question = Question("its coverage", service, request, read, lambda answer, reply: read_moc(reply.body), tell)
    question.patience = 2  # it is good to know, not needed
    try:
        ask([question])
    except SourceError as error:
        tell(Failed(str(error).rstrip(".")))
    if not mocs or isinstance(mocs[0], Absent):
        return covered(ra, dec, service.info.footprint)
    return covered(ra, dec, moc=mocs[0])


def _radius(sides: Mapping[str, Service], settings: Any) -> float:
    """Return the distance within which targets are one, arcsec."""
    if settings.dedupe_arcsec is not None:
        return float(settings.dedupe_arcsec)
    beams = [service.info.beam.major_arcsec for service in sides.values() if service.info.beam is not None]
    return max([CLOSEST_ARCSEC, *(beam / 2 for beam in beams)])


def _order(journal: Journal, settings: Any) -> Iterator[tuple[int, int]]:
    """Give every pending target its rank in its class: as listed, or drawn where only some are wanted."""
    rows = journal.places()
    numbers = np.array([row[0] for row in rows], int)
    if settings.count is not None:
        numbers = numbers[np.random.default_rng(settings.seed).permutation(len(numbers))]
    yield from ((int(number), rank) for rank, number in enumerate(numbers))


def shortfalls(journal: Journal, settings: Any) -> dict[str, int]:
    """Return the classes of which there are too few candidates, and how many they lack: none is ever invented."""
    if settings.count is None:
        return {}
    there: Counter[str] = Counter()
    for (label, state), count in journal.counts().items():
        there[label or ""] += count if state in ("pending", "had") else 0
    return {label: settings.count - n for label, n in there.items() if n < settings.count}
