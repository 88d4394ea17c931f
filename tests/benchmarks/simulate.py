"""Prints how fast `radio-galaxy` is against a loop over images, and whether memory grows with the count.

    python tests/benchmarks/simulate.py

Ratios of times taken in one run, side by side, so that the machine's load falls on both. The loop draws, lays out,
renders and observes the same recipe image by image in NumPy, in two ways: *plain*, as one writes it (each Gaussian on
the grid of the pixels, white noise convolved with the beam by `scipy.signal.fftconvolve`), and *factored*, with the
simulator's own trick (Gaussians as products of a row and a column, noise spread by two matrices), which tells what
batching alone gains.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.signal import fftconvolve

from rvtool_plugins.simulators.radio_galaxy import CLASSES, RadioGalaxyConfig, geometry, priors
from rvtool_plugins.simulators.radio_galaxy.simulator import FIELD_MAX_JY, FIELD_MIN_JY, FIELD_SLOPE, RadioGalaxy
from rvtool_plugins.simulators.radio_galaxy.sky import FWHM, _spread

SIZE = 56
SIGMA = 5.4 / 1.8 / FWHM  # of the beam, pixels
CONFIG = RadioGalaxyConfig(size=SIZE)
TABLES = priors.tables(CONFIG)
BOUNDS = np.array(list(geometry.SHAPE.values()))  # (P, 3, 2)
GRID = np.arange(SIZE)
YY, XX = np.mgrid[:SIZE, :SIZE]
REACH = int(np.ceil(4.5 * SIGMA))
KERNEL = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / SIGMA) ** 2)
KERNEL = np.outer(KERNEL, KERNEL) / np.sqrt((np.outer(KERNEL, KERNEL) ** 2).sum())
SPREAD = _spread(SIZE, SIGMA, np.zeros(1), 0)
SPREAD /= np.sqrt((SPREAD**2).sum(1, keepdims=True))


def layout(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw one galaxy: x, y, sigma (pixels) and flux (1 in all) of its Gaussians, (K,) each."""
    form = (0, 1, int(rng.random() < 0.5), 2)[label]
    low, high = BOUNDS[:, form].T
    drawn = dict(zip(geometry.SHAPE, low + rng.random(len(BOUNDS)) * (high - low), strict=True))
    las = np.interp(rng.random(), priors.PROBABILITIES, TABLES["las_arcsec"][label])
    half_bend = np.radians(np.interp(rng.random(), priors.PROBABILITIES, TABLES["bending_angle_deg"][label]) / 2)
    width = drawn["width_fraction"] * min((geometry.THIN_FROM_ARCSEC / las) ** geometry.THIN_POWER, geometry.THICKEST)
    angle, mirror = 2 * np.pi * rng.random(), rng.choice((-1, 1))
    lobe, outer = drawn["lobe_distance_fraction"], (1 - drawn["lobe_distance_fraction"]) / 2
    inner = outer / drawn["asymmetry"] if form == 0 else outer * drawn["asymmetry"]
    first, last = max(lobe - geometry.CHAIN_END * inner, 0), lobe + geometry.CHAIN_END * outer
    links = first + (np.arange(geometry.LINKS) + 0.5) / geometry.LINKS * (last - first)
    stations = np.concatenate([links, [lobe, 1.0]])
    turn = drawn["turning"] * min(half_bend, np.radians(geometry.LARGEST_TURN_DEG))
    along, across, sigma, flux, corners = [0.0], [0.0], [0.0], [drawn["core_fraction"]], [(0.0, 0.0)]
    shares = (drawn["first_arm_fraction"], 1 - drawn["first_arm_fraction"])
    for forward, length, share in zip((1, -1), (1.0, drawn["arm_ratio"]), shares, strict=True):
        direction = half_bend + (turn + forward * np.radians(drawn["twist_deg"])) * (stations - lobe)
        chord = length * stations * np.sinc(turn * stations / np.pi)
        a, b = forward * chord * np.cos(direction), mirror * chord * np.sin(direction)
        corners += [(a[-2], b[-2]), (a[-1], b[-1])]
        side = np.where(links < lobe, inner, outer)
        bright = np.exp(-0.5 * ((links - lobe) / side) ** 2 + drawn["clumpiness"] * rng.standard_normal(geometry.LINKS))
        swing = drawn["meander_fraction"] * rng.standard_normal() * length * links
        b[:-2] += swing * np.sin(2 * np.pi * geometry.MEANDER_WAVES * (links - lobe))
        along += [*a[:-2], a[-2], a[-2]]
        across += [*b[:-2], b[-2], b[-2]]
        sigma += [*(width * length * (1 - drawn["flare"] + drawn["flare"] * links))]
        sigma += [width * drawn["halo_width_ratio"] * length, geometry.HOTSPOT_WIDTH * length]
        arm = share * (1 - drawn["core_fraction"])
        halo, hotspot = drawn["halo_fraction"], drawn["hotspot_fraction"]
        flux += [*(bright / bright.sum() * arm * (1 - halo) * (1 - hotspot))]
        flux += [arm * (1 - hotspot) * halo, arm * hotspot]
    extent = max(np.hypot(p[0] - q[0], p[1] - q[1]) for i, p in enumerate(corners) for q in corners[:i])
    scale = las / extent / CONFIG.pixel_arcsec
    middle = (SIZE - 1) / 2 + rng.normal(0, CONFIG.offset_arcsec / CONFIG.pixel_arcsec, 2)
    along_px, across_px = scale * np.array(along), scale * np.array(across)
    x = middle[0] - along_px * np.sin(angle) - across_px * np.cos(angle)
    y = middle[1] + along_px * np.cos(angle) - across_px * np.sin(angle)
    return x, y, scale * np.array(sigma), np.array(flux)


