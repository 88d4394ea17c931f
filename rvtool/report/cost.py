"""What a model costs: parameters, memory and time."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rvtool.kinds import Batch

BATCH_SIZES = (1, 64)
FEWEST_REPEATS, MOST_REPEATS = 5, 50
ENOUGH_S = 1.5  # no further repeats of one batch size after this


def cost(
    model: nn.Module, batch: Batch, training_images: int | None = None, answer: Callable[[Batch], Any] | None = None
) -> dict[str, Any]:
    """Measure what a model costs to keep and to ask.

    Time is the median over repeated batches after a warm-up, with the images already on the device and without
    reading or stretching them. Memory is that of a batch of 64: on a GPU the most that was allocated at once, the
    model included; on a CPU the most that PyTorch held at once for the batch, the model and what its libraries use
    within one operation not counted.

    Parameters
    ----------
    model
        On the device to be measured; left in the mode that it was in.
    batch
        One or more images on the same device, repeated to each batch size.
    training_images
        Images that the model was trained on.
    answer
        What is timed; ``model.predict`` where the model has it, else the model itself.

    Returns
    -------
    ``parameters``, ``trainable_parameters``, ``parameters_per_training_image``, ``peak_memory_mb`` (1e6 bytes),
    ``memory_is`` (what that memory is), ``ms_per_image`` by batch size, ``device`` and ``threads``.
    """
    device = batch["image"].device
    call: Callable[[Batch], Any] = answer if answer is not None else getattr(model, "predict", model)
    parameters = sum(p.numel() for p in model.parameters())
    trained = model.training
    model.eval()
    try:
        with torch.inference_mode():
            batches = {size: _repeat(batch, size) for size in BATCH_SIZES}
            memory = _peak_memory(call, batches[max(BATCH_SIZES)], device)
            times = {str(size): 1000 * _median_s(call, batches[size], device) / size for size in BATCH_SIZES}
    finally:
        model.train(trained)
    return {
        "parameters": parameters,
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "parameters_per_training_image": parameters / training_images if training_images else None,
        "peak_memory_mb": memory / 1e6,
        "memory_is": "allocated on the GPU" if device.type == "cuda" else "allocated by PyTorch",
        "ms_per_image": times,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def device_name(device: torch.device) -> str:
    """Return the name of a device as its maker gives it, where it can be known."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _repeat(batch: Batch, size: int) -> Batch:
    rows = torch.arange(size, device=batch["image"].device) % len(batch["image"])
    return {name: values[rows] for name, values in batch.items()}


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _median_s(call: Callable[[Batch], Any], batch: Batch, device: torch.device) -> float:
    call(batch)  # warms up: kernels are chosen and memory is taken at the first call
    times: list[float] = []
    while len(times) < FEWEST_REPEATS or (len(times) < MOST_REPEATS and sum(times) < ENOUGH_S):
        _wait(device)
        start = time.perf_counter()
        call(batch)
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _peak_memory(call: Callable[[Batch], Any], batch: Batch, device: torch.device) -> int:
    """Return bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call(batch)
        _wait(device)
        return torch.cuda.max_memory_allocated(device)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler would tell that it looked for a GPU and found none
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call(batch)
    events = sorted(profile.events(), key=lambda event: event.time_range.end)
    return max(itertools.accumulate((event.self_cpu_memory_usage for event in events), initial=0))
