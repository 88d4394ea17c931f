"""Archives: read in memory, within bounds, plain files only."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile

import pytest

from rvtool.errors import DataError
from rvtool.services.archives import members, unpack


def archive(*files: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """Return a tar.gz of files, or of other members as they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for file in files:
            if isinstance(file, tarfile.TarInfo):
                tar.addfile(file)
            else:
                info = tarfile.TarInfo(file[0])
                info.size = len(file[1])
                tar.addfile(info, io.BytesIO(file[1]))
    return out.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    """Return a symbolic link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_unpack(pack) -> None:  # type: ignore[no-untyped-def]
    data = b"sky" * 1000
    assert unpack(pack(data)) == data
    assert unpack(pack(data), len(data)) == data
    with pytest.raises(DataError, match="more than 2999 bytes"):
        unpack(pack(data), len(data) - 1)
    with pytest.raises(DataError, match="cut off"):
        unpack(pack(data)[:-9])
    assert unpack(pack(data) + pack(b"dust")) == data + b"dust"  # of several parts, as bgzip and pbzip2 write them


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08nonsense", b"BZh9nonsense"])
def test_what_is_damaged(body: bytes) -> None:
    with pytest.raises(DataError, match=r"damaged|cut off"):
        unpack(body)


@pytest.mark.parametrize("body", [b"", b"<html>"])
def test_what_is_no_archive(body: bytes) -> None:
    assert unpack(body) == body
    with pytest.raises(DataError, match="archive is damaged"):
        list(members(body))


def test_plain_files_only() -> None:
    body = archive(("a/x.txt", b"1"), link("a/y.txt", "/etc/passwd"), ("./z", b"22"))
    assert list(members(body)) == [("a/x.txt", b"1"), ("z", b"22")]


def test_a_bomb_is_refused_before_it_unpacks() -> None:
    with pytest.raises(DataError, match="refused"):
        list(members(archive(("zeros", bytes(2**20))), 2**19))


def test_a_broken_tar() -> None:
    with pytest.raises(DataError, match="damaged"):
        list(members(gzip.compress(b"no tar at all" * 100)))
