"""Radio galaxies as a survey sees them: drawn parameters, round Gaussians, beam, noise."""

from __future__ import annotations

from dataclasses import replace

import torch

from rvtool.data import chance
from rvtool.errors import ConfigError
from rvtool.kinds import Batch, Beam, Side, SimulatorInfo
from rvtool_plugins.simulators.radio_galaxy import RadioGalaxyConfig, geometry, priors
from rvtool_plugins.simulators.radio_galaxy.sky import Blobs, Sky

# where each purpose finds its draws, so that one may grow without moving the others
GALAXY_DRAWS, OFFSET_DRAWS, SHAPE_DRAWS, SCATTER_DRAWS, FIELD_DRAWS, NOISE_DRAWS = 0, 16, 32, 64, 128, 4096
LARGEST_FIELD = (NOISE_DRAWS - FIELD_DRAWS) // 3  # neighbours for which there are draws

FIELD_MIN_JY, FIELD_MAX_JY = 1e-3, 0.1  # from the limit of the FIRST catalogue (White et al. 1997, ApJ 475, 479)
FIELD_SLOPE = 0.85  # of the counts, N(>S) ~ S^-slope between 1 and 100 mJy
BLOCK_PIXELS = 2**19  # worked on at a time, so that intermediate results stay in the processor's cache


