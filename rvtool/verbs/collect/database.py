"""A small SQLite file in WAL mode whose every error is a sentence; one process at a time has it for writing."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rvtool.data.files import write_error
from rvtool.errors import DataError, WriteError

LOCK = ".collecting"


class Database:
    """A database that is made if it is not there, or has no tables yet.

    Raises
    ------
    DataError
        It is damaged, or another process has it.
    WriteError
        It cannot be made.
    """

    def __init__(self, path: Path, schema: str, *, write: bool) -> None:
        self.path = path
        self._lock = _locked(path.with_name(LOCK)) if write else None
        try:
            with self._told():
                self._db = _connected(path, write)
                if write and not self.all("SELECT name FROM sqlite_master"):
                    self._db.executescript(f"BEGIN;\n{schema}\nCOMMIT;")
        except DataError:
            self._release()
            raise

    def close(self) -> None:
        """Let others have it."""
        self._db.close()
        self._release()

    def all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return every row that a query gives."""
        with self._told():
            return self._db.execute(query, values).fetchall()

    def each(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Give the rows of a query one by one."""
        with self._told():
            yield from self._db.execute(query, values)

    def one(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Return the first value of the first row, or None."""
        rows = self.all(f"{query} LIMIT 1", values)
        return rows[0][0] if rows else None

    def run(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Change something; alone, it is committed at once."""
        with self._told():
            self._db.execute(statement, values)

    def run_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Change something for every row of values, all or nothing."""
        with self.together(), self._told():
            self._db.executemany(statement, rows)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Commit what is changed in a block at its end, or take everything back."""
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with contextlib.suppress(sqlite3.OperationalError):  # some failures have rolled back already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite says into a sentence; a full disk is told as such."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # what the tables forbid is for the caller to see to
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                said = f"{self.path} cannot be written: the disk is full; free some space."
                raise WriteError(said) from error
            raise DataError(f"{self.path} cannot be used ({error}); check the disk and its permissions.") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} is damaged ({error}); collect anew into another --out.") from error

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()


def busy(folder: Path) -> bool:
    """Tell whether a process has the database of a folder open for writing."""
    try:
        with open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _locked(path: Path) -> Any:
    try:
        lock = open(path, "a")  # noqa: SIM115 - held until close
    except OSError as error:
        raise write_error(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DataError(f"Another rvtool is collecting into {path.parent}; wait for it, or stop it first.") from None
    except OSError:
        pass  # a file system without locks
    return lock


def _connected(path: Path, write: bool) -> sqlite3.Connection:
    if write:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing; a power cut the last few rows
        return db
    for mode in ("mode=ro", "immutable=1"):  # the second where the folder may not be written to
        db = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("SELECT name FROM sqlite_master").fetchall()
            return db
    return db
