"""What generators cost: a conditional image of 256 px in five steps, batches of them, and on a GPU what 16 bits save.

    python tests/benchmarks/generate.py

Goals: under 1 s an image on two cores, under 30 ms on a GPU of a data centre; a step in bfloat16, compiled, quicker
than one in 32 bits. Times are medians of five. Weights are those that a training begins with: they change no time.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from rvtool import plugins
from rvtool.kinds import Batch, DataInfo, Side
from rvtool.learning import compose
from rvtool.plugins import component

SIDE, REPEATS, BATCH, STEPS = 256, 5, 16, 20


def median_s(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def build(**config: object) -> torch.nn.Module:
    data = DataInfo(Side(3, SIDE, SIDE, axes="metres"), Side(1, SIDE, SIDE, axes="metres"))
    chosen = component("model", "latent-diffusion")
    kind = chosen.load()
    losses = compose([], kind.roles, {}, data, partial(plugins.component, "loss"))
    return kind(chosen.configure(config), data, losses).eval()


def asked(count: int, device: torch.device) -> Batch:
    image = torch.rand(count, 3, SIDE, SIDE, device=device)
    mask = torch.ones(count, 1, SIDE, SIDE, dtype=torch.bool, device=device)
    return {"image": image, "mask": mask, "target": image[:, :1], "target_mask": mask}


def sampling(device: torch.device) -> None:
    for patch in (4, 8):
        model = build(patch=patch).to(device)
        for count in (1, BATCH):
            batch = asked(count, device)
            for dtype in (torch.float32, torch.bfloat16):
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    found = median_s(lambda m=model, c=count, b=batch: m.sample(torch.arange(c), 0, device, b))
                told = f"{1000 * found / count:.0f} ms an image of {SIDE} px, 5 steps, {count} at a time, {dtype}"
                print(f"patch {patch}: {told}, {device.type}, {torch.get_num_threads()} threads")
        with FlopCounterMode(display=False) as counted:
            model.sample(torch.arange(1), 0, device, asked(1, device))
        print(f"patch {patch}: {counted.get_total_flops() / 2e9:.1f} billion multiply-adds an image")


def step_s(model: torch.nn.Module, dtype: torch.dtype) -> float:
    batch = asked(BATCH, torch.device("cuda"))
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-4)
    maps = torch.randn(BATCH, len(model.means), SIDE // model.cell, SIDE // model.cell, device="cuda")
    even, dropped = torch.rand(BATCH, device="cuda"), torch.zeros(BATCH, dtype=torch.bool, device="cuda")
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            loss = model._loss(batch, maps, torch.randn_like(maps), even, dropped)[0]
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
    print(f"a step in bfloat16, compiled: {ratio:.2f} times as fast as in 32 bits")


if __name__ == "__main__":
    sampling(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    training()