class RadioGalaxy:
    """FRI, FRII, bent and compact radio galaxies in Jy/beam.

    The class of an image is its index modulo the number of classes, so any range of indices is balanced. Of the
    parameters, flux, size and bending angle come from `priors`, the shape from `geometry.SHAPE`, the position angle is
    uniform. A source whose peak would be below ``snr_min`` times the noise is not drawn: its flux comes from the part
    of the distribution above, as in any sample that people could classify (only if nothing is above, the flux is
    raised to that peak). Unrelated point sources lie in the field as densely as the survey finds them.

    Parameters
    ----------
    config
        Validated settings.

    Raises
    ------
    ConfigError
        More unrelated sources are asked for than there are draws.
    ConfigError, DataError
        See `priors.tables`.
    """

    def __init__(self, config: RadioGalaxyConfig) -> None:
        self.config = config
        self.beam = Beam(
            config.beam_major_arcsec, config.beam_minor_arcsec or config.beam_major_arcsec, config.beam_angle_deg
        )
        side = Side(1, config.size, config.size, "sky", "Jy/beam", config.pixel_arcsec, self.beam)
        self.info = SimulatorInfo(image=side, classes=config.classes)
        self._tables = priors.tables(config)
        self._placed: dict[torch.device, tuple[Sky, dict[str, torch.Tensor]]] = {}
        area_deg2 = (config.size * config.pixel_arcsec / 3600) ** 2
        self._neighbours = config.field_sources_per_deg2 * area_deg2  # expected in an image
        if self._neighbours > LARGEST_FIELD:
            raise ConfigError(
                f"An image would hold {self._neighbours:.0f} unrelated sources, {LARGEST_FIELD} are possible; "
                "lower field_sources_per_deg2 or size."
            )
        self._slots = min(int(2 * self._neighbours + 1), LARGEST_FIELD)

    def simulate(self, indices: torch.Tensor, seed: int, device: torch.device) -> Batch:
        """Simulate the images of `indices`; an index has one image a seed, in whatever batch.

        Returns
        -------
        ``image (B, 1, H, W)``, Jy/beam; ``label (B,)``, int64; and ``(B,)`` each: ``flux_jy``, ``las_arcsec``,
        ``bending_angle_deg``, ``position_angle_deg``, ``offset_x_arcsec`` and ``offset_y_arcsec`` (of the core from
        the centre, along increasing columns and rows), what `geometry.SHAPE` lists, ``fr_type`` (1, 2; 0 for Compact),
        ``fr_ratio``, ``field_sources``, ``peak_jy_beam`` (of the source without noise and neighbours) and ``snr``.
        """
        config, size = self.config, self.config.size
        indices = indices.to(device)
        sky, tables = self._on(indices.device)
        batch, galaxy, chance_of_flux = self._galaxy(indices, seed, tables)
        field = self._field(indices, seed)
        image = torch.empty(len(indices), size, size, device=device)
        flux, peak = torch.empty(2, len(indices), device=device)
        block = min(max(BLOCK_PIXELS // size**2, 8), 256)
        for first in range(0, len(indices), block):
            part = slice(first, first + block)
            peak[part] = sky.render(galaxy[part], out=image[part]).amax((1, 2))  # of flux 1
            flux[part] = self._flux(tables["flux_jy"][batch["label"][part]], chance_of_flux[part], peak[part])
            image[part] *= flux[part, None, None]
            if self._neighbours:
                image[part] += sky.render(field[part])
            if config.rms_jy_beam:
                image[part] += sky.noise(config.rms_jy_beam, seed, indices[part], NOISE_DRAWS)
        batch |= {"flux_jy": flux, "peak_jy_beam": flux * peak, "field_sources": (field.flux > 0).sum(1)}
        if config.rms_jy_beam:
            batch["snr"] = batch["peak_jy_beam"] / config.rms_jy_beam
        return {"image": image[:, None], **batch}

    def _on(self, device: torch.device) -> tuple[Sky, dict[str, torch.Tensor]]:
        """Return the sky and the tables of the priors on a device."""
        if device not in self._placed:
            config = self.config
            sky = Sky(config.size, config.pixel_arcsec, self.beam, config.noise_fwhm_beams, device)
            tables = {name: torch.tensor(table, dtype=torch.float32) for name, table in self._tables.items()}
            self._placed[device] = sky, {name: table.to(device) for name, table in tables.items()}
        return self._placed[device]

    def _flux(self, table: torch.Tensor, chance_of_flux: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
        """Draw fluxes from the part of the distribution in which the peaks stand out of the noise."""
        faintest = self.config.snr_min * self.config.rms_jy_beam / peak
        below = _probability(table, faintest)
        return torch.maximum(_quantile(table, below + chance_of_flux * (1 - below)), faintest)

    def _galaxy(
        self, indices: torch.Tensor, seed: int, tables: dict[str, torch.Tensor]
    ) -> tuple[Batch, Blobs, torch.Tensor]:
        """Draw all but the flux; return the parameters, the source of flux 1, and the flux's uniform number."""
        config = self.config
        label = indices % len(config.classes)
        size, flux, bending, angle, mirror, bent_form = chance.uniform(seed, indices, 6, GALAXY_DRAWS).unbind(1)
        form_of = torch.tensor([priors.CLASSES.index(name) for name in config.classes], device=indices.device)[label]
        # Bent (2) is FRI (0) or FRII (1) by halves; Compact (3) is the third form
        form = torch.where(form_of == 2, (bent_form < 0.5).long(), form_of.clamp(max=2))
        las = _quantile(tables["las_arcsec"][label], size)
        drawn = geometry.shape(form, las, chance.uniform(seed, indices, geometry.DRAWS, SHAPE_DRAWS))
        offset_x, offset_y = (config.offset_arcsec * chance.normal(seed, indices, (2,), OFFSET_DRAWS)).unbind(1)

        batch = {
            "label": label,
            "flux_jy": flux,  # in its place among the columns; set once the peak is known
            "las_arcsec": las,
            "bending_angle_deg": _quantile(tables["bending_angle_deg"][label], bending),
            "position_angle_deg": 360 * angle,
            "offset_x_arcsec": offset_x,
            "offset_y_arcsec": offset_y,
            "fr_type": torch.tensor([1, 2, 0], device=indices.device)[form],
        }
        blobs, fr_ratio = geometry.arms(
            drawn,
            outward=form == 0,
            bending_angle_deg=batch["bending_angle_deg"],
            position_angle_deg=batch["position_angle_deg"],
            mirror=torch.where(mirror < 0.5, -1.0, 1.0),
            las_arcsec=las,
            scatter=chance.normal(seed, indices, geometry.NORMALS, SCATTER_DRAWS),
        )
        middle, pixel = (config.size - 1) / 2, config.pixel_arcsec
        blobs = replace(
            blobs,
            x=(blobs.x + offset_x[:, None]) / pixel + middle,
            y=(blobs.y + offset_y[:, None]) / pixel + middle,
            sigma=blobs.sigma / pixel,
        )
        return {**batch, "fr_ratio": fr_ratio, **drawn}, blobs, flux

    def _field(self, indices: torch.Tensor, seed: int) -> Blobs:
        """Scatter point sources; their number is binomial with the survey's mean."""
        chances = chance.uniform(seed, indices, 3 * self._slots, FIELD_DRAWS)
        there, x, y = chances.unflatten(1, (3, self._slots)).unbind(1)  # (B, 3 slots) -> (B, slots) each
        present = self._neighbours / self._slots
        # given that a source is there, `there / present` is uniform again and serves for its flux
        flux = (FIELD_MIN_JY * torch.exp(torch.log(there / present) / -FIELD_SLOPE)).clamp(max=FIELD_MAX_JY)
        flux = torch.where(there < present, flux, 0.0)
        size = self.config.size
        return Blobs(x * size - 0.5, y * size - 0.5, torch.zeros_like(x), flux)


def _quantile(table: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Look up quantiles between the tabulated ones: ``table (B, Q)``, ``probability (B,)`` in [0, 1]."""
    place = probability * (table.shape[1] - 1)
    lower = place.long().clamp(max=table.shape[1] - 2)
    values = table.gather(1, torch.stack([lower, lower + 1], 1))  # (B, 2)
    return values[:, 0] + (place - lower) * (values[:, 1] - values[:, 0])


def _probability(table: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Invert `_quantile`: the probability of less than `value (B,)`."""
    upper = (table < value[:, None]).sum(1).clamp(1, table.shape[1] - 1)
    values = table.gather(1, torch.stack([upper - 1, upper], 1))
    step = (values[:, 1] - values[:, 0]).clamp(min=torch.finfo(torch.float32).tiny)
    return (upper - 1 + ((value - values[:, 0]) / step).clamp(0, 1)) / (table.shape[1] - 1)
