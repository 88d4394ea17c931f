"""Reads the table of what to fetch, as people and archives write it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rvtool.data.folder import POSITION_NAMES
from rvtool.errors import DataError
from rvtool.kinds import Target
from rvtool.services import positions
from rvtool.verbs.collect.provenance import PROVENANCE
from rvtool.verbs.collect.tables import Table, read_table

if TYPE_CHECKING:
    import pyarrow as pa

# names of columns as `_split_name` writes them, the most telling first
ID_NAMES = (
    "id", "name", "main_id", "designation", "source", "source_id", "source_name", "objid", "object_id", "object",
    "iau_name", "jname", "psrj", "target_name",
)  # fmt: skip
LABEL_NAMES = ("label", "class", "object_type", "morphology", "type", "otype", "morph")
EQUINOXES = ("j2000", "j2000.0", "2000", "2000.0", "icrs", "fk5")  # of the positions that are understood
PLACE_NAMES = ("coord", "coords", "coordinates", "position", "pos", "skycoord")
# what the manifest says of every image itself
RESERVED = frozenset(
    {"id", "path", "plane", "split", "group", "sha256", "ra_deg", "dec_deg"}
    | {"target_path", "target_plane", "target_sha256", "pixels_sha256", "excluded", "field_factor"}
    | set(PROVENANCE)
)
ROWS_AT_ONCE = 10_000  # of a table, as Python objects
LONGEST_ID, LONGEST_LABEL = 200, 100  # characters: names of files and of folders, and of the columns of reports
SHOWN = 60  # characters of a cell that is wrong

_UNIT_IN_NAME = re.compile(
    r"^(.+?)[\s_]*(?:[(\[]\s*(.*?)\s*[)\]]|(?:_|,\s*)(deg|degrees?|h|hr|hours?|hms|dms|rad))$", re.IGNORECASE
)


def read_targets(path: Path, report: Callable[[str], None] | None = None) -> Iterator[Target]:
    """Read targets from a table: CSV, TSV, VizieR's exports, VOTable, ECSV or FITS, each also as gzip.

    Positions are found by their usual names, in one column or two, or in names such as J123049.4+122328. Plain numbers
    are degrees, and sexagesimal right ascensions hours, unless the column's unit or name says otherwise. A table
    without names gets them from the positions. A name that stands twice is numbered from 2; a row that stands twice is
    left out.

    Parameters
    ----------
    report
        Is told in a sentence, at the end, what was left out.

    Raises
    ------
    DataError
        The file is missing, empty or no such table; it has no column of positions; or a position cannot be read or is
        outside the sky. Everything is checked before the first target is given.
    """
    table = read_table(path)
    names = [_split_name(name)[0] for name in table.names]
    ra_deg, dec_deg, used = _positions(table, names, path)
    id_column = _first(names, ID_NAMES, used)
    label_column = _first(names, LABEL_NAMES, {*used, id_column})
    for column, longest in ((id_column, LONGEST_ID), (label_column, LONGEST_LABEL)):
        if column is not None:
            _check_length(table, column, longest, path)
    taken = {*used, id_column, label_column}
    chosen = [i for i in (id_column, label_column) if i is not None]
    further = [i for i in range(len(names)) if i not in taken]
    keys = ["label"] * (label_column is not None) + _manifest_names([table.names[i] for i in further], label_column)
    rows = _rows(table.data.select([*chosen, *further]))
    return _targets(rows, zip(ra_deg.tolist(), dec_deg.tolist(), strict=True), keys, id_column is not None, report)


def _targets(
    rows: Iterator[tuple[Any, ...]],
    places: Iterator[tuple[float, float]],
    keys: list[str],
    named: bool,
    report: Callable[[str], None] | None,
) -> Iterator[Target]:
    seen: dict[str, set[bytes]] = {}  # digests of what was said under each name
    taken: set[str] = set()
    again = 0
    for (ra, dec), row in zip(places, rows, strict=True):
        name, cells = (row[0], row[1:]) if named else (None, row)
        name = str(name) if name is not None else positions.j_name(ra, dec)
        columns = dict(zip(keys, cells, strict=True))
        if columns.get("label") is not None:
            columns["label"] = str(columns["label"])
        said = hashlib.blake2b(repr((ra, dec, *cells)).encode(), digest_size=16).digest()
        before = seen.setdefault(name, set())
        if said in before:
            again += 1
            continue
        before.add(said)
        number, free = len(before), name if len(before) == 1 else f"{name}-{len(before)}"
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free)
        yield Target(free, ra, dec, columns)
    if again and report is not None:
        report(f"{again} row{'s' * (again > 1)} that stood there already {'were' if again > 1 else 'was'} left out.")


def _rows(data: pa.Table) -> Iterator[tuple[Any, ...]]:
    if not data.num_columns:
        return repeat((), data.num_rows)
    batches = data.to_batches(ROWS_AT_ONCE)
    return (row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _split_name(name: str) -> tuple[str, str]:
    """Return a column's name in lower case, without its unit, and the unit (``RA (hours)``, ``ra_deg``)."""
    found = _UNIT_IN_NAME.match(name.strip())
    bare, unit = (found[1], found[2] or found[3]) if found else (name.strip(), "")
    unit = "" if unit.lower() in EQUINOXES else unit
    return re.sub(r"[\s.-]+", "_", bare).lower(), unit.lower()


