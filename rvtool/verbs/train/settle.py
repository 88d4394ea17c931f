"""What a model measures once it is trained, on its training images, kept with its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from rvtool.data.batches import Material
from rvtool.data.files import write_bytes
from rvtool.kinds import Batch
from rvtool.learning import Autoencoder
from rvtool.runs.run import load_run

ENOUGH = 4096  # images, turned ones counted: more hardly change a table of shares
MOST_SYMBOLS = 1 << 25  # of all of them: counting takes 20 bytes each
SYMMETRIES = 8


def keep_settled(path: Path, material: Material, device: torch.device, batch_size: int, seed: int) -> None:
    """Let a finished model measure what belongs to its weights (`Model.settle`), and write it beside them.

    Few images are shown in all turns and mirror images, since the sky has no upright.
    """
    run = load_run(path)
    model = run.model.to(device)
    rows, side = material.rows("train"), run.data.image
    each = 1
    if isinstance(model, Autoencoder):
        each = model.maps * -(-side.height // model.cell) * -(-side.width // model.cell)
    enough = max(1, min(ENOUGH, MOST_SYMBOLS // each))
    if len(rows) > enough:
        rows = np.sort(np.random.default_rng(seed).choice(rows, enough, replace=False))
    symmetries = min(SYMMETRIES, max(1, enough // len(rows))) if side.axes == "sky" else 1

    def batches() -> Iterator[Batch]:
        for batch in run.prepare.batches(material, rows, batch_size, device):
            for number in range(symmetries):
                yield {name: _turned(value, number) for name, value in batch.items()}

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.settle(batches)
    write_bytes(
        path / "model.safetensors", save({k: v.cpu().contiguous().clone() for k, v in model.state_dict().items()})
    )


def _turned(value: torch.Tensor, number: int) -> torch.Tensor:
    """Return images in one of eight attitudes; what is no image stays."""
    if value.ndim != 4:
        return value
    turned = torch.rot90(value, number % 4, (2, 3))
    return turned.flip(3) if number >= 4 else turned
