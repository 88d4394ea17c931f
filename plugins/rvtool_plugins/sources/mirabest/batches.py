"""The published archive: pickles of images, labels and file names, of which nothing but these is ever loaded."""

from __future__ import annotations

import importlib
import io
import pickle
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rvtool.errors import DataError
from rvtool.kinds import Target
from rvtool.services.archives import members

if TYPE_CHECKING:
    import numpy as np

LARGEST = 64 * 2**20  # bytes, three times what the archive holds
NAME = re.compile(r"(\d{3})_(\d+\.\d+)([+-]\d+\.\d+)_(\d+\.\d+)_(\d+\.\d+)\.png$")
CLASSES = {"1": "FRI", "2": "FRII"}
CONFIDENCE = {"0": "confident", "1": "uncertain"}
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}


@dataclass(frozen=True)
class Galaxy:
    """One image, and what its published file name says."""

    target: Target
    pixels: np.ndarray


class _ArraysOnly(pickle.Unpickler):
    """Loads NumPy arrays in lists and dicts; a pickle may ask for any function there is, and none other is given."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(
                f"The archive asks for {module}.{name}, which no image needs: it is not MiraBest's; "
                "take it from where it was published."
            )
        return getattr(importlib.import_module(module.replace("numpy.core", "numpy._core")), name)


def read_archive(body: bytes) -> dict[str, Galaxy]:
    """Read all images, by identifier, in the order of the batches.

    Raises
    ------
    DataError
        It is not MiraBest's archive.
    """
    batches = {name.rpartition("/")[2]: data for name, data in members(body, LARGEST)}
    found: dict[str, Galaxy] = {}
    for name in sorted(batches):
        if "_batch" not in name:
            continue
        try:
            batch = _ArraysOnly(io.BytesIO(batches[name])).load()
            for file, pixels in zip(batch["filenames"], batch["data"], strict=True):
                galaxy = Galaxy(_target(str(file), "test" if name == "test_batch" else "train"), pixels)
                found[galaxy.target.id] = galaxy
        except DataError:
            raise
        except Exception as error:  # of broken bytes pickle raises anything
            raise DataError(f"The archive's {name} cannot be read ({error}); fetch it again.") from error
    if not found:
        raise DataError("The archive holds no batch of images; it is MiraBest_basic_batches.tar.gz that is needed.")
    return found


def _target(file: str, published_split: str) -> Target:
    """Read a name such as ``100_208.637+028.243_0.0645_0082.21.png``: code, position, redshift and size.

    The code's first digit is the class, its second the confidence, its third the kind within the class.
    """
    found = NAME.search(file)
    if found is None:
        raise DataError(f"The archive's {file} is not named as MiraBest's images are.")
    code, ra_deg, dec_deg, redshift, las_arcsec = found.groups()
    columns = {
        "label": CLASSES[code[0]],
        "mirabest_code": int(code),
        "confidence": CONFIDENCE[code[1]],
        "redshift": float(redshift),
        "las_arcsec": float(las_arcsec),
        "published_split": published_split,
    }
    return Target(found[0].removesuffix(".png"), float(ra_deg), float(dec_deg), columns)
