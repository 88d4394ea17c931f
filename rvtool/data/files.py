"""Writing that cannot leave half a file: under a temporary name, fsynced, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rvtool.errors import WriteError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when a disk, a quota or a file is full."""


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when it is complete and on the disk.

    Raises
    ------
    WriteError
        The disk is full, or the place may not be written to; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file at once (see `writing`)."""
    with writing(path) as stream:
        stream.write(data)


def write_error(path: Path, error: OSError) -> WriteError:
    """Turn what the system says of a failed write into a sentence with advice."""
    if error.errno in FULL:
        return WriteError(f"{path} cannot be written: the disk is full; free some space or choose another --out.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WriteError(f"{path} cannot be written: no permission; choose another --out.")
    return WriteError(f"{path} cannot be written ({error.strerror or error}); check the place.")


def cache_folder() -> Path:
    """Return where packs and shared replies are kept: ``$RVTOOL_CACHE``, else the user's cache folder."""
    if "RVTOOL_CACHE" in os.environ:
        return Path(os.environ["RVTOOL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rvtool"


def unused(path: Path) -> Path:
    """Return the path, numbered from 2 where something is there already."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
