"""From what distributions flux, size and bending angle are drawn: each as a table of quantiles a class.

Stated distributions, checked against the 347 FRI and FRII of MiraBest in FIRST (measured above 4 sigma; 5, 25, 50, 75
and 95 % of FRI flux 7, 32, 54, 83, 308 mJy and extent 27, 43, 59, 78, 121 arcsec; of FRII 17, 45, 69, 142, 552 mJy and
22, 32, 47, 72, 127 arcsec):

- *flux*: log-uniform between ``flux_min_jy`` and ``flux_max_jy``. Source counts are steeper, but samples that people
  have classified lack the faint: what they kept is flat in the logarithm over these one and a half decades.
- *largest angular size*: log-normal, cut to what is resolved and fits the image; for Compact, below the beam.
- *bending angle*: uniform, or as observed, within the range of the class.

References
----------
Garon et al. 2019, AJ 157, 126 (the observed bending angles: percentiles of the 4304 sources of its tables).
Miraghaei & Best 2017, MNRAS 466, 4346 (the FRI and FRII). Banfield et al. 2015, MNRAS 453, 2326.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from rvtool.errors import ConfigError, DataError
from rvtool_plugins.simulators.radio_galaxy import CLASSES

if TYPE_CHECKING:
    import pyarrow as pa

    from rvtool_plugins.simulators.radio_galaxy import RadioGalaxyConfig

PROBABILITIES = np.linspace(0, 1, 257)
GARON_PERCENT = (0, 5, 25, 50, 75, 90, 95, 99, 100)
GARON_DEG = (0, 0.8, 4.0, 9.45, 20.3, 40, 65, 146, 180)
LAS_MEDIAN_ARCSEC = {"FRI": 64.0, "FRII": 38.0, "Bent": 50.0, "Compact": 2.0}
LAS_SCATTER = {"FRI": 0.5, "FRII": 0.65, "Bent": 0.5, "Compact": 0.5}  # standard deviation of ln(LAS)
COMPACT_MIN_ARCSEC = 0.3
FEWEST = 5  # values from which a distribution is taken

# what real tables call the three, and the factor to our unit
COLUMNS = {
    "flux_jy": {"flux_jy": 1.0, "flux_mjy": 1e-3},
    "las_arcsec": {"las_arcsec": 1.0, "size_arcsec": 1.0, "las_arcmin": 60.0, "size_arcmin": 60.0},
    "bending_angle_deg": {"bending_angle_deg": 1.0},
}


def tables(config: RadioGalaxyConfig) -> dict[str, np.ndarray]:
    """Tabulate the distributions of `config`.

    Returns
    -------
    ``flux_jy``, ``las_arcsec`` and ``bending_angle_deg``, each (classes, 257): quantiles at `PROBABILITIES`, for each
    of ``config.classes``.

    Raises
    ------
    ConfigError
        The bounds of the size leave nothing between them.
    DataError
        ``config.priors`` cannot be read, or has none of the columns.
    """
    found = {
        "flux_jy": {name: _log_uniform(config.flux_min_jy, config.flux_max_jy) for name in CLASSES},
        "las_arcsec": {name: _sizes(name, config) for name in CLASSES},
        "bending_angle_deg": {name: _angles(name, config) for name in CLASSES},
    }
    if config.priors:
        _take_from(Path(config.priors), config, found)
    return {column: np.stack([classes[name] for name in config.classes]) for column, classes in found.items()}


def las_max_arcsec(config: RadioGalaxyConfig) -> float:
    """Return the largest angular size that is drawn."""
    return config.las_max_arcsec or 0.75 * config.size * config.pixel_arcsec


def _log_uniform(low: float, high: float) -> np.ndarray:
    return low * (high / low) ** PROBABILITIES


def _sizes(name: str, config: RadioGalaxyConfig) -> np.ndarray:
    """Return the quantiles of a log-normal distribution that is cut at both ends."""
    low, high = config.las_min_arcsec, las_max_arcsec(config)
    if low >= high:
        raise ConfigError(
            f"Sizes from {low:g} to {high:g} arcsec leave nothing to draw; lower las_min_arcsec or enlarge the image."
        )
    if name == "Compact":
        low, high = COMPACT_MIN_ARCSEC, max(config.beam_major_arcsec, 2 * COMPACT_MIN_ARCSEC)
    median, scatter = LAS_MEDIAN_ARCSEC[name], LAS_SCATTER[name]
    below, above = ndtr(np.log(np.array([low, high]) / median) / scatter)
    middle = median * np.exp(scatter * ndtri(below + PROBABILITIES[1:-1] * (above - below)))
    return np.concatenate([[low], middle, [high]])


def _angles(name: str, config: RadioGalaxyConfig, observed: np.ndarray | None = None) -> np.ndarray:
    """Return the quantiles of the bending angle within the range of a class; `observed` angles replace Garon's."""
    if name == "Compact":
        return np.zeros_like(PROBABILITIES)
    low, high = (config.bent_from_deg, 180.0) if name == "Bent" else (0.0, config.straight_to_deg)
    if observed is not None:
        within = observed[(observed >= low) & (observed <= high)]
        return np.quantile(within, PROBABILITIES) if len(within) >= FEWEST else _angles(name, config)
    if config.angle_prior == "uniform":
        return low + PROBABILITIES * (high - low)
    below, above = np.interp([low, high], GARON_DEG, GARON_PERCENT)
    return np.interp(below + PROBABILITIES * (above - below), GARON_PERCENT, GARON_DEG)


def _take_from(path: Path, config: RadioGalaxyConfig, found: dict[str, dict[str, np.ndarray]]) -> None:
    """Replace the stated distributions by a real table's, class by class where the table has a column ``label``.

    A class of fewer than five values keeps the stated distribution, and so does the size of Compact where nothing
    tells the classes apart. Sizes that do not fit the image are left out.
    """
    table = _read(path)
    labels = np.asarray(table["label"].to_pylist(), dtype=object) if "label" in table.column_names else None
    used = False
    for column, names in COLUMNS.items():
        name = next((name for name in names if name in table.column_names), None)
        if name is None:
            continue
        used = True
        values = np.array(table[name].to_pylist(), dtype=float) * names[name]
        limit = {"las_arcsec": las_max_arcsec(config), "bending_angle_deg": 180.0}.get(column, np.inf)
        good = np.isfinite(values) & (values <= limit) & ((values > 0) | (column == "bending_angle_deg"))
        for label in CLASSES:
            mine = values[good if labels is None else good & (labels == label)]
            if len(mine) < FEWEST or (labels is None and label == "Compact" and column != "flux_jy"):
                continue
            if labels is None and column == "bending_angle_deg":
                found[column][label] = _angles(label, config, mine)
            else:
                found[column][label] = np.quantile(mine, PROBABILITIES)
    if not used:
        known = ", ".join(name for names in COLUMNS.values() for name in names)
        raise DataError(f"{path} has none of the columns {known}; choose another table as --priors.")


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet

    from rvtool.data.dataset import without_excluded

    if path.is_dir():
        path = next((p for p in (path / "manifest.parquet", path / "labels.csv") if p.exists()), path)
    try:
        return without_excluded(parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path))
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as a table of priors ({reason}); give a .parquet or .csv.") from error
