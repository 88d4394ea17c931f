"""Whether a file was made already, and whether it brings back what it was made from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import zip_longest
from math import inf, nan
from pathlib import Path

import numpy as np

from rvtool.compressed.bounds import ErrorBound, limit_of
from rvtool.compressed.coding import largest_error
from rvtool.compressed.container import is_tiled
from rvtool.compressed.files import plain_units, read_compressed
from rvtool.compressed.headers import read_long_text
from rvtool.compressed.pixels import Pixels
from rvtool.compressed.record import find_record, read_record
from rvtool.compressed.standard import StandardUnit
from rvtool.compressed.stored import StoredUnit, chunks, with_rest
from rvtool.compressed.tiles import whole
from rvtool.data.units import Unit, cards_of, open_units
from rvtool.errors import DataError, RvtoolError

Kept = Sequence[StoredUnit | StandardUnit]
"""The HDUs of a source as a compressed file holds them."""


def was_compressed(out: Path, source: Path, codec_name: str, model_sha256: str, bound: ErrorBound | None) -> bool:
    """Tell whether a file is what compressing a source would give.

    It names the source, the codec and the trained model that this has, holds the source's headers byte for byte and the
    bound that is asked for, and the source has not been written to since. Pixels are not compared: a batch that goes on
    must not read all again.
    """
    try:
        if out.stat().st_mtime_ns < source.stat().st_mtime_ns:
            return False
        with open_units(out) as stored, plain_units(source) as given:
            name, kept = read_compressed(stored, out)
            made_by, limits = _recorded(stored, out)
            units = with_rest(given) if is_tiled(stored) else given
            headers = [(one.header, one.padding) for one in kept] == [(unit.header, unit.padding) for unit in units]
            model = read_long_text(cards_of(stored[0].header), "RVMODEL") if is_tiled(stored) else ""
            same = (name, made_by, model) == (source.name, codec_name, model_sha256)
            return same and headers and _kept_within(limits, units, bound)
    except (RvtoolError, OSError):
        return False


def was_restored(out: Path, kept: Kept, compressed: Path) -> bool:
    """Tell whether a file holds just what a compressed one brings back, all its pixels, and was written after it."""
    try:
        if out.stat().st_mtime_ns < compressed.stat().st_mtime_ns:
            return False
        with open_units(out) as units:
            headers = [unit.header for unit in units] == [one.header for one in kept if one.header]
            if not headers or units[-1].end != sum(map(_length, kept)):
                return False
            tiled = any(isinstance(one, StoredUnit) for one in kept)
            verify_units(kept, with_rest(units) if tiled else units, [0.0] * len(kept), out)
            return True
    except (RvtoolError, OSError):
        return False


def verify(out: Path, source: Path) -> None:
    """Restore a compressed file from the disk, and hold all of it against its source.

    Raises
    ------
    DataError
        A byte of a header or a table differs, or a pixel by more than the bound.
    """
    _forget(out)
    with open_units(out) as stored, plain_units(source) as units:
        kept = read_compressed(stored, out)[1]
        bounds = [limits[0] if limits else 0.0 for limits in _recorded(stored, out)[1]]
        verify_units(kept, with_rest(units) if is_tiled(stored) else units, bounds, out)


def verify_units(kept: Kept, units: Sequence[Unit], bounds: Sequence[float], path: Path) -> None:
    """Hold every HDU of a compressed file, which is at `path`, against the source's.

    Parameters
    ----------
    bounds
        Of each HDU, in the unit of the image.

    Raises
    ------
    DataError
        They differ.
    """
    for number, (one, unit, bound) in enumerate(zip_longest(kept, units, bounds)):
        same = one and unit and (one.header, one.padding) == (unit.header, unit.padding)
        if not same or not _same_data(one, unit, bound / unit.scale):
            raise DataError(f"{path} does not bring back HDU {number} of its source, which is kept; make it again.")


def _same_data(one: StoredUnit | StandardUnit, unit: Unit, bound: float) -> bool:
    if not one.image:
        return b"".join(one.data()) == b"".join(chunks(unit))
    pixels = Pixels.of(unit)
    exact = not bound or pixels.dtype.kind != "f"
    return all(
        largest_error(pixels.read(box), part, exact) <= bound for box, part in one.image.parts(whole(pixels.shape))
    )


def _recorded(stored: Sequence[Unit], path: Path) -> tuple[str, list[tuple[float, float] | None]]:
    """Return the name of the codec, and for each HDU bound and noise, unit of the image, None for what is no image."""
    if is_tiled(stored):
        facts = json.loads(read_long_text(cards_of(stored[0].header), "RVRECORD"))
        limits = [
            (inf if one["bound"] is None else one["bound"], nan if one["sigma"] is None else one["sigma"])
            if "bound" in one
            else None
            for one in facts
        ]
        return stored[0].values["RVCODEC"], limits
    record = find_record(stored)
    assert record  # or the file would not have been read
    rows = read_record(record, path)[0]
    return record.values.get("RVCODEC", ""), [(row.bound, row.sigma) if row.header else None for row in rows]


def _kept_within(limits: Sequence[tuple[float, float] | None], units: Sequence[Unit], asked: ErrorBound | None) -> bool:
    """Tell whether the bounds that were kept are those that are asked for."""
    for one, unit in zip(limits, units, strict=True):
        if one is None:
            continue
        bound, sigma = one
        if asked is None or unit.dtype.kind != "f":
            wanted = 0.0
        elif bound == 0 and np.isnan(sigma):  # made by --lossless, unless there was nothing to measure
            seen = np.memmap(unit.file, unit.dtype, "r", unit.data_start, unit.shape)
            wanted = limit_of(seen, unit.scale, asked)[0]
        elif bound == 0:  # the bound was finer than the type resolves, or there is no noise
            wanted = 0.0
        else:
            wanted = asked.value * sigma if asked.in_sigma else asked.value
        if bound != wanted:
            return False
    return True


def _length(one: StoredUnit | StandardUnit) -> int:
    data = one.image.nbytes if one.image else sum(map(len, one.data()))
    return len(one.header) + data + len(one.padding)


def _forget(path: Path) -> None:
    """Drop a file from the system's memory, so that what is read next comes from the disk."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
