"""What in an image spoke for the answer: integrated gradients from an empty sky.

References
----------
.. [1] Sundararajan, Taly & Yan 2017, arXiv:1703.01365
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from rvtool.data.files import writing
from rvtool.data.fits import PICTURE_SUFFIXES, Image
from rvtool.kinds import Batch
from rvtool.report.display import show
from rvtool.report.figures import STYLE, save
from rvtool.runs.run import Run

STEPS = 32
"""Points between the empty sky and the image; the sum over the map then misses the change of the logit by per cents."""


def integrated_gradients(logits: Callable[[Tensor], Tensor], image: Tensor, chosen: Tensor) -> Tensor:
    """Return what each pixel adds to the logit of a class: eq. 1 of [1]_, by the midpoint rule.

    Parameters
    ----------
    logits
        From images ``(B, C, H, W)`` to ``(B, K)``.
    image : (B, C, H, W)
        Stretched; the path begins at 0, the background.
    chosen : (B,), int64
        The class of each image whose logit is explained.

    Returns
    -------
    (B, C, H, W); its sum over an image is the logit there minus the logit of an empty sky.
    """
    total = torch.zeros_like(image)
    for step in range(STEPS):
        point = (image * ((step + 0.5) / STEPS)).detach().requires_grad_(True)
        out = logits(point).gather(1, chosen[:, None]).sum()
        total += torch.autograd.grad(out, point)[0]
    return image * total / STEPS


class Explainer:
    """Writes a map and a picture for each image into a folder."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder = run, folder
        self.count = 0

    def explain(self, names: Sequence[str], images: Sequence[Image], batch: Batch) -> None:
        """Explain the likeliest class of each image of a prepared batch."""
        model = self.run.model
        with torch.no_grad():
            chosen = model(batch["image"]).argmax(dim=1)
        maps = integrated_gradients(model, batch["image"], chosen).sum(dim=1).cpu().numpy()  # (B, H, W)
        for name, image, seen, kind, pixels in zip(
            names, images, maps, chosen.tolist(), batch["image"].cpu().numpy(), strict=True
        ):
            self.count += 1
            stem = re.sub(r"[^\w.+-]", "_", Path(name).name)
            path = self.folder / f"{self.count:06d}-{stem}"
            _write_map(path.with_name(f"{path.name}.fits"), seen, image, self.run, self.run.data.classes[kind])
            self._draw(path.with_name(f"{path.name}.png"), image, pixels, seen, self.run.data.classes[kind])

    def _draw(self, path: Path, image: Image, pixels: np.ndarray, seen: np.ndarray, kind: str) -> None:
        origin = "upper" if image.path and image.path.suffix.lower() in PICTURE_SUFFIXES else "lower"
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(6, 3.2), layout="constrained")
            left, right = figure.subplots(1, 2)
            show(left, pixels, origin)  # type: ignore[arg-type]
            left.set_title("What the network is given")
            reach = float(np.abs(seen).max()) or 1.0
            drawn = right.imshow(seen, cmap="PuOr_r", vmin=-reach, vmax=reach, origin=origin)
            right.set(xticks=[], yticks=[], title=f"What speaks for {kind}")
            figure.colorbar(drawn, ax=right, shrink=0.8, label="part of the logit, a pixel")
        save(figure, path)


def _write_map(path: Path, seen: np.ndarray, image: Image, run: Run, kind: str) -> None:
    """Write a map with the place on the sky that the image's header gives to the part that was looked at."""
    from astropy.io import fits

    header = fits.Header()
    height, width = image.data.shape[-2:]
    crop = run.stretch.settings.crop
    if image.wcs is not None:
        wcs = image.wcs.deepcopy()
        zoom = crop / seen.shape[0] if crop else 1.0
        wcs.wcs.crpix -= [(width - crop) // 2 if crop else 0, (height - crop) // 2 if crop else 0]
        wcs.wcs.crpix = (wcs.wcs.crpix - 0.5) / zoom + 0.5
        if wcs.wcs.has_cd():
            wcs.wcs.cd = wcs.wcs.cd * zoom
        else:
            wcs.wcs.cdelt = wcs.wcs.cdelt * zoom
        header.update(wcs.to_header())
    header["CLASS"] = (kind, "the class whose logit is explained")
    header["HISTORY"] = "Integrated gradients (Sundararajan et al. 2017) from an empty sky,"
    header["HISTORY"] = f"by {run.record['model']}; the sum is the logit minus that of an empty sky."
    with writing(path) as stream:
        fits.PrimaryHDU(seen.astype(np.float32), header).writeto(stream)
