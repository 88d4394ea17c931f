"""Compressed files and archives as they come, read in memory: nothing is written, and nothing grows beyond a bound."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator

from rvtool.errors import DataError

LARGEST = 2**30
"""Bytes that a compressed file may unpack to: a few kB of bzip2 can hold gigabytes."""


def unpack(body: bytes, largest: int = LARGEST) -> bytes:
    """Decompress a gzip or bzip2 file; other bytes stay.

    Raises
    ------
    DataError
        It is cut off or damaged, or holds more than `largest` bytes.
    """
    opened = gzip.open if body.startswith(b"\x1f\x8b") else bz2.open if body.startswith(b"BZh") else None
    if opened is None:
        return body
    try:
        with opened(io.BytesIO(body), "rb") as file:
            data: bytes = file.read(largest + 1)
    except EOFError:
        raise DataError("the compressed file is cut off") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"the compressed file is damaged ({error})") from None
    if len(data) > largest:
        raise DataError(f"the compressed file unpacks to more than {largest} bytes, which is refused")
    return data


def members(body: bytes, largest: int = LARGEST) -> Iterator[tuple[str, bytes]]:
    """Read the plain files of a compressed tar archive: name and bytes; links and all else are passed over.

    Raises
    ------
    DataError
        It is none, is cut off, or holds more than `largest` bytes.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(unpack(body, largest)), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    yield member.name.removeprefix("./"), file.read()
    except tarfile.TarError as error:
        raise DataError(f"the archive is damaged ({error})") from error
