"""The shape of a radio galaxy: a core and two arms, each a chain of round Gaussians with a lobe, a halo, a hotspot.

An arm leaves the core along an arc. Its brightness along the arc is a Gaussian with one width towards the core and
another outwards, which peaks at the *lobe*; the arm ends two outer widths beyond. In an FRI the lobes lie close to the
core and the long tails point outwards, in an FRII they lie near the ends and the tails point inwards, so the
Fanaroff-Riley ratio (distance of the lobes over the largest size) is below and above a half. Lengths below are in units
of the longer arm's length until `las_arcsec` sets the scale.

The *bending angle* is 180 deg minus the angle between the directions from the core to the two lobes: 0 is straight.
The *largest angular size* is the largest distance between the core, the lobes and the arms' ends.

References
----------
Fanaroff & Riley 1974, MNRAS 167, 31P (the ratio). Morrison 2020, "Synthetic training data for morphological
classification of radio galaxies", University of Birmingham (two-sided lobes, haloes, the ranges of the asymmetry).
"""

from __future__ import annotations

import math

import torch

from rvtool_plugins.simulators.radio_galaxy.sky import Blobs

FORMS = ("FRI", "FRII", "Compact")  # Bent sources are FRI or FRII
LINKS = 12  # Gaussians of an arm's chain: its widths and the beam join them into one
CHAIN_END = 2.2  # where a chain ends, in widths beyond the lobe
HOTSPOT_WIDTH = 0.03  # arm lengths
MEANDER_WAVES = 0.8  # swings in an arm's length
THIN_FROM_ARCSEC, THIN_POWER, THICKEST = 40.0, 0.4, 1.6  # width goes as (LAS / 40 arcsec)^-0.4 of the length
LARGEST_TURN_DEG = 35.0  # of an arm's direction between its lobe and one length further

# uniform between these, for FRI, FRII and Compact
SHAPE = {
    "core_fraction": ((0.01, 0.25), (0.00, 0.08), (0.20, 1.00)),  # of the flux
    "first_arm_fraction": ((0.30, 0.70), (0.30, 0.70), (0.45, 0.55)),  # of the flux outside the core
    "halo_fraction": ((0.00, 0.35), (0.00, 0.35), (0.00, 0.00)),  # of an arm's flux
    "hotspot_fraction": ((0.00, 0.10), (0.00, 0.30), (0.00, 0.00)),  # of an arm's flux
    "lobe_distance_fraction": ((0.18, 0.45), (0.62, 0.90), (0.00, 0.00)),  # from the core, arm lengths
    "asymmetry": ((1.20, 3.00), (1.50, 4.50), (1.00, 1.00)),  # of a lobe's two widths, the tail's over the other
    "arm_ratio": ((0.65, 1.00), (0.75, 1.00), (1.00, 1.00)),  # shorter over longer arm
    "width_fraction": (
        (0.09, 0.24),
        (0.09, 0.23),
        (0.06, 0.28),
    ),  # across an arm, arm lengths; times the factor of THIN_*
    "flare": ((0.40, 0.80), (0.00, 0.00), (0.00, 0.00)),  # how much of the width an arm lacks at the core
    "halo_width_ratio": ((1.00, 1.80), (1.00, 1.50), (1.00, 1.00)),  # of the halo, in widths of the arm
    "clumpiness": ((0.30, 0.90), (0.10, 0.60), (0.00, 0.00)),  # scatter of the links' ln(flux)
    "meander_fraction": (
        (0.04, 0.20),
        (0.00, 0.06),
        (0.00, 0.00),
    ),  # swing about the arc at the arm's end, arm lengths
    "turning": ((0.00, 1.00), (0.00, 1.00), (0.00, 0.00)),  # how much a bent arm curves on
    "twist_deg": ((-40.0, 40.0), (-10.0, 10.0), (0.00, 0.00)),  # S-shape: turn of both arms one length past the lobe
}
DRAWS = len(SHAPE)
NORMALS = (2, LINKS + 1)  # an arm: scatter of its links' flux, and its swing


def shape(form: torch.Tensor, las_arcsec: torch.Tensor, chances: torch.Tensor) -> dict[str, torch.Tensor]:
    """Draw what `SHAPE` lists; the larger a source, the thinner it is for its length.

    Parameters
    ----------
    form : (B,), int64
        Which of `FORMS`.
    chances : (B, DRAWS)
        Uniform in (0, 1).
    """
    bounds = torch.tensor(list(SHAPE.values()), device=form.device)  # (P, 3, 2)
    low, high = bounds[:, form].permute(2, 1, 0)  # (B, P) each
    drawn = dict(zip(SHAPE, (low + chances * (high - low)).unbind(1), strict=True))
    thin = torch.exp(THIN_POWER * torch.log(THIN_FROM_ARCSEC / las_arcsec)).clamp(max=THICKEST)
    drawn["width_fraction"] = drawn["width_fraction"] * thin
    return drawn


