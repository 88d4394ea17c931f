"""Sheets of images: those that a generator makes, beside true ones where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rvtool.report.display import display
from rvtool.report.figures import STYLE, save

GAP = 1  # px between images


def sheet(rows: Sequence[tuple[str, np.ndarray]], path: Path) -> Figure:
    """Draw rows of images, each image on its own scale, all rows in the same stretch.

    Parameters
    ----------
    rows
        What is said of a row, and its images ``(N, C, H, W)``, NaN where not known.
    """
    across = max(len(images) for _, images in rows)
    with matplotlib.rc_context(STYLE):
        wide = min(12.0, 1.1 * across)
        figure = Figure(figsize=(wide + 0.6, wide / across * len(rows) + 0.2), layout="constrained")
        panels = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for panel, (title, images) in zip(panels, rows, strict=True):
            pictures = [_framed(display(image)) for image in images]
            blank = np.full_like(pictures[0], np.nan)
            strip = np.concatenate([*pictures, *[blank] * (across - len(pictures))], axis=1)
            colours = matplotlib.colormaps["inferno"].with_extremes(bad="white")
            panel.imshow(strip, cmap=colours, vmin=0, vmax=1, origin="lower", interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            panel.set_ylabel(title, fontsize=8)
            panel.spines[:].set_visible(False)
    return save(figure, path)


def _framed(picture: np.ndarray) -> np.ndarray:
    """Leave a gap around ``(H, W)`` or ``(H, W, 3)``."""
    colour = picture.ndim == 3
    return np.pad(picture, [(GAP, GAP)] * 2 + [(0, 0)] * colour, constant_values=1.0 if colour else np.nan)
