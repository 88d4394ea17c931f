"""FITS files written fast, card by card, as services send them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

BLOCK = 2880
BITPIX = {"uint8": 8, "int16": 16, "int32": 32, "float32": -32, "float64": -64}
COMMENTARY = ("COMMENT", "HISTORY", "")

Value = str | bool | int | float
Card = tuple[str, Value, str]
"""Keyword, value, comment; of ``COMMENT`` and ``HISTORY`` the value is the text."""


def fits_bytes(data: np.ndarray, cards: Sequence[Card] = (), *, simple: str = "conforms to FITS standard") -> bytes:
    """Return a FITS file of one image.

    Parameters
    ----------
    data
        The pixels; the first axis of the file is the last of the array.
    cards
        What the header says besides ``SIMPLE``, ``BITPIX`` and ``NAXISn``.
    simple
        The comment of the first card, in which some services write the time of day.
    """
    head: list[Card] = [("SIMPLE", True, simple), ("BITPIX", BITPIX[data.dtype.name], "bits of a pixel")]
    head.append(("NAXIS", data.ndim, "number of axes"))
    head += [(f"NAXIS{axis}", side, "") for axis, side in enumerate(data.shape[::-1], 1)]
    header = "".join(card_image(*card) for card in (*head, *cards)).encode("ascii") + b"END"
    pixels = data.astype(data.dtype.newbyteorder(">")).tobytes()
    return b"".join((header, b" " * (-len(header) % BLOCK), pixels, bytes(-len(pixels) % BLOCK)))


@lru_cache(maxsize=4096, typed=True)  # True is no 1 in a card
def card_image(key: str, value: Value, comment: str) -> str:
    """Return the 80 characters of a card, in the fixed format."""
    if key in COMMENTARY:
        return f"{key:8}{value}".ljust(80)[:80]
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = "'" + value.replace("'", "''").ljust(8) + "'"
    elif isinstance(value, int):
        text = f"{value:>20}"
    else:
        text = f"{_float(value):>20}"
    return f"{key:8}= {text:20} / {comment}".ljust(80)[:80]


def _float(value: float) -> str:
    text = repr(float(value)).upper()
    return text if "." in text else text.replace("E", ".0E")


def sky_cards(  # noqa: PLR0917 - the arguments of Sky.cutout
    ra_deg: float,
    dec_deg: float,
    height: int,
    width: int,
    pixel_arcsec: float,
    projection: str = "SIN",
    *,
    crpix: tuple[float, float] | None = None,
    unit: str = "",
    beam_arcsec: float | None = None,
) -> list[Card]:
    """Return the cards of an image of the sky, with the arguments of `Sky.cutout`: coordinates, unit and beam.

    `unit` and `beam_arcsec` are left out where they are empty or None.
    """
    x0, y0 = crpix or ((width + 1) / 2, (height + 1) / 2)
    cards: list[Card] = [
        ("CTYPE1", f"RA---{projection}", ""),
        ("CRVAL1", float(ra_deg), "deg"),
        ("CDELT1", -pixel_arcsec / 3600, "deg"),
        ("CRPIX1", float(x0), ""),
        ("CUNIT1", "deg", ""),
        ("CTYPE2", f"DEC--{projection}", ""),
        ("CRVAL2", float(dec_deg), "deg"),
        ("CDELT2", pixel_arcsec / 3600, "deg"),
        ("CRPIX2", float(y0), ""),
        ("CUNIT2", "deg", ""),
        ("EQUINOX", 2000.0, ""),
    ]
    if unit:
        cards.append(("BUNIT", unit, ""))
    if beam_arcsec is not None:
        axis_deg = beam_arcsec / 3600
        cards += [("BMAJ", axis_deg, "deg"), ("BMIN", axis_deg, "deg"), ("BPA", 0.0, "deg")]
    return cards
