"""What a collection has done so far: SQLite in WAL mode in the dataset's folder, safe against a kill at any moment.

An image counts as had once its file has its name and its row is committed; whatever was in flight is asked for again.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rvtool.errors import DataError, FullDiskError
from rvtool.kinds import Target

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
"""
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
        self._lock = open(folder / ".collecting", "a") if write else None  # noqa: SIM115 - held until close
        try:
            if self._lock is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"Another rvtool is collecting into {folder}; wait for it, or stop it first.") from None
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing; a power cut the last few rows
            if fresh:
                self._db.executescript(SCHEMA)
                self.note("format", FORMAT)
            known = self.fact("format")
        except sqlite3.DatabaseError as error:
            raise _unusable(self.path, error) from error
        if known is None or known > FORMAT:
            raise DataError(f"{self.path} has journal format {known}, newer than this rvtool; update rvtool.")

    def close(self) -> None:
        """Let others have it."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    # ------------------------------------------------------------------ facts of the collection

    def fact(self, name: str) -> Any:
        """Return what was noted under a name, or None."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def note(self, name: str, value: Any) -> None:
        """Note something about the whole collection."""
        self._write("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value, default=str)))

    # ------------------------------------------------------------------ targets

    def add(self, targets: Iterable[tuple[Target, str]]) -> int:
        """Add targets with the stems of their files, all or none; an id that is there already is numbered from 2.

        Returns
        -------
        How many there are now.
        """
        with self._all_or_nothing():
            for target, stem in targets:
                columns = dict(target.columns)
                label = columns.pop("label", None)
                row = (label, target.ra_deg, target.dec_deg, json.dumps(columns, default=str), PENDING)
                self._insert(target.id, stem, row)
        return int(self._one("SELECT COUNT(*) FROM target"))

    def _insert(self, name: str, stem: str, row: Sequence[Any]) -> None:
        names, stems = _numbered(name), _numbered(stem)
        name, stem = next(names), next(stems)
        while True:
            try:
                self._db.execute(INSERT, (name, stem, *row))
                return
            except sqlite3.IntegrityError as error:
                if "target.id" in str(error):
                    name = next(names)
                else:
                    stem = next(stems)

    def places(self) -> list[tuple[int, str | None, float | None, float | None]]:
        """Return number, label and position of every pending target, in the order of their numbers."""
        query = "SELECT number, label, ra_deg, dec_deg FROM target WHERE state = ? ORDER BY number"
        return self._db.execute(query, (PENDING,)).fetchall()

    def ids(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return the ids of targets by their numbers."""
        return {n: self._one("SELECT id FROM target WHERE number = ?", n) for n in numbers}

    def dismiss(self, rows: Iterable[tuple[int, str, str]]) -> None:
        """Give targets (number, state, reason) a state in which they are not asked for."""
        with self._all_or_nothing():
            self._db.executemany("UPDATE target SET state = ?2, reason = ?3 WHERE number = ?1", rows)

    def rank(self, ranks: Iterable[tuple[int, int]]) -> None:
        """Set the order (number, rank) in which targets of one class are asked for."""
        with self._all_or_nothing():
            self._db.executemany("UPDATE target SET rank = ?2 WHERE number = ?1", ranks)

    def pending(self, label: str | None, after: int, most: int) -> list[tuple[int, int, str, Target]]:
        """Return the next pending targets of a class: rank, number, stem, target."""
        query = (
            "SELECT rank, number, stem, id, ra_deg, dec_deg, columns FROM target "
            "WHERE state = ? AND label IS ? AND rank > ? ORDER BY rank LIMIT ?"
        )
        found = []
        for rank, number, stem, name, ra, dec, columns in self._db.execute(query, (PENDING, label, after, most)):
            extra = {"label": label} if label is not None else {}
            found.append((rank, number, stem, Target(name, ra, dec, {**extra, **json.loads(columns)})))
        return found

    def spare(self, labels: Iterable[str | None], reason: str) -> None:
        """Dismiss what is still pending of some classes."""
        with self._all_or_nothing():
            for label in labels:
                self._db.execute(
                    "UPDATE target SET state = ?, reason = ? WHERE state = ? AND label IS ?",
                    (SPARE, reason, PENDING, label),
                )

    def reopen(self) -> int:
        """Make failed and spare targets pending again; return how many had failed."""
        failed = int(self._one("SELECT COUNT(*) FROM target WHERE state = ?", FAILED))
        self._write("UPDATE target SET state = ?, reason = NULL WHERE state IN (?, ?)", (PENDING, FAILED, SPARE))
        return failed

    def counts(self) -> dict[tuple[str | None, str], int]:
        """Count the targets of each class and state."""
        query = "SELECT label, state, COUNT(*) FROM target GROUP BY label, state"
        return {(label, state): count for label, state, count in self._db.execute(query)}

    def outcomes(self, states: Sequence[str]) -> Iterator[tuple[str, str | None, str, str]]:
        """Give id, label, state and reason of the targets in some states."""
        marks = ",".join("?" * len(states))
        query = f"SELECT id, label, state, COALESCE(reason, '') FROM target WHERE state IN ({marks}) ORDER BY number"
        yield from self._db.execute(query, tuple(states))

    # ------------------------------------------------------------------ images

    def settle(self, number: int, state: str, reason: str | None = None) -> None:
        """Write down what became of a target."""
        self._write("UPDATE target SET state = ?, reason = ? WHERE number = ?", (state, reason, number))

    def had(self, number: int, side: str, row: Mapping[str, Any], *, complete: bool) -> None:
        """Write down an image that has its name on the disk; `complete` when it was the target's last missing side."""
        with self._all_or_nothing():
            self._db.execute(
                "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(number, side, row["path"], row["bytes"], row["sha256"], row["pixels_sha256"]),
                    *(json.dumps(row[name], default=str) for name in ("seen", "columns", "provenance")),
                ),
            )
            if complete:
                self._db.execute("UPDATE target SET state = ?, reason = NULL WHERE number = ?", (HAD, number))

    def sides(self, number: int) -> set[str]:
        """Return the sides of a target that are there already."""
        return {side for (side,) in self._db.execute("SELECT side FROM image WHERE number = ?", (number,))}

    def same_pixels(self, number: int, side: str, pixels_sha256: str) -> str | None:
        """Return the id of another target with these very pixels, or None."""
        query = (
            "SELECT id FROM image JOIN target USING (number) "
            "WHERE side = ? AND pixels_sha256 = ? AND number != ? AND state = ? LIMIT 1"
        )
        return self._one(query, side, pixels_sha256, number, HAD)

    def images(self) -> Iterator[tuple[Target, dict[str, dict[str, Any]]]]:
        """Give every target that was had, in order, with the images of its sides."""
        query = (
            "SELECT number, id, label, ra_deg, dec_deg, target.columns, side, path, bytes, sha256, pixels_sha256, "
            "seen, image.columns, provenance FROM target JOIN image USING (number) WHERE state = ? "
            "ORDER BY number, side"
        )
        current: int | None = None
        target: Target | None = None
        sides: dict[str, dict[str, Any]] = {}
        for number, name, label, ra, dec, columns, side, *image in self._db.execute(query, (HAD,)):
            if number != current:
                if target is not None:
                    yield target, sides
                extra = {"label": label} if label is not None else {}
                current, target, sides = number, Target(name, ra, dec, {**extra, **json.loads(columns)}), {}
            path, size, sha256, pixels, seen, found, provenance = image
            sides[side] = {
                **{"path": path, "bytes": size, "sha256": sha256, "pixels_sha256": pixels, "number": number},
                **{"seen": json.loads(seen), "columns": json.loads(found), "provenance": json.loads(provenance)},
            }
        if target is not None:
            yield target, sides

    def lose(self, number: int) -> None:
        """Forget the images of a target, so that it is asked for again."""
        with self._all_or_nothing():
            self._db.execute("DELETE FROM image WHERE number = ?", (number,))
            self._db.execute("UPDATE target SET state = ? WHERE number = ?", (PENDING, number))

    # ------------------------------------------------------------------ how

    def _one(self, query: str, *values: Any) -> Any:
        row = self._db.execute(query, values).fetchone()
        return row[0] if row else None

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise _unusable(self.path, error) from error

    def _all_or_nothing(self) -> _Transaction:
        return _Transaction(self._db, self.path)


class _Transaction:
    """Commits at the end of a block, or takes everything back."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path = db, path

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._db.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.OperationalError as failed:
            if error is None:
                raise _unusable(self._path, failed) from failed
        if isinstance(error, sqlite3.OperationalError):
            raise _unusable(self._path, error) from error


def _numbered(text: str) -> Iterator[str]:
    yield text
    yield from (f"{text}-{n}" for n in itertools.count(2))


def _unusable(path: Path, error: sqlite3.Error) -> DataError:
    """Turn what SQLite says into a sentence; a full disk is told as such, and nothing of what was had is lost."""
    if "full" in str(error):
        return FullDiskError(f"{path} cannot be written: the disk is full; free some space.")
    if isinstance(error, sqlite3.OperationalError):
        return DataError(f"{path} cannot be used ({error}); check the disk and its permissions.")
    return DataError(f"{path} is damaged ({error}); collect anew into another --out.")
