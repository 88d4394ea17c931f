"""Judges a codec on an image: size on disk, speed, error, and what it does to what lies in the noise.

A codec is ranked only where it passes the gate: every pixel within the bound after the cast to the stored type, blank
pixels and header as they were, the stacked flux of faint sources 1 +- 0.02, and no more noise than the quantiser's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from rvtool.compressed.bounds import ErrorBound
from rvtool.compressed.coder import Coder, median_s
from rvtool.compressed.files import SUFFIX, compress_file, decompress_file, plain_units
from rvtool.data.fits import read_image
from rvtool.data.noise import noise_sigma
from rvtool.data.units import Unit, open_units
from rvtool.errors import DataError, RvtoolError
from rvtool.report import faint
from rvtool.report.faint import ENOUGH, Estimate
from rvtool.runs.run import is_run
from rvtool.verbs.compare_codecs import LEARNED

STACK_TOLERANCE = 0.02
BEAM_PX = 4.0  # FWHM, where the header does not tell
NARROWEST_PX = 2.0


@dataclass(frozen=True)
class Subject:
    """An image to judge on: the first of its file.

    Attributes
    ----------
    pixels : (..., H, W)
        As they are stored, in native byte order.
    headers
        Of all HDUs, as bytes.
    scale
        The unit of the stored numbers in the unit of the image.
    sigma
        The noise, in the unit of the stored pixels; 0 where there is none to measure.
    """

    path: Path
    pixels: np.ndarray
    headers: tuple[bytes, ...]
    scale: float
    sigma: float
    fwhm_px: float

    @property
    def plane(self) -> np.ndarray:
        """``(H, W)``: the image, or the plane in the middle of a cube."""
        planes = self.pixels.reshape(-1, *self.pixels.shape[-2:])
        return np.ascontiguousarray(planes[len(planes) // 2])


@dataclass(frozen=True)
class Verdict:
    """What was found of a codec at one bound on one image.

    Attributes
    ----------
    asked
        The bound as it was asked for, ``"0.25sigma"`` or ``"lossless"``.
    bound, sigma
        In the unit of the image; `bound` is 0 where the pixels are kept exactly.
    bytes, payload_bytes
        Of the whole file on disk; without headers, tables and padding.
    encode_mb_s, decode_mb_s
        Million bytes of pixels a second, one thread.
    error_in_bounds
        Largest error of a pixel over the bound; 0 where every pixel is exact.
    noise_growth, permitted_growth, stack, flux, position_px
        See `rvtool.report.faint`; None where the image does not tell, or every pixel is exact.
    failures
        What of the gate it fails; empty where it passes.
    """

    image: str
    codec: str
    asked: str
    pixels: int
    bound: float = 0.0
    sigma: float = 0.0
    source_bytes: int = 0
    bytes: int = 0
    payload_bytes: int = 0
    encode_mb_s: float = 0.0
    decode_mb_s: float = 0.0
    error_in_bounds: float = 0.0
    noise_growth: float | None = None
    permitted_growth: float | None = None
    stack: Estimate | None = None
    flux: Estimate | None = None
    position_px: Estimate | None = None
    failures: tuple[str, ...] = field(default=())

    @property
    def bits_per_pixel(self) -> float:
        """All bytes on disk."""
        return 8 * self.bytes / self.pixels

    @property
    def payload_bits_per_pixel(self) -> float:
        """The coded pixels alone."""
        return 8 * self.payload_bytes / self.pixels

    @property
    def ratio(self) -> float:
        """How many times smaller the file has become; 0 where there is none."""
        return self.source_bytes / self.bytes if self.bytes else 0.0


def subject_of(path: Path) -> Subject:
    """Read an image to judge on.

    Raises
    ------
    DataError
        The file cannot be read, or holds no image.
    """
    with plain_units(path) as units:
        unit = _first_image(units)
        pixels, headers, scale = unit.array(), tuple(one.header for one in units), unit.scale
    sigma = noise_sigma(pixels) if pixels.dtype.kind == "f" and np.isfinite(pixels).any() else 0.0
    return Subject(path, pixels, headers, scale, sigma, _fwhm_px(path))


def judge(
    subject: Subject, name: str, codec: Any, asked: str, bound: ErrorBound | None, *, repeats: int, gate: bool = True
) -> Verdict:
    """Judge one codec at one bound.

    Parameters
    ----------
    name
        Of the codec's component.
    asked, bound
        As a person writes it, and what it means; None is lossless.
    repeats
        Of each time that is measured.
    gate
        Whether to put faint sources in, which takes most of the time.
    """
    base: dict[str, Any] = {"image": str(subject.path), "codec": name, "asked": asked}
    base |= {"pixels": subject.pixels.size, "sigma": subject.sigma * subject.scale}
    with tempfile.TemporaryDirectory() as folder:
        packed, again = Path(folder) / f"image{SUFFIX}", Path(folder) / "image.fits"
        try:
            report = compress_file(subject.path, packed, codec, bound, LEARNED if is_run(name) else name)
            decompress_file(packed, again)
        except RvtoolError as error:
            return Verdict(**base, failures=(str(error),))
        limit = report.images[0].bound
        with open_units(again) as units:
            back = _first_image(units)
            restored, headers = back.array(), tuple(one.header for one in units)
    worst = _worst(subject.pixels, restored) * subject.scale
    if worst:
        worst = worst / limit if limit else inf
    failures = [] if worst <= 1 else [f"largest error {worst:.4g} times the bound"]
    if headers != subject.headers:
        failures.append("another header")

    coder, pixels = Coder(codec, limit / subject.scale), subject.pixels
    parts = coder.encode(pixels)
    megabytes = pixels.nbytes / 1e6
    encode_s = median_s(lambda: coder.encode(pixels), repeats)
    decode_s = median_s(lambda: coder.decode(parts, pixels.shape, pixels.dtype), repeats)
    found: dict[str, Any] = {}
    if gate and limit and worst and subject.sigma:
        found = _in_the_noise(subject, coder)
        failures += _eaten(found)
    return Verdict(
        **base,
        **found,
        bound=limit,
        source_bytes=report.source_bytes,
        bytes=report.out_bytes,
        payload_bytes=coder.payload(parts),
        encode_mb_s=megabytes / encode_s,
        decode_mb_s=megabytes / decode_s,
        error_in_bounds=worst,
        failures=tuple(failures),
    )


def _first_image(units: Sequence[Unit]) -> Unit:
    return next(unit for unit in units if unit.is_image)


def _fwhm_px(path: Path) -> float:
    """Return the beam's mean width from the header, or 4 pixels."""
    try:
        image = read_image(path)
    except DataError:  # blank in its first plane, for example
        return BEAM_PX
    if image.beam is None or image.pixel_arcsec is None:
        return BEAM_PX
    fwhm = (image.beam.major_arcsec * image.beam.minor_arcsec) ** 0.5 / image.pixel_arcsec
    return max(fwhm, NARROWEST_PX) if isfinite(fwhm) and fwhm < min(image.data.shape[-2:]) / 8 else BEAM_PX


