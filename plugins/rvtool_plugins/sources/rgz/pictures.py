"""What the published batches say of each image, and which of them the settings leave in."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rvtool.errors import DataError
from rvtool.kinds import Target
from rvtool.services.batches import read_batches, split_columns
from rvtool.services.positions import from_name
from rvtool_plugins.sources.rgz import RgzConfig

if TYPE_CHECKING:
    import numpy as np

SIDE_PX = 150


@dataclass(frozen=True)
class Picture:
    """One image: its target, and its pixels packed, for 108,000 of them take 2.4 GB as they are."""

    target: Target
    packed: bytes

    @property
    def pixels(self) -> np.ndarray:
        """``(150, 150)`` uint8."""
        import numpy as np

        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(SIDE_PX, SIDE_PX)


def read_pictures(batches: Iterable[tuple[str, bytes]], config: RgzConfig) -> dict[str, Picture]:
    """Read the images that the settings leave in, by identifier, in the order of the batches.

    The identifier is the source's name in Radio Galaxy Zoo (``RGZJ102040.8+314105``), which tells its position too;
    where a name stands again it is numbered from 2. Of duplicates the training batches' come first, so none is in both
    parts of the published split.

    Raises
    ------
    DataError
        There are no batches of Radio Galaxy Zoo, or nothing is left.
    """
    found: dict[str, Picture] = {}
    seen: set[bytes] = set()
    for image in read_batches(batches, SIDE_PX, "src_ids", "mb_flag", "LAS"):
        name, flag, size = image.told
        try:
            las_arcsec, in_mirabest = float(size), bool(int(flag))
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"The batches say of {name} what is no size or no flag ({error}).") from error
        if (config.without_mirabest and in_mirabest) or las_arcsec < config.least_las_arcsec:
            continue
        raw = image.pixels.tobytes()
        if config.drop_duplicates:
            digest = hashlib.blake2b(raw, digest_size=16).digest()
            if digest in seen:
                continue
            seen.add(digest)
        ra_deg, dec_deg = from_name(str(name)) or (None, None)
        columns = {"las_arcsec": las_arcsec, "in_mirabest": in_mirabest, **split_columns(image.split)}
        target = Target(_free(str(name), found), ra_deg, dec_deg, columns)
        found[target.id] = Picture(target, zlib.compress(raw, 1))
    if not found:
        raise DataError("No image is left; ask for less with --least-las-arcsec and --without-mirabest.")
    return found


def _free(name: str, taken: dict[str, Picture]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
