"""What is told of files and images that were compressed."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path


@dataclass(frozen=True)
class ImageReport:
    """What became of one image.

    Attributes
    ----------
    sigma, bound, max_error
        In `unit`; `sigma` is NaN where it was not measured, `bound` is 0 where the image is kept exactly.
    note
        Why an image is kept exactly although a bound was given, or ``""``.
    """

    hdu: int
    shape: tuple[int, ...]
    bitpix: int
    unit: str
    sigma: float
    bound: float
    max_error: float
    note: str


@dataclass(frozen=True)
class FileReport:
    """What became of one file: its size on disk before and after, and its images."""

    source: Path
    out: Path
    source_bytes: int
    out_bytes: int
    images: tuple[ImageReport, ...]

    @property
    def ratio(self) -> float:
        """How many times smaller the file has become."""
        return self.source_bytes / self.out_bytes

    @property
    def bits_per_pixel(self) -> float:
        """Bits on disk, headers and all, for each pixel of the images."""
        return 8 * self.out_bytes / sum(prod(image.shape) for image in self.images)
