"""Draws the picture of `radio-optical.md`: python docs/simulators/radio_optical.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from astropy.visualization import make_lupton_rgb

from rvtool.plugins import component

SEED = 1
EACH = 6  # pairs of a class
SCALES = (1.0, 1.15, 1.4)  # of i, r and g, so that a spiral is white


def picture(path: Path) -> None:
    """Draw pairs of each class: radio above, visible light below."""
    offered = component("simulator", "radio-optical")
    made = offered.load()(offered.configure({"target_pixel_arcsec": 0.6}))
    kinds = made.info.classes
    batch = made.simulate(torch.arange(EACH * len(kinds)), SEED, torch.device("cpu"))
    area = made.info.target.pixel_arcsec**2
    figure, panels = plt.subplots(2 * len(kinds), EACH, figsize=(9, 9.4), layout="constrained")
    for row in range(EACH * len(kinds)):
        column, kind = divmod(row, len(kinds))
        above, below = panels[2 * kind : 2 * kind + 2, column]
        radio = np.arcsinh(batch["image"][row, 0].numpy() / 3e-4)
        above.imshow(radio, origin="lower", cmap="inferno", vmin=-0.5, vmax=max(radio.max(), 3))
        light = [band / area * scale for band, scale in zip(batch["target"][row].numpy(), SCALES, strict=True)]
        below.imshow(make_lupton_rgb(*light, stretch=1.5, Q=8, minimum=-0.05), origin="lower")
        mjy = 1000 * float(batch["flux_jy"][row])
        above.set_title(f"{mjy:.0f} mJy, z = {float(batch['redshift'][row]):.2f}", fontsize=8)
        below.set_xlabel(f"r = {float(batch['r_mag'][row]):.1f}", fontsize=8)
    for kind, name in enumerate(kinds):
        panels[2 * kind, 0].set_ylabel(name)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=70, pil_kwargs={"quality": 70, "optimize": True})


if __name__ == "__main__":
    picture(Path(__file__).with_name("radio-optical.jpg"))
