"""Going on with a collection: which settings it was begun with, and which of them may be given anew."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from rvtool.config import typed_name
from rvtool.errors import ConfigError, DataError
from rvtool.verbs.collect import Settings
from rvtool.verbs.collect.database import LOCK
from rvtool.verbs.collect.journal import NAME, Journal
from rvtool.verbs.collect.services import credentials_hidden

KEPT = ("base_url", "max_rate", "max_connections", "attempts", "contact")
"""Settings that may be given anew, and hold from then on."""

ONCE = ("exclude", "mosaic", "export", "out", "resume", "dry_run", "status", "verify")
"""Settings that say what to do this time."""


def note_settings(journal: Journal, settings: Settings) -> None:
    """Note what a collection is begun with: from now on it can be gone on with."""
    journal.note("kept", _of(settings, KEPT))
    journal.note("planned", _fixed(settings))


def as_begun(journal: Journal, settings: Settings) -> Settings:
    """Return the settings that a collection was begun with, and those given anew that may be, which are noted.

    Raises
    ------
    ConfigError
        Others are given.
    DataError
        It was stopped before its targets were known.
    """
    begun = journal.fact("planned")
    if begun is None:
        raise DataError(f"{settings.resume} was stopped while its targets were listed; give its first command again.")
    now, given = _fixed(settings), settings.model_fields_set
    if wrong := sorted(f"--{typed_name(name)}" for name in given if name in now and now[name] != begun.get(name)):
        names = ", ".join(wrong)
        raise ConfigError(
            f"{names} cannot be changed by --resume, which goes on as it was begun; choose another --out."
        )
    anew = {name: getattr(settings, name) for name in given if name in (*KEPT, "exclude", "mosaic", "export")}
    going_on = Settings(**{**begun, **(journal.fact("kept") or {}), **anew})
    journal.note("kept", _of(going_on, KEPT))
    return going_on


def check_same(journal: Journal, settings: Settings, out: Path) -> None:
    """Refuse a folder that was begun with other settings; those that may be given anew are noted.

    Raises
    ------
    DataError
        The first difference is named.
    """
    begun, now = journal.fact("planned"), _fixed(settings)
    for name in ("source", "pair", *now):
        if begun.get(name) != now[name]:
            raise DataError(
                f"{out} was begun with {typed_name(name)} = {begun.get(name)!r}, not {now[name]!r}; choose another "
                f"--out, or go on as it was begun: rvtool collect --resume {out}"
            )
    journal.note("kept", _of(settings, KEPT))


def remove_unplanned(out: Path) -> None:
    """Remove a folder that holds nothing but a journal that nobody has and that lists nothing; anything else stays."""
    own = {NAME, f"{NAME}-wal", f"{NAME}-shm", LOCK}
    if not out.is_dir() or any(path.name not in own for path in out.iterdir()):
        return
    with contextlib.suppress(DataError), contextlib.closing(Journal(out, fresh=True)) as journal:
        if journal.fact("planned") is None:
            shutil.rmtree(out, ignore_errors=True)


def _fixed(settings: Settings) -> dict[str, Any]:
    return _of(settings, set(type(settings).model_fields) - {*KEPT, *ONCE})


def _of(settings: Settings, names: Any) -> dict[str, Any]:
    known = credentials_hidden(settings.model_dump(mode="json"))
    return {name: known[name] for name in sorted(names)}
