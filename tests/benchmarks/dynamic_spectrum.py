"""Prints how fast `dynamic-spectrum` is against a loop over images, and how its classes can be told apart.

    python tests/benchmarks/dynamic_spectrum.py
    rvtool run examples/dynamic_spectrum.toml
    python tests/benchmarks/dynamic_spectrum.py --recipe dynamic_spectrum

The loop makes the same recipe image by image in NumPy, as one writes it: whole arrays, pulses by their phase (and, told
apart, pulse by pulse), smooth fields by Fourier transforms, interference as outer products. Processor time on one
thread, both in turn.

With `--recipe`, a logistic regression on 20 summary numbers of each image (of all pixels, of the mean time series, of
the mean spectrum) is fitted on the recipe's training images and judged beside its classifier at each quality.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rvtool.data.dataset import Dataset, open_dataset
from rvtool_plugins.simulators.dynamic_spectrum import CLASSES, QUALITIES, DynamicSpectrumConfig, lines
from rvtool_plugins.simulators.dynamic_spectrum import receiver as defaults
from rvtool_plugins.simulators.dynamic_spectrum.simulator import DynamicSpectrum

CONFIG = DynamicSpectrumConfig()
C, T = CONFIG.channels, CONFIG.samples
LOW = CONFIG.centre_mhz - C * CONFIG.channel_mhz / 2
MHZ = LOW + CONFIG.channel_mhz * (np.arange(C) + 0.5)
EDGES = LOW + CONFIG.channel_mhz * np.arange(C + 1)
SECONDS = CONFIG.sample_s * (np.arange(T) + 0.5)
DELAY_S_DM = 4.148808e-3 * ((MHZ / 1000) ** -2 - (CONFIG.centre_mhz / 1000) ** -2)
CYCLES_S = np.fft.rfftfreq(T, CONFIG.sample_s)
CYCLES_MHZ = np.fft.fftfreq(C, CONFIG.channel_mhz)
FWHM = math.sqrt(8 * math.log(2))


# ---------------------------------------------------------------- the loop


def log(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a log-uniform number."""
    return low * (high / low) ** rng.random()


