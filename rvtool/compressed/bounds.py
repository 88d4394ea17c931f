"""The bound of an image: what was asked for, in the unit of the image, or 0 where only exact makes sense."""

from __future__ import annotations

import numpy as np

from rvtool.compressed.error_bound import ErrorBound
from rvtool.data.noise import noise_sigma

FINE = "the bound is finer than the pixels' type resolves"
_CHUNK = 1 << 18  # pixels
_SAMPLE = 1 << 12  # pixels that tell how fine the type resolves


def limit_of(data: np.ndarray, scale: float, bound: ErrorBound | None) -> tuple[float, float, str]:
    """Return bound and noise in the unit of the image, and why the bound is 0 where one was given.

    Parameters
    ----------
    data : (..., H, W)
        The pixels as they are stored; a memory map is read plane by plane.
    scale
        The unit of the stored numbers in the unit of the image.
    """
    nothing = float("nan")
    if bound is None:
        return 0.0, nothing, ""
    if data.dtype.kind != "f":
        return 0.0, nothing, "integers are kept exactly"
    flat = data.reshape(-1)
    if not any(np.isfinite(flat[start : start + _CHUNK]).any() for start in range(0, flat.size, _CHUNK)):
        return 0.0, nothing, "blank throughout"
    sigma = noise_sigma(data) * scale
    if not bound.in_sigma:
        return bound.value, sigma, ""
    return bound.value * sigma, sigma, "" if sigma else "no noise to measure: the background is blank, flat or clipped"


def resolves(data: np.ndarray, bound: float) -> bool:
    """Tell whether most pixels have neighbours of their type within the bound; else exact is no larger.

    Parameters
    ----------
    data : (..., H, W)
        Floats as they are stored.
    bound
        In their unit.
    """
    flat = data.reshape(-1)
    sample = np.abs(flat[:: -(-flat.size // _SAMPLE)].astype(data.dtype.newbyteorder("=")))
    known = sample[np.isfinite(sample)]
    return not known.size or float(np.spacing(np.median(known))) <= bound / 2
