"""Pairs from end to end: a sky, what an array measures of it, and what is made of that without and with cleaning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from rvtool.data import chance
from rvtool.data.beams import SIGMA_PER_FWHM
from rvtool.errors import ConfigError
from rvtool.kinds import Batch, Beam, Side, SimulatorInfo
from rvtool_plugins.simulators.dirty_map import DirtyMapConfig, array, beam
from rvtool_plugins.simulators.dirty_map.sky import Drawn, Images

if TYPE_CHECKING:
    import pyarrow as pa

ARCSEC = math.pi / 648000  # radians
POINTING_DRAWS, NOISE_DRAWS = 0, 4096  # the sky's lie between
BLOCK_PIXELS, BLOCK_PIXELS_GPU = 2**21, 2**25  # of padded fields worked on at a time
BLOCK_VISIBILITIES = 2**21  # placed in the Fourier plane at a time
FEWEST_FRINGES = 4  # of the longest baseline across the image
LOBE = 8.0  # of those fringes, how far a main lobe is followed: natural weights and low elevations widen it
SAMPLES = 65  # declinations at which it is seen whether anything can be observed


class Coverage(NamedTuple):
    """What the visibilities make of a sky, for (B,) observations; see `rvtool_plugins.simulators.dirty_map.beam`.

    Attributes
    ----------
    cells, noise, clean : (B, 2 H, W + 1)
        What the transforms of the sky, of white noise and of the sky for the target are multiplied with.
    columns
        ``beam_major_arcsec``, ``beam_minor_arcsec``, ``beam_angle_deg`` (of the main lobe), ``visibilities``.
    """

    cells: Tensor
    noise: Tensor
    clean: Tensor
    columns: Batch


class DirtyMap:
    """Dirty images of an interferometer in Jy per dirty beam, and the same sky in Jy per clean beam.

    The image is what the visibilities alone tell: the sky convolved with the dirty beam, negative bowls and all, and
    the receivers' noise, which is drawn for the visibilities and so has their weights' power spectrum. The target is
    the sky convolved with a Gaussian: fitted to the dirty beam's main lobe, or one for all.

    Visibilities are of one frequency, at the middles of their times, on a flat sky, with no error but noise; antennas
    see all of the field alike and never stand in each other's way. The main lobe's Gaussian is in the columns; with
    declination and hour angle fixed it is one for all, and told as the image's beam.

    Parameters
    ----------
    config
        Validated settings.

    Raises
    ------
    ConfigError
        The pixels are too large for the longest baseline, or the image too small; a clean beam is less than two pixels
        wide; or the source is never high enough.
    DataError
        The table of antennas or the images cannot be used.
    """

    def __init__(self, config: DirtyMapConfig) -> None:
        self.config = config
        self.sky = Drawn(config) if config.data is None else Images(config)
        height, width = self.sky.shape
        self.padded = (2 * height, 2 * width)
        pixel = self.sky.pixel_arcsec
        antennas = array.vla(config.array) if config.antennas is None else array.read(config.antennas)
        self.baselines = array.baselines(antennas, config.latitude_deg) * config.frequency_mhz * 1e6 / array.C_M_S
        longest = float(self.baselines.norm(dim=1).max())
        if longest * pixel * ARCSEC >= 0.5:
            raise ConfigError(
                f"The longest baseline, of {longest:.0f} wavelengths, needs pixels of {0.5 / longest / ARCSEC:.3g} "
                f"arcsec at most, and they have {pixel:g}; choose a smaller array, a lower frequency or finer pixels."
            )
        if longest * min(height, width) * pixel * ARCSEC < FEWEST_FRINGES:
            raise ConfigError(
                f"The longest baseline, of {longest:.0f} wavelengths, sees little more than the mean of a field of "
                f"{min(height, width) * pixel:g} arcsec; choose a larger array, or a field of "
                f"{FEWEST_FRINGES / longest / ARCSEC:.3g} arcsec at least."
            )
        if 0 < config.clean_beam_arcsec < 2 * pixel:
            raise ConfigError(
                f"--clean-beam-arcsec is {config.clean_beam_arcsec:g}, and a beam must span two pixels at least "
                f"({2 * pixel:g} arcsec)."
            )
        self.reach = LOBE / (longest * pixel * ARCSEC)
        integrations = max(round(config.track_h * 3600 / config.integration_s), 1)
        self.hours = ((torch.arange(integrations, dtype=torch.float64) + 0.5) / integrations - 0.5) * config.track_h
        self._must_be_seen()
        self.fixed = config.dec_min_deg == config.dec_max_deg and config.hour_angle_min_h == config.hour_angle_max_h
        self._placed: dict[torch.device, Coverage] = {}
        lobe = None
        if self.fixed:
            columns = self._fixed(torch.device("cpu")).columns
            lobe = Beam(*(columns[f"beam_{name}"].item() for name in ("major_arcsec", "minor_arcsec", "angle_deg")))
        clean = Beam(config.clean_beam_arcsec, config.clean_beam_arcsec) if config.clean_beam_arcsec else lobe
        self.info = SimulatorInfo(
            image=Side(1, height, width, "sky", "Jy/beam", pixel, lobe),
            target=Side(1, height, width, "sky", "Jy/beam", pixel, clean),
        )

    @property
    def rows(self) -> pa.Table | None:
        """The manifest of the images that are the sky; None where it is drawn."""
        return self.sky.rows

    def simulate(self, indices: Tensor, seed: int, device: torch.device) -> Batch:
        """Simulate the pairs of `indices`; an index has one pair a seed, in whatever batch.

        Returns
        -------
        ``image`` and ``target (B, 1, H, W)``, Jy/beam, with a mask each where the sky is of images; and ``(B,)`` each:
        ``declination_deg``, ``hour_angle_h`` (of the observation's middle), ``beam_major_arcsec``,
        ``beam_minor_arcsec`` and ``beam_angle_deg`` of the main lobe, and of the target's beam if that is fitted;
        ``visibilities``; ``peak_jy_beam`` of the target and ``snr``, that in units of the image's noise; and of a drawn
        sky ``flux_jy`` and ``sources``.
        """
        indices = indices.to(device)
        pixels = BLOCK_PIXELS if indices.device.type == "cpu" else BLOCK_PIXELS_GPU
        block = max(pixels // math.prod(self.padded), 1)
        parts = [self._observe(some, seed) for some in indices.split(block)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _observe(self, indices: Tensor, seed: int) -> Batch:
        config = self.config
        height, width = self.sky.shape
        dec, hour = self._pointing(indices, seed)
        coverage = self._fixed(indices.device) if self.fixed else self._coverage(dec, hour)
        transform, columns = self.sky.transform(indices, seed)
        measured = transform * coverage.cells
        if config.rms_jy_beam:
            # the transform of white noise: each cell and its conjugate draw one complex number
            white = torch.fft.rfft2(chance.normal(seed, indices, self.padded, NOISE_DRAWS))
            measured += config.rms_jy_beam * white * coverage.noise
        image, target = (
            torch.fft.irfft2(of, s=self.padded)[:, None, :height, :width].contiguous()
            for of in (measured, transform * coverage.clean)
        )
        peak = target.amax((1, 2, 3))
        columns |= {name: values.expand(len(indices)) for name, values in coverage.columns.items()}
        columns |= {"declination_deg": dec.float(), "hour_angle_h": hour.float(), "peak_jy_beam": peak}
        if config.rms_jy_beam:
            columns["snr"] = peak / config.rms_jy_beam
        return {"image": image, "target": target, **columns}

    def _pointing(self, indices: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Draw declinations, uniform on the sphere, and hour angles of the middle, uniform: (B,) each, float64."""
        config = self.config
        where, when = chance.uniform(seed, indices, 2, POINTING_DRAWS).double().unbind(1)
        low, high = (math.sin(math.radians(dec)) for dec in (config.dec_min_deg, config.dec_max_deg))
        dec = torch.rad2deg((low + where * (high - low)).asin())
        hour = config.hour_angle_min_h + when * (config.hour_angle_max_h - config.hour_angle_min_h)
        return dec, hour

    def _fixed(self, device: torch.device) -> Coverage:
        """Return the one coverage there is, on a device."""
        if device not in self._placed:
            at = (self.config.dec_min_deg, self.config.hour_angle_min_h)
            dec, hour = (torch.tensor([value], dtype=torch.float64, device=device) for value in at)
            self._placed[device] = self._coverage(dec, hour)
        return self._placed[device]

    def _coverage(self, dec: Tensor, hour: Tensor) -> Coverage:
        """Work out what is measured of (B,) observations."""
        config, pixel = self.config, self.sky.pixel_arcsec
        per_cell = [side * pixel * ARCSEC for side in self.padded]  # cells per wavelength
        baselines = self.baselines.to(dec.device)
        hours = hour[:, None] + self.hours.to(dec.device)
        counts = torch.zeros(len(dec), self.padded[0], self.padded[1] // 2 + 1, device=dec.device)
        for some in hours.split(max(BLOCK_VISIBILITIES // (len(dec) * len(baselines)), 1), 1):
            u, v = array.tracks(baselines, some, dec)
            seen = self._up(some, dec[:, None])
            counts += beam.count(u * per_cell[1], v * per_cell[0], seen, self.padded)
        weights = beam.weights(counts, config.weighting, config.robust)
        cells = beam.unit(counts * weights)
        lobe = beam.fit(cells, self.reach)
        major, minor, angle = beam.axes(lobe)
        if config.clean_beam_arcsec:
            round_ = lobe.new_tensor([1.0, 0.0, 1.0]) * (SIGMA_PER_FWHM * config.clean_beam_arcsec / pixel) ** 2
            clean = beam.clean(round_.expand(len(lobe), -1), self.padded)
        else:
            clean = beam.clean(lobe, self.padded)
        columns = {
            "beam_major_arcsec": (major * pixel).float(),
            "beam_minor_arcsec": (minor * pixel).float(),
            "beam_angle_deg": angle.float(),
            "visibilities": self._up(hours, dec[:, None]).sum(1) * len(baselines),
        }
        return Coverage(cells, beam.unit_noise(counts, weights), clean, columns)

    def _up(self, hour: Tensor, dec: Tensor) -> Tensor:
        """Tell where a source is high enough to be observed; the shapes broadcast."""
        return array.elevation_deg(hour, dec, self.config.latitude_deg) >= self.config.elevation_min_deg

    def _must_be_seen(self) -> None:
        """Refuse settings with which a source would never be high enough."""
        config = self.config
        dec = torch.linspace(config.dec_min_deg, config.dec_max_deg, SAMPLES, dtype=torch.float64)
        for middle in (config.hour_angle_min_h, config.hour_angle_max_h):
            seen = self._up(middle + self.hours, dec[:, None]).any(1)
            if not bool(seen.all()):
                raise ConfigError(
                    f"At declination {float(dec[~seen][0]):.3g} deg and an hour angle of {middle:g} h nothing is above "
                    f"{config.elevation_min_deg:g} deg from latitude {config.latitude_deg:g}; choose others, or lower "
                    "elevation_min_deg."
                )