def arms(
    drawn: dict[str, torch.Tensor],
    *,
    outward: torch.Tensor,
    bending_angle_deg: torch.Tensor,
    position_angle_deg: torch.Tensor,
    mirror: torch.Tensor,
    las_arcsec: torch.Tensor,
    scatter: torch.Tensor,
) -> tuple[Blobs, torch.Tensor]:
    """Lay out a source of flux 1 around its core.

    Parameters
    ----------
    drawn
        What `shape` gave.
    outward : (B,), bool
        Whether the tails point outwards (FRI).
    position_angle_deg : (B,)
        Of the axis on the first arm's side, north (up) to east (left), deg; a bend turns both arms off it alike.
    mirror : (B,), +1 or -1
        To which side the source bends.
    scatter : (B, *NORMALS)
        Standard normal.

    Returns
    -------
    blobs : K = 2 LINKS + 5
        With x, y and sigma in arcsec from the core.
    fr_ratio : (B,)
        Distance of the lobes over the largest angular size.
    """
    lobe = drawn["lobe_distance_fraction"][:, None, None]  # (B, 1, 1), against (B, arms, links)
    outer = (1 - lobe) / 2
    tail = drawn["asymmetry"][:, None, None]
    inner = torch.where(outward[:, None, None], outer / tail, outer * tail)
    length = torch.stack([torch.ones_like(drawn["arm_ratio"]), drawn["arm_ratio"]], 1)[..., None]  # (B, 2, 1)

    # the chain, along the arm in its own length
    first = (lobe - CHAIN_END * inner).clamp(min=0)
    last = lobe + CHAIN_END * outer
    middles = (torch.arange(LINKS, device=lobe.device) + 0.5) / LINKS
    links = (first + middles * (last - first)).expand(-1, 2, -1)  # (B, 2, LINKS)
    side = torch.where(links < lobe, inner, outer)
    brightness = (-0.5 * ((links - lobe) / side).square() + drawn["clumpiness"][:, None, None] * scatter[..., 1:]).exp()
    flare = drawn["flare"][:, None, None]
    width = drawn["width_fraction"][:, None, None] * (1 - flare + flare * links)

    # where the links, the lobe and the end lie, in units of the first arm; an arc's chord turns half as fast as the arc
    stations = torch.cat([links, lobe.expand(-1, 2, -1), torch.ones_like(length)], 2)  # (B, 2, LINKS + 2)
    half_bend = torch.deg2rad(bending_angle_deg / 2)[:, None, None]
    turn = drawn["turning"][:, None, None] * half_bend.clamp(max=math.radians(LARGEST_TURN_DEG))
    chord = length * stations * torch.sinc(turn * stations / math.pi)
    forward = torch.tensor([1.0, -1.0], device=lobe.device)[:, None]  # the arms point opposite ways along the axis
    twist = torch.deg2rad(drawn["twist_deg"])[:, None, None] * forward
    direction = half_bend + (turn + twist) * (stations - lobe)
    along = forward * chord * torch.cos(direction)
    across = mirror[:, None, None] * chord * torch.sin(direction)  # (B, 2, LINKS + 2)

    # the scale
    corners = torch.stack([along[..., LINKS:], across[..., LINKS:]], -1).flatten(1, 2)  # (B, 4, 2)
    corners = torch.cat([corners, torch.zeros_like(corners[:, :1])], 1)  # with the core: (B, 5, 2)
    apart = (corners[:, :, None] - corners[:, None]).square().sum(-1).sqrt()  # (B, 5, 5)
    extent = apart.amax((1, 2))
    scale = (las_arcsec / extent)[:, None]

    # the fluxes
    core = drawn["core_fraction"]
    arm = torch.stack([drawn["first_arm_fraction"], 1 - drawn["first_arm_fraction"]], 1) * (1 - core)[:, None]
    halo, hotspot = drawn["halo_fraction"][:, None], drawn["hotspot_fraction"][:, None]
    chain = brightness / brightness.sum(2, keepdim=True) * (arm * (1 - hotspot) * (1 - halo))[..., None]

    # the swing is nought at the core and at the lobe, so that it leaves the bending angle alone
    swing = drawn["meander_fraction"][:, None, None] * scatter[..., :1] * length * links
    across_links = across[..., :LINKS] + swing * torch.sin(2 * math.pi * MEANDER_WAVES * (links - lobe))
    nothing = torch.zeros_like(core)[:, None]
    lobes_along, lobes_across = along[..., LINKS], across[..., LINKS]  # (B, 2)
    a = torch.cat([along[..., :LINKS].flatten(1), lobes_along, lobes_along, nothing], 1) * scale  # (B, K)
    b = torch.cat([across_links.flatten(1), lobes_across, lobes_across, nothing], 1) * scale
    halo_width = (drawn["width_fraction"] * drawn["halo_width_ratio"])[:, None] * length[..., 0]
    hotspot_width = HOTSPOT_WIDTH * length[..., 0]
    sigma = torch.cat([(width * length).flatten(1), halo_width, hotspot_width, nothing], 1) * scale
    flux = torch.cat([chain.flatten(1), arm * (1 - hotspot) * halo, arm * hotspot, core[:, None]], 1)

    angle = torch.deg2rad(position_angle_deg)[:, None]
    sine, cosine = torch.sin(angle), torch.cos(angle)
    x, y = -a * sine - b * cosine, a * cosine - b * sine  # north is +y, east is -x
    return Blobs(x, y, sigma, flux), apart[:, 0, 2] / extent
