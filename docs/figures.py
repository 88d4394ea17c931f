"""Draws the README's pictures from simulated images: run it where `rvtool run examples/quickstart.toml` was run."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from rvtool.plugins import component
from rvtool.report.display import show

IMAGES = Path(__file__).parent / "images"
COLUMNS = 8


def simulated() -> None:
    """Draw a row of each class, 80x80 pixels of 1.8 arcsec."""
    simulator = component("simulator", "radio-galaxy")
    made = simulator.load()(simulator.configure({"size": 80}))
    batch = made.simulate(torch.arange(4 * COLUMNS), 0, torch.device("cpu"))
    figure, panels = plt.subplots(4, COLUMNS, figsize=(COLUMNS, 4.2), layout="constrained")
    for number, image in enumerate(batch["image"][:, 0].numpy()):
        column, row = divmod(number, 4)
        show(panels[row, column], image, "lower")
        if column == 0:
            panels[row, 0].set_ylabel(made.info.classes[int(batch["label"][number])])
    figure.savefig(IMAGES / "simulated.png", dpi=110)


if __name__ == "__main__":
    simulated()
    shutil.copy("quickstart/evaluation/predictions.png", IMAGES / "predictions.png")
