"""A run that makes images of images as a simulator: those that it makes of a dataset's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rvtool.data.dataset import open_dataset, read_side
from rvtool.data.pack import open_pack
from rvtool.errors import DataError
from rvtool.kinds import Batch, Side, SimulatorInfo
from rvtool.runs.unlike import unlike

if TYPE_CHECKING:
    import pyarrow as pa

    from rvtool.runs.run import Run


def check_restores(run: Run) -> Side:
    """Return the side that a translator or an autoencoder makes.

    Raises
    ------
    DataError
        What it makes has no unit.
    """
    stretch, side = (run.stretch, run.data.image) if run.data.target is None else (run.target_stretch, run.data.target)
    if stretch is None or not stretch.invertible:
        raise DataError(
            f"{run.path} was trained with --clip-sigma, which cannot be undone, so that what it makes has no unit; "
            "train it without."
        )
    return side


def known_pixels(mask: torch.Tensor, factor: int) -> torch.Tensor:
    """Return where pixels that are `factor` times as fine lie in known ones, of ``(B, 1, H, W)``."""
    return mask.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


class Translated:
    """Makes an image of each image of a dataset; its labels, positions, groups and splits stay (`rows`).

    Raises
    ------
    DataError
        The images have other channels than the run was trained on, another size where it takes no other, or its stretch
        cannot be undone.
    """

    def __init__(self, run: Run, data: Path) -> None:
        self.run = run
        self.dataset = open_dataset(data)
        self.pack = open_pack(self.dataset)
        have, want = self.pack.pixels.shape[1:], run.data.image
        size = (want.height, want.width)
        if have[0] != want.channels or (have[1:] != size and not run.model.any_size):
            raise DataError(
                f"{data} has {have[0]} channels of {have[2]}x{have[1]} px, and {run.name} was trained on "
                f"{want.channels} of {want.width}x{want.height} px."
            )
        made = check_restores(run)
        self.factor = int(run.model.factor)
        height, width = (side * self.factor for side in have[1:])
        self.info = SimulatorInfo(replace(made, height=height, width=width))

    @property
    def differences(self) -> list[str]:
        """In what the images are not like those that the run was trained on, in sentences."""
        have = read_side(self.dataset.info.get("image", {}), *self.pack.pixels.shape[1:])
        found = unlike(have, self.run.data.image, self.run.stretch.settings)
        return [one.told("The images", self.run.name) for one in found]

    @property
    def rows(self) -> pa.Table:
        """The rows of the dataset, of which the images are made."""
        return self.dataset.table

    def simulate(self, indices: torch.Tensor, seed: int, device: torch.device) -> Batch:
        """Make the images of some rows; unknown where theirs are."""
        rows = (indices % len(self.dataset)).numpy()
        prepare, model = self.run.prepare, self.run.model.to(device)
        raw = {
            "image": torch.from_numpy(self.pack.pixels[rows]).to(device),
            "image_statistics": torch.from_numpy(self.pack.statistics[rows]).to(device),
        }
        with torch.inference_mode():
            batch = prepare(raw)
            generates = self.run.task == "generation"
            made = model.sample(indices, seed, device, batch) if generates else model.predict(batch)
            made = prepare.restore(made, batch)
        known = known_pixels(batch["mask"], self.factor)
        return {"image": torch.where(known, made, 0.0), "mask": known}
