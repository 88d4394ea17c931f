"""Published batches of images, laid out as CIFAR-10's: pickles, of which nothing but arrays is ever loaded."""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvtool.errors import DataError
from rvtool.services.archives import members

if TYPE_CHECKING:
    import numpy as np

ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}


@dataclass(frozen=True)
class Published:
    """One image of a batch.

    Attributes
    ----------
    split
        ``"test"`` for those of ``test_batch``, else ``"train"``.
    pixels
        ``(side, side)`` uint8.
    told
        What stands under the further keys that were asked for.
    """

    split: str
    pixels: np.ndarray
    told: tuple[Any, ...]


class _ArraysOnly(pickle.Unpickler):
    """Loads NumPy arrays in lists and dicts; a pickle may ask for any function there is, and none other is given."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(
                f"A batch asks for {module}.{name}, which no image needs; take it from where it was published."
            )
        return getattr(importlib.import_module(module.replace("numpy.core", "numpy._core")), name)


def in_archive(body: bytes, largest: int) -> Iterator[tuple[str, bytes]]:
    """Give the batches of a compressed tar archive by name, in the order of their names.

    Raises
    ------
    DataError
        It is none, is cut off, or holds more than `largest` bytes.
    """
    files = {name.rpartition("/")[2]: data for name, data in members(body, largest)}
    return ((name, files[name]) for name in sorted(files) if "_batch" in name)


def in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give the batches of a folder by name, in the order of their names, each read when it is asked for."""
    return ((path.name, path.read_bytes()) for path in sorted(folder.glob("*_batch*")))


def read_batches(batches: Iterable[tuple[str, bytes]], side_px: int, *keys: str) -> Iterator[Published]:
    """Read the images of batches, one by one.

    Parameters
    ----------
    batches
        Name and bytes of each: ``data_batch_1`` and so on, and ``test_batch``.
    side_px
        Height and width of each image, which may come as a row of pixels.
    keys
        What to read of each image besides ``data``, as in ``filenames``.

    Raises
    ------
    DataError
        There is no batch, one cannot be read, or it holds something else.
    """
    name = ""
    for name, body in batches:
        split = "test" if name.startswith("test") else "train"
        try:
            batch = _ArraysOnly(io.BytesIO(body)).load()
            images = [
                Published(split, _square(pixels, side_px), tuple(told))
                for pixels, *told in zip(*(batch[key] for key in ("data", *keys)), strict=True)
            ]
        except DataError:
            raise
        except Exception as error:  # of broken bytes pickle raises anything
            raise DataError(
                f"The batch {name} cannot be read ({error}); take it from where it was published."
            ) from error
        yield from images
    if not name:
        raise DataError("There is no batch of images (data_batch_1, ..., test_batch); name what was published.")


def _square(pixels: Any, side_px: int) -> np.ndarray:
    import numpy as np

    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.size != side_px**2:
        raise ValueError(f"an image that is not of {side_px}x{side_px} pixels of 8 bits")
    return pixels.reshape(side_px, side_px)


def split_columns(split: str) -> dict[str, Any]:
    """Return what a manifest says of the published split: its name, and the fold that ``--fold 0`` holds out."""
    return {"published_split": split, "fold": 0 if split == "test" else None}


def png(pixels: np.ndarray) -> bytes:
    """Write 8-bit pixels, ``(H, W)`` or ``(H, W, 3)``, as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
