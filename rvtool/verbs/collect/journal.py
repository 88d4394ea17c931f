"""What a collection has done so far: SQLite in WAL mode in the dataset's folder, safe against a kill at any moment.

An image counts as had once its file has its name and its row is committed; whatever was in flight is asked for again.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rvtool.errors import DataError
from rvtool.kinds import Target
from rvtool.verbs.collect.database import Database

FORMAT = 1
NAME = "journal.sqlite"
BLOCK = 5_000  # rows held in memory at once

PENDING, HAD, ABSENT, FAILED, ASIDE = "pending", "had", "absent", "failed", "set aside"
OUTSIDE, DUPLICATE, SPARE = "outside", "duplicate", "spare"
OPEN = (PENDING, FAILED)
"""States that a resumed collection asks for again."""

SCHEMA = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE target (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, stem TEXT NOT NULL UNIQUE COLLATE NOCASE,
    label TEXT, ra_deg REAL, dec_deg REAL, columns TEXT NOT NULL,
    rank INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, reason TEXT
);
CREATE INDEX todo ON target (state, label, rank);
CREATE TABLE image (
    number INTEGER NOT NULL REFERENCES target, side TEXT NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, pixels_sha256 TEXT NOT NULL,
    seen TEXT NOT NULL, columns TEXT NOT NULL, provenance TEXT NOT NULL,
    PRIMARY KEY (number, side)
) WITHOUT ROWID;
CREATE INDEX pixels ON image (side, pixels_sha256);
INSERT INTO fact VALUES ('format', '1');
"""
ALIGNED = "aligned"
"""The side that stands for both of a pair, on one grid."""

IMAGE = "path, bytes, sha256, pixels_sha256, seen, image.columns, provenance"
INSERT = "INSERT INTO target (id, stem, label, ra_deg, dec_deg, columns, state) VALUES (?, ?, ?, ?, ?, ?, ?)"


