"""Pairs from end to end: a drawn sky, seen by a radio survey and in visible light."""

from __future__ import annotations

import math

import torch

from rvtool.data import chance
from rvtool.errors import ConfigError
from rvtool.kinds import Batch, Beam, Side, SimulatorInfo
from rvtool_plugins.simulators.radio_optical import BANDS, RadioOpticalConfig
from rvtool_plugins.simulators.radio_optical.population import Population, Sources, nanomaggy, normal, spectrum
from rvtool_plugins.simulators.radio_optical.sky import BeamNoise, Blobs, Grid

# where each purpose finds its draws, so that one may grow without moving the others
FLUX_DRAWS, OFFSET_DRAWS, FIELD_DRAWS, RADIO_NOISE_DRAWS, SKY_NOISE_DRAWS = 32, 34, 1024, 2**16, 2**28
LARGEST_FIELD = (RADIO_NOISE_DRAWS - FIELD_DRAWS) // 8  # unrelated sources for which there are draws

SEEING = {"g": 1.09, "r": 1.0, "i": 0.95}  # of that in r, as medians of SDSS: 1.44, 1.32 and 1.26 arcsec
SKY_RMS = {"g": 0.62, "r": 1.0, "i": 1.5}  # of that in r: skies of about 21.8, 20.9 and 20.2 mag/arcsec2
FIELD_BRIGHTEST, FIELD_FAINTEST, FIELD_SLOPE = 16.0, 21.0, 0.3  # in r; counts N(<m) ~ 10^(slope m)
BLOCK_PIXELS = 2**19  # worked on at a time, so that intermediate results stay in the processor's cache

COLUMNS = (
    "flux_jy",
    "redshift",
    *(f"{band}_mag" for band in BANDS),
    "nucleus_fraction",
    "bulge_fraction",
    "arms_fraction",
    "sersic_index",
    "radius_arcsec",
    "axis_ratio",
    "position_angle_deg",
    "inclination_deg",
    "pitch_deg",
    "las_arcsec",
    "radio_angle_deg",
    "misalignment_deg",
    "bending_angle_deg",
    "core_fraction",
    "offset_x_arcsec",
    "offset_y_arcsec",
    "peak_jy_beam",
    "snr",
)


