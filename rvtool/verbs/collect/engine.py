"""A collection from end to end: the journal opened or made, targets prepared, images fetched, the dataset made."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from rvtool import plugins
from rvtool.config import typed_name
from rvtool.data.files import cache_folder
from rvtool.data.splits import parse_fractions
from rvtool.errors import ConfigError, DataError, RvtoolError
from rvtool.verbs.collect import Settings
from rvtool.verbs.collect.display import Display
from rvtool.verbs.collect.estimate import tell_estimate
from rvtool.verbs.collect.fetching import Fetcher
from rvtool.verbs.collect.finish import finish
from rvtool.verbs.collect.gathering import Gathering
from rvtool.verbs.collect.hosts import Question
from rvtool.verbs.collect.journal import NAME, Journal
from rvtool.verbs.collect.listing import list_targets
from rvtool.verbs.collect.plan import Ask, prepare, shortfalls, targets_of, with_stems
from rvtool.verbs.collect.services import Service, check_names, credentials_hidden, fetches, lists, services
from rvtool.verbs.collect.transport import Transport
from rvtool.verbs.collect.validate import load_libraries

LATER = ("base_url", "max_rate", "max_connections", "attempts", "contact", "exclude", "mosaic", "export")
"""Settings that may be given anew when a collection goes on."""

NOT_KEPT = (*LATER, "out", "resume", "dry_run", "status", "verify")


def collect(settings: Settings, console: Console) -> dict[str, Any]:
    """Collect a dataset (see `rvtool.verbs.collect.run`)."""
    threading.Thread(target=load_libraries, daemon=True).start()
    if settings.resume is not None:
        out = settings.resume
        with contextlib.closing(Journal(out)) as journal:
            settings = _as_begun(journal, settings)
            return _gather(journal, out, _sides(settings), settings, console)
    sides = _sides(settings)
    out = settings.out or Path("data") / (settings.source or "-".join(settings.pair))
    parse_fractions(settings.split)  # what is wrong is told before anything is made
    check_names(settings)
    if not fetches(first := sides["image"]) and lists(first):
        return list_targets(first, settings, _asker(sides, settings, console), partial(_say, console))
    if settings.dry_run:
        return _try_out(sides, settings, out, console)
    if (out / NAME).exists():
        with contextlib.closing(Journal(out)) as journal:
            if journal.fact("planned") is not None:
                _check_same(journal, settings, out)
                return _gather(journal, out, sides, settings, console)
        _remove_unplanned(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already; choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(Journal(out, fresh=True)) as journal:
            _plan(journal, sides, settings, console)
            return _gather(journal, out, sides, settings, console)
    except BaseException:
        _remove_unplanned(out)
        raise


def _sides(settings: Settings) -> dict[str, Service]:
    """Build the sources of each side of the dataset.

    Raises
    ------
    ConfigError
        None is named, or not two for a pair.
    """
    if settings.pair:
        if settings.source or len(set(settings.pair)) != 2:
            raise ConfigError("--pair takes two sources, as in --pair first,sdss, and stands in place of --source.")
        return dict(zip(("image", "target"), services(settings.pair, settings), strict=True))
    if not settings.source:
        names = ", ".join(plugins.components("source"))
        raise ConfigError(
            f"Name where the images come from (--source: {names}), for example: "
            "rvtool collect --source folder --path images --out data/mine"
        )
    return {"image": services([settings.source], settings)[0]}


# --------------------------------------------------------------------------- going on


def _as_begun(journal: Journal, settings: Settings) -> Settings:
    """Return the settings that a collection was begun with, with those given anew that may be."""
    begun = journal.fact("planned")
    if begun is None:
        raise DataError(f"{settings.resume} was stopped while its targets were listed; give its first command again.")
    given = {name: getattr(settings, name) for name in settings.model_fields_set if name in LATER}
    wrong = {name for name in settings.model_fields_set - {*LATER, "resume"} if getattr(settings, name)}
    if wrong:
        names = ", ".join(f"--{typed_name(name)}" for name in sorted(wrong))
        raise ConfigError(
            f"{names} cannot be changed by --resume, which goes on as it was begun; choose another --out."
        )
    return Settings(**{**begun, **given})


def _kept_settings(settings: Settings) -> dict[str, Any]:
    kept = credentials_hidden(settings.model_dump(mode="json"))
    return {name: value for name, value in kept.items() if name not in NOT_KEPT}


def _check_same(journal: Journal, settings: Settings, out: Path) -> None:
    """Refuse a folder that was begun with other settings.

    Raises
    ------
    DataError
        The first difference is named.
    """
    begun, now = journal.fact("planned"), _kept_settings(settings)
    for name in ("source", "pair", *now):
        if begun.get(name) != now[name]:
            raise DataError(
                f"{out} was begun with {typed_name(name)} = {begun.get(name)!r}, not {now[name]!r}; choose another "
                f"--out, or go on as it was begun: rvtool collect --resume {out}"
            )


def _remove_unplanned(out: Path) -> None:
    """Remove a folder that holds nothing but a journal without targets; anything else stays."""
    own = {NAME, f"{NAME}-wal", f"{NAME}-shm", ".collecting"}
    if out.is_dir() and all(path.name in own for path in out.iterdir()):
        with contextlib.suppress(DataError), contextlib.closing(Journal(out)) as journal:
            if journal.fact("planned") is not None:
                return
        shutil.rmtree(out, ignore_errors=True)


# --------------------------------------------------------------------------- before fetching


def _plan(journal: Journal, sides: Mapping[str, Service], settings: Settings, console: Console) -> dict[str, Any]:
    """Fill the journal with targets, ready to be asked for.

    Raises
    ------
    DataError
        There is nothing to fetch.
    """
    ask = _asker(sides, settings, console)
    count = journal.add(with_stems(targets_of(list(sides.values()), settings, ask, partial(_say, console))))
    if count == 0:
        raise DataError("There is nothing to fetch: not one target is named.")
    told = prepare(journal, sides, settings, ask, partial(_say, console))
    _tell_plan(journal, count, told, settings, console)
    journal.note("conflicts", told["conflicts"])
    journal.note("planned", _kept_settings(settings))
    return told


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _asker(sides: Mapping[str, Service], settings: Settings, console: Console) -> Ask:
    """Return what asks the questions of the planning."""

    def ask(questions: list[Question]) -> None:
        waiting = iter(questions)
        _run(_fetch(sides, settings, lambda: next(waiting, None), console))

    return ask


def _tell_plan(journal: Journal, count: int, told: dict[str, Any], settings: Settings, console: Console) -> None:
    say = partial(_say, console)
    if told["outside"]:
        say(f"{told['outside']} of {count} targets lie outside the survey's coverage")
    if told["duplicates"]:
        say(f"{told['duplicates']} targets are there twice")
    for first, its, second, other in told["conflicts"][:3]:
        say(f"conflict: {first} is {its}, {second} at the same place is {other}", "yellow")
    if len(told["conflicts"]) > 3:
        say(f"... and {len(told['conflicts']) - 3} more conflicts (conflicts.csv)", "yellow")
    for label, lacking in shortfalls(journal, settings).items():
        say(f"{lacking} too few candidates of '{label}' for the {settings.count} wanted", "yellow")


def _try_out(sides: Mapping[str, Service], settings: Settings, out: Path, console: Console) -> dict[str, Any]:
    """Plan in a place that is thrown away, and tell what would be fetched."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Journal(Path(folder), fresh=True)) as journal:
        _plan(journal, sides, settings, console)
        return tell_estimate(journal, sides, settings, out, console)


