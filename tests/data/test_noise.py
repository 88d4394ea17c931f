"""The noise of a map, against noise whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rvtool.data.noise import noise_map, noise_sigma


def noise(shape: tuple[int, int], beam_pixels: float, seed: int = 0) -> np.ndarray:
    """Unit noise, smoothed by a Gaussian beam of this full width at half maximum."""
    rng = np.random.default_rng(seed)
    if not beam_pixels:
        return rng.normal(size=shape).astype(np.float32)
    sigma = beam_pixels / 2.3548
    smooth = gaussian_filter(rng.normal(size=(shape[0] + 64, shape[1] + 64)), sigma)[32:-32, 32:-32]
    return (smooth * np.sqrt(4 * np.pi) * sigma).astype(np.float32)  # the norm of a continuous Gaussian kernel


def with_sources(image: np.ndarray, seed: int = 1) -> np.ndarray:
    """Add sources of 3 sigma / u, u uniform in (0, 1], 300 a megapixel, FWHM 4 pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    image = image.copy()
    for _ in range(int(300 * image.size / 1024**2)):
        row, column = rng.uniform(0, image.shape[0]), rng.uniform(0, image.shape[1])
        peak = min(3 / rng.uniform(1e-3, 1), 3000)
        image += peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * (4 / 2.3548) ** 2))
    return image


@pytest.mark.parametrize("beam_pixels", [0, 2.5, 4, 8])
def test_noise_is_within_five_percent_of_the_truth_whatever_the_beam(beam_pixels: float) -> None:
    image = 0.01 * noise((512, 512), beam_pixels)
    assert noise_sigma(image) == pytest.approx(0.01, rel=0.05)
    assert noise_sigma(0.01 * with_sources(image / 0.01)) == pytest.approx(0.01, rel=0.05)


def test_a_gradient_of_the_noise_and_a_pedestal_show_in_the_map_and_not_in_its_median() -> None:
    image = 100 + noise((512, 512), 2.5) * np.linspace(0.5, 1.5, 512)
    sigmas = noise_map(image)
    assert sigmas.shape == (4, 4)
    assert np.all(np.diff(sigmas.mean(axis=0)) > 0)
    assert noise_sigma(image) == pytest.approx(1, rel=0.05)


def test_stamps_cubes_and_blanks() -> None:
    stamps = [noise_sigma(noise((10, 10), 0, seed)) for seed in range(50)]
    assert np.mean(stamps) == pytest.approx(1, rel=0.05)
    blank = noise((200, 200), 0)
    blank[np.random.default_rng(0).random(blank.shape) < 0.4] = np.nan
    assert noise_sigma(blank) == pytest.approx(1, rel=0.05)
    cube = np.stack([noise((60, 70), 0, seed) * scale for seed, scale in enumerate((1, 2, 3))])
    assert noise_sigma(cube) == pytest.approx(2, rel=0.05)
    assert noise_sigma(cube[None, :, None].astype(np.float64)) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("pad", [0.0, np.nan, -0.2])
def test_padding_is_left_out(pad: float) -> None:
    image = noise((400, 400), 4)
    image[:, 230:] = pad
    image[370:] = pad
    assert noise_sigma(image) == pytest.approx(1, rel=0.05)


def test_quantised_noise_is_not_taken_for_padding() -> None:
    image = np.round(noise((256, 256), 3) * 4) / 4  # as NVSS: steps of a quarter of the noise
    assert noise_sigma(image) == pytest.approx(1, rel=0.15)  # no finer than the steps


def test_no_noise_is_told_as_zero() -> None:
    clipped = np.maximum(with_sources(noise((300, 300), 4)) - 3, 0)
    assert noise_sigma(clipped) == 0
    assert noise_sigma(np.zeros((64, 64))) == 0
    assert noise_sigma(np.full((64, 64), np.nan)) == 0
    assert noise_sigma(np.ones((2, 2))) == 0
    assert noise_sigma(np.full((20, 20), np.inf)) == 0
