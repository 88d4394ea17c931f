"""Which targets a survey has looked at, and which of them are the same thing on the sky."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rvtool.data.splits import sky_groups
from rvtool.errors import DataError
from rvtool.kinds import Box
from rvtool.services.replies import FITS_START

if TYPE_CHECKING:
    from mocpy import MOC


def read_moc(body: bytes) -> MOC:
    """Read a coverage map (MOC), FITS or JSON.

    Raises
    ------
    DataError
        The bytes are none.
    """
    from mocpy import MOC

    try:
        if body.startswith(FITS_START):
            with tempfile.TemporaryDirectory() as folder:  # mocpy opens files only
                file = Path(folder) / "moc.fits"
                file.write_bytes(body)
                moc = MOC.load(str(file), "fits")
        else:
            moc = MOC.from_json(json.loads(body))
        if moc.empty():
            raise ValueError("it covers nothing")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of mocpy's Rust is no Exception
        reason = (str(error) or type(error).__name__).splitlines()[0][:160]
        raise DataError(f"The coverage map is neither a FITS nor a JSON MOC ({reason}); try again later.") from error
    return moc


def covered(ra_deg: np.ndarray, dec_deg: np.ndarray, boxes: Sequence[Box] = (), moc: MOC | None = None) -> np.ndarray:
    """Tell which positions a survey has looked at.

    A MOC is exact and counts alone where there is one; else a position is covered by any of the boxes; without either
    everything is. A position that is not known (NaN) passes.

    Parameters
    ----------
    ra_deg, dec_deg
        ``(N,)``, degrees ICRS.

    Returns
    -------
    ``(N,)`` bool.
    """
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    unknown = ~(np.isfinite(ra) & np.isfinite(dec))
    if moc is not None:
        from astropy import units as u

        inside = unknown.copy()
        inside[~unknown] = moc.contains_lonlat(ra[~unknown] * u.deg, dec[~unknown] * u.deg)
        return inside
    if not boxes:
        return np.ones(len(ra), bool)
    inside = unknown
    for box in boxes:
        # a box of more than a turn is the whole circle; otherwise count from its western edge, so that it may wrap
        across = (ra - box.ra_min) % 360 <= (box.ra_max - box.ra_min) % 360
        whole = box.ra_max - box.ra_min >= 360
        inside = inside | ((across | whole) & (dec >= box.dec_min) & (dec <= box.dec_max))
    return inside


@dataclass(frozen=True)
class Duplicates:
    """Which rows to keep, and what became of the others.

    Attributes
    ----------
    keep
        ``(N,)`` bool.
    duplicate_of
        ``(N,)`` int: for a row that was dropped, the row that is kept for it; -1 for those kept, or set aside together.
    conflicts
        ``(K, 2)`` int: rows of one place with different labels, the first with a label leading.
    """

    keep: np.ndarray
    duplicate_of: np.ndarray
    conflicts: np.ndarray


def deduplicate(
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    labels: Sequence[str | None],
    radius_arcsec: float,
) -> Duplicates:
    """Keep one row of each place.

    Rows that are linked by separations below the radius (friends of friends) are one place. It keeps its first row with
    a label, or its first. Where others have another label, they are conflicts, and the whole place is set aside. A row
    without a position (NaN) stays.

    Parameters
    ----------
    ra_deg, dec_deg
        ``(N,)``, degrees.
    labels
        ``(N,)``; None or empty where none is known.
    """
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    rows = np.arange(len(ra))
    placed = np.isfinite(ra) & np.isfinite(dec)
    group = np.empty(len(ra), np.int64)
    group[placed] = sky_groups(ra[placed], dec[placed], radius_arcsec / 60)
    group[~placed] = len(ra) + rows[~placed]
    numbers = {"": 0}  # an array of the labels themselves would give each the room of the longest
    label = np.array([numbers.setdefault(label or "", len(numbers)) for label in labels], int)

    order = np.lexsort((rows, label == 0, group))
    _, first, of_group = np.unique(group[order], return_index=True, return_inverse=True)
    leader = np.empty(len(ra), np.int64)
    leader[order] = order[first][of_group]

    conflict = (label != 0) & (label != label[leader])
    undecided = np.isin(leader, leader[conflict])
    keep = (leader == rows) & ~undecided
    duplicate_of = np.where(keep | undecided, -1, leader)
    return Duplicates(keep, duplicate_of, np.stack([leader[conflict], rows[conflict]], axis=1))
