"""Make the tables that ship with the codec `predictive`, from simulated skies alone.

Each sky is noise of some beam or uv coverage with point sources, faint doubles and clouds, and is coded within some
bound. What the probabilities and mixing weights have become at its end is what tiles begin with. Takes two minutes::

    python examples/predictive_priors.py plugins/rvtool_plugins/codecs/predictive/priors_1.npz
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from rvtool_plugins.codecs.predictive import PredictiveConfig, adaptive, codec, kernel, predictor, priors

SKIES = 200
ROUNDS = 2
BOUNDS = (0.0625, 0.125, 0.25, 0.25, 0.5, 1.0)  # in units of the noise
SIGMA = 1e-4


def spectrum(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return the power of noise at each spatial frequency: of a beam, of a disc in the uv plane, or white."""
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
    along, across = fx * np.cos(angle) + fy * np.sin(angle), (fy * np.cos(angle) - fx * np.sin(angle)) * ratio
    radius2 = along**2 + across**2
    kind = rng.choice(["beam", "disc", "white"], p=[0.5, 0.4, 0.1])
    if kind == "beam":
        power = np.exp(-((2 * np.pi * rng.uniform(1.8, 7.0) / 2.3548) ** 2) * radius2)
    elif kind == "disc":
        power = np.where(
            radius2 < rng.uniform(0.15, 0.4) ** 2, np.exp(-radius2 / (2 * rng.uniform(0.08, 0.3) ** 2)), 0.0
        )
    else:
        power = np.ones_like(radius2)
    return power / power.mean() + 1e-7


def sky(rng: np.random.Generator) -> np.ndarray:
    """Return a square map, Jy/beam, of noise `SIGMA`, point sources, doubles and sometimes a cloud."""
    size = int(rng.choice([150, 256, 400, 512]))
    power = spectrum(rng, size)
    image = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * np.sqrt(power)).real
    y, x = np.mgrid[:size, :size]
    sigma_px = rng.uniform(1.8, 7.0) / 2.3548
    for _ in range(rng.poisson(3e-4 * size * size * rng.uniform(0.2, 2))):
        peak = min(3 / (1 - rng.random()), 3000)
        place, offset = rng.uniform(0, size, 2), rng.normal(0, 3, 2) * (rng.random() < 0.2)
        for one in (place, place + offset):
            image += peak * np.exp(-((x - one[0]) ** 2 + (y - one[1]) ** 2) / (2 * sigma_px**2))
    if rng.random() < 0.3:
        frequency2 = np.add.outer(np.fft.fftfreq(size) ** 2, np.fft.fftfreq(size) ** 2) + 1e-5
        cloud = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * frequency2**-0.8).real
        image += cloud / cloud.std() * rng.uniform(1, 10)
    return (image * SIGMA).astype(np.float32)