class RadioOptical:
    """Radio images in Jy/beam, and what visible light shows of the same field, in nanomaggies a pixel.

    The class of an image is its index modulo the number of classes, so any range of indices is balanced. A source whose
    radio peak would be below ``snr_min`` times the noise is not drawn: its flux comes from the part of the distribution
    above, as in any sample that a survey detected.

    Parameters
    ----------
    config
        Validated settings.

    Raises
    ------
    ConfigError
        More unrelated sources are asked for than there are draws.
    """

    def __init__(self, config: RadioOpticalConfig) -> None:
        self.config = config
        field_arcsec = config.size * config.pixel_arcsec
        pixel = config.target_pixel_arcsec or config.pixel_arcsec
        side = round(field_arcsec / pixel)
        beam = Beam(config.beam_arcsec, config.beam_arcsec)
        self._target = Side(len(config.bands), side, side, "sky", "nanomaggy", pixel)
        self.info = SimulatorInfo(
            image=Side(1, config.size, config.size, "sky", "Jy/beam", config.pixel_arcsec, beam),
            target=self._target,
            classes=config.classes,
        )
        self._neighbours = config.field_per_arcmin2 * (field_arcsec / 60) ** 2  # expected in an image
        if self._neighbours > LARGEST_FIELD:
            raise ConfigError(
                f"An image would hold {self._neighbours:.0f} unrelated sources, {LARGEST_FIELD} are possible; "
                "lower field_per_arcmin2 or size."
            )
        self._slots = min(int(2 * self._neighbours + 1), LARGEST_FIELD)
        self._placed: dict[torch.device, tuple[Population, Grid, Grid, BeamNoise]] = {}

    def simulate(self, indices: torch.Tensor, seed: int, device: torch.device) -> Batch:
        """Simulate the pairs of `indices`; an index has one pair a seed, in whatever batch.

        Returns
        -------
        ``image (B, 1, H, W)``, Jy/beam; ``target (B, C, H', W')``, nanomaggies a pixel; ``label (B,)``, int64; and
        ``(B,)`` each, 0 where a class has no such thing: `COLUMNS`, ``fr_type`` (1, 2; 0 for spirals) and
        ``field_sources``. ``offset_x_arcsec`` and ``offset_y_arcsec`` are the nucleus' distances from the centre along
        increasing columns and rows; ``peak_jy_beam`` is the source's own, without noise.
        """
        indices = indices.to(device)
        label = indices % len(self.config.classes)
        side = self._target
        batch: Batch = {
            "image": torch.empty(len(indices), 1, self.config.size, self.config.size, device=indices.device),
            "target": torch.empty(len(indices), side.channels, side.height, side.width, device=indices.device),
            "label": label,
            **{name: torch.zeros(len(indices), device=indices.device) for name in COLUMNS},
            **{name: torch.zeros_like(label) for name in ("fr_type", "field_sources")},
        }
        block = min(max(BLOCK_PIXELS // max(self.config.size, side.width) ** 2, 8), 128)
        for number in label.unique().tolist():
            kind = self.config.classes[number]
            for rows in torch.nonzero(label == number)[:, 0].split(block):
                for name, values in self._observe(kind, indices[rows], seed).items():
                    batch[name][rows] = values
        return batch

    def _observe(self, kind: str, indices: torch.Tensor, seed: int) -> Batch:
        """Simulate pairs of one class."""
        config, side = self.config, self._target
        population, radio_grid, light_grid, noise = self._on(indices.device)
        sources = population.draw(kind, indices, seed)
        x, y = (config.offset_arcsec * chance.normal(seed, indices, (2,), OFFSET_DRAWS)).unbind(1)

        image = radio_grid.per_beam(sources.radio.moved(x, y), config.beam_arcsec)  # of flux 1
        peak = image.amax((1, 2, 3))
        flux = self._flux(sources, peak, chance.uniform(seed, indices, 1, FLUX_DRAWS)[:, 0])
        image *= flux[:, None, None, None]
        if config.rms_jy_beam:
            image += noise(config.rms_jy_beam, seed, indices, RADIO_NOISE_DRAWS)

        field, count = self._field(indices, seed)
        light = Blobs.join(sources.light.moved(x, y), field)
        shown = [BANDS.index(band) for band in config.bands]
        light = Blobs(light.x, light.y, light.sigma, light.flux[..., shown])
        target = light_grid.per_pixel(light, tuple(config.seeing_arcsec * SEEING[band] for band in config.bands))
        if config.sky_rms_nmgy:
            # one band's noise may not depend on which others are simulated
            for channel, (band, number) in enumerate(zip(config.bands, shown, strict=True)):
                rms = config.sky_rms_nmgy * SKY_RMS[band] * light_grid.pixel_arcsec
                start = SKY_NOISE_DRAWS + number * 2**24
                target[:, channel] += rms * chance.normal(seed, indices, (side.height, side.width), start)

        columns = {"flux_jy": flux, "peak_jy_beam": flux * peak, "offset_x_arcsec": x, "offset_y_arcsec": y}
        if config.rms_jy_beam:
            columns["snr"] = columns["peak_jy_beam"] / config.rms_jy_beam
        return {"image": image, "target": target, **sources.columns, **columns, "field_sources": count}

    def _flux(self, sources: Sources, peak: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
        """Draw fluxes from the part of the distribution in which the peaks stand out of the noise."""
        faintest = self.config.snr_min * self.config.rms_jy_beam / peak
        low = torch.log10(faintest.clamp(min=1e-12))
        return 10 ** normal(probability, sources.log_flux, sources.scatter, low)

    def _field(self, indices: torch.Tensor, seed: int) -> tuple[Blobs, torch.Tensor]:
        """Scatter stars and small galaxies, half of each; their number is binomial with the expected mean."""
        chances = chance.uniform(seed, indices, 6 * self._slots, FIELD_DRAWS).unflatten(1, (6, self._slots))
        there, bright, star, x, y, large = chances.unbind(1)  # (B, slots) each
        present = there < self._neighbours / self._slots
        colour, curve = chance.normal(seed, indices, (2, self._slots), FIELD_DRAWS + 6 * self._slots).unbind(1)
        spread = FIELD_SLOPE * (FIELD_FAINTEST - FIELD_BRIGHTEST)
        magnitude = FIELD_FAINTEST + torch.log10(bright + (1 - bright) * 10**-spread) / FIELD_SLOPE
        g_r = (0.8 + 0.35 * colour).clamp(-0.4, 1.8)
        flux = spectrum(nanomaggy(magnitude).flatten(), g_r.flatten(), (0.45 * g_r + 0.08 * curve).flatten())
        flux = flux.unflatten(0, present.shape) * present[..., None]
        # a Gaussian holds half of its light within 1.18 sigma; half-light radii of 0.3 to 1.2 arcsec at r = 20
        sigma = (0.3 + 0.9 * large) * 10 ** (0.15 * (20 - magnitude)) / math.sqrt(2 * math.log(2)) * (star > 0.5)
        side = self.config.size * self.config.pixel_arcsec
        return Blobs((x - 0.5) * side, (y - 0.5) * side, sigma, flux), present.sum(1)

    def _on(self, device: torch.device) -> tuple[Population, Grid, Grid, BeamNoise]:
        """Return the population, the two grids and the radio noise on a device."""
        if device not in self._placed:
            config, side = self.config, self._target
            radio = Grid(config.size, config.pixel_arcsec, device)
            light = Grid(side.width, config.target_pixel_arcsec or config.pixel_arcsec, device)
            noise = BeamNoise(radio, config.beam_arcsec, device)
            self._placed[device] = Population(config, device), radio, light, noise
        return self._placed[device]
