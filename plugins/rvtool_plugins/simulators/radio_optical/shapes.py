"""What hosts and their radio sources look like, as round Gaussians of flux 1 about the nucleus.

A Sersic profile is close to a sum of Gaussians, an elliptical Gaussian to a row of round ones along its major axis: so
spheroids, discs, arms, jets and lobes are all `Blobs`. Position angles count from north (+y) to east (-x).

References
----------
Hogg & Lang 2013, PASP 125, 719 (galaxy profiles as mixtures of Gaussians).
Fanaroff & Riley 1974, MNRAS 167, 31P (jets that fade outwards, lobes that end in hotspots).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.special import gamma, gammaincinv

from rvtool_plugins.simulators.radio_optical.sky import Blobs

INDICES = np.arange(1.5, 6.01, 0.25)  # Sersic indices that are tabulated
WIDTHS = np.geomspace(0.05, 6.0, 8)  # of a spheroid's Gaussians, half-light radii
DISC_WIDTHS = np.geomspace(0.12, 1.6, 6)  # of an exponential disc's
NODES_SPHEROID, NODES_DISC, NODES_REACH = 8, 18, 3.0  # round Gaussians along a major axis, and to how many sigma
SCALE = 1.678  # half-light radius of an exponential disc, scale lengths

ARMS, KNOTS = 2, 20  # arms of a spiral, and Gaussians along one
ARM_FROM, ARM_TO = 0.6, 4.2  # scale lengths of the disc
KNOT_WIDTH, KNOT_SCATTER = 0.16, 0.08  # scale lengths
KNOT_DEX = 0.2  # scatter of the knots' fluxes
KNOT_NORMALS = (3, ARMS * KNOTS)  # of an image: flux, and displacement along both axes

LINKS = 14  # Gaussians along a jet or lobe
LINK_NORMALS = (2, LINKS)  # of an image: flux of both sides' links
# FRI, FRII: where a side is brightest and how fast it fades from there (parts of its length), its width at the core
# and at the end (parts of half the source's size), its hotspot's part of the flux
JETS = torch.tensor([[0.12, 0.38, 0.03, 0.20, 0.00], [0.88, 0.22, 0.09, 0.15, 0.35]])
HOTSPOT_AT, HOTSPOT_WIDTH = 0.95, 0.02  # of a side's length, of half the source's size
CLUMP_DEX = 0.15  # scatter of the links' fluxes


def sersic(index: float, widths: np.ndarray) -> np.ndarray:
    """Fit a sum of Gaussians to a Sersic profile of flux 1 and half-light radius 1.

    Parameters
    ----------
    widths : (K,)
        Standard deviations, half-light radii.

    Returns
    -------
    numpy.ndarray : (K,)
        Their parts of the flux, 0 or more, which add to 1: light beyond the widest is left out, as in any catalogue.
    """
    b = gammaincinv(2 * index, 0.5)
    radius = np.geomspace(0.02, 8, 200)
    light = np.exp(-b * radius ** (1 / index)) * b ** (2 * index) / (2 * np.pi * index * gamma(2 * index))
    gaussians = np.exp(-0.5 * (radius[:, None] / widths) ** 2) / (2 * np.pi * widths**2)
    weight = radius**1.5  # equal steps of ln(radius) hold light as radius^2; a little more for the core
    parts, _ = nnls(gaussians * weight[:, None], light * weight)
    return parts / parts.sum()


class Shapes:
    """The tables of the shapes on a device."""

    def __init__(self, device: torch.device) -> None:
        spheroids = np.stack([sersic(index, WIDTHS) for index in INDICES])
        self._spheroids, self._widths, self._disc, self._disc_widths = (
            torch.tensor(table, dtype=torch.float32, device=device)
            for table in (spheroids, WIDTHS, sersic(1.0, DISC_WIDTHS), DISC_WIDTHS)
        )
        self._jets = JETS.to(device)

    def spheroid(
        self, index: torch.Tensor, radius: torch.Tensor, axis_ratio: torch.Tensor, angle_deg: torch.Tensor
    ) -> Blobs:
        """Lay out Sersic light; `index`, half-light `radius` of the major axis, arcsec, and the rest are (B,)."""
        place = (index - INDICES[0]) / (INDICES[1] - INDICES[0])
        lower = place.long().clamp(0, len(INDICES) - 2)
        parts = torch.lerp(self._spheroids[lower], self._spheroids[lower + 1], (place - lower)[:, None])
        return _flattened(parts, radius[:, None] * self._widths, axis_ratio, angle_deg, NODES_SPHEROID)

    def disc(self, radius: torch.Tensor, axis_ratio: torch.Tensor, angle_deg: torch.Tensor) -> Blobs:
        """Lay out exponential light; half-light `radius` of the major axis, arcsec, and the rest are (B,)."""
        parts = self._disc.expand(len(radius), -1)
        return _flattened(parts, radius[:, None] * self._disc_widths, axis_ratio, angle_deg, NODES_DISC)

    def jets(
        self,
        fr_type: torch.Tensor,
        *,
        las_arcsec: torch.Tensor,
        angle_deg: torch.Tensor,
        bend_deg: torch.Tensor,
        core: torch.Tensor,
        sides: torch.Tensor,
        scatter: torch.Tensor,
    ) -> Blobs:
        """Lay out a core and two sides of jet and lobe.

        Parameters
        ----------
        fr_type : (B,), int64
            1 or 2.
        las_arcsec : (B,)
            Distance between the two ends.
        bend_deg : (B,)
            By how much the directions of the two ends from the core differ from opposite ones; the sign says to
            which side.
        core : (B,)
            The core's part of the flux.
        sides : (B, 2)
            Of the first side: part of the flux outside the core, part of the length.
        scatter : (B, *LINK_NORMALS)
            Standard normal.
        """
        at, fade, width_core, width_end, hotspot = self._jets[fr_type - 1].T[..., None, None]  # (B, 1, 1) each
        steps = (torch.arange(LINKS, device=core.device) + 0.5) / LINKS
        brightness = (-0.5 * ((steps - at) / fade).square() + math.log(10) * CLUMP_DEX * scatter).exp()  # (B, 2, L)
        brightness = brightness / brightness.sum(2, keepdim=True) * (1 - hotspot)
        part, length = torch.stack([sides, 1 - sides], 1).unbind(2)  # (B, 2) each, first and second side
        width = (width_core + (width_end - width_core) * steps).expand(-1, 2, -1)

        stations = torch.cat([steps, steps.new_tensor([HOTSPOT_AT, 1.0])])  # links, hotspot, end
        turn = torch.deg2rad(bend_deg)[:, None, None] / 2 * stations  # each side turns on as it goes
        forward = torch.tensor([1.0, -1.0], device=core.device)[:, None]
        along, across = (length[..., None] * stations * wave for wave in (forward * torch.cos(turn), torch.sin(turn)))
        ends = torch.stack([along[..., -1], across[..., -1]], 2)  # (B, 2, 2)
        scale = (las_arcsec / (ends[:, 0] - ends[:, 1]).square().sum(1).sqrt())[:, None]

        nothing = torch.zeros_like(core)[:, None]
        flux = torch.cat([brightness, hotspot.expand(-1, 2, -1)], 2) * (part * (1 - core)[:, None])[..., None]
        sigma = (
            torch.cat([width, torch.full_like(width[..., :1], HOTSPOT_WIDTH)], 2).flatten(1) * las_arcsec[:, None] / 2
        )
        x, y = _turned(along[..., :-1].flatten(1) * scale, across[..., :-1].flatten(1) * scale, angle_deg)
        flux = torch.cat([flux.flatten(1), core[:, None]], 1)
        x, y, sigma = (torch.cat([values, nothing], 1) for values in (x, y, sigma))
        return Blobs(x, y, sigma, flux[..., None])


def point(like: torch.Tensor) -> Blobs:
    """Lay out a point of flux 1 at the nucleus of every image of ``like (B,)``."""
    nothing = torch.zeros_like(like)[:, None]
    return Blobs(nothing, nothing, nothing, torch.ones_like(nothing)[..., None])


def arms(
    radius: torch.Tensor,
    axis_ratio: torch.Tensor,
    *,
    angle_deg: torch.Tensor,
    pitch_deg: torch.Tensor,
    phase: torch.Tensor,
    scatter: torch.Tensor,
) -> Blobs:
    """Lay out the knots of two logarithmic arms in an exponential disc.

    Parameters
    ----------
    radius : (B,)
        Half-light radius of the disc, arcsec.
    pitch_deg : (B,)
        Between an arm and a circle; the sign says which way the arms wind.
    phase : (B,)
        Where the first arm begins, radians.
    scatter : (B, *KNOT_NORMALS)
        Standard normal.
    """
    length = (radius / SCALE)[:, None]
    steps = ARM_FROM + (ARM_TO - ARM_FROM) * (torch.arange(KNOTS, device=radius.device) + 0.5) / KNOTS
    steps = steps.repeat(ARMS)  # scale lengths
    first = torch.arange(ARMS, device=radius.device).repeat_interleave(KNOTS) * (2 * math.pi / ARMS)
    turn = phase[:, None] + first + torch.log(steps) / torch.tan(torch.deg2rad(pitch_deg))[:, None]
    along, across = (
        steps * wave + KNOT_SCATTER * moved
        for wave, moved in zip((torch.cos(turn), torch.sin(turn)), scatter[:, 1:].unbind(1), strict=True)
    )
    flux = steps * (-steps + math.log(10) * KNOT_DEX * scatter[:, 0]).exp()  # light of a disc, per step of radius
    sigma = KNOT_WIDTH * (1 + 0.3 * steps) * length * axis_ratio.sqrt()[:, None]  # as much sky as a flattened knot
    x, y = _turned(along * length, across * length * axis_ratio[:, None], angle_deg)
    return Blobs(x, y, sigma, (flux / flux.sum(1, keepdim=True))[..., None])


def _flattened(
    parts: torch.Tensor, widths: torch.Tensor, axis_ratio: torch.Tensor, angle_deg: torch.Tensor, nodes: int
) -> Blobs:
    """Lay out elliptical Gaussians of one shape: ``parts`` and ``widths`` (along the major axis) are (B, K).

    An ellipse is the convolution of a round Gaussian of its minor axis with one along its major axis, which the
    trapezoidal rule sums. The nodes' second moment is brought to 1, so that the cut at `NODES_REACH` costs no width.
    """
    node = torch.linspace(-NODES_REACH, NODES_REACH, nodes, device=parts.device)
    weight = torch.exp(-0.5 * node**2)
    weight = weight / weight.sum()
    node = node / (weight * node**2).sum().sqrt()
    extra = widths * (1 - axis_ratio**2).clamp(min=0).sqrt()[:, None]  # (B, K)
    along = (extra[..., None] * node).flatten(1)  # (B, K, N) -> (B, K N)
    x, y = _turned(along, torch.zeros_like(along), angle_deg)
    sigma = (widths * axis_ratio[:, None]).repeat_interleave(nodes, 1)
    return Blobs(x, y, sigma, (parts[..., None] * weight).flatten(1)[..., None])


def _turned(along: torch.Tensor, across: torch.Tensor, angle_deg: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn distances ``(B, K)`` along and across an axis of position angle ``(B,)`` into x and y."""
    angle = torch.deg2rad(angle_deg)[:, None]
    sine, cosine = torch.sin(angle), torch.cos(angle)
    return -along * sine - across * cosine, along * cosine - across * sine  # north is +y, east is -x
