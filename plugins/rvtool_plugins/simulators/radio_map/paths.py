"""The dominant path: of all ways from a transmitter to a point, the one that loses least.

A way goes straight, through the walls that stand there or over their roofs, or it goes round corners. Between points
that see each other nothing is lost but what free space takes. Lengths are those of straight legs between points, never
of steps on the grid, so they are exact in every direction.

The way back loses the same. Of several ways to a corner, though, only the best to there is kept, whatever bend it needs
to go on, so that a way back may be found where the way there was not: between two points of a random city this makes a
difference for one pair in fifty.

References
----------
Friis 1946, Proc. IRE 34, 254, doi:10.1109/JRPROC.1946.234568 (eq. 1: free space). Rec. ITU-R P.526-15 (2019), eq. 27
and 31 (an edge and its loss) and section 4.5 (Bullington's edge, where both horizons meet). Wahl, Wölfle, Wertz,
Wildbolz & Landstorfer 2005, "Dominant path prediction model for urban scenarios", 14th IST Mobile and Wireless
Communications Summit (the idea of one path, with losses for bends).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rvtool_plugins.simulators.radio_map.corners import Corners, corners
from rvtool_plugins.simulators.radio_map.rays import Lines, Terrain, blocked, profile, sight

LIGHT_M_MHZ = 299.792458  # speed of light, m MHz
AT_AN_EDGE_DB = 6.0328521  # what P.526's eq. 31 gives for a line that just touches an edge
WIDE = 5  # pixels: of narrower roofs a map does not tell whether their two edges are one
MOST_CORNERS = 4  # on a way
BORDER = 1.5  # pixels by which what is seen in one direction may fall short of what is seen beside it
TRIED = 4  # ways whose last leg is looked along at a time
TOGETHER = 2**22  # ways, points times corners, that are kept at a time
CACHED = 2**17  # ways reckoned at a time, so that intermediate results stay in the processor's cache


@dataclass(frozen=True)
class Medium:
    """What waves lose on their way, and how high it begins and ends.

    Attributes
    ----------
    transmitter_m, receiver_m
        Heights of the antennas above the ground, m.
    bend_db
        The most that one bend loses: where the edge alone would take more, reflections, which are not followed, fill
        its shadow.
    wall_db, building_db_m, car_db
        Loss of a wall, of a metre within a building, and of a car.
    """

    frequency_mhz: float
    transmitter_m: float
    receiver_m: float
    bend_db: float
    wall_db: float
    building_db_m: float
    car_db: float

    def free_space(self, length_m: Tensor) -> Tensor:
        """Return the loss between isotropic antennas, dB (Friis)."""
        return 20 * torch.log10(length_m) + 20 * math.log10(4 * math.pi * self.frequency_mhz / LIGHT_M_MHZ)

    def bend(self, angle: Tensor, before_m: Tensor, after_m: Tensor) -> Tensor:
        """Return the loss of a bend by an angle (rad) round an edge, so far from the points before and after it.

        That is what an edge takes (P.526, eq. 27 and 31) above what it takes of a line that just touches it: the loss
        grows from 0, so there is no step where a point comes into sight, and walls that are drawn in steps bend no more
        than straight ones.
        """
        wave_m = LIGHT_M_MHZ / self.frequency_mhz
        v = angle.clamp(min=0) * (2 / wave_m * before_m * after_m / (before_m + after_m)).sqrt() - 0.1
        return (6.9 - AT_AN_EDGE_DB + 20 * torch.log10((v.square() + 1).sqrt() + v)).clamp(0, self.bend_db)


def path_loss(
    terrain: Terrain, transmitter: Tensor, medium: Medium, most_db: float = math.inf
) -> tuple[Tensor, Tensor]:
    """Find the loss to every open pixel.

    Parameters
    ----------
    transmitter : (B, 2)
        Its pixel, x and y.
    most_db
        Larger losses may be told as this, which spares the time that finding their ways takes.

    Returns
    -------
    loss : (B, H, W)
        dB, positive; infinite within buildings.
    visible : (B, H, W)
        Whether the transmitter sees the pixel.
    """
    loss = torch.full_like(terrain.height, torch.inf)
    visible = torch.zeros_like(terrain.height, dtype=torch.bool)
    which, y, x = (terrain.height == 0).nonzero(as_tuple=True)
    begin = torch.cat([transmitter, torch.full_like(transmitter[:, :1], medium.transmitter_m)], 1)
    end = torch.stack([x, y, torch.full_like(x, 0)], 1).to(transmitter.dtype)
    end[:, 2] = medium.receiver_m
    lines = Lines(which, begin[which], end)
    found, seen = _straight(terrain, lines, medium)
    hidden = (~seen).nonzero()[:, 0]
    found[hidden] = _round_corners(terrain, begin, lines[hidden], found[hidden].clamp(max=most_db), medium)
    loss[which, y, x], visible[which, y, x] = found, seen
    return loss, visible


# --------------------------------------------------------------------------- straight on


def _straight(terrain: Terrain, lines: Lines, medium: Medium) -> tuple[Tensor, Tensor]:
    """Return the loss of going straight, through walls or over roofs, and whether nothing stands in between."""
    met = profile(terrain, lines)
    seen = met["inside_m"] == 0
    spread = medium.free_space(_length(lines.b - lines.a, terrain.pixel_m))
    through = spread + medium.wall_db * met["walls"] + medium.building_db_m * met["inside_m"]
    behind = torch.minimum(through, _over_roofs(lines, met, terrain.pixel_m, medium))
    return torch.where(seen, spread, behind) + medium.car_db * met["cars"], seen


def _over_roofs(lines: Lines, met: dict[str, Tensor], pixel_m: float, medium: Medium) -> Tensor:
    """Return the loss over the roofs, dB: with one bend where both ends see one edge, else with one at either's."""
    least = pixel_m / 2
    far = (lines.reach * pixel_m).clamp(min=pixel_m)
    rise = lines.b[:, 2] - lines.a[:, 2]
    from_a, from_b, near_a, near_b = met["rise_a"], met["rise_b"], met["edge_a_m"], met["edge_b_m"]

    # of one edge: where the horizons meet (P.526, section 4.5)
    meet = torch.minimum(((rise + from_b * far) / (from_a + from_b)).nan_to_num(least).clamp(min=least), far - least)
    length = meet * _steep(from_a) + (far - meet) * _steep(from_b)
    one = medium.free_space(length) + medium.bend(from_a.atan() + from_b.atan(), meet, far - meet)

    roof_m = (far - near_a - near_b).clamp(min=least)
    roof = (rise + from_b * near_b - from_a * near_a) / roof_m
    length = near_a * _steep(from_a) + roof_m * _steep(roof) + near_b * _steep(from_b)
    bend_a = medium.bend(from_a.atan() - roof.atan(), near_a.clamp(min=least), roof_m)
    bend_b = medium.bend(from_b.atan() + roof.atan(), roof_m, near_b.clamp(min=least))
    two = medium.free_space(length) + bend_a + bend_b
    return torch.lerp(one, two, (((far - near_a - near_b) / pixel_m - 1) / WIDE).clamp(0, 1))


