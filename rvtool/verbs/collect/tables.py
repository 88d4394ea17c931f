"""Tables in the formats that people and archives write, as one: names, units and columns."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from rvtool.errors import DataError
from rvtool.services.replies import FITS_START
from rvtool.services.votable import VOTABLE, read_votable
from rvtool.verbs.collect.pixels import unpacked

_FIELD = re.compile(rb"<(?:[\w.-]+:)?FIELD\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(name|unit)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_RULE = re.compile(r"[\s|,;]*-[-\s|,;]*")
_NAME_OF_DIGITS = r"^[+-]?(0[0-9]+|[0-9]{19,})$"  # 007, and what no integer holds
UNNAMED = "column_"


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
        body = unpacked(path.read_bytes())
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
    lines = body.decode("utf-8-sig", "replace").splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if not lines:
        raise DataError("it holds nothing but comments.")
    delimiter = max("\t|;,", key=lines[0].count)
    if delimiter not in lines[0]:
        delimiter = "\t"
        if len(lines[0].split()) > 1:
            lines = ["\t".join(line.split()) for line in lines]
    # VizieR's exports have a line of dashes below the names, and mostly the units between
    rule = next((n for n in (1, 2) if len(lines) > n and _RULE.fullmatch(lines[n])), 0)
    units = _cells(lines[1], delimiter) if rule == 2 else []
    names = _each_once(_cells(lines[0], delimiter))
    rows = "\n".join(lines[rule + 1 :]).encode()
    if not rows:
        return Table(pa.table({name: [] for name in names}), {})
    read = csv.read_csv(
        io.BytesIO(rows),
        csv.ReadOptions(column_names=names, use_threads=False),  # with threads it would not tell the row of an error
        csv.ParseOptions(delimiter=delimiter),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    columns = {name: _typed(column) for name, column in zip(names, read.columns, strict=True)}
    # a delimiter at the end of each line makes a column without name and values
    kept = {k: v for k, v in columns.items() if not (k.startswith(UNNAMED) and v.null_count == len(v))}
    return Table(pa.table(kept), dict(zip(names, units, strict=False)))


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(delimiter)]


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
        cell = cell.decode("utf-8", "replace")
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
