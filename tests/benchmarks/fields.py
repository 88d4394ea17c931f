"""Three simulated maps whose noise has a known power spectrum, and the fewest bits that any coder can need for them.

Each is 1024x1024 pixels of float32: Gaussian noise of standard deviation `SIGMA`, 300 point sources (their counts fall
as in the sky: peak 3 sigma / u, u uniform in (0, 1], at most 3,000 sigma) and six faint doubles.

    white    white noise
    uv       the noise of a tapered disc in the uv plane with a hard edge, and a floor of 1e-8
    gauss4   noise as a beam of 4 pixels FWHM leaves it
"""

from __future__ import annotations

import numpy as np

NAMES = ("white", "uv", "gauss4")
SIDE = 1024
SIGMA = 1e-5  # Jy/beam
BEAM_PX = {"white": 2.5, "uv": 4.0, "gauss4": 4.0}
SOURCES, FAINTEST, BRIGHTEST = 300, 3.0, 3000.0  # peaks in sigma
DOUBLES = 6
DITHERED = 0.5 * np.log2(2 * np.pi * np.e / 12)  # bits that a scalar quantiser with dither pays above rate-distortion
REACH = 5  # of a source's Gaussian, in its standard deviations


def _sigma_px(fwhm_px: float) -> float:
    return fwhm_px / np.sqrt(8 * np.log(2))


def spectrum(name: str) -> np.ndarray:
    """Return the power spectrum of the noise in units of sigma squared, (1024, 1024), mean 1, as `fft2` orders it."""
    frequency = np.fft.fftfreq(SIDE)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    if name == "white":
        power = np.ones_like(squared)
    elif name == "uv":
        power = np.where(squared < (1 / 3) ** 2, np.exp(-squared / (2 * 0.14**2)), 0.0) + 1e-8
    elif name == "gauss4":
        power = np.exp(-squared * (2 * np.pi * _sigma_px(BEAM_PX[name])) ** 2)  # the beam's transform, squared
    else:
        raise ValueError(f"There is no field {name!r}: there are {', '.join(NAMES)}.")
    return power / power.mean()


def limit(name: str, eps_in_sigma: float) -> float:
    """Return the bits a pixel that an ideal coder of the noise needs, dithered and uniformly quantised to +-eps."""
    step = 2 * eps_in_sigma
    return float(np.mean(0.5 * np.log2(1 + 12 * spectrum(name) / step**2)) + DITHERED)


def _add(image: np.ndarray, x: float, y: float, peak: float, fwhm_px: float) -> None:
    sigma = _sigma_px(fwhm_px)
    reach = int(np.ceil(REACH * sigma))
    columns = np.arange(max(0, int(x) - reach), min(SIDE, int(x) + reach + 2))
    rows = np.arange(max(0, int(y) - reach), min(SIDE, int(y) + reach + 2))
    profile = np.exp(-0.5 * ((rows - y) / sigma) ** 2)[:, None] * np.exp(-0.5 * ((columns - x) / sigma) ** 2)
    image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += peak * profile


def field(name: str, seed: int = 0) -> np.ndarray:
    """Return one of the three maps, (1024, 1024) float32 in Jy/beam, the same for the same seed."""
    rng = np.random.default_rng([seed, NAMES.index(name)])
    white = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    amplitude = np.sqrt(spectrum(name)[:, : SIDE // 2 + 1])
    image = np.fft.irfft2(white * amplitude, (SIDE, SIDE))
    beam = BEAM_PX[name]
    peaks = np.minimum(FAINTEST / (1 - rng.random(SOURCES)), BRIGHTEST)
    for x, y, peak in zip(*rng.uniform(0, SIDE, (2, SOURCES)), peaks, strict=True):
        _add(image, x, y, peak, beam)
    for _ in range(DOUBLES):
        x, y = rng.uniform(0.1 * SIDE, 0.9 * SIDE, 2)
        angle, apart = rng.uniform(0, np.pi), rng.uniform(10, 30)
        for side in (-1, 1):
            lobe = x + side * apart * np.cos(angle), y + side * apart * np.sin(angle)
            _add(image, *lobe, rng.uniform(1, 4), rng.uniform(2, 4) * beam)
    return (SIGMA * image).astype(np.float32)


if __name__ == "__main__":
    for each in NAMES:
        print(each, *(f"{limit(each, eps):.3f}" for eps in (0.125, 0.25, 0.5, 1.0)), "bit/pixel at 0.125 to 1 sigma")
