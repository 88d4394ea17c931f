"""Draws the pictures of `augmentation.md`: python docs/augmentation.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from rvtool.data.batches import Prepare
from rvtool.data.stretch import FittedStretch, Stretch, fit, measure
from rvtool.kinds import Batch, DataInfo
from rvtool.plugins import component

FOLDER = Path(__file__).parent / "figures" / "augmentation"
ROWS, GAP = 3, 3
SKY = ("rfi", "spikes", "elastic", "extreme")
SPECTRA = ("rfi", "scintillation", "baseline-drift", "spikes", "channel-dropout", "time-mask", "extreme")
LEVELS = 32  # of the colours: pictures of noise must stay small


def simulated(name: str, **settings: object) -> tuple[Batch, DataInfo]:
    """Make the first image of each of four classes, as a dataset would hold it."""
    offered = component("simulator", name)
    simulator = offered.load()(offered.configure(settings))
    batch = simulator.simulate(torch.arange(4), 1, torch.device("cpu"))
    mask = batch.get("mask", torch.ones_like(batch["image"], dtype=torch.bool))
    measured = [measure(image.numpy(), known[0].numpy()) for image, known in zip(batch["image"], mask, strict=True)]
    image = torch.where(mask, batch["image"], torch.nan)
    return {"image": image, "image_statistics": torch.from_numpy(np.stack(measured))}, DataInfo(simulator.info.image)


def versions(name: str, batch: Batch, data: DataInfo, stretch: FittedStretch) -> list[np.ndarray]:
    """Return the images as they are, and augmented in some ways, ``(4, H, W)`` each; NaN where unknown."""
    offered = component("augmenter", name)
    prepare = Prepare(stretch, None, [offered.load()(offered.configure(), data)])
    made = [prepare(batch)]
    made += [prepare({**batch, "draw": torch.tensor([seed])}, augment=True) for seed in range(1, ROWS)]
    return [torch.where(one["mask"], one["image"], torch.nan)[:, 0].numpy() for one in made]


def picture(rows: list[np.ndarray], path: Path, cell: tuple[int, int]) -> None:
    """Write images side by side, a row a version, unknown pixels grey; one scale a column, `cell` pixels made one."""
    image = np.stack(rows)  # (rows, columns, H, W)
    high, wide = image.shape[2] // cell[0], image.shape[3] // cell[1]
    blocks = image.reshape(*image.shape[:2], high, cell[0], wide, cell[1])
    known = np.isfinite(blocks).any(axis=(3, 5))
    image = np.where(
        known, np.nansum(blocks, axis=(3, 5)) / np.maximum(np.isfinite(blocks).sum(axis=(3, 5)), 1), np.nan
    )
    low, top = np.nanpercentile(image, (0.5, 99.9), axis=(0, 2, 3), keepdims=True)
    scaled = np.rint(np.clip((image - low) / (top - low), 0, 1) * (LEVELS - 1)) / (LEVELS - 1)
    coloured = matplotlib.colormaps["inferno"].with_extremes(bad="#9a9a9a")(np.ma.masked_invalid(scaled))[..., :3]
    coloured = np.rint(255 * coloured[:, :, ::-1]).astype(np.uint8)  # the first row of an image is its lowest
    framed = np.pad(coloured, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    table = framed.transpose(0, 2, 1, 3, 4).reshape(len(rows) * (high + GAP), -1, 3)
    small = Image.fromarray(table).quantize(LEVELS + 2, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize((2 * small.width, 2 * small.height), Image.Resampling.NEAREST).save(path, optimize=True)


def main() -> None:
    """Draw all of them."""
    batch, data = simulated("radio-galaxy", size=80)
    stretch = fit(Stretch(scale="image"), batch["image_statistics"].numpy())
    for name in SKY:
        picture(versions(name, batch, data, stretch), FOLDER / f"{name}-sky.png", (1, 1))
    batch, data = simulated("dynamic-spectrum", quality_mix="1,0,0")
    stretch = fit(Stretch(scale="image", kind="linear"), batch["image_statistics"].numpy())
    for name in SPECTRA:
        made, cell = versions(name, batch, data, stretch), (2, 16)
        if name == "spikes":  # two pixels wide: only a part of the spectrum shows them
            made, cell = [image[:, 32:96, 448:576] for image in made], (1, 2)
        picture(made, FOLDER / f"{name}-spectrum.png", cell)


if __name__ == "__main__":
    main()
