"""Prints what translators cost: a training step beside a plain loop, and a large field beside its limits.

    python tests/benchmarks/translate.py
    python tests/benchmarks/translate.py --field 4096

The loop steps the same networks with the same losses as the published recipe writes it, without a trainer, averages,
logs or checks; processor time, both in turn. The field is of noise and point sources; a small srgan makes it four times
as fine. Seams are what differs where the field is cut into tiles of another size, in units of the output's noise.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from torch import Tensor

from rvtool import plugins
from rvtool.kinds import Batch, DataInfo, LossContext, Side
from rvtool.learning import compose

SIZE, BATCH, STEPS = 64, 16, 48
APPLY = """
import sys
from rich.console import Console
from rvtool.verbs import predict
from rvtool.verbs.predict import translating
translating.LEAST_TILE = int(sys.argv[4])
settings = predict.Settings(run=sys.argv[1], paths=(sys.argv[2],), out=sys.argv[3], device="cpu")
predict.run(settings, Console(quiet=True))
"""


def build() -> Any:
    """Build a small pix2pix."""
    component = plugins.component("model", "pix2pix")
    kind = component.load()
    data = DataInfo(Side(1, SIZE, SIZE), Side(1, SIZE, SIZE))
    torch.manual_seed(0)
    losses = compose([], kind.roles, {}, data, partial(plugins.component, "loss"))
    return kind(component.configure({"width": 16, "critic_width": 16, "attention": "1"}), data, losses)


def batches() -> list[Batch]:
    """Draw what both are trained on."""
    torch.manual_seed(1)
    known = torch.ones(BATCH, 1, SIZE, SIZE, dtype=torch.bool)
    images = (torch.randn(2, BATCH, 1, SIZE, SIZE) for _ in range(STEPS))
    return [{"image": image, "target": target, "mask": known, "target_mask": known} for image, target in images]


def plain(model: Any, data: list[Batch]) -> None:
    """Train as a plain loop does."""
    l1, lsgan = (model.losses.of(role)[0] for role in ("reconstruction", "adversarial"))
    generator, critic = (
        torch.optim.Adam(module.parameters(), lr=2e-4, betas=(0.5, 0.999)) for module in (model.generator, model.critic)
    )

    def answers(image: Tensor, picture: Tensor) -> list[Tensor]:
        return [scale[-1] for scale in model.critic(image, picture)]

    for batch in data:
        image, target = batch["image"], batch["target"]
        made = model(image)
        critic.zero_grad()
        lsgan.loss.discriminator(answers(image, target), answers(image, made.detach())).backward()
        critic.step()
        generator.zero_grad()
        model.critic.requires_grad_(False)
        fake = answers(image, made)
        near = l1.weight * l1.loss(made, target, LossContext(batch))
        (near + lsgan.loss.generator(fake, fake)).backward()
        generator.step()
        model.critic.requires_grad_(True)


def trained(model: Any, data: list[Batch]) -> None:
    """Train under the trainer."""
    import lightning
    from torch.utils.data import DataLoader

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    loader: Any = DataLoader(data, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(model, loader)


def training(rounds: int) -> None:
    """Print images a second of both, and their ratio."""
    torch.set_num_threads(1)
    data = batches()
    times: dict[str, list[float]] = {"plain loop": [], "rvtool": []}
    for _ in range(rounds + 1):
        for name, way in (("plain loop", plain), ("rvtool", trained)):
            model = build()
            start = time.process_time()
            way(model, data)
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    for name, taken in medians.items():
        print(f"{name}: {STEPS * BATCH / taken:.0f} images/s, {SIZE}x{SIZE}, one core, processor time")
    print(f"ratio of speeds {medians['plain loop'] / medians['rvtool']:.3f}")


def field(size: int) -> None:
    """Print time, memory and seams of a large field."""
    from rich.console import Console

    from rvtool.verbs import simulate, train

    quiet = Console(quiet=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate.run(
            simulate.Settings(simulator="radio-galaxy", count=64, out=folder / "sky", config={"size": 64}), quiet
        )
        pairs = {"data": folder / "sky"}
        simulate.run(simulate.Settings(simulator="lower-resolution", out=folder / "pairs", config=pairs), quiet)
        config = {"blocks": 4, "width": 16, "critic_width": 8, "pretrain": 1.0}
        settings = {"data": folder / "pairs", "out": folder / "run", "epochs": 2, "gpus": 0, "augment": ("none",)}
        train.run(train.Settings(model="srgan", config=config, **settings), quiet)
        rng = np.random.default_rng(0)
        image = rng.normal(0, 3e-4, (size, size)).astype(np.float32)
        image[rng.integers(0, size, 400), rng.integers(0, size, 400)] += rng.pareto(1, 400).astype(np.float32) * 0.01
        fits.writeto(folder / "field.fits", image)
        del image
        made = []
        for tile in (256, 400):
            out = folder / f"{tile}.fits"
            start = time.perf_counter()
            arguments = [str(folder / "run"), str(folder / "field.fits"), str(out), str(tile)]
            subprocess.run([sys.executable, "-c", APPLY, *arguments], check=True)
            taken = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            print(f"{size}x{size} to four times as fine, tiles of {tile} px: {taken:.0f} s, at most {peak:.2f} GiB")
            made.append(fits.getdata(out, memmap=True))
        step = 256
        lines = range(0, len(made[0]), step)
        worst = max(float(np.abs(made[0][n : n + step] - made[1][n : n + step]).max()) for n in lines)
        some = made[0][:: max(1, len(made[0]) // 500)]
        noise = 1.4826 * float(np.median(np.abs(some - np.median(some))))
        print(f"largest difference between the two tilings: {worst / noise:.2g} of the noise")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--field", type=int, default=0, help="side of a field to apply a translator to, px")
    given = parser.parse_args()
    if given.field:
        field(given.field)
    else:
        training(given.rounds)
