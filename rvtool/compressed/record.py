"""RVTOOL, the small table at the end of a compressed FITS file that keeps what tile compression loses.

A row for each HDU of the source:

=========  ==========================================================================================================
HDU        which HDU of the compressed file holds the data
BOUND      largest error of a pixel, unit of the image; 0 where the data is exact
SIGMA      the noise that was measured, unit of the image; NaN where it was not
CRC32      of the data unit in the compressed file, so that damage is told before it is decoded
SHA256     of the data unit of the source, where it comes back exactly
HEADER     the header as it stood in the source, zlib; empty where the HDU was kept as it was
PADDING    what stood between the data and the next HDU, or the end of the source, zlib
PATCHES    pixels that decoding alone would bring beyond the bound, zlib: steps from index to index (big-endian int64),
           then the pixels' own bits (big-endian)
=========  ==========================================================================================================
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from rvtool.data.fits import quiet
from rvtool.data.units import EMPTY_PRIMARY, Unit, padded, structure_of
from rvtool.errors import DataError

NAME = "RVTOOL"
FORMAT = 1


@dataclass(frozen=True)
class Row:
    """What the table keeps of one HDU; the fields are its columns."""

    hdu: int
    crc32: int
    padding: bytes
    header: bytes = b""
    bound: float = 0.0
    sigma: float = float("nan")
    sha256: str = ""
    patches: bytes = b""


def find_record(units: Sequence[Unit]) -> Unit | None:
    """Return the RVTOOL table of a file, or None if rvtool did not compress it."""
    return next((unit for unit in units if unit.values.get("EXTNAME") == NAME and "RVFORMAT" in unit.values), None)


def write_record(rows: Sequence[Row], source_name: str, codec: str, version: str) -> bytes:
    """Return the table as the bytes of an HDU."""
    from astropy.io import fits

    def blobs(name: str, values: Sequence[bytes]) -> Any:
        packed = np.empty(len(values), object)
        packed[:] = [np.frombuffer(zlib.compress(value, 9) if value else b"", np.uint8) for value in values]
        return fits.Column(name, "PB()", array=packed)

    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("HDU", "J", array=[row.hdu for row in rows]),
            fits.Column("BOUND", "D", array=[row.bound for row in rows]),
            fits.Column("SIGMA", "D", array=[row.sigma for row in rows]),
            fits.Column("CRC32", "K", array=[row.crc32 for row in rows]),
            fits.Column("SHA256", "64A", array=[row.sha256 for row in rows]),
            blobs("HEADER", [row.header for row in rows]),
            blobs("PADDING", [row.padding for row in rows]),
            blobs("PATCHES", [row.patches for row in rows]),
        ],
        name=NAME,
    )
    table.header["RVFORMAT"] = (FORMAT, "format of this table")
    table.header["RVNAME"] = quote(source_name, safe=" +,()[]{}")
    table.header["RVCODEC"] = (codec, "codec")
    table.header["RVVERSIO"] = (version, "rvtool")
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    return file.getvalue()[len(EMPTY_PRIMARY) :]


def read_record(record: Unit, path: Path) -> tuple[list[Row], str]:
    """Return the rows of the table, and the name of the file that was compressed.

    Raises
    ------
    DataError
        A newer rvtool wrote the table, or it is damaged.
    """
    from astropy.io import fits

    if record.values["RVFORMAT"] != str(FORMAT):
        raise DataError(
            f"{path} was made by rvtool {record.values.get('RVVERSIO', '?')}, newer than this; update rvtool."
        )
    try:
        with quiet(), fits.open(_alone(record, record.header), memmap=False) as hdus:
            table = hdus[1].data
            rows = [
                Row(
                    hdu=int(row["HDU"]),
                    crc32=int(row["CRC32"]),
                    padding=_unpacked(row["PADDING"]),
                    header=_unpacked(row["HEADER"]),
                    bound=float(row["BOUND"]),
                    sigma=float(row["SIGMA"]),
                    sha256=str(row["SHA256"]).strip(),
                    patches=_unpacked(row["PATCHES"]),
                )
                for row in table
            ]
    except Exception as error:  # astropy raises a dozen kinds on damaged cards and tables
        raise _damaged(path, "the RVTOOL table") from error
    return rows, unquote(record.values.get("RVNAME", ""))


def pack_patches(data: np.ndarray, indices: np.ndarray) -> bytes:
    """Return the pixels of `data` at flat, rising `indices` as the bytes of a patch list."""
    steps = np.diff(indices, prepend=0).astype(">i8")
    bits = data.ravel()[indices]
    return steps.tobytes() + bits.astype(bits.dtype.newbyteorder(">")).tobytes()


def apply_patches(data: np.ndarray, patches: bytes) -> None:
    """Put the pixels of a patch list back, in place."""
    count = len(patches) // (8 + data.itemsize)
    indices = np.cumsum(np.frombuffer(patches, ">i8", count))
    data.reshape(-1)[indices] = np.frombuffer(patches, data.dtype.newbyteorder(">"), count, offset=8 * count)


@contextmanager
def open_tiled(unit: Unit, path: Path) -> Iterator[Any]:
    """Open a tile-compressed HDU alone, as an `astropy.io.fits.CompImageHDU` that does not apply BSCALE and BZERO.

    Raises
    ------
    DataError
        The HDU is damaged, or compressed by something that FITS does not define; also for what is read from it.
    """
    from astropy.io import fits

    try:
        alone = _alone(unit, structure_of(unit.header))
        with quiet(), fits.open(alone, memmap=False, do_not_scale_image_data=True) as hdus:
            yield hdus[1]
    except Exception as error:  # astropy raises a dozen kinds on damaged cards and tables
        raise DataError(f"{path} has a compressed image that cannot be decoded ({error}); fetch it again.") from error


def decode_tiled(unit: Unit, path: Path) -> np.ndarray:
    """Decode a tile-compressed HDU (see `open_tiled`).

    Returns
    -------
    numpy.ndarray : (..., H, W)
        The pixels as they are stored (BSCALE and BZERO not applied), in native byte order.
    """
    with open_tiled(unit, path) as hdu:
        data = hdu.data
    return np.array(data, data.dtype.newbyteorder("="), order="C")


def restored(stored: Sequence[Unit], row: Row, path: Path) -> tuple[bytes, bytes, bytes]:
    """Bring one HDU of the source back from the HDUs of the compressed file.

    Returns
    -------
    header, data, padding : bytes
        As they stood in the source, the data within the bound.

    Raises
    ------
    DataError
        The compressed file is damaged.
    """
    if row.hdu >= len(stored):
        raise _damaged(path, f"HDU {row.hdu}")
    unit = stored[row.hdu]
    data = unit.data
    if zlib.crc32(data) != row.crc32:
        raise _damaged(path, f"HDU {row.hdu}")
    if row.header:
        pixels = decode_tiled(unit, path)
        apply_patches(pixels, row.patches)
        data = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    if row.sha256 and hashlib.sha256(data).hexdigest() != row.sha256:
        raise _damaged(path, f"HDU {row.hdu}")
    return row.header or unit.header, data, row.padding


def _alone(unit: Unit, header: bytes) -> io.BytesIO:
    """Return a file that holds nothing but this HDU."""
    return io.BytesIO(EMPTY_PRIMARY + header + padded(unit.data))


def _unpacked(blob: np.ndarray) -> bytes:
    return zlib.decompress(blob.tobytes()) if len(blob) else b""


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} is damaged ({what} is not what was written); fetch or make it again.")
