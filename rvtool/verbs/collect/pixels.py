"""The pixels of an image file that is still in memory: every byte is there, or a sentence says what is missing."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rvtool.data.fits import FITS_SUFFIXES, beam_of, planes
from rvtool.data.units import BLOCK, Unit, units_of
from rvtool.errors import DataError
from rvtool.kinds import Beam
from rvtool.services.archives import unpack
from rvtool.services.replies import FITS_START, words

_ENDS = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
_STARTS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".npy": b"\x93NUMPY"}


@dataclass(frozen=True)
class Pixels:
    """The planes of a file.

    Attributes
    ----------
    stack
        ``(N, C, H, W)``, little-endian.
    header
        The cards as they stand in the file; empty for formats without any.
    """

    stack: np.ndarray
    unit: str = ""
    beam: Beam | None = None
    header: bytes = b""

    @property
    def sha256(self) -> str:
        """Of the type, the shape and the bytes: the same for a file whose header tells another time of day."""
        digest = hashlib.sha256(f"{self.stack.dtype.str} {self.stack.shape}".encode())
        digest.update(self.stack.data)
        return digest.hexdigest()


def read_pixels(body: bytes, suffix: str, strict: bool) -> Pixels:
    """Read the pixels, whatever the format; of FITS, every unit must be there in whole."""
    name = Path(f"image{suffix}")
    if suffix not in FITS_SUFFIXES:
        _check_ends(body, suffix)
    else:
        body = unpack(body)
        try:
            pixels = _plain(body, strict)
        except DataError:
            if strict:
                raise
            pixels = None  # astropy reads what others would not, a file without its last padding for example
        if pixels:
            return pixels
    images = list(planes(name, body))
    stack = np.stack([image.data for image in images])
    first = images[0]
    return Pixels(_little_endian(stack), first.unit, first.beam, first.header_bytes)


def _check_ends(body: bytes, suffix: str) -> None:
    kind = suffix[1:].upper()
    if not body.startswith(_STARTS[suffix]):
        raise DataError(f"this is no {kind} file: {words(body, 80) or 'it is empty'}")
    if not body.rstrip(b"\0\r\n").endswith(_ENDS.get(suffix, b"")):
        raise DataError(f"the {kind} has no end")


def _plain(body: bytes, strict: bool) -> Pixels | None:
    """Read an image of unscaled floats in place; None for any other FITS file, which astropy reads.

    Raises
    ------
    DataError
        It is no FITS file, or not whole.
    """
    if not body.startswith(FITS_START):
        raise DataError(f"this is no FITS file: {words(body, 80) or 'it is empty'}")
    units = units_of(io.BytesIO(body), Path("the file"))
    needed = units[-1].data_end + -units[-1].data_end % BLOCK
    if strict and (len(body) < needed or len(body) % BLOCK):
        raise DataError(f"the file is cut off: {len(body)} of {max(needed, len(body) + -len(body) % BLOCK)} bytes")
    unit = next((u for u in units if u.is_image or u.is_tiled), None)
    if unit is None or unit.is_tiled or unit.bitpix > 0 or not _is_unscaled(unit):
        return None
    shape = (-1, 1, *unit.shape[-2:])
    data = np.frombuffer(body, unit.dtype, math.prod(unit.shape), unit.data_start).reshape(shape)
    numbers = {name: _number(unit.values.get(name)) for name in ("BMAJ", "BMIN", "BPA")}
    beam = beam_of({name: number for name, number in numbers.items() if number is not None})
    return Pixels(_little_endian(data), unit.values.get("BUNIT", "").strip(), beam, unit.header)


def _is_unscaled(unit: Unit) -> bool:
    return _number(unit.values.get("BSCALE", "1")) == 1 and _number(unit.values.get("BZERO", "0")) == 0


def _number(text: str | None) -> float | None:
    try:
        return float((text or "").upper().replace("D", "E"))
    except ValueError:
        return None


def _little_endian(stack: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(stack, stack.dtype.newbyteorder("<"))
