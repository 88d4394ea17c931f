"""Headers of compressed files: what readers see, and how the source's own bytes come back from it.

A compressed image keeps every card of its source, in order; those that the table around the pixels needs for itself go
by the names that FITS gives them inside tile-compressed images. So most headers come back by naming the cards back, and
need no room. Those that do not (tabs, broken cards) are kept besides, packed with what comes back as the dictionary.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from urllib.parse import quote

from rvtool.compressed.checksums import encoded, sum_of
from rvtool.compressed.tiles import Box
from rvtool.data.units import CARD, INSIDE, MOST_HEADER, STRUCTURE, card, cards_of, clean, header_of, keyword, text_of

FORMAT = 2
CODE = "RVTOOL"  # ZCMPTYPE

_INSIDE = {**INSIDE, "BITPIX": "ZBITPIX", "CHECKSUM": "ZHECKSUM", "DATASUM": "ZDATASUM"}
_OUTSIDE = {inside: name for name, inside in _INSIDE.items()}
_AXES = re.compile(r"NAXIS\d*")
_SIZES = ("NAXIS1", "NAXIS2", "PCOUNT")


def text_card(name: str, text: str, comment: str = "") -> bytes:
    """Write a card with a short string."""
    value = "'" + text.replace("'", "''").ljust(8) + "'"
    return f"{name:<8}= {value:<20}{' / ' + comment if comment else ''}".ljust(CARD).encode("ascii")


_NO_SUM = text_card("CHECKSUM", "0" * 16)
_SUM_CARDS = _NO_SUM + text_card("DATASUM", "")


def quoted(name: str) -> str:
    """Return a name as it may stand in a card: percent signs for what is not plain, as in an address."""
    return quote(name, safe="/ +,()[]{}")


def long_text(name: str, text: str) -> list[bytes]:
    """Write a string of any length, by the convention of CONTINUE; it may hold no quotes."""
    parts = [text[i : i + 67] for i in range(0, len(text), 67)] or [""]
    ends = ["&"] * (len(parts) - 1) + [""]
    heads = [f"{name:<8}= ", *["CONTINUE  "] * (len(parts) - 1)]
    return [
        f"{head}'{part}{end}'".ljust(CARD).encode("ascii") for head, part, end in zip(heads, parts, ends, strict=True)
    ]


def read_long_text(cards: Sequence[bytes], name: str) -> str:
    """Return a string that `long_text` wrote, or ``""`` where there is none."""
    text, open_ended = "", False
    for one in cards:
        if keyword(one) == name or (open_ended and keyword(one) == "CONTINUE"):
            part = text_of(one)
            open_ended = part.endswith("&")
            text += part.removesuffix("&")
        elif open_ended:
            break
    return text


def summed(header: bytes, data_sum: int) -> bytes:
    """Fill in the CHECKSUM and DATASUM of a header that has the cards for them."""
    header = header.replace(_SUM_CARDS, _NO_SUM + text_card("DATASUM", str(data_sum)), 1)
    return header.replace(_NO_SUM, text_card("CHECKSUM", encoded(sum_of(header, data_sum))), 1)


def primary_header(codec: str, model_sha256: str, **texts: str) -> bytes:
    """Write the primary header of a compressed file or an archive: what concerns all of it.

    Parameters
    ----------
    texts
        Further cards, of any length.
    """
    cards = [card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0"), card("EXTEND", "T"), _SUM_CARDS]
    cards += [
        card("RVFORMAT", str(FORMAT)),
        text_card("RVVERSIO", version("rvtool"), "rvtool that wrote this file"),
    ]
    texts = {"RVCODEC": quoted(codec), **({"RVMODEL": model_sha256} if model_sha256 else {}), **texts}
    return summed(header_of(cards + [one for name, text in texts.items() for one in long_text(name, text)]), 0)


def tiled_header(image: bytes, tile: Sequence[int], row_form: str, source_sums: tuple[str, int]) -> bytes:
    """Write the header of a compressed image, its sizes and checksums still to be filled in (see `sized`).

    Parameters
    ----------
    image
        Header of the image. What FITS forbids (tabs, broken bytes) becomes a space, so that every reader opens it.
    tile
        In the order of NumPy.
    row_form
        TFORM of the column of tiles.
    source_sums
        CHECKSUM and DATASUM of the source's HDU, used where its header has none.
    """
    own = cards_of(image)
    names = {keyword(one) for one in own}
    checksum, datasum = source_sums
    cards = [
        *_table_cards({"COMPRESSED_DATA": row_form, "CRC32": "2J"}),
        card("ZIMAGE", "T"),
        text_card("ZCMPTYPE", CODE),
        *(card(f"ZTILE{i + 1}", str(side)) for i, side in enumerate(reversed(tile))),
        _SUM_CARDS,
        *([] if "CHECKSUM" in names else [text_card("ZHECKSUM", checksum)]),
        *([] if "DATASUM" in names else [text_card("ZDATASUM", str(datasum))]),
    ]
    inside = [(_inside(keyword(one)), one) for one in own]
    cards += [clean(name.ljust(8).encode("latin-1") + one[8:]) for name, one in inside if name is not None]
    return header_of(cards)


def table_header(name: str, columns: Mapping[str, str]) -> bytes:
    """Write the header of a table, its sizes and checksums still to be filled in; `columns` are names and TFORMs."""
    return header_of([*_table_cards(columns), text_card("EXTNAME", name), _SUM_CARDS])


def _table_cards(columns: Mapping[str, str]) -> list[bytes]:
    cards = [text_card("XTENSION", "BINTABLE"), card("BITPIX", "8"), card("NAXIS", "2")]
    cards += [*(card(name, "") for name in _SIZES), card("GCOUNT", "1"), card("TFIELDS", str(len(columns)))]
    for number, (name, form) in enumerate(columns.items(), start=1):
        cards += [text_card(f"TTYPE{number}", name), text_card(f"TFORM{number}", form)]
    return cards


def sized(header: bytes, sizes: tuple[int, int, int]) -> bytes:
    """Fill in the NAXIS1, NAXIS2 and PCOUNT that were left empty."""
    for name, size in zip(_SIZES, sizes, strict=True):
        header = header.replace(card(name, ""), card(name, str(size)), 1)
    return header


def plain_header(tiled: bytes) -> bytes:
    """Name the cards of a compressed image back: the source's header, if that was one that needs nothing else."""
    cards = cards_of(tiled)
    first = next((i for i, one in enumerate(cards) if keyword(one) in ("ZSIMPLE", "ZTENSION")), len(cards))
    return header_of([_outside(one) for one in cards[first:]])


