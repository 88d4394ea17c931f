"""VOTables, as VizieR, SIMBAD and every service of the Virtual Observatory answer."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rvtool.errors import DataError
from rvtool.kinds import Absent, Fatal, Reply, Retry
from rvtool.services.replies import refusal, words

if TYPE_CHECKING:
    import numpy as np
    from astropy.io.votable.tree import Info, Resource, TableElement, VOTableFile

# A declaration could define entities that grow without end, and the parser follows a stream's link to files and hosts.
# UTF-16 would hide both from the pattern, but not its NULs.
UNSAFE = re.compile(
    rb"""<!DOCTYPE|<!ENTITY|\0|<(?:[\w.-]+:)?STREAM(?:[^>"']|"[^"]*"|'[^']*')*?\shref\s*=""", re.IGNORECASE
)
VOTABLE = re.compile(rb"<(?:[\w.-]+:)?VOTABLE\b", re.IGNORECASE)


@dataclass(frozen=True)
class Votable:
    """What a VOTable says.

    Attributes
    ----------
    status
        ``"OK"``, ``"ERROR"`` or ``"OVERFLOW"`` (the service holds more rows than it sent).
    message
        What the service says of it.
    rows
        Those of every table, one after the other: column name to value, None where a cell is empty or no number.
    columns
        The names of all columns, in order.
    """

    status: str
    message: str
    rows: list[dict[str, Any]]
    columns: tuple[str, ...]


def read_votable(body: bytes) -> Votable:
    """Read a VOTable.

    Raises
    ------
    DataError
        The bytes are none, or declare entities or link to further files, which no service needs.
    """
    if not VOTABLE.search(body, 0, 10_000):
        raise DataError("The reply is no VOTable; try again later.")
    if UNSAFE.search(body):
        raise DataError("The VOTable declares entities or links to other files, which is refused; ask another service.")
    from astropy.io.votable import parse

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hardly any service keeps the standard to the letter
            document = parse(io.BytesIO(body), verify="ignore")
    except Exception as error:  # of a broken document astropy raises anything
        raise DataError(f"The VOTable cannot be read ({str(error).splitlines()[0][:160]}); try again later.") from error
    status, message = _status(document)
    tables = [(t, [field.name for field in t.fields]) for t in document.iter_tables()]
    rows = [row for table, names in tables for row in _rows(table, names)]
    return Votable(status, message, rows, tuple(dict.fromkeys(name for _, names in tables for name in names)))


def catalogue_of(reply: Reply) -> Votable | Absent | Retry | Fatal:
    """Read a catalogue service's reply, of which not every one is a table, and not every table an answer."""
    if refused := refusal(reply):
        return refused
    try:
        table = read_votable(reply.body)
    except DataError:
        return Retry(f"no VOTable came, but: {words(reply.body) or 'nothing'}")
    return Retry(table.message or "the service could not answer") if table.status == "ERROR" else table


def _status(document: VOTableFile) -> tuple[str, str]:
    """Return the worst status that any INFO tells: an overflow is told after the rows, an error anywhere."""
    said = {"ERROR": "", "OVERFLOW": ""}
    found = "OK"
    for info in _infos(document):
        text = (info.content or "").strip()
        value = str(info.value or "").strip()
        if info.name == "QUERY_STATUS" and value.upper() in said:
            found = "ERROR" if "ERROR" in (found, value.upper()) else "OVERFLOW"
            said[value.upper()] = said[value.upper()] or text
        elif "error" in (str(info.ID).lower(), str(info.name).lower()):  # VizieR, and simple cone search
            found = "ERROR"
            said["ERROR"] = value or text
    return found, said.get(found, "")


def _infos(part: VOTableFile | Resource | TableElement) -> Iterator[Info]:
    yield from part.infos
    for inner in (*getattr(part, "resources", ()), *getattr(part, "tables", ())):
        yield from _infos(inner)


def _rows(table: TableElement, columns: list[str]) -> list[dict[str, Any]]:
    cells = [_cells(table.array.data[name], table.array.mask[name]) for name in table.array.dtype.names]
    return [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]


def _cells(values: np.ndarray, mask: np.ndarray) -> list[Any]:
    """Return a column as plain Python, None where a cell says nothing."""
    if values.dtype == "float32":
        values = values.astype(str).astype(float)  # 0.15 rather than 0.15000000596046448
    cells = zip(values.tolist(), mask.tolist(), strict=True)
    return [None if empty is True else _plain(value) for value, empty in cells]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip() or None
    return None if isinstance(value, float) and math.isnan(value) else value
