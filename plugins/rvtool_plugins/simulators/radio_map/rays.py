"""Straight lines over a map of heights: what stands in their way, for any number of lines of any number of maps.

A line is sampled at most `STEP` pixels apart and symmetrically about its middle, as many times as its own length asks
for: so it meets the same from either end, and whatever other lines are asked about with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

STEP = 0.7  # pixels between samples, at most
FEWEST = 16  # samples; other counts are this doubled, or half doubled: lines of one count go together
OFF_THE_BORDER = 1.7e-3  # pixels: samples would else lie on the border of two pixels, and rounding choose between them
SEEN_AT_ONCE = 16  # pixels that one looks ahead
TOGETHER = 2**17  # samples at a time, so that intermediate results stay in the processor's cache


@dataclass(frozen=True)
class Terrain:
    """What stands on maps.

    Attributes
    ----------
    height : (B, H, W)
        Of buildings, m; 0 in the open.
    cars : (B, H, W)
        Whether a car is there.
    pixel_m
        Side of a pixel, m.
    """

    height: Tensor
    cars: Tensor
    pixel_m: float


@dataclass(frozen=True)
class Lines:
    """Lines from A to B.

    Attributes
    ----------
    which : (P,), int64
        On which map each lies.
    a, b : (P, 3)
        Its ends: x and y in pixels, height in m.
    """

    which: Tensor
    a: Tensor
    b: Tensor

    def __getitem__(self, rows: Tensor) -> Lines:
        """Return some of the lines."""
        return Lines(self.which[rows], self.a[rows], self.b[rows])

    @property
    def reach(self) -> Tensor:
        """Their horizontal lengths ``(P,)``, pixels."""
        return (self.b[:, :2] - self.a[:, :2]).norm(dim=1)


def blocked(terrain: Terrain, lines: Lines) -> Tensor:
    """Say of each line whether a building stands higher than it: ``(P,)`` bool."""
    return _in_runs(lines, lambda some, count: _meets(terrain, some, count)[None])[0]


def profile(terrain: Terrain, lines: Lines) -> dict[str, Tensor]:
    """Tell what lines meet, ``(P,)`` each.

    Returns
    -------
    ``inside_m``, the length within buildings; ``walls`` and ``cars``, how many the line goes through; ``rise_a``, the
    slope from A to the edge that stands highest as seen from there, and ``edge_a_m``, how far off that is; ``rise_b``
    and ``edge_b_m``, the same as seen from B.
    """
    names = ("inside_m", "walls", "cars", "rise_a", "edge_a_m", "rise_b", "edge_b_m")
    found = _in_runs(lines, lambda some, count: _follow(terrain, some, count))
    return dict(zip(names, found, strict=True))


def sight(terrain: Terrain, which: Tensor, places: Tensor, level_m: float, directions: int) -> Tensor:
    """Say how far one sees from places ``(P, 2)``, before something higher than a level stands in the way.

    Returns
    -------
    sight : (P, directions)
        Pixels, from the direction of increasing columns on towards increasing rows; infinite where nothing stands.
    """
    rows, columns = terrain.height.shape[-2:]
    high = terrain.height > level_m
    angle = torch.arange(directions, device=places.device) * (2 * math.pi / directions)
    ways = torch.stack([angle.cos(), angle.sin()], 1)
    along = torch.arange(1, SEEN_AT_ONCE + 1, device=places.device)[:, None]
    found = []
    together = max(TOGETHER // SEEN_AT_ONCE // directions, 1)
    for part, on in zip(places.split(together), which.split(together), strict=True):
        begin = part.repeat_interleave(directions, 0)
        way, first = ways.repeat(len(part), 1), on.repeat_interleave(directions) * (rows * columns)
        seen, left, gone = torch.full_like(begin[:, 0], torch.inf), torch.arange(len(begin), device=begin.device), 0
        while len(left):
            (x0, y0), (dx, dy) = begin[left].unbind(1), way[left].unbind(1)
            x, y = torch.addcmul(x0 + 0.5, along + gone, dx), torch.addcmul(y0 + 0.5, along + gone, dy)
            there = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
            at = (first[left] + y.long() * columns + x.long()).clamp_(0, high.numel() - 1)
            stands, number = (high.take(at) & there).max(0)
            seen[left[stands]] = (number[stands] + gone + 1).float()
            left, gone = left[there[-1] & ~stands], gone + SEEN_AT_ONCE
        found.append(seen.unflatten(0, (len(part), directions)))
    return torch.cat(found)


def _in_runs(lines: Lines, follow: Callable[[Lines, int], Tensor]) -> Tensor:
    """Follow lines of one number of samples together; ``follow`` gives ``(F, P)`` of its lines, so does this of all."""
    doublings = (lines.reach / (STEP * FEWEST)).log2().mul(2).ceil().clamp(min=0)
    counts = (FEWEST * 2 ** (doublings / 2)).ceil().long()
    order = counts.argsort()
    distinct, sizes = counts[order].unique_consecutive(return_counts=True)
    parts = [
        follow(lines[rows], count)
        for count, run in zip(distinct.tolist(), order.split(sizes.tolist()), strict=True)
        for rows in run.split(max(TOGETHER // count, 1))
    ]
    found = torch.cat(parts, 1) if parts else follow(lines, FEWEST)
    return torch.empty_like(found).index_copy_(1, order, found)


def _samples(terrain: Terrain, lines: Lines, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return places on lines from 0 (A) to 1 (B), ``(S, 1)``, the pixels ``(S, P)`` there, and the lines' heights."""
    columns = terrain.height.shape[-1]
    first = lines.which * (terrain.height.shape[-2] * columns)
    (ax, ay, az), (dx, dy, dz) = lines.a.unbind(1), (lines.b - lines.a).unbind(1)
    part = ((torch.arange(count, device=ax.device) + 0.5) / count)[:, None]
    x, y = (torch.addcmul(start + (0.5 + OFF_THE_BORDER), part, step).long() for start, step in ((ax, dx), (ay, dy)))
    return part, y.mul_(columns).add_(x).add_(first), torch.addcmul(az, part, dz)


def _meets(terrain: Terrain, lines: Lines, count: int) -> Tensor:
    _, at, level = _samples(terrain, lines, count)
    return (terrain.height.take(at) > level).any(0)


def _follow(terrain: Terrain, lines: Lines, count: int) -> Tensor:
    part, at, level = _samples(terrain, lines, count)
    height = terrain.height.take(at)
    length = lines.reach * terrain.pixel_m
    far = length.clamp(min=1e-3)
    within = height > level
    walls = (within[1:] ^ within[:-1]).sum(0)
    car = terrain.cars.take(at)
    met = (car[1:] & ~car[:-1]).sum(0) + car[0]
    rise_a, edge_a = ((height - lines.a[:, 2]) / (part * far)).max(0)
    rise_b, edge_b = ((height - lines.b[:, 2]) / ((1 - part) * far)).flip(0).max(0)  # the first of several: the nearest
    near_a, near_b = ((edge + 0.5) / count * length for edge in (edge_a, edge_b))
    inside = within.sum(0) / count * length
    return torch.stack([inside, walls, met, rise_a, near_a, rise_b, near_b])