def smooth(rng: np.random.Generator, filtered: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Filter white noise to unit variance; `filtered` is on the grid of `rfftn`."""
    field = np.fft.irfftn(np.fft.rfftn(rng.standard_normal(shape)) * filtered, shape, axes=range(len(shape)))
    return field / field.std()


def pulsar(rng: np.random.Generator, by_pulse: bool) -> np.ndarray:
    """Make dispersed pulses, folded or one by one."""
    period, dm, flux = log(rng, 0.05, T * CONFIG.sample_s / 3), log(rng, 50, 300), log(rng, 0.006, 0.06)
    index, modulation = -1.6 + 0.54 * rng.standard_normal(), rng.uniform(0.1, 1)
    smear = 2 * 4.148808e-3 * dm * CONFIG.channel_mhz / 1000 * (MHZ / 1000) ** -3
    sigma = np.sqrt((period * rng.uniform(0.02, 0.1) / FWHM) ** 2 + (smear**2 + CONFIG.sample_s**2) / 12)
    log_dm = math.log10(dm)
    ms = 10 ** (-6.46 + 0.154 * log_dm + 1.07 * log_dm**2 - 3.86 * math.log10(1.404) + 0.65 * rng.standard_normal())
    band = 1.16 / (2 * math.pi) / ms / 1000
    width = max(band, 2 * CONFIG.channel_mhz) / math.sqrt(2 * math.log(2))
    taper = np.exp(-0.5 * (2 * math.pi * np.fft.rfftfreq(C, CONFIG.channel_mhz) * width) ** 2)
    power = 0.5 * sum(smooth(rng, taper, (C,)) ** 2 for _ in range(2))
    gain = 1 + (power - 1) / math.sqrt(1 + CONFIG.channel_mhz / band)
    height = flux * (MHZ / CONFIG.centre_mhz) ** index * gain * period / sigma / math.sqrt(2 * math.pi)
    scatter = math.sqrt(math.log1p(modulation**2))
    bright = np.exp(scatter * rng.standard_normal(64) - scatter**2 / 2)
    start = period * rng.random() + dm * DELAY_S_DM
    if by_pulse:
        image = np.zeros((C, T))
        for number in range(-2, int(T * CONFIG.sample_s / period) + 2):
            away = SECONDS - (start + number * period)[:, None]
            image += bright[number] * height[:, None] * np.exp(-0.5 * (away / sigma[:, None]) ** 2)
        return image
    turns = (SECONDS - start[:, None]) / period
    number = np.round(turns)
    profile = np.exp(np.maximum(-0.5 * ((turns - number) * (period / sigma)[:, None]) ** 2, -30))
    return profile * bright[number.astype(int)] * height[:, None]


def quasar(rng: np.random.Generator) -> np.ndarray:
    """Make a power law that scintillates."""
    fresnel_km = math.sqrt(lines.C_KM_S / CONFIG.centre_mhz / 1e6 * 1.495978707e8 * rng.uniform(0.3, 1) / (2 * math.pi))
    fresnel_s, strength, point = fresnel_km / rng.uniform(300, 800), log(rng, 0.1, 3), log(rng, 0.03, 0.5)
    strong = max(strength, 1)
    brief, wide = fresnel_s / strong / math.sqrt(2), CONFIG.centre_mhz * strong**-2 / math.sqrt(2 * math.log(2))
    taper = np.exp(-0.5 * (2 * math.pi) ** 2 * ((CYCLES_MHZ[:, None] * wide) ** 2 + (CYCLES_S * brief) ** 2))
    power = 0.5 * sum(smooth(rng, taper, (C, T)) ** 2 for _ in range(2))
    slow = smooth(rng, np.exp(-0.5 * (2 * math.pi * CYCLES_S * fresnel_s * strong / math.sqrt(2)) ** 2), (T,))
    scatter = math.sqrt(math.log1p((point * strong ** (-1 / 3) if strength > 1 else 0) ** 2))
    gain = (1 + point * min(strength, 1) ** (5 / 6) * (power - 1)) * np.exp(scatter * slow - scatter**2 / 2)
    return log(rng, 0.5, 10) * ((MHZ / CONFIG.centre_mhz) ** rng.uniform(-1, 0.3))[:, None] * gain


def spiral(rng: np.random.Generator) -> np.ndarray:
    """Make a continuum and a double-horned line, a column."""
    centre = lines.HI_MHZ / (1 + rng.uniform(0, 0.034))
    width, lopsided, flux = rng.uniform(100, 500), rng.uniform(-0.4, 0.4), log(rng, 30, 300)
    speed = lines.C_KM_S * (1 - EDGES / centre)
    below = np.zeros(C + 1)
    for place, weight in lines.HERMITE:
        share = np.clip((speed - place * 9) / (width / 2), -1, 1)
        below += weight * (np.arcsin(share) - lopsided * np.sqrt(1 - share**2)) / math.pi
    line = -np.diff(below) * flux / (lines.C_KM_S * CONFIG.channel_mhz / centre)
    continuum = log(rng, 0.02, 0.3) * (MHZ / CONFIG.centre_mhz) ** (-0.7 + 0.2 * rng.standard_normal())
    return (continuum + line)[:, None]


def nebula(rng: np.random.Generator) -> np.ndarray:
    """Make free-free emission and recombination lines, a column."""
    depth, kelvin, width = log(rng, 0.003, 1), rng.uniform(5000, 10000), rng.uniform(18, 40)
    ratio, velocity = MHZ / CONFIG.centre_mhz, rng.uniform(-100, 100)
    bright = np.zeros(C)
    for level in lines.levels_between(EDGES[0], EDGES[-1]):
        rest = lines.recombination_mhz(level)
        centre = rest * (1 - velocity / lines.C_KM_S)
        sigma = width / FWHM / lines.C_KM_S * centre
        below = np.array([0.5 * (1 + math.erf((edge - centre) / sigma / math.sqrt(2))) for edge in EDGES])
        strength = 7103.3 * (rest / 1000) ** 1.1 / (1 + lines.HELIUM) * kelvin**-1.15
        bright += np.diff(below) * strength / (lines.C_KM_S * CONFIG.channel_mhz / centre)
    thermal = ratio**2 * np.expm1(-depth * ratio**-2.1) / np.expm1(-depth)
    return (log(rng, 3, 30) * thermal * (1 + bright * depth / np.expm1(depth)))[:, None]


def loop(count: int, by_pulse: bool) -> np.ndarray:
    """Simulate image by image."""
    rng = np.random.default_rng(0)
    images = np.empty((count, C, T), np.float32)
    channel = np.arange(C)
    integrated = CONFIG.polarisations * CONFIG.channel_mhz * 1e6 * CONFIG.sample_s
    for index in range(count):
        name = CLASSES[index % 4]
        source = pulsar(rng, by_pulse) if name == "pulsar" else (quasar, spiral, nebula)[index % 4 - 1](rng)
        level = rng.choice(3, p=CONFIG.quality_mix)
        power = CONFIG.sefd_jy[level] + 0.5 * 20 ** rng.random() + source.mean()
        sigma = power / math.sqrt(integrated)
        image = rng.standard_normal((C, T), np.float32) * np.float32(sigma)
        image += source
        drift_s, part = log(rng, *defaults.DRIFT_S), CONFIG.baseline_fraction[level] * power
        drift = smooth(rng, np.exp(-0.5 * (math.pi * CYCLES_S * drift_s) ** 2), (T,))
        ripple = np.sin(2 * math.pi * (MHZ / log(rng, *defaults.RIPPLE_MHZ) + rng.random()))
        image += 0.25 * power * rng.standard_normal() + part * rng.uniform(0.5, 1.5) * drift
        image += (part * rng.uniform(0.5, 1.5) * math.sqrt(2) * ripple)[:, None]
        for _ in range(rng.poisson(CONFIG.rfi_channels[level])):
            line = np.exp(-0.5 * ((channel - C * rng.random()) / rng.uniform(*defaults.LINE_CHANNELS)) ** 2)
            on = (SECONDS / log(rng, *defaults.KEYED_S) + rng.random()) % 1 < 0.3 + rng.random()
            image += np.outer(log(rng, *defaults.STRENGTH) * sigma * line, on)
        for _ in range(rng.poisson(CONFIG.rfi_bursts[level])):
            burst = np.exp(-0.5 * ((SECONDS - SECONDS[-1] * rng.random()) / log(rng, *defaults.BURST_S)) ** 2)
            slope = 1 + rng.uniform(-1, 1) * (2 * channel / (C - 1) - 1)
            image += np.outer(log(rng, *defaults.STRENGTH) * sigma * slope, burst)
        lost = 1 - math.sqrt(1 - CONFIG.dropped_fraction[level])
        image[rng.random(C) < lost] = np.nan
        image[:, np.repeat(rng.random(T // defaults.LOST_SAMPLES) < lost, defaults.LOST_SAMPLES)] = np.nan
        images[index] = image
    return images


def seconds(call: Callable[[], object]) -> float:
    """Time one call in processor time."""
    start = time.process_time()
    call()
    return time.process_time() - start


def speed(rounds: int) -> None:
    """Print images a second of each way, and the ratios."""
    torch.set_num_threads(1)
    simulator, batched, looped = DynamicSpectrum(CONFIG), 64, 16
    trials: dict[str, tuple[int, Callable[[], object]]] = {
        "NumPy loop": (looped, lambda: loop(looped, by_pulse=False)),
        "NumPy loop, pulse by pulse": (looped, lambda: loop(looped, by_pulse=True)),
        "dynamic-spectrum": (batched, lambda: simulator.simulate(torch.arange(batched), 0, torch.device("cpu"))),
    }
    times: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(rounds + 1):  # in turn, so that the machine's load falls on all; the first round warms up
        for name, (count, call) in trials.items():
            times[name].append(seconds(call) / count)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    mine = medians.pop("dynamic-spectrum")
    print(f"{C}x{T}, processor time, one core, median of {rounds}: dynamic-spectrum {1 / mine:.0f} images/s")
    for name, theirs in medians.items():
        print(f"    {name}: {1 / theirs:.0f} images/s, ratio {theirs / mine:.1f}")


# ---------------------------------------------------------------- the classes


def moments(values: np.ndarray) -> list[float]:
    """Return robust deviation, deviation over it, skewness, kurtosis, largest and least value, in its units."""
    values = values[np.isfinite(values)]
    middle = np.median(values)
    robust = 1.4826 * np.median(np.abs(values - middle)) + 1e-12
    z = (values - middle) / robust
    from_mean = z - z.mean()
    spread = from_mean.std() + 1e-12
    return [robust, spread, (from_mean**3).mean() / spread**3, (from_mean**4).mean() / spread**4, z.max(), z.min()]


def correlation(values: np.ndarray, lag: int) -> float:
    """Return the autocorrelation at a lag."""
    values = np.nan_to_num(values - np.nanmean(values))
    return float((values[lag:] * values[:-lag]).sum() / ((values**2).sum() + 1e-12))


def summary(image: np.ndarray) -> list[float]:
    """Return 20 numbers that sum an image ``(C, T)`` up."""
    with warnings.catch_warnings(action="ignore"):  # whole channels and packets are lost
        series, spectrum = np.nanmean(image, 0), np.nanmean(image, 1)
    pixels, times, frequencies = moments(image), moments(series), moments(spectrum)
    return [
        float(np.nanmean(image)),
        *(pixels[n] for n in (0, 2, 3, 4)),
        times[0] / pixels[0],
        *times[1:],
        *(correlation(series, lag) for lag in (1, 10, 50)),
        frequencies[0] / pixels[0],
        *frequencies[2:],
        correlation(spectrum, 1),
    ]


def summaries(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers ``(N, 20)`` and classes ``(N,)`` of a dataset."""
    from rvtool.data.fits import planes

    paths = dataset.column("path")
    rows = {(path, plane): row for row, (path, plane) in enumerate(zip(paths, dataset.column("plane"), strict=True))}
    numbers = np.empty((len(dataset), 20))
    for path in sorted(set(paths)):
        for image in planes(dataset.root / path):
            if (row := rows.get((path, image.plane))) is not None:
                numbers[row] = summary(image.data[0].astype(np.float64))
    return numbers, np.array([CLASSES.index(name) for name in dataset.column("label")])


def fit(numbers: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a logistic regression on numbers that are centred, scaled by their quartiles and pressed by asinh."""
    middle = np.median(numbers, 0)
    scale = np.subtract(*np.percentile(numbers, [75, 25], axis=0)) + 1e-9

    def terms(values: np.ndarray) -> torch.Tensor:
        pressed = np.arcsinh((values - middle) / scale)
        return torch.from_numpy(np.column_stack([pressed, np.ones(len(values))]))

    weights = torch.zeros(numbers.shape[1] + 1, len(CLASSES), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")
    inputs, truth = terms(numbers), torch.from_numpy(labels)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(inputs @ weights, truth) + 1e-3 * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return lambda values: (terms(values) @ weights).argmax(1).numpy()


def classes(recipe: Path) -> None:
    """Print the accuracy of both at each quality."""
    answer = fit(*summaries(open_dataset(recipe / "mixed")))
    for quality in QUALITIES:
        numbers, labels = summaries(open_dataset(recipe / quality))
        right = float((answer(numbers) == labels).mean())
        judged = json.loads((recipe / f"{quality}-evaluation" / "metrics.json").read_text())["accuracy"]
        told = f"{judged['value']:.3f} ({judged['low']:.3f} to {judged['high']:.3f})"
        print(f"{quality}, {len(labels)} images: classifier {told}, logistic regression on 20 numbers {right:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipe", type=Path, help="out of examples/dynamic_spectrum.toml: judge the classes instead")
    arguments = parser.parse_args()
    if arguments.recipe is not None:
        classes(arguments.recipe)
    else:
        speed(arguments.rounds)
