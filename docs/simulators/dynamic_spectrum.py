"""Draws the picture of `dynamic-spectrum.md`: python docs/simulators/dynamic_spectrum.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from rvtool.plugins import component

QUALITIES = ("good", "fair", "poor")
SAMPLES = 8  # that are averaged: the lost ones come in packets of 16
SEED = 263  # a bright one of each class


def picture(path: Path) -> None:
    """Draw one image of each class at each quality."""
    offered = component("simulator", "dynamic-spectrum")
    figure, panels = plt.subplots(4, 3, figsize=(9, 6), layout="constrained", sharex=True, sharey=True)
    for column, quality in enumerate(QUALITIES):
        mix = ["0", "0", "0"]
        mix[column] = "1"
        made = offered.load()(offered.configure({"quality_mix": ",".join(mix)}))
        batch = made.simulate(torch.arange(4), SEED, torch.device("cpu"))
        side = made.info.image
        band = side.height / 2 * side.channel_mhz
        extent = (0, side.width * side.sample_s, side.centre_mhz - band, side.centre_mhz + band)
        for row, panel in enumerate(panels[:, column]):
            image = np.where(batch["mask"][row, 0], batch["image"][row, 0], np.nan)
            image = image.reshape(side.height, -1, SAMPLES)
            known = np.isfinite(image).all(2)
            image = np.where(known, np.where(known[..., None], image, 0).mean(2), np.nan)
            low, high = np.nanpercentile(image, (2, 98))
            panel.set_facecolor("0.6")
            panel.imshow(image, origin="lower", aspect="auto", extent=extent, cmap="inferno", vmin=low, vmax=high)
            panel.grid(False)
            if column == 0:
                panel.set_ylabel(f"{made.info.classes[row]}\nMHz")
        panels[0, column].set_title(quality)
        panels[-1, column].set_xlabel("s")
    figure.savefig(path, dpi=60, pil_kwargs={"quality": 70, "optimize": True})


if __name__ == "__main__":
    picture(Path(__file__).with_name("dynamic-spectrum.jpg"))
