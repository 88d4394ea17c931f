"""What is measured of faint sources and of noise is what was done to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import fourier_shift, gaussian_filter

from rvtool.report import faint

SIGMA, FWHM = 1e-4, 4.0
NOISE = np.random.default_rng(0).normal(0, SIGMA, (400, 420)).astype(np.float32)


def rounded(step: float):
    """Quantise with subtractive dither: the error is uniform and knows nothing of the image."""
    random = np.random.default_rng(1)

    def restore(image: np.ndarray) -> np.ndarray:
        dither = random.uniform(-0.5, 0.5, image.shape)
        return ((np.rint(image / step + dither) - dither) * step).astype(image.dtype)

    return restore


def test_an_honest_quantiser_keeps_the_stack() -> None:
    ratio = faint.stacked_ratio([NOISE], [SIGMA], FWHM, rounded(0.5 * SIGMA))
    assert 0 < ratio.error < faint.ENOUGH
    assert abs(ratio.value - 1) < 4 * ratio.error


def test_flux_that_is_taken_is_missed() -> None:
    ratio = faint.stacked_ratio([NOISE], [SIGMA], FWHM, lambda image: 0.9 * image)
    assert ratio.value == pytest.approx(0.9, abs=3 * ratio.error)
    smoothed = faint.stacked_ratio([NOISE], [SIGMA], FWHM, lambda image: gaussian_filter(image, 0.5))
    assert smoothed.value < 0.95


def test_biases_of_bright_sources() -> None:
    empty = np.zeros((300, 300))
    flux, _ = faint.bright_biases(empty, SIGMA, FWHM, lambda image: 1.03 * image)
    assert flux.value == pytest.approx(0.03, rel=1e-4)

    def moved(image: np.ndarray) -> np.ndarray:
        return np.fft.ifft2(fourier_shift(np.fft.fft2(image), (0.03, -0.04))).real

    flux, position = faint.bright_biases(empty, SIGMA, FWHM, moved)
    assert position.value == pytest.approx(0.05, rel=0.02)
    assert abs(flux.value) < 1e-3


def test_noise_grows_by_the_quantiser_and_no_more() -> None:
    bound = 0.5 * SIGMA
    growth, permitted = faint.noise_growth(NOISE, rounded(2 * bound)(NOISE), SIGMA, bound)
    assert np.sqrt(1 + 1 / 12) == pytest.approx(growth, rel=2e-3)
    assert growth < permitted < growth + 5e-3
    # as large an error everywhere as the bound allows
    worst = NOISE + bound * np.random.default_rng(2).choice((-1, 1), NOISE.shape)
    growth, permitted = faint.noise_growth(NOISE, worst, SIGMA, bound)
    assert growth > permitted


def test_noise_is_compared_where_it_is() -> None:
    image = NOISE.copy()
    image[:200] += np.random.default_rng(3).normal(0, 100 * SIGMA, (200, 420)).astype(np.float32)  # emission
    image[300:310] = np.nan
    growth, _ = faint.noise_growth(image, image + 0.1 * image, SIGMA, SIGMA)
    assert growth == pytest.approx(1.1, rel=1e-3)
    assert faint.noise_growth(image[:200], image[:200], SIGMA, SIGMA) is None


def test_sources_keep_off_blank_pixels_and_edges() -> None:
    image = NOISE.copy()
    image[100:250] = np.nan
    sources = faint.place(image, FWHM, seed=0)
    assert 100 < len(sources) <= faint.MOST_SOURCES
    assert np.isfinite(image[sources.rows, sources.columns]).all()
    assert (np.hypot(sources.east, sources.north).min(1) < np.sqrt(0.5)).all()  # the nearest pixel is among them
    at = np.stack([sources.rows[:, 0] - sources.north[:, 0], sources.columns[:, 0] - sources.east[:, 0]], 1)
    apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(at))
    assert apart.min() >= faint.APART_FWHM * FWHM
    assert faint.stacked_ratio([image[:8, :8]], [SIGMA], FWHM, lambda given: given) is None


def test_a_quantised_map_stays_on_its_grid() -> None:
    step, origin = 0.2 * SIGMA, 0.07 * SIGMA
    image = (origin + step * np.rint(NOISE / step)).astype(np.float32)
    found, first = faint.own_grid(image, SIGMA)
    assert found == pytest.approx(step, rel=1e-5)
    assert (first - origin) / step == pytest.approx(round((first - origin) / step), abs=1e-3)
    sources = faint.place(image, FWHM, seed=0)
    given = sources.into(image, 0.3 * SIGMA, SIGMA)
    assert faint.own_grid(given, SIGMA)[0] == pytest.approx(step, rel=1e-5)
    assert (sources.amplitudes(given - image, 0.5) / (0.3 * SIGMA)).mean() == pytest.approx(1, abs=0.02)
    assert faint.own_grid(NOISE, SIGMA) == (0.0, 0.0)
    assert faint.own_grid(np.rint(NOISE / step).astype(np.float32) ** 3, 100.0) == (0.0, 0.0)  # few numbers, no grid