class Journal:
    """The journal of one collection; while it is open for writing, no other process may have it.

    Parameters
    ----------
    folder
        The dataset's folder.
    fresh
        Make a new one.

    Raises
    ------
    DataError
        There is none, it is damaged or of a newer format, or another process is at work on it.
    """

    def __init__(self, folder: Path, *, fresh: bool = False, write: bool = True) -> None:
        self.path = folder / NAME
        if not fresh and not self.path.exists():
            raise DataError(f"{folder} has no journal of a collection; name the folder of an 'rvtool collect --out'.")
        self._db = Database(self.path, SCHEMA, write=write)
        known = self.fact("format")
        if known is None or known > FORMAT:
            self._db.close()
            raise DataError(f"{self.path} has journal format {known}, newer than this rvtool; update rvtool.")

    def close(self) -> None:
        """Let others have it."""
        self._db.close()

    # ------------------------------------------------------------------ facts of the collection

    def fact(self, name: str) -> Any:
        """Return what was noted under a name, or None."""
        value = self._db.one("SELECT value FROM fact WHERE name = ?", (name,))
        return None if value is None else json.loads(value)

    def note(self, name: str, value: Any) -> None:
        """Note something about the whole collection."""
        self._db.run("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value, default=str)))

    # ------------------------------------------------------------------ targets

    def add(self, targets: Iterable[tuple[Target, str]]) -> int:
        """Add targets with the stems of their files, all or none; an id that is there already is numbered from 2.

        Returns
        -------
        How many there are now.
        """
        with self._db.together():
            for target, stem in targets:
                columns = dict(target.columns)
                label = columns.pop("label", None)
                row = (label, target.ra_deg, target.dec_deg, json.dumps(columns, default=str), PENDING)
                self._insert(target.id, stem, row)
        return int(self._db.one("SELECT COUNT(*) FROM target"))

    def _insert(self, name: str, stem: str, row: Sequence[Any]) -> None:
        names, stems = _numbered(name), _numbered(stem)
        name, stem = next(names), next(stems)
        while True:
            try:
                self._db.run(INSERT, (name, stem, *row))
                return
            except sqlite3.IntegrityError as error:
                if "target.id" in str(error):
                    name = next(names)
                else:
                    stem = next(stems)

    def places(self) -> list[tuple[int, str | None, float | None, float | None]]:
        """Return number, label and position of every pending target, in the order of their numbers."""
        query = "SELECT number, label, ra_deg, dec_deg FROM target WHERE state = ? ORDER BY number"
        return self._db.all(query, (PENDING,))

    def ids(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return the ids of targets by their numbers."""
        return {n: self._db.one("SELECT id FROM target WHERE number = ?", (n,)) for n in numbers}

    def dismiss(self, rows: Iterable[tuple[int, str, str]]) -> None:
        """Give targets (number, state, reason) a state in which they are not asked for."""
        self._db.run_many("UPDATE target SET state = ?2, reason = ?3 WHERE number = ?1", rows)

    def rank(self, ranks: Iterable[tuple[int, int]]) -> None:
        """Set the order (number, rank) in which targets of one class are asked for."""
        self._db.run_many("UPDATE target SET rank = ?2 WHERE number = ?1", ranks)

    def pending(self, label: str | None, after: int, most: int) -> list[tuple[int, int, str, Target]]:
        """Return the next pending targets of a class: rank, number, stem, target."""
        query = (
            "SELECT rank, number, stem, id, ra_deg, dec_deg, columns FROM target "
            "WHERE state = ? AND label IS ? AND rank > ? ORDER BY rank LIMIT ?"
        )
        found = []
        for rank, number, stem, name, ra, dec, columns in self._db.all(query, (PENDING, label, after, most)):
            extra = {"label": label} if label is not None else {}
            found.append((rank, number, stem, Target(name, ra, dec, {**extra, **json.loads(columns)})))
        return found

    def spare(self, labels: Iterable[str | None], reason: str) -> None:
        """Dismiss what is still pending of some classes."""
        with self._db.together():
            for label in labels:
                self._db.run(
                    "UPDATE target SET state = ?, reason = ? WHERE state = ? AND label IS ?",
                    (SPARE, reason, PENDING, label),
                )

    def reopen(self) -> int:
        """Make failed and spare targets pending again; return how many had failed."""
        failed = int(self._db.one("SELECT COUNT(*) FROM target WHERE state = ?", (FAILED,)))
        self._db.run("UPDATE target SET state = ?, reason = NULL WHERE state IN (?, ?)", (PENDING, FAILED, SPARE))
        return failed

    def counts(self) -> dict[tuple[str | None, str], int]:
        """Count the targets of each class and state."""
        query = "SELECT label, state, COUNT(*) FROM target GROUP BY label, state"
        return {(label, state): count for label, state, count in self._db.all(query)}

    def outcomes(self, states: Sequence[str]) -> Iterator[tuple[str, str | None, str, str]]:
        """Give id, label, state and reason of the targets in some states."""
        marks = ",".join("?" * len(states))
        query = f"SELECT id, label, state, COALESCE(reason, '') FROM target WHERE state IN ({marks}) ORDER BY number"
        yield from self._db.each(query, tuple(states))

    # ------------------------------------------------------------------ images

    def settle(self, number: int, state: str, reason: str | None = None) -> None:
        """Write down what became of a target."""
        self._db.run("UPDATE target SET state = ?, reason = ? WHERE number = ?", (state, reason, number))

    def keep(self, number: int, rows: Mapping[str, Mapping[str, Any]], *, complete: bool) -> None:
        """Write down images that have their names on the disk; `complete` when no side of the target is missing."""
        with self._db.together():
            for side, row in rows.items():
                told = (json.dumps(row[name], default=str) for name in ("seen", "columns", "provenance"))
                values = (number, side, row["path"], row["bytes"], row["sha256"], row["pixels_sha256"], *told)
                self._db.run("INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            if complete:
                self._db.run("UPDATE target SET state = ?, reason = NULL WHERE number = ?", (HAD, number))

    def rows(self, number: int) -> dict[str, dict[str, Any]]:
        """Return the images of a target that are there already, by side."""
        query = f"SELECT side, {IMAGE} FROM image WHERE number = ?"
        return {side: _row(number, *values) for side, *values in self._db.all(query, (number,))}

    def same_pixels(self, number: int, side: str, pixels_sha256: str) -> str | None:
        """Return the id of another target with these very pixels, or None."""
        query = (
            "SELECT id FROM image JOIN target USING (number) "
            "WHERE side = ? AND pixels_sha256 = ? AND number != ? AND state = ?"
        )
        return self._db.one(
            query,
            (
                side,
                pixels_sha256,
                number,
                HAD,
            ),
        )

    def images(self) -> Iterator[tuple[Target, dict[str, dict[str, Any]]]]:
        """Give every target that was had, in order, with the images of its sides."""
        query = (
            f"SELECT number, id, label, ra_deg, dec_deg, target.columns, side, {IMAGE} "
            "FROM target JOIN image USING (number) WHERE state = ? ORDER BY number, side"
        )
        current: int | None = None
        target: Target | None = None
        sides: dict[str, dict[str, Any]] = {}
        for number, name, label, ra, dec, columns, side, *image in self._db.each(query, (HAD,)):
            if number != current:
                if target is not None:
                    yield target, sides
                extra = {"label": label} if label is not None else {}
                current, target, sides = number, Target(name, ra, dec, {**extra, **json.loads(columns)}), {}
            sides[side] = _row(number, *image)
        if target is not None:
            yield target, sides

    def lose(self, number: int) -> None:
        """Forget the images of a target, so that it is asked for again."""
        with self._db.together():
            self._db.run("DELETE FROM image WHERE number = ?", (number,))
            self._db.run("UPDATE target SET state = ? WHERE number = ?", (PENDING, number))


def _numbered(text: str) -> Iterator[str]:
    yield text
    yield from (f"{text}-{n}" for n in itertools.count(2))


def _row(number: int, *values: Any) -> dict[str, Any]:
    path, size, sha256, pixels_sha256, seen, columns, provenance = values
    told = {"seen": json.loads(seen), "columns": json.loads(columns), "provenance": json.loads(provenance)}
    return {"number": number, "path": path, "bytes": size, "sha256": sha256, "pixels_sha256": pixels_sha256, **told}