def opaque_header(source: bytes, size: int) -> bytes:
    """Write the header under which a unit that FITS allows only at the beginning stands elsewhere: as bytes."""
    axes = [card("NAXIS", "1"), card("NAXIS1", str(size))] if size else [card("NAXIS", "0")]
    cards = [text_card("XTENSION", "IMAGE"), card("BITPIX", "8"), *axes, card("PCOUNT", "0"), card("GCOUNT", "1")]
    return header_of(cards + [clean(one) for one in cards_of(source) if not STRUCTURE.fullmatch(keyword(one))])


def deflated(data: bytes, known: bytes) -> bytes:
    """Pack bytes, with what is known on both sides as the dictionary."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=known[-32768:])
    return packer.compress(data) + packer.flush()


def inflated(data: bytes, known: bytes, most: int) -> bytes:
    """Return what `deflated` was given.

    Raises
    ------
    ValueError
        These are no bytes that it makes, or they hold more than `most`.
    """
    packer = zlib.decompressobj(-15, zdict=known[-32768:])
    try:
        plain = packer.decompress(data, most)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not packer.eof:
        raise ValueError("packed bytes end too early or hold too much")
    return plain


def pack(data: bytes, known: bytes) -> str:
    """Return bytes as text that fits into a card, packed with what is known on both sides."""
    return base64.b85encode(deflated(data, known)).decode("ascii")


def unpack(text: str, known: bytes, most: int = MOST_HEADER) -> bytes:
    """Return what `pack` was given.

    Raises
    ------
    ValueError
        The text is none that it makes, or holds more than `most` bytes.
    """
    return inflated(base64.b85decode(text), known, most)


def cutout_header(header: bytes, box: Box) -> bytes:
    """Write the primary header of a part of an image: size and reference pixels changed, other cards kept."""
    gone = ("CHECKSUM", "DATASUM", "PCOUNT", "GCOUNT", "INHERIT")  # of the whole, or of an extension
    cards = [card("SIMPLE", "T"), *(one for one in cards_of(header)[1:] if keyword(one) not in gone)]
    for axis, part in enumerate(reversed(box), start=1):
        cards = [_moved(one, axis, part) for one in cards]
        names = {keyword(one) for one in cards}
        if part.start and f"CRPIX{axis}" not in names and {f"CTYPE{axis}", f"CRVAL{axis}"} & names:
            cards.append(card(f"CRPIX{axis}", repr(float(-part.start))))
    return header_of(cards)


def _moved(one: bytes, axis: int, part: slice) -> bytes:
    name = keyword(one)
    if name == f"NAXIS{axis}":
        value = str(part.stop - part.start)
    elif re.fullmatch(rf"CRPIX{axis}[A-Z]?", name):
        try:
            value = repr(float(text_of(one).upper().replace("D", "E")) - part.start)
        except ValueError:
            return one
    else:
        return one
    _, slash, comment = one[10:].partition(b"/")
    return (card(name, value).rstrip() + (b" /" + comment if slash else b""))[:CARD].ljust(CARD)


def _inside(name: str) -> str | None:
    """Return what a card of the image is called within a table, or None where it cannot stand there."""
    if _AXES.fullmatch(name):
        return "Z" + name
    return _INSIDE.get(name) or (None if STRUCTURE.fullmatch(name) else name)


def _outside(one: bytes) -> bytes:
    name = keyword(one)
    plain = name[1:] if name.startswith("ZNAXIS") else _OUTSIDE.get(name)
    return plain.ljust(8).encode() + one[8:] if plain else one
