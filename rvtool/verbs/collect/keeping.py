"""What is done with an image that came: it is validated, written, and in a pair brought onto one grid."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rvtool.data.files import write_bytes
from rvtool.errors import DataError, WriteError
from rvtool.kinds import Found, Reply, Target
from rvtool.verbs.collect.journal import ALIGNED
from rvtool.verbs.collect.provenance import provenance
from rvtool.verbs.collect.services import Service, origin_of
from rvtool.verbs.collect.validate import Expected, check

Row = dict[str, Any]


@dataclass
class Wanted:
    """A target on its way.

    Attributes
    ----------
    missing
        The sides that are still to be asked for; with several, each is asked for once the one before is there.
    there
        The rows of the sides that are.
    factor
        How many times the settings' field it is asked for.
    """

    number: int
    stem: str
    target: Target
    missing: deque[str]
    there: dict[str, Row] = field(default_factory=dict)
    factor: int = 1


@dataclass(frozen=True)
class Kept:
    """What came of a good reply.

    Attributes
    ----------
    rows
        What the journal shall have, by side; empty where nothing was kept.
    larger
        The source is larger than the cutout.
    aside
        Why the target is set aside, though its images are good.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    larger: bool = False
    aside: str = ""


class Keeper:
    """Validates images and writes them into a dataset's folder; in threads."""

    def __init__(self, out: Path, sides: Mapping[str, Service], settings: Any) -> None:
        self.out, self.sides, self.settings = out, sides, settings

    def keep(self, wanted: Wanted, side: str, service: Service, found: Found, reply: Reply) -> Kept:
        """Keep one image of a target.

        Raises
        ------
        DataError
            It is not what was asked for.
        WriteError
            It cannot be written.
        """
        target, info = wanted.target, service.info
        local = origin_of(reply.request.url) == "file:"
        expected = Expected(
            ra_deg=target.ra_deg,
            dec_deg=target.dec_deg,
            field_arcmin=info.field_arcmin,
            pixel_arcsec=info.pixel_arcsec,
            unit=info.unit,
            las_arcsec=_number(target.columns.get("las_arcsec")),
            strict=not local,
            max_blank=self.settings.max_blank,
        )
        checked = check(found.body, found.suffix, expected)
        decides = side == next(iter(self.sides))  # the field of a pair is its first image's
        if checked.larger and decides and not local and self.settings.larger != "keep":
            return Kept(larger=True)
        seen = asdict(checked)
        if found.pair is not None:
            check(found.pair.body, found.pair.suffix, Expected(strict=False))
            seen["pair"] = self._write("targets", wanted.stem, found.pair.suffix, found.pair.body)
        folder = f"originals/{service.name}" if len(self.sides) > 1 else "images"
        row = self._write(folder, wanted.stem, found.suffix, found.body)
        row |= {"seen": seen, "pixels_sha256": checked.pixels_sha256}
        row["columns"] = found.columns | ({"field_factor": wanted.factor} if wanted.factor > 1 else {})
        row["provenance"] = {"source": service.name} if local else provenance(service, reply)
        if len(self.sides) == 1 or len(wanted.missing) > 1:
            return Kept({side: row})
        try:
            return Kept({side: row, ALIGNED: self._align(wanted, {**wanted.there, side: row})})
        except WriteError:
            raise
        except DataError as error:
            return Kept({side: row}, aside=str(error))

    def _align(self, wanted: Wanted, rows: Mapping[str, Row]) -> Row:
        """Bring a pair onto one grid, as two further files."""
        from rvtool.verbs.collect.pairs import align, to_fits

        target = wanted.target
        first, second = rows["image"], rows["target"]
        pair = align(
            self.out / first["path"],
            self.out / second["path"],
            place=None if target.ra_deg is None or target.dec_deg is None else (target.ra_deg, target.dec_deg),
            pixel_arcsec=self.settings.grid_arcsec,
            infos=(self.sides["image"].info, self.sides["target"].info),
            max_blank=self.settings.max_blank,
        )
        image, other = (
            self._write(folder, wanted.stem, ".fits", to_fits(made))
            for folder, made in zip(("images", "targets"), pair, strict=True)
        )
        _, height, width = pair[0].data.shape
        seen = {"planes": [0], "pair": other, "ra_deg": None, "dec_deg": None, "height": height, "width": width}
        return {**image, "seen": seen, "pixels_sha256": first["pixels_sha256"], "columns": {}, "provenance": {}}

    def _write(self, folder: str, stem: str, suffix: str, body: bytes) -> Row:
        path = f"{folder}/{stem}{suffix}"
        write_bytes(self.out / path, body)
        return {"path": path, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
