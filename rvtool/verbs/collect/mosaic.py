"""Numbered mosaics, to judge images by eye, and the list of those that a person sets aside."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rvtool.data.dataset import Dataset, words_of
from rvtool.data.files import writing
from rvtool.data.fits import PICTURE_SUFFIXES, suffix_of
from rvtool.errors import DataError
from rvtool.report.tables import write_csv

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

STAMP_PX, CAPTION_PX, GAP_PX = 150, 32, 6
FONT_PX = 13
BLANK = (52, 78, 130)  # pixels that are not known: no brightness is blue
PAPER, INK, DIM = (18, 18, 18), (255, 255, 255), (170, 170, 170)
PAGE = re.compile(r"mosaic-\d+\.png")
MOST_NAMED = 8
DEFAULT_REASON = "excluded by eye"
HEADINGS = ("number", "id")


# --------------------------------------------------------------------------- drawing


def write_mosaics(dataset: Dataset, out: Path, columns: int = 10, rows: int = 8) -> list[Path]:
    """Draw every image of a dataset, numbered, and list the numbers in ``mosaic/mosaic.csv``.

    An image's number is its row in `dataset`, counted from 1. Rows whose column ``excluded`` gives a reason keep their
    number and are not drawn, so that the numbers of the others stay (see `open_dataset`).

    Parameters
    ----------
    out
        Where to make the folder ``mosaic``; pages of an earlier call are replaced.
    columns, rows
        Images beside and above each other on a page.

    Returns
    -------
    The pages: ``mosaic/mosaic-001.png``, ...
    """
    folder = out / "mosaic"
    labels = dataset.words("label") if "label" in dataset else np.full(len(dataset), "", dtype=object)
    excluded = dataset.words("excluded") if "excluded" in dataset else np.full(len(dataset), None, dtype=object)
    drawn = [row for row in range(len(dataset)) if not excluded[row]]
    ids, paths = words_of(dataset.table["id"]), words_of(dataset.table["path"])
    write_csv(
        folder / "mosaic.csv",
        ("number", "id", "label", "path"),
        ((row + 1, ids[row], labels[row] or "", paths[row]) for row in drawn),
    )
    pages: list[Path] = []
    for start in range(0, len(drawn), columns * rows):
        captions = [
            (row, f"#{row + 1}  {labels[row] or ''}", ids[row]) for row in drawn[start : start + columns * rows]
        ]
        path = folder / f"mosaic-{len(pages) + 1:03d}.png"
        with writing(path) as stream:
            _page(dataset, captions, columns).save(stream, "PNG", compress_level=1)  # half the time of the default
        pages.append(path)
    for old in folder.glob("mosaic-*.png"):
        if PAGE.fullmatch(old.name) and old not in pages:
            old.unlink()
    return pages


def _page(dataset: Dataset, captions: Sequence[tuple[int, str, str]], columns: int) -> Picture:
    """Draw one page of images (row, first line, second line)."""
    from PIL import Image, ImageDraw, ImageFont

    wide, high = STAMP_PX + GAP_PX, STAMP_PX + CAPTION_PX + GAP_PX
    lines = -(-len(captions) // columns)
    page = Image.new("RGB", (min(columns, len(captions)) * wide + GAP_PX, lines * high + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_PX)

    def fitting(text: str) -> str:
        if draw.textlength(text, font) <= STAMP_PX:
            return text
        while text and draw.textlength(text + "...", font) > STAMP_PX:
            text = text[:-1]
        return text + "..."

    for place, (row, title, name) in enumerate(captions):
        x, y = GAP_PX + place % columns * wide, GAP_PX + place // columns * high
        page.paste(_stamp(dataset, row), (x, y))
        for line, text, colour in ((0, title, INK), (1, name, DIM)):
            draw.text((x, y + STAMP_PX + 1 + line * CAPTION_PX // 2), fitting(text), colour, font)
    return page


def _stamp(dataset: Dataset, row: int) -> Picture:
    """Draw one image in a square, the way it stands on the sky; one that cannot be read is blank throughout."""
    from PIL import Image

    from rvtool.report.display import display

    stamp = Image.new("RGB", (STAMP_PX, STAMP_PX), BLANK)
    try:
        image = dataset.image(row)
    except DataError:
        return stamp
    shown = np.nan_to_num(display(image.data))  # (H, W) or (H, W, 3), in 0 .. 1
    colours = shown if shown.ndim == 3 else shown[..., None]
    pixels = np.where(image.mask[..., None], 255 * colours, BLANK).astype(np.uint8)  # (H, W, 3)
    if suffix_of(image.path or "") not in PICTURE_SUFFIXES:
        pixels = pixels[::-1]  # the first row of FITS is the lowest
    picture = Image.fromarray(pixels)
    picture.thumbnail((STAMP_PX, STAMP_PX), Image.Resampling.BOX)
    if max(picture.size) < STAMP_PX:  # few pixels stay to be seen as such
        factor = STAMP_PX / max(picture.size)
        size = (max(1, int(picture.width * factor)), max(1, int(picture.height * factor)))
        picture = picture.resize(size, Image.Resampling.NEAREST)
    stamp.paste(picture, ((STAMP_PX - picture.width) // 2, (STAMP_PX - picture.height) // 2))
    return stamp


# --------------------------------------------------------------------------- setting aside


def read_exclusions(path: Path, ids: Collection[str], out: Path | None = None) -> dict[str, str]:
    """Read which images a person sets aside: one a line, by its number in the mosaic or its id, and perhaps a reason.

    Number and reason stand apart by a comma or a space: ``12,two sources``, ``J1234+56 unclear``. Where ids are numbers
    themselves, ``#12`` is the number of the mosaic. Empty lines and those that begin with ``#`` and no number do not
    count, nor does a heading ``number,reason`` or ``id,reason``.

    Parameters
    ----------
    ids
        Every image that may be named.
    out
        The dataset's folder, whose ``mosaic/mosaic.csv`` says what the numbers mean; where there is none they count
        `ids` from 1.

    Returns
    -------
    The reason for each id.

    Raises
    ------
    DataError
        The list cannot be read, or names images that are not there; all of them are named.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of images to exclude ({error}); check the path.") from error
    numbers = _numbers(out) or {str(number): name for number, name in enumerate(ids, start=1)}
    known = {*ids, *numbers.values()}
    found: dict[str, str] = {}
    unknown, unclear = [], []
    for entry, reason in _entries(lines, {*known, *numbers, *(f"#{number}" for number in numbers)}):
        numbered = numbers.get(entry.removeprefix("#"))
        if entry in known and numbered not in (None, entry):
            unclear.append(entry)
        elif entry in known or numbered is not None:
            found[entry if entry in known else str(numbered)] = reason or DEFAULT_REASON
        else:
            unknown.append(entry)
    if unknown:
        raise DataError(f"{path} excludes images that are not in the dataset: {_some(unknown)}; mend the list.")
    if unclear:
        raise DataError(
            f"{path} has entries that are the number of one image and the id of another: {_some(unclear)};"
            f" write #{unclear[0]} for the number in the mosaic."
        )
    return found


def _numbers(out: Path | None) -> dict[str, str]:
    """Return the ids by their numbers in the mosaic, or nothing where none was drawn."""
    listed = out / "mosaic" / "mosaic.csv" if out else None
    if listed is None or not listed.exists():
        return {}
    with open(listed, encoding="utf-8", newline="") as stream:
        return {row["number"]: row["id"] for row in csv.DictReader(stream)}


def _entries(lines: Sequence[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Cut each line that counts into entry and reason, so that the entry is known if it can be: ids may hold spaces."""
    for number, line in enumerate(lines):
        text = line.strip()
        comment = text.startswith("#") and not text[1:2].isdigit() and text not in known
        if not text or comment:
            continue
        first, *rest = next(csv.reader([text], skipinitialspace=True))
        by_comma = (first.strip(), ",".join(rest).strip())
        word, _, after = re.sub(r"[\s,]+", " ", text, count=1).partition(" ")
        by_space = (word, after)
        entry, reason = next(
            (cut for cut in ((text, ""), by_comma, by_space) if cut[0] in known), by_comma if rest else by_space
        )
        if number > 0 or entry in known or entry.lower() not in HEADINGS:
            yield entry, reason


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
