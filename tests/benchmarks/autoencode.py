"""What a trained codec costs: multiply-adds, speed both ways, and on a GPU what 16 bits and compiling save.

    python tests/benchmarks/autoencode.py [RUN]

Goals: under 8,000 multiply-adds a pixel each way; a million pixels a second or more on two cores; with a GPU a training
step in bfloat16, compiled, 1.5 times as fast as in 32 bits. Times are medians of five, the two kinds of step taken in
turns.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from rvtool import plugins
from rvtool.kinds import DataInfo, Side
from rvtool.learning import compose
from rvtool.plugins import component
from rvtool.runs.run import load_run

SIDE = 1024  # px
REPEATS = 5
BATCH, CROP, STEPS = 32, 144, 20


def median_s(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def build() -> torch.nn.Module:
    data = DataInfo(Side(1, CROP, CROP))
    chosen = component("model", "vqvae")
    kind = chosen.load()
    losses = compose([], kind.roles, {}, data, partial(plugins.component, "loss"))
    return kind(chosen.configure({}), data, losses)


def costs(model: torch.nn.Module) -> None:
    image = torch.zeros(1, 1, CROP, CROP)
    for name, part, given in (("encoder", model.encoder, image), ("decoder", model.decoder, model.encode(image))):
        with FlopCounterMode(display=False) as counted:
            part(given)
        print(f"{name}: {counted.get_total_flops() / 2 / CROP**2:,.0f} multiply-adds a pixel (goal: under 8,000)")


def speed(run: str) -> None:
    chosen = component("codec", "learned")
    codec = chosen.load()(chosen.configure({"run": run}))
    noise = np.random.default_rng(0).normal(0, 1e-4, (SIDE, SIDE)).astype(np.float32)
    pixels = SIDE**2 / 1e6
    for name, bound in (("codes alone", float("inf")), ("within 0.5 sigma", 0.5e-4)):
        data = codec.encode(noise, bound)
        there = median_s(lambda bound=bound: codec.encode(noise, bound))
        back = median_s(lambda data=data: codec.decode(data, noise.shape, noise.dtype))
        told = f"{pixels / there:.2f} megapixels a second in, {pixels / back:.2f} out"
        print(f"{name}: {told}, {torch.get_num_threads()} threads (goal: 1)")


def step_s(model: torch.nn.Module, dtype: torch.dtype) -> float:
    image = torch.randn(BATCH, 1, CROP, CROP, device="cuda")
    batch = {"image": image, "mask": torch.ones_like(image, dtype=torch.bool)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            loss = model.judge(batch)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / STEPS


def training() -> None:
    if not torch.cuda.is_available():
        print("no GPU here: bfloat16 and compiling are not compared")
        return
    eager, quick = build().cuda().train(), build().cuda().train()
    for part in quick.networks:
        part.compile()
    pairs = [(step_s(eager, torch.float32), step_s(quick, torch.bfloat16)) for _ in range(REPEATS + 1)][1:]
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"a step in bfloat16, compiled: {ratio:.2f} times as fast as in 32 bits (goal: 1.5)")


if __name__ == "__main__":
    costs(build())
    for run in sys.argv[1:]:
        load_run(run)
        speed(run)
    training()