def plain_render(x: np.ndarray, y: np.ndarray, sigma: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Add Gaussians up, each on the whole grid."""
    image = np.zeros((SIZE, SIZE))
    for cx, cy, s, f in zip(x, y, sigma, flux, strict=True):
        variance = s * s + SIGMA**2
        image += f * SIGMA**2 / variance * np.exp(-((XX - cx) ** 2 + (YY - cy) ** 2) / (2 * variance))
    return image


def factored_render(x: np.ndarray, y: np.ndarray, sigma: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Add Gaussians up as products of a column and a row."""
    variance = sigma**2 + SIGMA**2
    rows = np.exp(-((GRID - y[:, None]) ** 2) / (2 * variance[:, None])) * (flux * SIGMA**2 / variance)[:, None]
    return rows.T @ np.exp(-((GRID - x[:, None]) ** 2) / (2 * variance[:, None]))


def plain_noise(rng: np.random.Generator) -> np.ndarray:
    """Convolve white noise with the beam, edges cut off."""
    return fftconvolve(rng.standard_normal((SIZE + 2 * REACH, SIZE + 2 * REACH)), KERNEL, mode="valid")


def factored_noise(rng: np.random.Generator) -> np.ndarray:
    """Spread white noise with one matrix an axis."""
    return SPREAD @ rng.standard_normal((SPREAD.shape[1], SPREAD.shape[1])) @ SPREAD.T


def loop(count: int, render: Callable[..., np.ndarray], noise: Callable[..., np.ndarray]) -> np.ndarray:
    """Simulate image by image."""
    rng = np.random.default_rng(0)
    images = np.empty((count, SIZE, SIZE), np.float32)
    expected = CONFIG.field_sources_per_deg2 * (SIZE * CONFIG.pixel_arcsec / 3600) ** 2
    for index in range(count):
        label = index % len(CLASSES)
        image = render(*layout(rng, label))
        faintest = CONFIG.snr_min * CONFIG.rms_jy_beam / image.max()
        table = TABLES["flux_jy"][label]
        below = np.interp(faintest, table, priors.PROBABILITIES)
        flux = max(np.interp(below + rng.random() * (1 - below), priors.PROBABILITIES, table), faintest)
        image *= flux
        there = rng.poisson(expected)
        if there:
            bright = np.minimum(FIELD_MIN_JY * rng.random(there) ** (-1 / FIELD_SLOPE), FIELD_MAX_JY)
            image += render(*rng.uniform(-0.5, SIZE - 0.5, (2, there)), np.zeros(there), bright)
        image += CONFIG.rms_jy_beam * noise(rng)
        images[index] = image
    return images


def seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Time one call."""
    start = clock()
    call()
    return clock() - start


def speed(rounds: int) -> None:
    """Print images a second of each way, and the ratios.

    Once core for core: processor time on one thread, which does not count what other programs take away. And once by
    the clock on the wall, the simulator called from as many threads as there are cores, the loops being loops.
    """
    torch.set_num_threads(1)
    simulator, cpu, cores = RadioGalaxy(CONFIG), torch.device("cpu"), len(os.sched_getaffinity(0))
    plain, factored, batched, batch = 200, 400, 8192, 1024
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "NumPy loop, plain": (plain, lambda: loop(plain, plain_render, plain_noise)),
        "NumPy loop, factored": (factored, lambda: loop(factored, factored_render, factored_noise)),
    }
    parts = torch.arange(batched).split(batch)

    def one() -> None:
        for part in parts:
            simulator.simulate(part, 0, cpu)

    def all_cores() -> None:
        with ThreadPoolExecutor(cores) as pool:
            for _ in pool.map(lambda part: simulator.simulate(part, 0, cpu), parts):
                pass

    for title, clock, ours in (
        ("processor time, one core", time.process_time, one),
        (f"wall clock, {cores} cores", time.perf_counter, all_cores),
    ):
        trials = {**ways, "radio-galaxy": (batched, ours)}
        times: dict[str, list[float]] = {name: [] for name in trials}
        for _ in range(rounds + 1):  # in turn, so that the machine's load falls on all; the first round warms up
            for name, (count, call) in trials.items():
                times[name].append(seconds(call, clock) / count)
        medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
        mine = medians.pop("radio-galaxy")
        print(f"{SIZE}x{SIZE}, {title}, median of {rounds}: radio-galaxy {1 / mine:.0f} images/s")
        for name, theirs in medians.items():
            print(f"    {name}: {1 / theirs:.0f} images/s, ratio {theirs / mine:.1f}")


PEAK = """
import resource, sys
from pathlib import Path
from rich.console import Console
from rvtool.verbs.simulate import Settings, run
run(Settings(simulator="radio-galaxy", count=int(sys.argv[1]), out=Path(sys.argv[2])), Console(quiet=True))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory(count: int) -> None:
    """Print the peak memory of `rvtool simulate` for a count and for four times as many, and the ratio."""
    peaks = []
    for number in (count, 4 * count):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", PEAK, str(number), f"{folder}/sim"]
            peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024)
    print(f"peak memory: {peaks[0]:.0f} MiB for {count}, {peaks[1]:.0f} MiB for {4 * count} images of 150x150")
    print(f"memory ratio: {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1500, help="images for the smaller of the two memory runs")
    arguments = parser.parse_args()
    speed(arguments.rounds)
    memory(arguments.count)