def _worst(given: np.ndarray, restored: np.ndarray) -> float:
    """Return the largest error; infinite where shape, type, blank pixels or infinities differ."""
    if (given.shape, given.dtype) != (restored.shape, restored.dtype):
        return inf
    bits = f"u{given.itemsize}"
    differ = given.view(bits) != restored.view(bits)
    before, after = given[differ].astype(np.float64), restored[differ].astype(np.float64)
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return inf
    return float(np.abs(after - before).max(initial=0.0))


def _in_the_noise(subject: Subject, coder: Coder) -> dict[str, Any]:
    plane, sigma, fwhm = subject.plane, subject.sigma, subject.fwhm_px
    found: dict[str, Any] = {"stack": faint.stacked_ratio([plane], [sigma], fwhm, coder.restore)}
    biases = faint.bright_biases(plane, sigma, fwhm, coder.restore)
    if biases:
        found |= {"flux": biases[0], "position_px": biases[1]}
    growth = faint.noise_growth(plane, coder.restore(plane), sigma, coder.bound)
    if growth:
        found |= {"noise_growth": growth[0], "permitted_growth": growth[1]}
    return found


def _eaten(found: dict[str, Any]) -> list[str]:
    """Say what of the gate the faint sources and the noise fail."""
    failures = []
    stack: Estimate | None = found.get("stack")
    # a small image has no room for sources enough: what chance can do there is no fault of the codec
    chance = 3 * max(stack.error - ENOUGH, 0) if stack else 0.0
    if stack and abs(stack.value - 1) > STACK_TOLERANCE + chance:
        failures.append(f"stacked flux {stack.value:.4f} +- {stack.error:.4f} (standard error)")
    growth = found.get("noise_growth")
    if growth is not None and growth > found["permitted_growth"]:
        failures.append(f"noise {growth:.4f} times, {found['permitted_growth']:.4f} permitted")
    return failures