def _first(names: Sequence[str], wanted: Sequence[str], taken: Container[int | None]) -> int | None:
    return next((i for known in wanted for i, name in enumerate(names) if name == known and i not in taken), None)


def _manifest_names(names: Sequence[str], label_column: int | None) -> list[str]:
    """Keep names as they are, but for those that the manifest gives itself."""
    reserved = RESERVED | ({"label"} if label_column is not None else set())
    taken = set(names)
    given = []
    for name in names:
        free = name
        while free in reserved or (free != name and free in taken):
            free += "_given"
        taken.add(free)
        given.append(free)
    return given


def _positions(table: Table, names: Sequence[str], path: Path) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Return the positions, degrees, and the numbers of the columns that told them."""
    # of several the one in degrees
    order = sorted(range(len(names)), key=lambda i: not _unit(table, i).startswith("deg"))
    for ra_name, dec_name in POSITION_NAMES:
        ra_column = next((i for i in order if names[i] == ra_name), None)
        dec_column = next((i for i in order if names[i] == dec_name), None)
        if ra_column is not None and dec_column is not None:
            ra = _degrees(table, ra_column, path, hours=True)
            dec = _degrees(table, dec_column, path, hours=False)
            break
    else:
        ra_column = dec_column = _place_column(table, names, path)
        ra, dec = _places(table, ra_column, path)
    for what, values, column, low, high in (
        ("right ascension", ra, ra_column, 0, 360),
        ("declination", dec, dec_column, -90, 90),
    ):
        wrong = np.flatnonzero(~((values >= low) & (values <= high)))
        if wrong.size:
            raise _wrong(path, table, column, int(wrong[0]), f"{what} must be within {low} and {high} degrees")
    return ra % 360, dec, (ra_column, dec_column)


def _place_column(table: Table, names: Sequence[str], path: Path) -> int:
    """Find the column that has whole positions: by its name, or because it begins with a name like J123049+122328."""
    column = _first(names, PLACE_NAMES, ())
    if column is None:
        firsts = [table.data[i][0].as_py() for i in range(len(names))]
        column = next((i for i, cell in enumerate(firsts) if isinstance(cell, str) and positions.from_name(cell)), None)
    if column is None:
        known = ", ".join(f"{ra}/{dec}" for ra, dec in POSITION_NAMES)
        raise DataError(
            f"{path} has no columns of positions; it has {', '.join(table.names)}, and could have {known}, "
            f"or one of {', '.join(PLACE_NAMES)}."
        )
    return column


def _places(table: Table, column: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    found = np.empty((table.data.num_rows, 2))
    for row, cell in enumerate(table.data[column].to_pylist()):
        try:
            place = positions.parse(str(cell)) or positions.from_name(str(cell))
        except ValueError as error:
            raise _wrong(path, table, column, row, str(error)) from None
        if place is None:
            raise _wrong(path, table, column, row, "it cannot be read as a position")
        found[row] = place
    return found[:, 0], found[:, 1]


def _degrees(table: Table, column: int, path: Path, *, hours: bool) -> np.ndarray:
    """Read one column of a position; `hours` says that sexagesimal numbers are hours unless the unit is degrees."""
    import pyarrow as pa

    unit = _unit(table, column)
    if unit and unit[0] not in "dh°" and not unit.startswith("rad"):
        raise DataError(
            f"{path} has '{table.names[column]}' in '{unit}'; positions are in degrees or hours, J2000 or ICRS."
        )
    factor = 15.0 if unit.startswith("h") else math.degrees(1) if unit.startswith("rad") else 1.0
    cells = table.data[column]
    if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type):
        values = cells.cast(pa.float64()).to_numpy()
    else:
        hourly = 15.0 if unit.startswith("h") or (hours and not unit.startswith("deg")) else 1.0
        texts = map(str, cells.to_pylist())
        values = np.array([_angle(text, factor, hourly) for text in texts])
        factor = 1.0
    unknown = np.flatnonzero(~np.isfinite(values))
    if unknown.size:
        raise _wrong(path, table, column, int(unknown[0]), "it cannot be read as a position")
    return values * factor


def _angle(text: str, factor: float, sexagesimal_factor: float) -> float:
    """Read degrees, or sexagesimal numbers; NaN where the text is neither."""
    with suppress(ValueError):
        return factor * float(text)
    letters = text.lower()
    told = 15.0 if "h" in letters else 1.0 if "d" in letters or "°" in letters else sexagesimal_factor
    with suppress(ValueError):
        return told * positions.angle(text)
    return math.nan


def _unit(table: Table, column: int) -> str:
    name = table.names[column]
    return (table.units.get(name) or _split_name(name)[1]).lower()


def _check_length(table: Table, column: int, longest: int, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = table.data[column]
    if pa.types.is_string(cells.type):
        long = np.flatnonzero(pc.fill_null(pc.greater(pc.utf8_length(cells), longest), False))
        if long.size:
            raise _wrong(path, table, column, int(long[0]), f"it has more than {longest} characters, shorten it")


def _wrong(path: Path, table: Table, column: int, row: int, why: str) -> DataError:
    cell = table.data[column][row].as_py()
    text = str(cell)
    shown = "nothing" if cell is None else f"'{text if len(text) <= SHOWN else text[: SHOWN - 3] + '...'}'"
    return DataError(f"{path}, row {row + 1}: {shown} in column '{table.names[column]}'; {why}.")
