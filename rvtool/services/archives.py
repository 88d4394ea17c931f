"""Compressed files and archives as they come, read in memory: nothing is written, and nothing grows beyond a bound."""

from __future__ import annotations

import bz2
import io
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from rvtool.errors import DataError

LARGEST = 256 * 2**20
"""Bytes that a compressed file may unpack to."""


def unpack(body: bytes, largest: int = LARGEST) -> bytes:
    """Decompress a gzip or bzip2 file.

    Raises
    ------
    DataError
        It is neither, is cut off, or holds more than `largest` bytes.
    """
    unzip: Any = bz2.BZ2Decompressor() if body.startswith(b"BZh") else zlib.decompressobj(wbits=31)
    try:
        data = unzip.decompress(body, largest + 1)
    except (zlib.error, OSError) as error:
        raise DataError(f"The compressed file is damaged ({error}); fetch it again.") from error
    if len(data) > largest:
        raise DataError(f"The compressed file unpacks to more than {largest} bytes, which is refused.")
    if not unzip.eof:
        raise DataError("The compressed file is cut off; fetch it again.")
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
        raise DataError(f"The archive is damaged ({error}); fetch it again.") from error
