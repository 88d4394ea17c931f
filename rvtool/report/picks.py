"""A mosaic of images with a line above each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rvtool.report.display import show
from rvtool.report.figures import COLUMNS, STYLE, save


def mosaic(
    images: Sequence[np.ndarray], titles: Sequence[str], path: Path, *, origin: Literal["lower", "upper"] = "lower"
) -> Figure:
    """Draw images ``(C, H, W)`` row by row, each under its title."""
    height = -(-len(images) // COLUMNS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.5 * COLUMNS, 1.75 * height + 0.2), layout="constrained")
        panels = figure.subplots(height, COLUMNS, squeeze=False).ravel()
        for panel in panels[len(images) :]:
            panel.set_axis_off()
        for panel, image, title in zip(panels, images, titles, strict=False):
            show(panel, np.asarray(image), origin)
            panel.set_title(title, fontsize=8)
    return save(figure, path)
