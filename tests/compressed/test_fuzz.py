"""Damaged and hostile files end in `DataError`, or decode to what was written: no crash, no endless memory."""

from __future__ import annotations

import io
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from rvtool.compressed.archive import write_archive
from rvtool.compressed.checksums import encoded, sum_of
from rvtool.compressed.files import ErrorBound, compress_file, read_compressed
from rvtool.compressed.headers import plain_header
from rvtool.compressed.members import Archive
from rvtool.compressed.tiles import whole
from rvtool.data.units import BLOCK, card, units_of
from rvtool.errors import DataError

NUMBERS = (b"0", b"1", b"-1", b"7", b"65536", b"2147483647", b"4294967296", b"9223372036854775807", b"9" * 19, b"1E5")


@pytest.fixture
def source(tmp_path: Path, fits_bytes: Callable[..., bytes]) -> Path:
    image = np.random.default_rng(0).normal(size=(20, 30)).astype("f4")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))])
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    path = tmp_path / "a.fits"
    path.write_bytes(fits_bytes(image, b"HISTORY \ttabs".ljust(80)) + stream.getvalue()[BLOCK:])
    return path


def contents(raw: bytes) -> list[bytes]:
    """Everything that a compressed file or an archive holds."""
    path = Path("fuzzed.rv.fits")
    units = units_of(io.BytesIO(raw), path)
    if "RVKIND" in units[0].values:
        archive = Archive(units, path)
        stored = [unit for name in archive.members for unit in archive.units(name)]
    else:
        stored = list(read_compressed(units, path)[1])
    found = []
    for unit in stored:
        found += [unit.header, unit.padding]
        if unit.image:
            # decoded tile by tile, as files are restored: what a header says of the whole takes no memory
            found += [part.tobytes() for _, part in unit.image.parts(whole(unit.image.shape))]
        else:
            found += unit.data()
    return found


def mutations(raw: bytes, count: int) -> Iterator[bytes]:
    """Flip, cut, repeat and overwrite bytes; put extreme numbers into headers and tables; mend the first checksum."""
    rng = np.random.default_rng(1)
    digits = [match.span() for match in re.finditer(rb"(?<== ) *-?\d+(?= )", raw)]
    for number in range(count):
        bad = bytearray(raw)
        at = int(rng.integers(len(raw)))
        match number % 8:
            case 0:
                bad[at] ^= 1 << int(rng.integers(8))
            case 1:
                del bad[at:]
            case 2:
                bad[at : at + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
            case 3:
                bad[at : at + 4] = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")[number % 3]
            case 4:
                block = at // BLOCK * BLOCK
                bad[block:block] = bad[block : block + BLOCK]
            case 5:
                block = at // BLOCK * BLOCK
                del bad[block : block + BLOCK]
            case _:
                start, end = digits[int(rng.integers(len(digits)))]
                bad[start:end] = NUMBERS[int(rng.integers(len(NUMBERS)))].rjust(end - start)[: end - start]
        if number % 2 and len(bad) >= BLOCK:
            mend(bad)
        yield bytes(bad)


def mend(raw: bytearray) -> None:
    """Make the checksum of the first header right, as somebody would who means harm."""
    end = raw.find(b"END" + b" " * 77) // BLOCK * BLOCK + BLOCK
    at = raw.find(b"CHECKSUM= '") + 11
    if end >= BLOCK and 11 <= at < end:
        raw[at : at + 16] = b"0" * 16
        raw[at : at + 16] = encoded(sum_of(bytes(raw[:end]))).encode("ascii")


@pytest.mark.parametrize(("kind", "count"), [("file", 2500), ("archive", 1500)])
def test_mutated_files_end_in_an_error_or_in_what_was_written(
    source: Path, tmp_path: Path, packing: Any, kind: str, count: int
) -> None:
    out, bound = tmp_path / "a.rv.fits", ErrorBound(0.1, in_sigma=False)
    if kind == "file":
        compress_file(source, out, packing, bound, "packing")
    else:
        write_archive([source] * 2, ["a.fits", "b.fits"], out, packing, bound, "packing")
    raw = out.read_bytes()
    good = contents(raw)
    refused = 0
    for bad in mutations(raw, count):
        try:
            assert contents(bad) == good
        except DataError:
            refused += 1
    assert refused > count / 2


def forged(raw: bytes, cards: dict[str, str]) -> bytes:
    """Change cards of the image in a compressed file of one image, and make every checksum of headers right again."""
    for name, value in cards.items():
        old = re.search(rf"{name:<8}= .{{20}}".encode(), raw)
        assert old
        raw = raw.replace(old[0], card(name, value)[:30], 1)
    units = units_of(io.BytesIO(raw), Path("forged"))
    crc32 = zlib.crc32(plain_header(units[1].header))
    bad = bytearray(re.sub(rb'"crc32": \d{8,10}', f'"crc32": {crc32:<10}'.encode()[:19], raw, count=1))
    mend(bad)
    return bytes(bad)


@pytest.mark.parametrize(
    "cards",
    [
        {"ZNAXIS1": "1000000000", "ZTILE1": "1000000000"},  # one tile, of more than the memory
        {"ZNAXIS1": "1000000000"},  # more tiles than there are
        {"ZNAXIS1": "30000", "ZTILE1": "30000"},  # a tile that could be, but for its bytes
        {"ZNAXIS": "1000000000"},
        {"ZNAXIS1": "0"},
        {"ZNAXIS1": "-30"},
        {"ZTILE1": "0"},
        {"ZBITPIX": "-128"},
        {"NAXIS2": "2", "ZTILE2": "32"},
    ],
)
def test_hostile_sizes_take_no_memory(
    tmp_path: Path, fits_bytes: Callable[..., bytes], packing: Any, cards: dict[str, str]
) -> None:
    source, out = tmp_path / "a.fits", tmp_path / "a.rv.fits"
    source.write_bytes(fits_bytes(np.random.default_rng(0).normal(size=(2, 16)).astype("f4")))
    compress_file(source, out, packing, None, "packing")
    raw = out.read_bytes()
    assert contents(forged(raw, {"ZTILE1": "16"})) == contents(raw)
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            contents(forged(raw, cards))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
