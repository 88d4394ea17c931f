"""What in an image spoke for the answer: integrated gradients from an empty sky.

References
----------
.. [1] Sundararajan, Taly & Yan 2017, arXiv:1703.01365
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter
from torch import Tensor

from rvtool.data.files import writing
from rvtool.data.fits import PICTURE_SUFFIXES, Image, suffix_of
from rvtool.data.stretch import Stretch
from rvtool.errors import ConfigError
from rvtool.kinds import Batch
from rvtool.learning import Classifier
from rvtool.report.display import show
from rvtool.report.figures import STYLE, save
from rvtool.runs.run import Run
from rvtool.verbs.predict.reading import ReadImage

if TYPE_CHECKING:
    from astropy.wcs import WCS

STEPS = 32
"""Points between the empty sky and the image; the sum over the map then misses the change of the logit by per cents."""
EYE_PX = 1.0  # the picture, not the map, is smoothed so: pooling makes neighbours differ


def integrated_gradients(logits: Callable[[Tensor], Tensor], image: Tensor, chosen: int) -> Tensor:
    """Return what each pixel adds to the logit of a class: eq. 1 of [1]_, by the midpoint rule.

    Parameters
    ----------
    logits
        From images ``(B, C, H, W)`` to ``(B, K)``.
    image : (C, H, W)
        Stretched; the path begins at 0, the background.
    chosen
        The class whose logit is explained.

    Returns
    -------
    (C, H, W); its sum is the logit of the image minus that of an empty sky.
    """
    along = (torch.arange(STEPS, device=image.device) + 0.5) / STEPS
    points = (along[:, None, None, None] * image).requires_grad_(True)  # (STEPS, C, H, W)
    (slopes,) = torch.autograd.grad(logits(points)[:, chosen].sum(), points)
    return image * slopes.mean(dim=0)


class Explainer:
    """Writes a map and a picture for each image into a folder.

    Raises
    ------
    ConfigError
        The run's model gives no logits to explain.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        if not isinstance(run.model, Classifier):
            raise ConfigError(f"The model of {run.name} gives no logits, which --explain explains; leave it out.")
        self.run, self.folder = run, folder
        self.count = 0

    def explain(self, images: Sequence[ReadImage], batch: Batch, chosen: Sequence[int]) -> None:
        """Explain the class that was answered for each image of a prepared batch."""
        for one, given, kind in zip(images, batch["image"], chosen, strict=True):
            self.count += 1
            stem = re.sub(r"[^\w.+-]", "_", Path(one.name).name)
            path = self.folder / f"{self.count:06d}-{stem}"
            seen = integrated_gradients(self.run.model, given, kind).sum(dim=0).cpu().numpy()  # (H, W)
            self._write(path.with_name(f"{path.name}.fits"), seen, one, self.run.data.classes[kind])
            self._draw(path.with_name(f"{path.name}.png"), seen, one, self.run.data.classes[kind], given.cpu().numpy())

    def _draw(self, path: Path, seen: np.ndarray, one: ReadImage, kind: str, given: np.ndarray) -> None:
        assert isinstance(one.image, Image)
        origin: Any = "upper" if one.image.path and suffix_of(one.image.path) in PICTURE_SUFFIXES else "lower"
        shown = gaussian_filter(seen, EYE_PX)
        reach = float(np.abs(shown).max()) or 1.0
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(6, 2.8), layout="constrained")
            left, right = figure.subplots(1, 2)
            show(left, given, origin)
            left.set_title("What the network is given")
            drawn = right.imshow(shown, cmap="PuOr_r", vmin=-reach, vmax=reach, origin=origin)
            right.set(xticks=[], yticks=[], title=f"For {kind} (+) or against (−)")
            right.spines[:].set_visible(False)
            figure.colorbar(drawn, ax=right, shrink=0.8, label="part of the logit, a pixel")
        save(figure, path)

    def _write(self, path: Path, seen: np.ndarray, one: ReadImage, kind: str) -> None:
        from astropy.io import fits

        header = fits.Header()
        place = place_of_given(one, self.run.stretch.settings)
        if place is not None:
            header.update(place.to_header())
        header["CLASS"] = (kind.encode("ascii", "replace").decode(), "the class whose logit is explained")
        header["HISTORY"] = "Integrated gradients (Sundararajan et al. 2017) from an empty sky,"
        header["HISTORY"] = f"by {self.run.record['model']}; the sum is the logit minus that of an empty sky."
        with writing(path) as stream:
            fits.PrimaryHDU(seen.astype(np.float32), header).writeto(stream)


def place_of_given(one: ReadImage, stretch: Stretch) -> WCS | None:
    """Return the place on the sky of what a network is given of an image: of its middle, resampled."""
    assert isinstance(one.image, Image)
    if one.image.wcs is None:
        return None
    wcs = one.image.wcs.deepcopy()
    zoom = stretch.crop / stretch.resize if stretch.resize else 1.0
    for axis, (have, first) in enumerate(zip(one.image.data.shape[:0:-1], one.corner[::-1], strict=True)):  # x, y
        want = stretch.crop or have
        margin = (have - want) // 2 if have > want else -((want - have) // 2)  # as `rvtool.data.stretch.fit_to`
        wcs.wcs.crpix[axis] = (wcs.wcs.crpix[axis] - first - margin - 0.5) / zoom + 0.5  # centres of pixels from 1
    if wcs.wcs.has_cd():
        wcs.wcs.cd = wcs.wcs.cd * zoom
    else:
        wcs.wcs.cdelt = wcs.wcs.cdelt * zoom
    return wcs
