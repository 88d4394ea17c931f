"""Who hosts a radio source, and what the two surveys see of it: from redshift and luminosity to a sky of Gaussians.

Radio and visible light share redshift, position, orientation, and type. Their luminosities are tied loosely in
ellipticals (by redshift only), by star formation in spirals, by radio loudness in quasars.

- *elliptical*: an oblate spheroid on the red sequence; jets about its short axis, seen from the side
  (at 45 deg and more); FRI or FRII, whose luminosities differ.
- *spiral*: bulge, exponential disc and two logarithmic arms; radio emission of the same disc and arms, as bright as the
  star formation that its stellar mass implies, with a brighter nucleus.
- *quasar*: a point of light over an elliptical host; jets seen from ahead (within 45 deg), so most are short and have a
  bright core.

Normal distributions are cut at stated bounds. K-correction and passive evolution of ellipticals in r nearly cancel and
are left out; colours are as observed. Means and scatters without a reference are round numbers of the right order.

References
----------
Shen et al. 2003, MNRAS 343, 978 (sizes, eqs. 14 and 15, Table 1). Padilla & Strauss 2008, MNRAS 388, 1321 (spheroids of
axis ratio 0.76, discs of thickness 0.21). Barthel 1989, ApJ 336, 606 (quasars within 45 deg of the jet). Orr & Browne
1982, MNRAS 200, 1067 (a core's part of the flux). Battye & Browne 2009, MNRAS 399, 1888 (radio axes lie along minor
axes of ellipticals and major axes of spirals). Ledlow & Owen 1996, AJ 112, 9 (FRI and FRII luminosities). Renzini &
Peng 2015, ApJ 801, L29 (star formation of a stellar mass). Murphy et al. 2011, ApJ 737, 67, eq. 17 (1.4 GHz and star
formation). Ivezic et al. 2002, AJ 124, 2364 (radio loudness).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rvtool.data import chance
from rvtool_plugins.simulators.radio_optical import RadioOpticalConfig
from rvtool_plugins.simulators.radio_optical.cosmology import distance_modulus, kpc_per_arcsec, log_area
from rvtool_plugins.simulators.radio_optical.shapes import KNOT_NORMALS, LINK_NORMALS, SCALE, Shapes, arms, point
from rvtool_plugins.simulators.radio_optical.sky import Blobs

Columns = dict[str, torch.Tensor]

# where each purpose finds its draws, so that one may grow without moving the others
PARAMETER_DRAWS, SHAPE_DRAWS, RADIO_SHAPE_DRAWS = 0, 64, 192
PARAMETERS = 24  # uniform numbers of an image

ZERO_POINT = 22.5  # magnitude of a nanomaggy
NANOMAGGY_JY = 3.631e-6
DISC_THICKNESS = 0.21
JET_SPEED = 0.98  # of light: a Lorentz factor of 5
W_HZ_PER_SFR = 1.57e21  # at 1.4 GHz, for a solar mass a year
QUASAR_WITHIN_DEG = 45.0
LOG_LOUDNESS = 2.0  # mean log10 of radio flux over flux in i, of quasars that radio surveys find
NINETY_PERCENT = 3.89  # scale lengths that hold 90 % of an exponential disc
BULGE_SIZE, BULGE_THICKNESS = 0.25, 0.65  # half-light radius, that of the disc being 1; axis ratio
# observed colours of the red sequence by redshift
RED_REDSHIFTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
RED_G_R = (0.70, 0.95, 1.22, 1.45, 1.65, 1.72)
RED_R_I = (0.36, 0.40, 0.45, 0.50, 0.60, 0.75)
# FRI, FRII: log10 of the luminosity in W/Hz and of a core's flux over the lobes' for jets in the plane of the sky
LOG_POWER, LOG_CORE = (24.0, 25.0), (-1.1, -1.9)


@dataclass(frozen=True)
class Sources:
    """Hosts at the middle of the field, and their radio sources of flux 1.

    Attributes
    ----------
    columns
        True parameters, (B,) each.
    light, radio
        Channels g, r, i in nanomaggy; one channel.
    log_flux, scatter : (B,)
        Mean and standard deviation of log10(radio flux / Jy).
    """

    columns: Columns
    light: Blobs
    radio: Blobs
    log_flux: torch.Tensor
    scatter: torch.Tensor


class Population:
    """The hosts of a configuration, on a device."""

    def __init__(self, config: RadioOpticalConfig, device: torch.device) -> None:
        self._alignment_deg = config.alignment_scatter_deg
        self._las_max = config.las_max_arcsec or 0.75 * config.size * config.pixel_arcsec
        self._shapes = Shapes(device)

    def draw(self, kind: str, indices: torch.Tensor, seed: int) -> Sources:
        """Draw the sources of `indices`, all of one class."""
        drawn = {"elliptical": self._elliptical, "spiral": self._spiral, "quasar": self._quasar}[kind]
        sources = drawn(indices, seed, iter(chance.uniform(seed, indices, PARAMETERS, PARAMETER_DRAWS).unbind(1)))
        total = ZERO_POINT - 2.5 * torch.log10(sources.light.flux.sum(1))  # (B, 3)
        sources.columns.update(zip(("g_mag", "r_mag", "i_mag"), total.unbind(1), strict=True))
        return sources

    def _elliptical(self, indices: torch.Tensor, seed: int, chances: Iterator[torch.Tensor]) -> Sources:
        redshift = normal(next(chances), 0.18, 0.1, 0.03, 0.45)
        absolute = normal(next(chances), -22.6, 0.5, -24.0, -21.0)
        cosine = next(chances) * math.cos(math.radians(QUASAR_WITHIN_DEG))
        fr_type = 1 + (next(chances) < 0.35).long()
        columns, light = self._spheroid(redshift, absolute, cosine, chances)
        scatter = chance.normal(seed, indices, LINK_NORMALS, RADIO_SHAPE_DRAWS)
        radio = self._jets(columns, fr_type, cosine, scatter, chances)
        log_flux = torch.tensor(LOG_POWER, device=indices.device)[fr_type - 1] - log_area(redshift)
        return Sources(columns, light, radio, log_flux, torch.full_like(log_flux, 0.5))

    def _quasar(self, indices: torch.Tensor, seed: int, chances: Iterator[torch.Tensor]) -> Sources:
        redshift = normal(next(chances), 1.2, 0.7, 0.2, 3.0)
        magnitude = normal(next(chances), 18.3, 0.7, 15.5, 20.0)
        absolute = normal(next(chances), -22.8, 0.5, -24.0, -21.0)
        absolute = torch.maximum(absolute, magnitude + 0.7526 - distance_modulus(redshift))  # half of the light at most
        cosine = 1 - next(chances) * (1 - math.cos(math.radians(QUASAR_WITHIN_DEG)))
        fr_type = 1 + (next(chances) < 0.8).long()
        columns, host = self._spheroid(redshift, absolute, cosine, chances)
        nucleus = nanomaggy(magnitude) - nanomaggy(absolute + distance_modulus(redshift))
        columns["nucleus_fraction"] = nucleus / nanomaggy(magnitude)
        point_like = spectrum(nucleus, normal(next(chances), 0.2, 0.15), normal(next(chances), 0.15, 0.12))
        light = Blobs.join(host, point(redshift).lit(point_like))
        scatter = chance.normal(seed, indices, LINK_NORMALS, RADIO_SHAPE_DRAWS)
        radio = self._jets(columns, fr_type, cosine, scatter, chances)
        log_flux = torch.log10(point_like[:, 2] * NANOMAGGY_JY) + LOG_LOUDNESS
        return Sources(columns, light, radio, log_flux, torch.full_like(log_flux, 0.8))

    def _spiral(self, indices: torch.Tensor, seed: int, chances: Iterator[torch.Tensor]) -> Sources:
        redshift = normal(next(chances), 0.022, 0.012, 0.01, 0.05)
        absolute = normal(next(chances), -21.2, 0.7, -22.5, -19.5)
        log_kpc = -0.4 * 0.21 * absolute + 0.32 * torch.log10(1 + 10 ** (-0.4 * (absolute + 20.52))) - 1.31
        radius = 10**log_kpc * normal(next(chances), 0.0, 0.3, -0.9, 0.9).exp() / kpc_per_arcsec(redshift)
        cosine = 0.1 + 0.9 * next(chances)
        axis_ratio = seen_ratio(torch.full_like(cosine, DISC_THICKNESS), cosine)
        angle = 180 * next(chances)
        bulge = normal(next(chances), 0.15, 0.15, 0.02, 0.6)
        index = normal(next(chances), 2.0, 0.8, 1.5, 4.0)
        in_arms = normal(next(chances), 0.35, 0.12, 0.1, 0.6)
        pitch = normal(next(chances), 20.0, 7.0, 8.0, 40.0)
        winding = torch.where(next(chances) < 0.5, -1.0, 1.0)
        phase = 2 * math.pi * next(chances)
        core = normal(next(chances), 0.2, 0.15, 0.02, 0.6)
        radio_in_arms = (in_arms + 0.1 * normal(next(chances), 0.0, 1.0)).clamp(0.05, 0.8)

        disc = self._shapes.disc(radius, axis_ratio, angle)
        shape = {"angle_deg": angle, "pitch_deg": pitch * winding, "phase": phase}
        knots = arms(radius, axis_ratio, **shape, scatter=chance.normal(seed, indices, KNOT_NORMALS, SHAPE_DRAWS))
        centre = self._shapes.spheroid(
            index, BULGE_SIZE * radius, seen_ratio(torch.full_like(cosine, BULGE_THICKNESS), cosine), angle
        )
        total = nanomaggy(absolute + distance_modulus(redshift))
        redder = 0.08 * normal(next(chances), 0.0, 1.0)
        light = Blobs.join(
            centre.lit(spectrum(total * bulge, 0.80 + redder, 0.40 + redder / 2)),
            disc.lit(spectrum(total * (1 - bulge) * (1 - in_arms), 0.60 + redder, 0.30 + redder / 2)),
            knots.lit(spectrum(total * (1 - bulge) * in_arms, 0.25 + redder, 0.08 + redder / 2)),
        )
        # the same arms, but other knots of them: young stars and supernova remnants are not of one age
        scatter = chance.normal(seed, indices, KNOT_NORMALS, RADIO_SHAPE_DRAWS)
        remnants = arms(radius, axis_ratio, **shape, scatter=scatter)
        radio = Blobs.join(
            point(core).lit(core[:, None]),
            disc.lit(((1 - core) * (1 - radio_in_arms))[:, None]),
            remnants.lit(((1 - core) * radio_in_arms)[:, None]),
        )
        log_mass = (4.65 - absolute) / 2.5 + 0.25  # of the Sun's, at a mass-to-light ratio of 1.8
        log_flux = 0.76 * log_mass - 7.64 + math.log10(W_HZ_PER_SFR) - log_area(redshift)
        columns = {
            "redshift": redshift,
            "sersic_index": index,
            "radius_arcsec": radius,
            "axis_ratio": axis_ratio,
            "position_angle_deg": angle,
            "inclination_deg": torch.rad2deg(torch.acos(cosine)),
            "bulge_fraction": bulge,
            "arms_fraction": (1 - bulge) * in_arms,
            "pitch_deg": pitch * winding,
            "core_fraction": core,
            "las_arcsec": 2 * NINETY_PERCENT / SCALE * radius,
            "radio_angle_deg": angle,
        }
        return Sources(columns, light, radio, log_flux, torch.full_like(log_flux, 0.4))

    def _spheroid(
        self, redshift: torch.Tensor, absolute: torch.Tensor, cosine: torch.Tensor, chances: Iterator[torch.Tensor]
    ) -> tuple[Columns, Blobs]:
        """Draw an elliptical of the absolute magnitude; `cosine` of the angle between its short axis and our sight."""
        log_kpc = -0.4 * 0.6 * absolute - 4.63
        radius = 10**log_kpc * normal(next(chances), 0.0, 0.3, -0.9, 0.9).exp() / kpc_per_arcsec(redshift)
        axis_ratio = seen_ratio(normal(next(chances), 0.7, 0.12, 0.45, 0.95), cosine)
        angle = 180 * next(chances)
        index = normal(next(chances), 4.0, 0.9, 2.0, 6.0)
        redder = 0.05 * normal(next(chances), 0.0, 1.0)
        colours = (
            between(redshift, RED_REDSHIFTS, table) + part * redder for table, part in ((RED_G_R, 1), (RED_R_I, 0.5))
        )
        flux = spectrum(nanomaggy(absolute + distance_modulus(redshift)), *colours)
        columns = {
            "redshift": redshift,
            "sersic_index": index,
            "radius_arcsec": radius,
            "axis_ratio": axis_ratio,
            "position_angle_deg": angle,
            "inclination_deg": torch.rad2deg(torch.acos(cosine)),
            "bulge_fraction": torch.ones_like(redshift),
        }
        return columns, self._shapes.spheroid(index, radius, axis_ratio, angle).lit(flux)

    def _jets(
        self,
        columns: Columns,
        fr_type: torch.Tensor,
        cosine: torch.Tensor,
        scatter: torch.Tensor,
        chances: Iterator[torch.Tensor],
    ) -> Blobs:
        """Draw jets and lobes about the short axis of a host, and add what is true of them to its columns."""
        sine = (1 - cosine**2).clamp(min=1e-4).sqrt()
        arcsec_per_kpc = sine / kpc_per_arcsec(columns["redshift"])
        longest = torch.log(self._las_max / arcsec_per_kpc)
        las = normal(next(chances), math.log(150.0), 0.8, (longest - 1).clamp(max=math.log(2.0)), longest)
        las = las.exp() * arcsec_per_kpc
        misaligned = self._alignment_deg * normal(next(chances), 0.0, 1.0)
        misaligned = torch.remainder(misaligned + 90, 180) - 90  # an axis has no direction
        angle = torch.remainder(columns["position_angle_deg"] + 90 + misaligned, 180)
        boost = ((1 - JET_SPEED * cosine) ** -2 + (1 + JET_SPEED * cosine) ** -2) / 2
        ratio = torch.tensor(LOG_CORE, device=cosine.device)[fr_type - 1] + normal(next(chances), 0.0, 0.4, -1.2, 1.2)
        core = 1 - 1 / (1 + 10**ratio * boost)
        bend = normal(next(chances), 0.0, 12.0, -60.0, 60.0)
        sides = torch.stack(
            [normal(next(chances), 0.5, 0.1, 0.25, 0.75), normal(next(chances), 0.5, 0.06, 0.35, 0.65)], 1
        )
        columns |= {
            "fr_type": fr_type,
            "core_fraction": core,
            "las_arcsec": las,
            "radio_angle_deg": angle,
            "misalignment_deg": misaligned,
            "bending_angle_deg": bend.abs(),
        }
        return self._shapes.jets(
            fr_type, las_arcsec=las, angle_deg=angle, bend_deg=bend, core=core, sides=sides, scatter=scatter
        )


def normal(
    probability: torch.Tensor,
    mean: torch.Tensor | float,
    scatter: torch.Tensor | float,
    low: torch.Tensor | float = -math.inf,
    high: torch.Tensor | float = math.inf,
) -> torch.Tensor:
    """Look up quantiles of a normal distribution that is cut at `low` and `high`; all (B,), or one number for all."""
    probability = probability.double()
    low, high = (torch.as_tensor(edge).to(probability).expand_as(probability) for edge in (low, high))
    # counted from above: a cut may leave only the tail of the bright, of which float64 knows 37 scatters
    above = [torch.special.ndtr((mean - edge) / scatter) for edge in (low, high)]
    tail = (above[0] + probability * (above[1] - above[0])).clamp(min=torch.finfo(torch.float64).tiny)
    return (mean - scatter * torch.special.ndtri(tail)).clamp(low, high).float()


def seen_ratio(thickness: torch.Tensor, cosine: torch.Tensor) -> torch.Tensor:
    """Return the axis ratio of an oblate spheroid whose short axis makes an angle of this cosine with our sight."""
    return (thickness**2 * (1 - cosine**2) + cosine**2).sqrt()


def nanomaggy(magnitude: torch.Tensor) -> torch.Tensor:
    """Return the flux of a magnitude."""
    return 10 ** (0.4 * (ZERO_POINT - magnitude))


def spectrum(r_flux: torch.Tensor, g_r: torch.Tensor, r_i: torch.Tensor) -> torch.Tensor:
    """Return the flux in g, r and i of colours g - r and r - i: (B, 3)."""
    return torch.stack([r_flux * 10 ** (-0.4 * g_r), r_flux, r_flux * 10 ** (0.4 * r_i)], 1)


def between(x: torch.Tensor, nodes: tuple[float, ...], values: tuple[float, ...]) -> torch.Tensor:
    """Interpolate linearly; constant beyond the nodes, which are equally spaced."""
    place = ((x - nodes[0]) / (nodes[1] - nodes[0])).clamp(0, len(nodes) - 1)
    lower = place.long().clamp(max=len(nodes) - 2)
    table = torch.tensor(values, device=x.device)
    return torch.lerp(table[lower], table[lower + 1], place - lower)
