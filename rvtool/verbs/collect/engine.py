"""A collection from end to end: the journal opened or made, targets prepared, images fetched, the dataset made."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from rvtool import plugins
from rvtool.data.files import write_error
from rvtool.data.splits import parse_fractions
from rvtool.errors import ConfigError, DataError, RvtoolError
from rvtool.kinds import Offers, Target
from rvtool.verbs.collect import Settings
from rvtool.verbs.collect.asking import asker, fetch_images
from rvtool.verbs.collect.begun import as_begun, check_same, note_settings, remove_unplanned
from rvtool.verbs.collect.estimate import tell_estimate
from rvtool.verbs.collect.finish import finish
from rvtool.verbs.collect.gathering import Gathering
from rvtool.verbs.collect.journal import NAME, Journal
from rvtool.verbs.collect.listing import list_targets
from rvtool.verbs.collect.plan import prepare, shortfalls, targets_of, with_stems
from rvtool.verbs.collect.services import Service, check_names, fetches, lists, services
from rvtool.verbs.collect.validate import load_libraries


def collect(settings: Settings, console: Console) -> dict[str, Any]:
    """Collect a dataset (see `rvtool.verbs.collect.run`)."""
    if settings.resume is not None:
        out = settings.resume
        with contextlib.closing(Journal(out)) as journal:
            settings = as_begun(journal, settings)
            return _gather(journal, out, _sides(settings), settings, console)
    sides = _sides(settings)
    out = settings.out or Path("data") / (settings.source or "-".join(settings.pair))
    parse_fractions(settings.split)  # what is wrong is told before anything is made
    check_names(settings)
    if not fetches(first := sides["image"]) and lists(first):
        return list_targets(first, settings, asker(sides, settings, console), partial(_say, console))
    if settings.dry_run:
        return _try_out(sides, settings, out, console)
    _make(out)
    try:
        with contextlib.closing(Journal(out, fresh=True)) as journal:
            if journal.fact("planned") is None:
                _plan(journal, sides, settings, console)
            else:
                check_same(journal, settings, out)
                _check_inputs(journal, sides, settings, out)
            return _gather(journal, out, sides, settings, console)
    except BaseException:
        remove_unplanned(out)
        raise


def _sides(settings: Settings) -> dict[str, Service]:
    """Build the sources of each side of the dataset.

    Raises
    ------
    ConfigError
        None is named, or not two for a pair.
    """
    if settings.pair:
        if settings.source or len(settings.pair) != 2 or len(set(settings.pair)) != 2:
            raise ConfigError("--pair takes two sources, as in --pair first,sdss, and stands in place of --source.")
        return dict(zip(("image", "target"), services(settings.pair, settings), strict=True))
    if not settings.source:
        names = ", ".join(plugins.components("source"))
        raise ConfigError(
            f"Name where the images come from (--source: {names}), for example: "
            "rvtool collect --source folder --path images --out data/mine"
        )
    return {"image": services([settings.source], settings)[0]}


def _make(out: Path) -> None:
    """Make the dataset's folder, or make sure that the one that is there is a collection's.

    Raises
    ------
    DataError
        It holds something else, or cannot be made.
    """
    try:
        if out.exists() and not (out / NAME).exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"{out} exists already; choose another --out.")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


# --------------------------------------------------------------------------- before fetching


def _plan(journal: Journal, sides: Mapping[str, Service], settings: Settings, console: Console) -> None:
    """Fill the journal with targets, ready to be asked for.

    Raises
    ------
    DataError
        There is nothing to fetch.
    """
    threading.Thread(target=load_libraries, daemon=True).start()  # while targets are read
    ask, say = asker(sides, settings, console), partial(_say, console)
    digest = hashlib.sha256()
    targets = targets_of(list(sides.values()), settings, ask, say)
    count = journal.add(with_stems(_digested(targets, digest)))
    if count == 0:
        raise DataError("There is nothing to fetch: not one target is named.")
    told = prepare(journal, sides, settings, ask, say)
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
    journal.note("conflicts", told["conflicts"])
    journal.note("targets", digest.hexdigest())
    note_settings(journal, settings)


def _digested(targets: Iterable[Target], digest: Any) -> Iterator[Target]:
    for target in targets:
        digest.update(repr(target).encode())
        yield target


def _check_inputs(journal: Journal, sides: Mapping[str, Service], settings: Settings, out: Path) -> None:
    """Refuse to go on with a table or a folder of targets that has changed.

    Raises
    ------
    DataError
        It has.
    """
    if settings.targets is None and not isinstance(sides["image"].source, Offers):
        return
    digest = hashlib.sha256()
    for _ in _digested(targets_of(list(sides.values()), settings, lambda _: None, lambda _: None), digest):
        pass
    if digest.hexdigest() != journal.fact("targets"):
        named = settings.targets or sides["image"].info.base_url
        raise DataError(
            f"{named} has changed since {out} was begun with it; choose another --out, or go on with the targets that "
            f"it had: rvtool collect --resume {out}"
        )


def _try_out(sides: Mapping[str, Service], settings: Settings, out: Path, console: Console) -> dict[str, Any]:
    """Plan in a place that is thrown away, and tell what would be fetched."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Journal(Path(folder), fresh=True)) as journal:
        _plan(journal, sides, settings, console)
        return tell_estimate(journal, sides, settings, out, console)


# --------------------------------------------------------------------------- fetching


def _gather(
    journal: Journal, out: Path, sides: Mapping[str, Service], settings: Settings, console: Console
) -> dict[str, Any]:
    """Fetch what is missing, and make the dataset of what was had."""
    say, advice = partial(_say, console), f"go on with: rvtool collect --resume {out}"
    if failed := journal.reopen():
        say(f"{failed} images that failed are asked for again")
    for left in out.rglob(".*.partial"):
        left.unlink(missing_ok=True)  # of a process that was killed
    gathering = Gathering(journal, out, sides, settings)
    began = time.monotonic()
    try:
        fetched = fetch_images(gathering, settings, console)
    except RvtoolError as error:
        raise type(error)(f"{str(error).rstrip('.')}; nothing is lost, {advice}") from error
    told: dict[str, Any] = {"requests": fetched.requests, "fetch_seconds": round(time.monotonic() - began, 3)}
    if fetched.draining:
        told["unfinished"] = gathering.unfinished()
    if not fetched.draining or any(gathering.had.values()):
        if not fetched.draining:
            gathering.spare()
        told |= finish(journal, out, sides, settings, console)
    if fetched.draining:
        say(f"stopped, {told['unfinished']} images are left; {advice}", "yellow")
    return {"dataset": str(out), "images": 0, **told}
