"""How an image is shown to people."""

from __future__ import annotations

from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes


def display(image: np.ndarray) -> np.ndarray:
    """Scale an image for the eye: asinh above the noise, so that faint lobes and bright cores both show.

    The scale is linear up to three times the noise (1.48 times the median absolute deviation), or up to a thirtieth of
    the peak where the noise was clipped away.

    Parameters
    ----------
    image : (C, H, W) or (H, W)
        In any unit; NaN where a pixel is not known.

    Returns
    -------
    (H, W), or (H, W, 3) for three channels, in 0 .. 1; a single plane keeps its NaN. The mean of other numbers of
    channels is shown.

    References
    ----------
    Lupton et al. (2004), PASP 116, 133, arXiv:astro-ph/0312483.
    """
    image = image[None] if image.ndim == 2 else image  # (C, H, W)
    colour = len(image) == 3
    with np.errstate(all="ignore"):
        plane = np.moveaxis(image, 0, -1).astype(float) if colour else image.mean(axis=0, dtype=float)
    known = plane[np.isfinite(plane)]
    if not known.size:
        return plane
    floor = float(np.median(known))
    noise = 1.4826 * float(np.median(np.abs(known - floor)))
    peak = float(known.max()) - floor
    width = 3 * noise or peak / 30
    if not width > 0:
        return plane * 0  # one value throughout
    scaled = np.arcsinh((plane - floor) / width)
    low, high = float(np.arcsinh(-noise / width)), float(np.arcsinh(peak / width))
    scaled = np.clip((scaled - low) / (high - low), 0, 1)
    return np.nan_to_num(scaled) if colour else scaled


def show(panel: Axes, image: np.ndarray, origin: Literal["lower", "upper"] = "lower") -> None:
    """Draw an image ``(C, H, W)`` or ``(H, W)`` by `display` on bare axes, unknown pixels grey.

    Parameters
    ----------
    origin
        Where the first row belongs: ``"lower"`` in FITS, ``"upper"`` in pictures.
    """
    picture = display(image)
    colours = matplotlib.colormaps["inferno"].with_extremes(bad="#9a9a9a")
    height, width = picture.shape[:2]
    long = max(height, width) > 2 * min(height, width)  # a spectrum of many channels and few times would be a hairline
    panel.imshow(picture, cmap=colours, vmin=0, vmax=1, origin=origin, interpolation="nearest")
    if long:
        panel.set(aspect="auto", box_aspect=1)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