def learn(now: priors.Priors, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Code skies and return the tables that would have served them best, and B's weights."""
    chances: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    bright: list[np.ndarray] = []
    run = codec.code_tile

    def watched(*given: object) -> int:
        used = run(*given)
        table, mixing = given[-6], given[-5]
        chances.append((table >> 10).astype(np.float64) / (1 << 22))
        counts.append((table & 1023).astype(np.int64) - (now.chances & 1023))
        weights.append(mixing.copy())
        return used

    codec.code_tile = watched
    fit = codec.fit

    def noted(*given: np.ndarray) -> list[tuple[predictor.Predictors, float]]:
        fitted = fit(*given)
        if fitted[0][0].bright:
            bright.append(fitted[0][0].bright.weights)
        return fitted[:1]

    codec.fit = noted
    try:
        coder = codec.PredictiveCodec(PredictiveConfig())
        for number in range(SKIES):
            rng = np.random.default_rng([seed, number])
            coder.encode(sky(rng), float(rng.choice(BOUNDS)) * SIGMA)
            print(f"\r{number + 1} of {SKIES}", end="", flush=True)
    finally:
        codec.code_tile, codec.fit = run, fit
    print()
    return combined(now, np.array(chances), np.array(counts), np.array(weights)), np.median(bright, axis=0)


def combined(now: priors.Priors, chances: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Average what was learnt: log odds by the answers behind them, and how much they differ from sky to sky."""
    behind = np.clip(counts, 0, 300).astype(np.float64)
    total = behind.sum(axis=0)
    old = (now.chances >> 10).astype(np.float64) / (1 << 22)
    sure = np.clip(chances, 1e-5, 1 - 1e-5)
    odds = np.log(sure / (1 - sure))
    mean = (odds * behind).sum(axis=0) / np.maximum(total, 1)
    seen = total >= 20
    chance = np.where(seen, 1 / (1 + np.exp(-mean)), old)
    variance = (behind * (chances - chance) ** 2).sum(axis=0) / np.maximum(total, 1)
    worth = np.clip(chance * (1 - chance) / np.maximum(variance, 1e-9) - 1, 3, 120)
    moved = np.abs(weights - now.weights).sum(axis=2) > 0
    mixed = np.where(
        moved.any(axis=0)[:, None],
        (weights * moved[..., None]).sum(axis=0) / np.maximum(moved.sum(axis=0), 1)[:, None],
        now.weights,
    )
    return {
        "chances": np.clip(np.rint(chance * 65536), 32, 65503).astype(np.uint16),
        "counts": np.where(seen, worth, now.chances & 1023).astype(np.uint8),
        "weights": mixed[:, : adaptive.EXPERTS].round().astype(np.int32),
    }


def survival(z: np.ndarray) -> np.ndarray:
    """Return how probable more than `z` scales is: a Gaussian with wide wings."""
    from scipy.special import ndtr

    return 0.96 * ndtr(-z) + 0.04 * (0.5 - np.arctan(z / 1.5) / np.pi)


def first() -> dict[str, np.ndarray]:
    """Return the tables before anything is learnt: what a Gaussian of each scale would answer."""
    scale = 0.15 * 2 ** (np.arange(adaptive.SCALES) / 2.6)  # cells
    chances = np.full(adaptive.PROBABILITIES, 0.5)
    counts = np.full(adaptive.PROBABILITIES, 1, np.uint8)
    place, edge = (np.arange(32) + 0.5) / 32, (np.arange(104) + 0.5) / 8 - 3
    for expert in (0, 1, 2, 5):
        for number, width in enumerate(scale):
            at = adaptive.SIDE_AT[expert] + number * 32
            chances[at : at + 32], counts[at : at + 32] = survival((0.5 - place) / width), 20
            at = adaptive.HAZARD_AT[expert] + number * 128
            chances[at : at + 104] = survival((edge + 1) / width) / survival(edge / width)
            counts[at : at + 104] = 20
    centre = (np.arange(4096) + 0.5) / 4096
    thresholds = 0.15 * 2 ** ((np.arange(adaptive.SCALES - 1) + 0.5) / 2.6) * 0.8 * kernel.UNITS * 16
    bright = np.zeros(predictor.BRIGHT.west + predictor.BRIGHT.reach)
    bright[[3, 2, predictor.BRIGHT.west]] = 8192, -8192, 8192  # north - north-west + west
    return {
        "chances": np.clip(np.rint(chances * 65536), 32, 65503).astype(np.uint16),
        "counts": counts,
        "weights": np.tile((np.array([18, 8, 18, 5, 5, 14]) * 16000).astype(np.int32), (adaptive.SETS, 1)),
        "thresholds": thresholds.astype(np.int32),
        "stretch": np.clip(np.rint(256 * np.log(centre / (1 - centre))), -2047, 2047).astype(np.int16),
        "squash": np.clip(np.rint(65536 / (1 + np.exp(-(np.arange(4096) - 2048) / 256))), 32, 65504).astype(np.uint16),
        "steps": (65536 / (np.arange(1024) + 1.6)).astype(np.uint16),
        "bright": bright.astype(np.int32),
    }


def main() -> None:
    """Make the tables and write them to the file that is named."""
    tables = first()
    for number in range(ROUNDS):
        data = io.BytesIO()
        np.savez_compressed(data, **tables)
        now = priors.unpacked(data.getvalue())
        codec.priors = lambda now=now: now
        learnt, bright = learn(now, number)
        tables |= {**learnt, "bright": bright.round().astype(np.int32)}
    data = io.BytesIO()
    np.savez_compressed(data, **tables)
    Path(sys.argv[1]).write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
