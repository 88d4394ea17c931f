"""What augmentation costs beside a training step of `alhassan-cnn`.

    python tests/benchmarks/augmentation.py

Goal: the preset `extreme` takes at most 0.30 of the step, at batches of 256 images of 150x150 pixels on the same
device. A step is what the model does with a prepared batch: network, loss, gradients, optimiser. Each augmenter is
timed in turn with it, in processor time on one thread (on a GPU: by the clock, to its end), and the medians
count. Sky images and dynamic spectra are timed by their own augmenters.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from rvtool.kinds import Batch, DataInfo, Side
from rvtool.learning import compose
from rvtool.plugins import component, components
from rvtool.testing.examples import example_batch

BATCH, SIDE, GOAL = 256, 150, 0.30


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Time one call, to the end of what it asked of the device."""
    on_gpu = device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    begun = clock()
    call()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - begun


def stepper(data: DataInfo, batch: Batch, device: torch.device) -> Callable[[], None]:
    """Return one training step of the model."""
    chosen = component("model", "alhassan-cnn")
    kind = chosen.load()
    model = kind(chosen.configure(), data, compose((), kind.roles, {}, data, partial(component, "loss"))).to(device)
    optimizer = model.configure_optimizers()

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model.network(batch["image"]), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def compare(axes: str, rounds: int, device: torch.device) -> None:
    """Print the medians of the step and of each augmenter that fits the axes."""
    data = DataInfo(Side(1, SIDE, SIDE, axes, pixel_arcsec=1.8), classes=("a", "b", "c", "d"), class_counts=(64,) * 4)
    batch = {name: value.to(device) for name, value in example_batch(data, BATCH).items()}
    batch["image_statistics"] = torch.tensor([[0.0, 0.02, 1.0]], device=device).repeat(BATCH, 1)
    trials: dict[str, Callable[[], object]] = {"step": stepper(data, batch, device)}
    for name, offered in components("augmenter").items():
        augmenter = offered.load()(offered.configure(), data)
        if axes in augmenter.axes:
            trials[name] = partial(augmenter, batch, torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(rounds + 1):  # in turn, so that the machine's load falls on all; the first round warms up
        for name, call in trials.items():
            taken[name].append(seconds(call, device))
    medians = {name: statistics.median(times[1:]) for name, times in taken.items()}
    step = medians.pop("step")
    print(f"{axes}, {BATCH} images of {SIDE}x{SIDE} on {device}: a step takes {1000 * step:.0f} ms")
    for name, time_taken in medians.items():
        goal = f"   (goal: {GOAL:.2f})" if name == "extreme" else ""
        print(f"    {name:20}{1000 * time_taken:8.1f} ms   ratio {time_taken / step:.3f}{goal}")


def main() -> None:
    """Compare on both kinds of axes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for axes in ("sky", "frequency-time"):
        compare(axes, arguments.rounds, arguments.device)


if __name__ == "__main__":
    main()