# --------------------------------------------------------------------------- fetching


def _gather(
    journal: Journal, out: Path, sides: Mapping[str, Service], settings: Settings, console: Console
) -> dict[str, Any]:
    """Fetch what is missing, and make the dataset of what was had."""
    if failed := journal.reopen():
        console.print(f"{failed} images that failed are asked for again", highlight=False)
    for left in out.rglob(".*.partial"):
        left.unlink(missing_ok=True)  # of a process that was killed
    gathering = Gathering(journal, out, sides, settings)
    began = time.monotonic()
    try:
        fetched = _run(_fetch(sides, settings, gathering.feed, console, gathering))
    except RvtoolError as error:
        advice = f"; nothing is lost, go on with: rvtool collect --resume {out}"
        raise type(error)(f"{str(error).rstrip('.')}{advice}") from error
    fetch_s = time.monotonic() - began
    gathering.spare()
    result = finish(journal, out, sides, settings, console)
    result |= {"requests": fetched.requests, "fetch_seconds": round(fetch_s, 3)}
    if fetched.draining:
        result["unfinished"] = sum(gathering.left.values()) + sum(gathering.live.values())
        _say(
            console,
            f"stopped, {result['unfinished']} targets are left; go on with: rvtool collect --resume {out}",
            "yellow",
        )
    return result


async def _fetch(
    sides: Mapping[str, Service],
    settings: Settings,
    feed: Callable[[], Question | None],
    console: Console,
    gathering: Gathering | None = None,
) -> Fetcher:
    """Ask all that `feed` gives; the first Ctrl-C lets what is in flight come, the second stops at once."""
    by_name = {service.name: service for service in sides.values()}
    async with Transport(settings.contact) as transport:
        fetcher = Fetcher(transport, by_name, settings, feed, cache_folder() / "replies")
        if gathering is not None:
            gathering.ask = fetcher.put
        with _interruptible(fetcher, console), Display(console, fetcher, gathering, settings):
            await fetcher.run()
    if fetcher.draining and gathering is None:
        raise KeyboardInterrupt
    return fetcher


@contextlib.contextmanager
def _interruptible(fetcher: Fetcher, console: Console) -> Iterator[None]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        if fetcher.draining and task is not None:
            task.cancel()
            return
        console.print("stopping: what is in flight may still come (Ctrl-C again stops at once)", style="yellow")
        fetcher.drain()

    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):  # not in the main thread
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _run(work: Coroutine[Any, Any, Fetcher]) -> Fetcher:
    """Run asynchronous work to its end, in a notebook too, where a loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            return asyncio.run(work)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
