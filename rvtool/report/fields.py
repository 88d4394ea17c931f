"""How like the truth maps of a field are, such as the gain of radio waves in a city: no sources, no sky.

References
----------
Levie et al. 2021, RadioUNet, doi:10.1109/TWC.2021.3054977 (RMSE and NMSE of gains in 0 .. 1).
"""

from __future__ import annotations

import numpy as np

from rvtool.report.likeness import ssim
from rvtool.report.scores import Metric

METRICS = {
    "rmse": Metric("RMSE", False, "Mean over maps of the root mean square error, over all known pixels."),
    "rmse_open": Metric("RMSE, open", False, "The same outside of buildings, where the question is."),
    "nmse": Metric("NMSE", False, "Mean of the sum of squared errors over the sum of the truth's squares."),
    "nmse_open": Metric("NMSE, open", False, "The same outside of buildings."),
    "psnr": Metric("PSNR", True, "Mean of 20 log10(range / RMSE) of a map, dB, over all known pixels."),
    "ssim": Metric("SSIM", True, "Mean structural similarity of maps divided by the range (11 pixels, sigma 1.5)."),
}


def measure(true: np.ndarray, made: np.ndarray, open_: np.ndarray, span: float) -> dict[str, np.ndarray]:
    """Measure each map, ``(N,)`` by the names of `METRICS`.

    Parameters
    ----------
    true, made : (N, C, H, W)
        `true` is NaN where not known.
    open_ : (N, 1, H, W) bool
        Outside of buildings.
    span
        The range of PSNR and SSIM, in the maps' unit.
    """
    known = np.isfinite(true)
    square = np.where(known, made - true, 0.0).astype(float) ** 2
    power = np.where(known, true, 0.0).astype(float) ** 2
    found = {}
    for name, counted in (("", known), ("_open", known & open_)):
        count = counted.sum(axis=(1, 2, 3))
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = (square * counted).sum(axis=(1, 2, 3))
            found[f"rmse{name}"] = np.sqrt(errors / count)
            found[f"nmse{name}"] = errors / (power * counted).sum(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        found["psnr"] = 20 * np.log10(span / found["rmse"])
    one, other = (np.where(known, side, 0.0).astype(float).reshape(-1, *true.shape[2:]) / span for side in (true, made))
    alike = ssim(one, other, known.reshape(one.shape))
    found["ssim"] = alike.reshape(true.shape[:2]).mean(axis=1)
    return found
