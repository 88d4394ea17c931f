"""A FITS file as its bytes: where each header and data unit stands, and the cards as they are written.

Real headers hold tabs, broken cards and padding of all sorts, which a parser would refuse or mend. What must come back
byte for byte is therefore read here without parsing more than the few cards that give the size of the data.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from rvtool.errors import DataError

BLOCK = 2880
CARD = 80
MOST_HEADER = 1 << 24  # bytes: a file without END is not read to its end for one
MOST_AXES = 32  # of an image
DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}

# what a tile-compressed HDU calls the keywords of the image inside it (FITS standard 4.0, section 10.1.2)
INSIDE = {
    "SIMPLE": "ZSIMPLE",
    "XTENSION": "ZTENSION",
    "EXTEND": "ZEXTEND",
    "BLOCKED": "ZBLOCKED",
    "PCOUNT": "ZPCOUNT",
    "GCOUNT": "ZGCOUNT",
}
STRUCTURE = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|EXTEND|BLOCKED|CHECKSUM|DATASUM|END|"
    r"TFIELDS|THEAP|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL)\d+|"
    r"Z(IMAGE|CMPTYPE|MASKCMP|QUANTIZ|DITHER0|BLANK|SCALE|ZERO|BITPIX|SIMPLE|TENSION|EXTEND|BLOCKED|PCOUNT|GCOUNT|"
    r"HECKSUM|DATASUM|NAXIS\d*|(TILE|NAME|VAL)\d+))"
)


def keyword(card: bytes) -> str:
    """Return the keyword of a card."""
    return card[:8].decode("latin-1").rstrip()


def text_of(card: bytes) -> str:
    """Return the value of a card as text: a string without its quotes, anything else as it is written."""
    body = card[10:].decode("latin-1").strip()
    quoted = re.match(r"'((?:[^']|'')*)'", body)
    return quoted[1].replace("''", "'").rstrip() if quoted else body.partition("/")[0].strip()


def cards_of(header: bytes) -> list[bytes]:
    """Cut a header into its cards of 80 bytes, without END and what follows it."""
    cards = [header[i : i + CARD] for i in range(0, len(header), CARD)]
    return cards[: next((i for i, card in enumerate(cards) if card.rstrip() == b"END"), len(cards))]


def clean(card: bytes) -> bytes:
    """Replace what FITS forbids in a card (tabs, broken bytes) by spaces, so that every reader opens it."""
    return bytes(byte if 32 <= byte < 127 else 32 for byte in card)


def padded(data: bytes, fill: bytes = b"\0") -> bytes:
    """Fill up to a whole number of FITS blocks."""
    return data + fill * (-len(data) % BLOCK)


def header_of(cards: list[bytes]) -> bytes:
    """Join cards to a header of whole blocks."""
    return padded(b"".join(cards) + b"END".ljust(CARD), b" ")


def card(name: str, value: str) -> bytes:
    """Write a card with a fixed-format value."""
    return f"{name:<8}= {value:>20}".ljust(CARD).encode("ascii")


EMPTY_PRIMARY = header_of([card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0"), card("EXTEND", "T")])


@dataclass(frozen=True)
class Unit:
    """One header and data unit where it stands in an open file.

    Attributes
    ----------
    data_start, data_end, end
        Offsets in the file, bytes; `end` is where the next unit starts, or the end of the file.
    """

    file: IO[bytes]
    data_start: int
    data_end: int
    end: int
    header: bytes

    @cached_property
    def values(self) -> dict[str, str]:
        """The first value of each keyword, as text."""
        values: dict[str, str] = {}
        for one in cards_of(self.header):
            if one[8:10] == b"= ":
                values.setdefault(keyword(one), text_of(one))
        return values

    @property
    def data(self) -> bytes:
        """The data without the padding."""
        return self._read(self.data_start, self.data_end)

    @property
    def padding(self) -> bytes:
        """What stands between the data and the next unit, or the end of the file."""
        return self._read(self.data_end, self.end)

    @property
    def shape(self) -> tuple[int, ...]:
        """The axes in the order of NumPy."""
        return tuple(int(self.values[f"NAXIS{i}"]) for i in range(int(self.values["NAXIS"]), 0, -1))

    @property
    def bitpix(self) -> int:
        """The type of the numbers, as FITS counts it: bits, negative for floats."""
        return int(self.values["BITPIX"])

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers as they are stored, big-endian."""
        return np.dtype(DTYPES[self.bitpix])

    @property
    def is_image(self) -> bool:
        """Whether this holds an image of two or more axes that is not compressed."""
        kind = self.values.get("XTENSION", "IMAGE")
        plain = 2 <= len(self.shape) <= MOST_AXES and self.data_end - self.data_start == _pixels_size(self.values)
        return kind == "IMAGE" and plain and self.data_end > self.data_start and self.bitpix in DTYPES

    @property
    def is_tiled(self) -> bool:
        """Whether this is a tile-compressed image."""
        return self.values.get("ZIMAGE") == "T"

    @property
    def scale(self) -> float:
        """The unit of the stored numbers in the unit of the image: the size of BSCALE, 1 where there is none."""
        try:
            scale = abs(float(self.values.get("BSCALE", "1").upper().replace("D", "E")))
        except ValueError:
            return 1.0
        return scale if 0 < scale < float("inf") else 1.0

    def array(self) -> np.ndarray:
        """Return the pixels as they are stored (BSCALE and BZERO not applied), in native byte order."""
        return np.frombuffer(self.data, self.dtype).astype(self.dtype.newbyteorder("=")).reshape(self.shape)

    def _read(self, start: int, end: int) -> bytes:
        self.file.seek(start)
        return self.file.read(end - start)