def _steep(slope: Tensor) -> Tensor:
    """Return the length of a slope over that on the map."""
    return (1 + slope.square()).sqrt()


# --------------------------------------------------------------------------- round corners


@dataclass(frozen=True)
class _Ways:
    """The best ways to corners, ``(B, K)``; what the bend at the corner loses depends on where they go on.

    Attributes
    ----------
    place : (B, K, 3)
        The corners: x and y, pixels, and height, m.
    length_m, lost_db, leg_m
        The ways' lengths, what their bends lost, and the length of the last leg.
    direction
        Where that leg goes, rad, as `_direction` gives it.
    sight : (B, K, N)
        How far the corner sees to each side, pixels, at most.
    """

    place: Tensor
    length_m: Tensor
    lost_db: Tensor
    leg_m: Tensor
    direction: Tensor
    sight: Tensor


def _round_corners(terrain: Terrain, begin: Tensor, lines: Lines, straight: Tensor, medium: Medium) -> Tensor:
    """Return the least loss to the ends of hidden lines: what going straight takes, or a way round corners."""
    level = min(medium.transmitter_m, medium.receiver_m)  # the same from either end
    found = corners(terrain.height > level)
    if not (found.real.any() and len(straight)):
        return straight
    ways = _ways(terrain, begin, found, level, straight.max(), medium=medium)
    if ways.length_m.shape[1] == 0:
        return straight
    parts = zip(
        *(values.split(max(TOGETHER // ways.length_m.shape[1], 1)) for values in (lines.which, lines.b, straight)),
        strict=True,
    )
    return torch.cat([_least(terrain, ways, *part, medium=medium) for part in parts])


def _least(terrain: Terrain, ways: _Ways, which: Tensor, points: Tensor, straight: Tensor, *, medium: Medium) -> Tensor:
    """Return the least loss to points ``(P, 3)``: ways are looked along from the best on, until one is clear."""
    corner_count = ways.length_m.shape[1]
    best, tried = straight.clone(), min(TRIED, corner_count)
    rows = torch.arange(len(points), device=points.device)
    some = rows.split(max(CACHED // corner_count, 1))
    loss = torch.cat([_onward(ways, which[part], points[part], terrain.pixel_m, medium) for part in some])
    while len(rows):
        least, corner = loss.topk(tried, dim=1, largest=False)  # (P, tried), the best first
        promising = (least[:, 0] < best[rows]).nonzero()[:, 0]
        rows, loss, least, corner = rows[promising], loss[promising], least[promising], corner[promising]
        row, number = (least < best[rows, None]).nonzero(as_tuple=True)
        on = which[rows[row]]
        legs = Lines(on, ways.place[on, corner[row, number]], points[rows[row]])
        least[row, number] = torch.where(blocked(terrain, legs), torch.inf, least[row, number])
        best[rows] = torch.minimum(best[rows], least.amin(1))
        loss.scatter_(1, corner, torch.inf)
    return best


def _ways(terrain: Terrain, begin: Tensor, found: Corners, level: float, most_db: Tensor, *, medium: Medium) -> _Ways:
    """Find the best ways from the transmitters ``(B, 3)`` to the corners that are reached with less than `most_db`."""
    real = found.real
    place = torch.cat([found.place, torch.full_like(found.place[..., :1], level)], 2)
    which, corner = real.nonzero(as_tuple=True)
    hidden = torch.ones_like(real)
    hidden[which, corner] = blocked(terrain, Lines(which, begin[which], place[which, corner]))
    first = place - begin[:, None]
    first_m = _length(first, terrain.pixel_m)
    length, lost = torch.where(hidden, torch.inf, first_m), torch.zeros_like(first_m)
    leg, direction = first_m, _direction(first)

    pairs = (real[:, :, None] & real[:, None, :]).triu(1)
    which, one, other = pairs.nonzero(as_tuple=True)
    clear = torch.zeros_like(pairs)
    clear[which, one, other] = ~blocked(terrain, Lines(which, place[which, one], place[which, other]))
    clear |= clear.transpose(1, 2).clone()
    step = place[:, None] - place[:, :, None]  # (B, from, to, 3)
    step_m, towards = _length(step, terrain.pixel_m), _direction(step)
    total = medium.free_space(length)
    for _ in range(MOST_CORNERS - 1):
        angle = _turn(direction[:, :, None], towards)
        offered_m = length[:, :, None] + step_m
        offered_db = lost[:, :, None] + medium.bend(angle, leg[:, :, None], step_m)
        offer, source = torch.where(clear, medium.free_space(offered_m) + offered_db, torch.inf).min(1)
        better, source = offer < total, source[:, None]
        total = torch.where(better, offer, total)
        length = torch.where(better, offered_m.gather(1, source)[:, 0], length)
        lost = torch.where(better, offered_db.gather(1, source)[:, 0], lost)
        leg = torch.where(better, step_m.gather(1, source)[:, 0], leg)
        direction = torch.where(better, towards.gather(1, source)[:, 0], direction)

    useful = total < most_db
    order = (~useful).byte().sort(dim=1, stable=True).indices[:, : int(useful.sum(1).max())]
    useful = useful.gather(1, order)
    place = place.gather(1, order[..., None].expand(-1, -1, 3))
    directions = 2 * max(terrain.height.shape[-2:])
    sees = torch.zeros(*useful.shape, directions, device=real.device)
    tall = max(level, medium.receiver_m)
    sees[useful] = sight(terrain, useful.nonzero()[:, 0], place[useful][:, :2], tall, directions)
    sees = torch.maximum(sees, sees.roll(-1, 2)) + BORDER
    length, lost, leg, direction = (values.gather(1, order) for values in (length, lost, leg, direction))
    return _Ways(place, torch.where(useful, length, torch.inf), lost, leg, direction, sees)


def _onward(ways: _Ways, which: Tensor, points: Tensor, pixel_m: float, medium: Medium) -> Tensor:
    """Return the loss of going on from every corner to points ``(P, 3)``, ``(P, K)``.

    It is infinite where a building is known to stand in between.
    """
    corner_count, directions = ways.sight.shape[1:]
    x, y = (points[:, axis, None] - ways.place[which, :, axis] for axis in range(2))
    sector = (torch.atan2(y, x) * (directions / (2 * math.pi))).floor().long() % directions
    corner = which[:, None] * corner_count + torch.arange(corner_count, device=points.device)
    seen = ways.sight.take(corner * directions + sector)
    row, number = (x.square() + y.square() <= seen.square()).nonzero(as_tuple=True)
    at = which[row], number

    step = points[row] - ways.place[at]
    leg = _length(step, pixel_m)
    bend = medium.bend(_turn(ways.direction[at], _direction(step)), ways.leg_m[at], leg)
    loss = torch.full_like(x, torch.inf)
    loss[row, number] = medium.free_space(ways.length_m[at] + leg) + ways.lost_db[at] + bend
    return loss


def _length(step: Tensor, pixel_m: float) -> Tensor:
    """Return lengths in m of steps ``(..., 3)``: pixels, pixels, m; half a pixel at least, for antennas have a size."""
    x, y, z = step.unbind(-1)
    return ((x.square() + y.square()) * pixel_m**2 + z.square()).sqrt().clamp(min=pixel_m / 2)


def _direction(step: Tensor) -> Tensor:
    """Return where steps ``(..., 3)`` go on the map, rad, from that of increasing columns towards increasing rows."""
    return torch.atan2(step[..., 1], step[..., 0])


def _turn(one: Tensor, other: Tensor) -> Tensor:
    """Return the angles between directions, rad."""
    between = (one - other).abs()
    return torch.minimum(between, 2 * math.pi - between)
