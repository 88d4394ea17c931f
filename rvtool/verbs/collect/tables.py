"""Tables in the formats that people and archives write, as one: names, units and columns."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rvtool.errors import DataError
from rvtool.services.archives import unpack
from rvtool.services.replies import FITS_START
from rvtool.services.votable import VOTABLE, read_votable

_FIELD = re.compile(rb"<(?:[\w.-]+:)?FIELD\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(name|unit)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_QUOTED = re.compile(r'"[^"]*"')
_NAME_OF_DIGITS = r"^[+-]?(0[0-9]+|[0-9]{19,})$"  # 007, and what no integer holds
_MARKS = {  # of texts in Unicode, at their beginning; that of UTF-32 begins as that of UTF-16 does
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UNNAMED = "column_"
ROWS_AT_ONCE = 10_000  # as Python objects


@dataclass(frozen=True)
class Table:
    """Columns by their names as the file has them; `units` knows those that it tells."""

    data: pa.Table
    units: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """The names of the columns, each once."""
        return list(self.data.column_names)


def read_table(path: Path) -> Table:
    """Read a table: text with commas, tabs, semicolons, bars or blanks, VOTable, ECSV or FITS, each also packed.

    Raises
    ------
    DataError
        The file is missing, empty or damaged, or no table.
    """
    try:
        body = unpack(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name a table of targets.") from None
    except DataError as error:
        raise DataError(f"{path} cannot be unpacked: {error}.") from None
    if not body.strip():
        raise DataError(f"{path} is empty; it should be a table with positions.")
    try:
        if body.startswith(FITS_START):
            table = _astropy(body, "fits")
        elif VOTABLE.search(body, 0, 10_000):
            table = _votable(body)
        elif body.startswith(b"# %ECSV"):
            table = _astropy(body, "ascii.ecsv")
        elif body.lstrip().startswith(b"<"):
            raise DataError("it is a web page or XML, but no VOTable; download the table itself.")
        else:
            table = _text(body)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # astropy and pyarrow raise a dozen kinds for tables that are none
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{path} cannot be read as a table ({reason}); mend it, or save it as CSV.") from error
    if not table.data.num_rows:
        raise DataError(f"{path} has no rows, only the names {', '.join(table.names)}.")
    return table


def _text(body: bytes) -> Table:
    text = _decoded(body)
    if "\0" in text:
        raise DataError("it is no text, or in an encoding that it does not tell; save it as UTF-8.")
    rows = _rows(text)
    names = _each_once([cell.strip() for cell in next(rows)[1]])
    # VizieR's exports have a line of dashes below the names, and mostly the units between
    below = list(itertools.islice(rows, 2))
    rule = next((n for n, (_, row) in enumerate(below, 1) if {"-"} <= set("".join(row)) <= set("- ")), 0)
    units = [cell.strip() for cell in below[0][1]] if rule == 2 else []
    chunks = list(_chunks(itertools.chain(below[rule:], rows), len(names)))
    columns = {name: _typed(pa.chunked_array([c[n] for c in chunks], pa.string())) for n, name in enumerate(names)}
    # a delimiter at the end of each line makes a column without name and values
    kept = {k: v for k, v in columns.items() if not (k.startswith(UNNAMED) and v.null_count == len(v))}
    return Table(pa.table(kept), dict(zip(names, units, strict=False)))


def _decoded(body: bytes) -> str:
    """Read a text in the encoding that its first bytes tell; else in UTF-8, or in Latin-1 if it is none."""
    encoding = next((encoding for mark, encoding in _MARKS.items() if body.startswith(mark)), "utf-8")
    try:
        return body.decode(encoding)
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Split a text into its rows, each with the line that it ends on; cells in quotes may hold anything."""
    first = next((line for line in _lines(text) if not _is_comment(line)), None)
    if first is None:
        raise DataError("it holds nothing but comments.")
    bare = _QUOTED.sub("", first)
    delimiter = max("\t|;,", key=bare.count)
    blanks = delimiter not in bare and len(first.split()) > 1
    if delimiter not in bare:
        delimiter = "\t"
    number, inside = 0, False  # a row, which goes on over line ends in quotes

    def told() -> Iterator[str]:
        nonlocal number, inside
        for number, line in enumerate(_lines(text), 1):  # noqa: B007
            if inside or not _is_comment(line):
                inside = True
                yield "\t".join(line.split()) if blanks else line

    try:
        for row in csv.reader(told(), delimiter=delimiter, skipinitialspace=True, strict=True):
            inside = False
            yield number, row
    except csv.Error as error:
        raise DataError(f"line {number} cannot be read ({error}); mend it.") from error


def _lines(text: str) -> Iterator[str]:
    return (found[0] for found in _LINE.finditer(text))  # str.splitlines ends lines at a dozen other characters too


def _is_comment(line: str) -> bool:
    return line.startswith("#") or not line.strip()


def _chunks(rows: Iterator[tuple[int, list[str]]], width: int) -> Iterator[list[pa.Array]]:
    """Give the columns of so many rows at once."""
    while several := list(itertools.islice(rows, ROWS_AT_ONCE)):
        for number, row in several:
            if len(row) != width:
                raise DataError(
                    f"line {number} has another number of cells ({len(row)}) than there are names ({width}); mend it."
                )
        yield [pa.array(cells, pa.string()) for cells in zip(*(row for _, row in several), strict=True)]


def _each_once(names: Sequence[str]) -> list[str]:
    """Name what has no name, and number what stands twice."""
    unique: list[str] = []
    for place, name in enumerate(names, 1):
        free, number = name or f"{UNNAMED}{place}", 1
        while free in unique:
            number += 1
            free = f"{name}_{number}"
        unique.append(free)
    return unique


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make numbers of a column of words if all are; empty cells say nothing."""
    words = pc.utf8_trim_whitespace(column)
    words = pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words)
    if words.null_count == len(words) or pc.any(pc.match_substring_regex(words, _NAME_OF_DIGITS)).as_py():
        return words
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.cast(pc.replace_substring_regex(words, r"^\+", ""), kind)
        except pa.ArrowInvalid:
            continue
    return words


def _astropy(body: bytes, form: str) -> Table:
    from astropy.table import Table as Read

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that nobody knows, for example
        read = Read.read(io.BytesIO(body), format=form)
    columns = {name: _arrow([_said(cell) for cell in read[name].tolist()]) for name in read.colnames}
    return Table(pa.table(columns), {name: str(read[name].unit or "") for name in read.colnames})


def _said(cell: Any) -> Any:
    if isinstance(cell, bytes):
        cell = _decoded(cell)
    return cell.strip() or None if isinstance(cell, str) else cell


def _votable(body: bytes) -> Table:
    table = read_votable(body)
    if table.status == "ERROR":
        raise DataError(f"the service reported an error instead of rows ({table.message}); ask it again.")
    units: dict[str, str] = {}
    for tag in _FIELD.findall(body):
        said = {key: one or other for key, one, other in _ATTRIBUTE.findall(tag.decode("utf-8", "replace"))}
        units.setdefault(said.get("name", ""), said.get("unit", ""))
    return Table(pa.table({name: _arrow([row[name] for row in table.rows]) for name in table.columns}), units)


def _arrow(cells: list[Any]) -> pa.Array:
    """Make a column; what has no one type becomes text."""
    try:
        return pa.array(cells, from_pandas=True)  # NaN says nothing
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
