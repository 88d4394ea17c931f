"""How fast a packed dataset opens and serves random batches.

    python tests/benchmarks/dataset.py

Goals, for 20,000 images of 150x150 float32: open in under a second; random batches at 20,000 images/s or more from a
warm cache on one core, here also as a ratio to copying the same bytes with NumPy.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

COUNT, SIDE, BATCH = 20_000, 150, 64
PLANES = 500


def make(folder: Path) -> None:
    from astropy.io import fits

    from rvtool.data.writer import DatasetWriter

    random = np.random.default_rng(0)
    writer = DatasetWriter(folder)
    (folder / "images").mkdir()
    for cube in range(COUNT // PLANES):
        path = f"images/cube-{cube:05d}.fits"
        fits.PrimaryHDU(random.standard_normal((PLANES, SIDE, SIDE), np.float32)).writeto(folder / path)
        index = np.arange(cube * PLANES, (cube + 1) * PLANES)
        labels = np.array(["a", "b"])[index % 2]
        writer.rows(
            {"id": index.astype(str), "path": [path] * PLANES, "plane": index % PLANES, "label": labels, "group": index}
        )
    writer.finish({"image": {"unit": "Jy/beam"}})


def main() -> None:
    from rvtool.data.batches import Loader, prepare
    from rvtool.data.dataset import open_dataset

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["RVTOOL_CACHE"] = f"{place}/cache"
        make(Path(place) / "data")
        prepare(open_dataset(Path(place) / "data"))  # packs

        begun = time.perf_counter()
        material = prepare(open_dataset(Path(place) / "data"))
        print(f"opening {COUNT} packed images of {SIDE}x{SIDE}: {time.perf_counter() - begun:.3f} s (goal: < 1 s)")

        rows = np.arange(COUNT)
        for _ in Loader(material, rows, BATCH, seed=0):  # warms the cache
            pass
        begun = time.perf_counter()
        for _ in Loader(material, rows, BATCH, seed=1):
            pass
        ours = COUNT / (time.perf_counter() - begun)

        pixels = np.array(material.image.pixels)
        order = np.random.default_rng(2).permutation(COUNT)
        begun = time.perf_counter()
        for start in range(0, COUNT, BATCH):
            pixels[order[start : start + BATCH]]
        bare = COUNT / (time.perf_counter() - begun)
        print(f"random batches of {BATCH}: {ours:,.0f} images/s on one core (goal: 20,000)")
        print(f"bare NumPy indexing of the same pixels in memory: {bare:,.0f} images/s   ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main()
