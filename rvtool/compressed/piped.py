"""Files that come in by stdin and go out by stdout, held on the disk meanwhile, never in memory."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rvtool.data.files import write_error
from rvtool.errors import ConfigError, DataError, RvtoolError

PIPE = Path("-")


@contextmanager
def standing_in() -> Iterator[tuple[Path, Path]]:
    """Give a file with all that stdin brings, and a place for one that goes to stdout if something is put there.

    Raises
    ------
    ConfigError
        Stdin is a terminal.
    DataError
        Nobody reads the other end of stdout to its end, or the disk is full.
    """
    if sys.stdin.isatty():
        raise ConfigError("'-' reads a FITS file from stdin, which is a terminal: pipe one in, 'cat a.fits | rvtool'.")
    with TemporaryDirectory(prefix="rvtool-") as folder:
        source, out = Path(folder) / "stdin.fits", Path(folder) / "stdout.fits"
        try:
            with open(source, "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        except OSError as error:
            raise write_error(source, error) from error
        try:
            yield source, out
        except RvtoolError as error:  # people know the file by another name
            raise type(error)(str(error).replace(str(source), "stdin").replace(str(out), "stdout")) from error
        if out.exists():
            _send(out)


def refuse_stdout(taken: bool) -> None:
    """Refuse to write a file to stdout where it cannot be one.

    Parameters
    ----------
    taken
        Stdout is needed for something else.

    Raises
    ------
    ConfigError
        Stdout is a terminal, or taken by the result as JSON.
    """
    if sys.stdout.isatty():
        raise ConfigError("'-' writes a FITS file to stdout, which is a terminal: add '> FILE', or name it with --out.")
    if taken:
        raise ConfigError("'-' and --json would both write to stdout; name a file with --out.")


def _send(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains of it once more at exit
        raise DataError("The program that reads stdout ended before the file did; it has got only a part.") from None
    except OSError as error:
        raise write_error(Path("stdout"), error) from error
