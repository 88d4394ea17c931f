"""What the published archive says of its images: their file names tell class, position, redshift and size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rvtool.errors import DataError
from rvtool.kinds import Target
from rvtool.services.batches import in_archive, read_batches, split_columns

if TYPE_CHECKING:
    import numpy as np

LARGEST = 64 * 2**20  # bytes, three times what the archive holds
SIDE_PX = 150
NAME = re.compile(r"(\d{3})_(\d+\.\d+)([+-]\d+\.\d+)_(\d+\.\d+)_(\d+\.\d+)\.png$")
CLASSES = {"1": "FRI", "2": "FRII"}
CONFIDENCE = {"0": "confident", "1": "uncertain"}


@dataclass(frozen=True)
class Galaxy:
    """One image, ``(150, 150)`` uint8, and what its published file name says."""

    target: Target
    pixels: np.ndarray


def read_archive(body: bytes) -> dict[str, Galaxy]:
    """Read all images, by identifier, in the order of the batches.

    Raises
    ------
    DataError
        It is not MiraBest's archive.
    """
    found: dict[str, Galaxy] = {}
    for image in read_batches(in_archive(body, LARGEST), SIDE_PX, "filenames"):
        galaxy = Galaxy(_target(str(image.told[0]), image.split), image.pixels)
        found[galaxy.target.id] = galaxy
    if not found:
        raise DataError("The archive holds no image; it is MiraBest_basic_batches.tar.gz that is needed.")
    return found


def _target(file: str, published_split: str) -> Target:
    """Read a name such as ``100_208.637+028.243_0.0645_0082.21.png``: code, position, redshift and size.

    The code's first digit is the class, its second the confidence, its third the kind within the class.
    """
    found = NAME.search(file)
    if found is None or found[1][0] not in CLASSES or found[1][1] not in CONFIDENCE:
        raise DataError(f"The archive's {file} is not named as MiraBest's images are.")
    code, ra_deg, dec_deg, redshift, las_arcsec = found.groups()
    columns = {
        "label": CLASSES[code[0]],
        "mirabest_code": int(code),
        "confidence": CONFIDENCE[code[1]],
        "redshift": float(redshift),
        "las_arcsec": float(las_arcsec),
        **split_columns(published_split),
    }
    return Target(found[0].removesuffix(".png"), float(ra_deg), float(dec_deg), columns)