def _pixels_size(values: dict[str, str]) -> int:
    axes = [int(values[f"NAXIS{i + 1}"]) for i in range(int(values["NAXIS"]))]
    return abs(int(values["BITPIX"])) // 8 * (prod(axes) if axes else 0)


def _data_size(values: dict[str, str]) -> int:
    groups, parameters = int(values.get("GCOUNT", 1)), int(values.get("PCOUNT", 0))
    width = abs(int(values["BITPIX"])) // 8
    sizes = [groups, parameters, *(int(values[f"NAXIS{i + 1}"]) for i in range(int(values["NAXIS"])))]
    if min(sizes) < 0:  # would lead back to a unit that was read
        raise ValueError(f"a negative size of {min(sizes)}")
    if values.get("GROUPS") == "T" and values.get("NAXIS1") == "0":  # random groups: NAXIS1 = 0 is a mark, no axis
        shape = [int(values[f"NAXIS{i + 1}"]) for i in range(1, int(values["NAXIS"]))]
        return width * groups * (parameters + prod(shape))
    return groups * (width * parameters + _pixels_size(values))


def units_of(file: IO[bytes], path: Path) -> list[Unit]:
    """Find the header and data units of an open FITS file.

    Raises
    ------
    DataError
        The file is no FITS, or ends too early.
    """
    length = file.seek(0, io.SEEK_END)
    units: list[Unit] = []
    start = 0
    while start < length:
        file.seek(start)
        if not file.read(9).startswith(b"XTENSION" if units else b"SIMPLE  ="):
            break  # what follows the last unit belongs to its padding
        file.seek(start)
        header = _read_header(file, path)
        data_start = start + len(header)
        try:
            size = _data_size(Unit(file, data_start, data_start, length, header).values)
        except (KeyError, ValueError) as error:
            raise DataError(
                f"{path} has a header without a valid size ({error}); it is broken, fetch it again."
            ) from None
        if data_start + size > length:
            raise DataError(
                f"{path} is truncated: its HDU {len(units)} needs {size} bytes of data and {length - data_start} "
                "are there; fetch it again."
            )
        start = data_start + -(-size // BLOCK) * BLOCK
        units.append(Unit(file, data_start, data_start + size, min(start, length), header))
    if not units:
        raise DataError(f"{path} is no FITS file (it does not begin with SIMPLE); give it a FITS image.")
    return [*units[:-1], replace(units[-1], end=length)]


def _read_header(file: IO[bytes], path: Path) -> bytes:
    blocks: list[bytes] = []
    while not blocks or len(cards_of(blocks[-1])) == BLOCK // CARD:  # a block with END gives fewer cards
        blocks.append(file.read(BLOCK))
        if len(blocks[-1]) < BLOCK:
            raise DataError(f"{path} ends inside a header; it is truncated or lacks END, fetch it again.")
        if len(blocks) * BLOCK > MOST_HEADER:
            raise DataError(f"{path} has a header without END; it is broken, fetch it again.")
    return b"".join(blocks)


@contextmanager
def open_units(path: Path) -> Iterator[list[Unit]]:
    """Open a FITS file, plain or packed whole by gzip or bzip2, as its header and data units.

    Raises
    ------
    DataError
        The file cannot be read, is no FITS, or ends too early.
    """
    with ExitStack() as stack:
        try:
            file: IO[bytes] = stack.enter_context(open(path, "rb"))
            magic = file.read(3)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b" or magic == b"BZh":
                packed, file = file, stack.enter_context(tempfile.TemporaryFile())  # on the disk: it may be large
                with gzip.open(packed) if magic != b"BZh" else bz2.open(packed) as content:
                    shutil.copyfileobj(content, file, 1 << 20)
            units = units_of(file, path)
        except FileNotFoundError:
            raise DataError(f"{path} does not exist; check the path.") from None
        except IsADirectoryError:
            raise DataError(f"{path} is a folder; name the FITS files in it.") from None
        except PermissionError:
            raise DataError(f"{path} may not be read by this user; check its permissions.") from None
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise DataError(
                f"{path} cannot be unpacked ({error}); it is truncated or damaged, fetch it again."
            ) from error
        yield units


def tiled_header(table: bytes, image: bytes) -> bytes:
    """Write the header of a tile-compressed HDU: the structure of the table, then the image's own cards.

    Parameters
    ----------
    table
        Header of the compressed table as a codec made it.
    image
        Header of the image. What FITS forbids (tabs, broken bytes) becomes a space, so that every reader opens it.
    """
    cards = [one for one in cards_of(table) if keyword(one) not in {*INSIDE.values(), "EXTNAME", "EXTVER"}]
    bitpix = next(int(text_of(one)) for one in cards_of(image) if keyword(one) == "BITPIX")
    for one in cards_of(image):
        name = keyword(one)
        if name in INSIDE:
            cards.append(INSIDE[name].ljust(8).encode() + clean(one)[8:])
        elif name == "BLANK" and not _is_blank(text_of(one), bitpix):
            continue  # readers would blank the quantised pixels of that number, or fail
        elif clean(one).strip() and not STRUCTURE.fullmatch(name):
            cards.append(clean(one))
    return header_of(cards)


def _is_blank(text: str, bitpix: int) -> bool:
    """Whether BLANK means anything: a number that pixels of this type can hold; floats use NaN."""
    try:
        number = int(text)
    except ValueError:
        return False
    return bitpix > 0 and np.iinfo(DTYPES[bitpix]).min <= number <= np.iinfo(DTYPES[bitpix]).max


def structure_of(tiled: bytes) -> bytes:
    """Keep of a tile-compressed HDU's header what decoding needs, so that no other card can disturb it."""
    names = [(one, keyword(one)) for one in cards_of(tiled)]
    return header_of([one for one, name in names if STRUCTURE.fullmatch(name) and name not in ("CHECKSUM", "DATASUM")])


def untiled_header(tiled: bytes, primary: bool) -> bytes:
    """Write the header of the image inside a tile-compressed HDU, as a primary header or as an extension's."""
    values = {keyword(one): one for one in reversed(cards_of(tiled))}
    axes = int(text_of(values["ZNAXIS"]))
    cards = [card("SIMPLE", "T") if primary else b"XTENSION= 'IMAGE   '".ljust(CARD)]
    for name in ("ZBITPIX", "ZNAXIS", *(f"ZNAXIS{i + 1}" for i in range(axes))):
        cards.append(name[1:].ljust(8).encode() + values[name][8:])
    cards += [card("EXTEND", "T")] if primary else [card("PCOUNT", "0"), card("GCOUNT", "1")]
    own = [one for one in cards_of(tiled) if not STRUCTURE.fullmatch(keyword(one))]
    return header_of(cards + [one for one in own if text_of(one) != "COMPRESSED_IMAGE"])  # the name that fpack gives
