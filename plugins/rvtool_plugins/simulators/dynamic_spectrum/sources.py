"""The four classes: what is drawn for each, its steady spectrum, and what varies: pulses and scintillation.

Ranges are those of sources that a large dish sees in two seconds; log-uniform where they span a decade or more.

References
----------
Jankowski et al. 2018, MNRAS 473, 4436 (spectral indices of pulsars, -1.60 +- 0.54). Lorimer & Kramer 2004, Handbook of
Pulsar Astronomy, eq. 4.7 (the delay) and section 4.1.2 (its smearing within a channel). Condon & Ransom 2016, Essential
Radio Astronomy, eqs. 4.59 and 4.60 (free-free). Coles 1978, Space Sci. Rev. 21, 411 (interplanetary scintillation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from rvtool.data import chance
from rvtool.errors import ConfigError
from rvtool_plugins.simulators.dynamic_spectrum import CLASSES, DynamicSpectrumConfig, fields, lines

DISPERSION_S = 4.148808e-3  # delay at 1 GHz for 1 pc/cm3 (Lorimer & Kramer 2004)
FWHM = math.sqrt(8 * math.log(2))  # full width at half maximum, in standard deviations
AU_KM = 1.495978707e8
WIDEST_KM_S, FASTEST_KM_S = 500.0, 100.0  # width of HI lines, speed of nebulae
STRENGTH = (0.1, 3.0)  # of the interplanetary scattering
TURBULENCE_KM_S = 9.0  # of the neutral gas
FINEST_SAMPLES, FINEST_CHANNELS = 8, 2  # what scintillation is resolved to; finer structure averages out

# where each purpose finds its draws, so that one may grow without moving the others
PARAMETER_DRAWS, PULSE_DRAWS, BAND_DRAWS, SLOW_DRAWS, FIELD_DRAWS = 0, 128, 1024, 2048, 2**14
PARAMETERS = 12  # uniform draws of an image

Columns = dict[str, torch.Tensor]


class Sources:
    """The sources of a configuration on a device.

    Raises
    ------
    ConfigError
        A class has no line in the band.
    """

    def __init__(self, config: DynamicSpectrumConfig, device: torch.device) -> None:
        self.config = config
        count, width = config.channels, config.channel_mhz
        low, high = config.centre_mhz - count * width / 2, config.centre_mhz + count * width / 2
        steps = torch.arange(count + 1, dtype=torch.float64)
        self.edges_mhz = (low + width * steps).float().to(device)
        self.mhz = (low + width * (steps[:-1] + 0.5)).float().to(device)
        self.ratio = self.mhz / config.centre_mhz
        self.seconds = ((torch.arange(config.samples, dtype=torch.float64) + 0.5) * config.sample_s).float().to(device)
        room = 1 + WIDEST_KM_S / 2 / lines.C_KM_S
        self._redshifts = max(lines.HI_MHZ * room / high - 1, 0.0), lines.HI_MHZ / room / low - 1
        levels = lines.levels_between(low * (1 + FASTEST_KM_S / lines.C_KM_S), high * (1 - FASTEST_KM_S / lines.C_KM_S))
        self._rest_mhz = torch.tensor([lines.recombination_mhz(n) for n in levels], device=device)
        for name, there in (("spiral-galaxy", self._redshifts[0] < self._redshifts[1]), ("emission-nebula", levels)):
            if name in config.classes and not there:
                raise ConfigError(
                    f"No line of '{name}' lies between {low:g} and {high:g} MHz; move or widen the band, or leave the "
                    "class out."
                )
        self._delay_s_dm = DISPERSION_S * ((self.mhz / 1000) ** -2 - (config.centre_mhz / 1000) ** -2)  # a pc/cm3
        latest = config.dm_max_pc_cm3 * float(self._delay_s_dm.abs().max()) / config.period_min_s  # periods
        self._before = math.ceil(latest) + 1  # pulses that begin before the observation
        self._pulses = math.ceil(config.samples * config.sample_s / config.period_min_s + latest) + self._before + 1
        self._time_nodes = fields.nodes(config.samples, FINEST_SAMPLES / math.sqrt(2))
        self._band_nodes = fields.nodes(count, FINEST_CHANNELS / math.sqrt(2 * math.log(2)))
        # quasars scintillate over far wider bands than pulsars, the strongest over the narrowest
        self._wide_nodes = fields.nodes(
            count * width, config.centre_mhz * STRENGTH[1] ** -2 / math.sqrt(2 * math.log(2))
        )

    def draw(self, kind: torch.Tensor, indices: torch.Tensor, seed: int) -> Columns:
        """Draw the parameters of sources; those that a class does not have are 0.

        Parameters
        ----------
        kind : (B,), int64
            Which of `CLASSES`.
        """
        drawn: tuple[Callable[..., Columns], ...] = (self._pulsar, self._quasar, self._spiral, self._nebula)
        scatter = chance.normal(seed, indices, (2,), PARAMETER_DRAWS + 64).unbind(1)
        columns: Columns = {}
        for number, parameters in enumerate(drawn):
            uniform = iter(chance.uniform(seed, indices, PARAMETERS, PARAMETER_DRAWS).unbind(1))
            for name, values in parameters(uniform, *scatter).items():
                columns[name] = torch.where(kind == number, values, columns.get(name, torch.zeros_like(values)))
        return columns

    def _pulsar(self, uniform: Iterator[torch.Tensor], slope: torch.Tensor, scatter: torch.Tensor) -> Columns:
        config = self.config
        longest = config.period_max_s or config.samples * config.sample_s / 3
        period = _log(uniform, config.period_min_s, longest)
        dm = _log(uniform, max(config.dm_min_pc_cm3, 1e-3), config.dm_max_pc_cm3)
        band_mhz = fields.interstellar_mhz(dm, config.centre_mhz, scatter)
        return {
            "flux_jy": _log(uniform, 0.006, 0.06),
            "spectral_index": -1.6 + 0.54 * slope,
            "period_s": period,
            "pulse_width_s": period * _flat(uniform, 0.02, 0.1),
            "arrival_s": period * next(uniform),
            "dm_pc_cm3": dm,
            "pulse_modulation": _flat(uniform, 0.1, 1.0),
            "scintillation_mhz": band_mhz,
            # of many scintles in a channel only the scatter of their mean is left
            "scintillation_index": 1 / torch.sqrt(1 + config.channel_mhz / band_mhz),
        }

    def _quasar(self, uniform: Iterator[torch.Tensor], *_: torch.Tensor) -> Columns:
        config = self.config
        wavelength_km = lines.C_KM_S / config.centre_mhz / 1e6
        fresnel_km = torch.sqrt(wavelength_km * AU_KM * _flat(uniform, 0.3, 1.0) / (2 * math.pi))
        fresnel_s = fresnel_km / _flat(uniform, 300.0, 800.0)  # the solar wind carries the pattern past
        strength = _log(uniform, *STRENGTH)
        branch = fields.branches(strength)
        point = _log(uniform, 0.03, 0.5)  # part of the flux that is compact enough to scintillate
        return {
            "flux_jy": _log(uniform, 0.5, 10.0),
            "spectral_index": _flat(uniform, -1.0, 0.3),
            "scattering_strength": strength,
            "compact_fraction": point,
            "scintillation_s": fresnel_s * branch["time"],
            "scintillation_mhz": config.centre_mhz * branch["band"],
            "scintillation_index": point * branch["index"],
            "refractive_s": fresnel_s * branch["slow_time"],
            "refractive_index": point * branch["slow_index"],
        }

    def _spiral(self, uniform: Iterator[torch.Tensor], slope: torch.Tensor, *_: torch.Tensor) -> Columns:
        return {
            "flux_jy": _log(uniform, 0.02, 0.3),
            "spectral_index": -0.7 + 0.2 * slope,
            "redshift": _flat(uniform, *self._redshifts),
            "hi_flux_jy_km_s": _log(uniform, 30.0, 300.0),
            "hi_width_km_s": _flat(uniform, 100.0, WIDEST_KM_S),
            "hi_lopsided": _flat(uniform, -0.4, 0.4),
        }

    def _nebula(self, uniform: Iterator[torch.Tensor], *_: torch.Tensor) -> Columns:
        return {
            "flux_jy": _log(uniform, 3.0, 30.0),
            "optical_depth": _log(uniform, 0.003, 1.0),
            "electron_temperature_k": _flat(uniform, 5000.0, 10000.0),
            "line_width_km_s": _flat(uniform, 18.0, 40.0),
            "velocity_km_s": _flat(uniform, -FASTEST_KM_S, FASTEST_KM_S),
        }

    def spectrum(self, kind: torch.Tensor, columns: Columns) -> torch.Tensor:
        """Return what does not vary: continuum and lines of all but pulsars, ``(B, C)``, Jy."""
        flux = columns["flux_jy"][:, None] * (kind != CLASSES.index("pulsar"))[:, None]
        spectrum = flux * self.ratio ** columns["spectral_index"][:, None]
        rows = torch.nonzero(kind == CLASSES.index("spiral-galaxy"))[:, 0]
        if len(rows):
            some = {name: values[rows] for name, values in columns.items()}
            centre = lines.HI_MHZ / (1 + some["redshift"])
            parts = lines.double_horn(
                self.edges_mhz,
                centre,
                some["hi_width_km_s"],
                lopsided=some["hi_lopsided"],
                turbulence_km_s=TURBULENCE_KM_S,
            )
            channel_km_s = lines.C_KM_S * self.config.channel_mhz / centre
            spectrum[rows] += parts * (some["hi_flux_jy_km_s"] / channel_km_s)[:, None]
        rows = torch.nonzero(kind == CLASSES.index("emission-nebula"))[:, 0]
        if len(rows):
            some = {name: values[rows] for name, values in columns.items()}
            depth = some["optical_depth"][:, None]
            thermal = self.ratio**2 * torch.expm1(-depth * self.ratio**-2.1) / torch.expm1(-depth)
            centres = self._rest_mhz * (1 - some["velocity_km_s"][:, None] / lines.C_KM_S)  # (B, L)
            parts = lines.gaussians(self.edges_mhz, centres, some["line_width_km_s"])  # (B, L, C)
            ratio = lines.line_to_continuum_km_s(self._rest_mhz, some["electron_temperature_k"])
            channel_km_s = lines.C_KM_S * self.config.channel_mhz / centres
            # an optically thick continuum hides its lines: in LTE only the part (depth / e^depth - 1) is left
            seen = depth / torch.expm1(depth)
            bright = (parts * (ratio / channel_km_s)[..., None]).sum(1) * seen
            spectrum[rows] = some["flux_jy"][:, None] * thermal * (1 + bright)
        return spectrum

    def pulses(self, columns: Columns, indices: torch.Tensor, seed: int) -> torch.Tensor:
        """Return dispersed pulses, ``(B, C, T)``, Jy: Gaussians whose mean over a period is the flux.

        A pulse at `arrival_s` in the middle of the band is late by 4.148808 ms DM (nu / GHz)^-2 less that of the
        middle. The sweep within a channel and the length of a sample widen it, in quadrature.
        """
        dm, period = columns["dm_pc_cm3"][:, None], columns["period_s"][:, None]
        smear = 2 * DISPERSION_S * dm * self.config.channel_mhz / 1000 * (self.mhz / 1000) ** -3  # (B, C)
        sigma = torch.sqrt((columns["pulse_width_s"][:, None] / FWHM) ** 2 + (smear**2 + self.config.sample_s**2) / 12)
        scatter = torch.sqrt(torch.log1p(columns["pulse_modulation"] ** 2))[:, None]
        bright = torch.exp(
            scatter * chance.normal(seed, indices, (self._pulses,), PULSE_DRAWS) - scatter**2 / 2
        )  # (B, N), mean 1
        node = chance.normal(seed, indices, (2, self._band_nodes), BAND_DRAWS)
        band_mhz = columns["scintillation_mhz"].clamp(min=FINEST_CHANNELS * self.config.channel_mhz)
        width = fields.width_of(band_mhz, half=True)
        field = torch.bmm(node, fields.spread(self.mhz, width, self._band_nodes).transpose(1, 2))  # (B, 2, C)
        gain = fields.intensity(field, columns["scintillation_index"])
        flux = columns["flux_jy"][:, None] * self.ratio ** columns["spectral_index"][:, None] * gain
        height = flux * period / sigma / math.sqrt(2 * math.pi)  # (B, C)

        start = columns["arrival_s"][:, None] + dm * self._delay_s_dm  # (B, C)
        turns = (self.seconds - start[..., None]).div_(period[..., None])  # (B, C, T)
        number = turns.round()
        turns.sub_(number)
        which = number.add_(self._before).long().flatten(1)
        profile = turns.square_().mul_(-0.5 * ((period / sigma) ** 2)[..., None]).clamp_(min=fields.FAINTEST).exp_()
        return profile.mul_(bright.gather(1, which).view_as(profile)).mul_(height[..., None])

    def scintillation(self, columns: Columns, indices: torch.Tensor, seed: int) -> torch.Tensor:
        """Return quasars' intensity over its mean, less 1: ``(B, C, T)``."""
        step = self.config.sample_s
        band = fields.spread(self.mhz, fields.width_of(columns["scintillation_mhz"], half=True), self._wide_nodes)
        brief = fields.width_of(columns["scintillation_s"].clamp(min=FINEST_SAMPLES * step))
        time = fields.spread(self.seconds, brief, self._time_nodes)  # (B, T, N)
        white = chance.normal(seed, indices, (2 * self._wide_nodes, self._time_nodes), FIELD_DRAWS)
        along = torch.bmm(white, time.transpose(1, 2)).unflatten(1, (2, self._wide_nodes))  # (B, 2, N, T)
        field = torch.stack([torch.bmm(band, part) for part in along.unbind(1)], 1)  # (B, 2, C, T)
        gain = fields.intensity(field, columns["scintillation_index"])
        slow = fields.width_of(columns["refractive_s"].clamp(min=FINEST_SAMPLES * step))
        wave = fields.process(self.seconds, slow, chance.normal(seed, indices, (self._time_nodes,), SLOW_DRAWS))
        scatter = torch.sqrt(torch.log1p(columns["refractive_index"] ** 2))[:, None]
        return gain.mul_(torch.exp(scatter * wave - scatter**2 / 2)[:, None]).sub_(1)


def _flat(uniform: Iterator[torch.Tensor], low: float, high: float) -> torch.Tensor:
    return low + next(uniform) * (high - low)


def _log(uniform: Iterator[torch.Tensor], low: float, high: float) -> torch.Tensor:
    return low * torch.exp(next(uniform) * math.log(high / low))
