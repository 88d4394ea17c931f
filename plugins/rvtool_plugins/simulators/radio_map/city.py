"""Cities: drawn from chance, or windows of an image; where transmitters stand in them, and cars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from rvtool.data import chance
from rvtool.data.fits import read_image
from rvtool.errors import ConfigError

# where each purpose finds its draws, so that one may grow without moving the others
STREET_DRAWS, WINDOW_DRAWS, TURN_DRAWS = 0, 16, 32
LOT_DRAWS, TRANSMITTER_DRAWS, CAR_DRAWS = 2**16, 2**28, 2**29

BLOCK_M = (45.0, 100.0)  # sides of blocks, street included; four lots are one
STREET_M = (10.0, 24.0)
SETBACK_M = 7.0  # the most by which a building stays away from the edge of its lot
ATTACHED_M = 2.0  # smaller setbacks between neighbours are none: they share a wall
BUILT = 0.85  # part of the lots that are
NOTCHED = 0.5  # part of the buildings that leave a corner of their lot free
NUMBERS = 9  # drawn for a lot
CAR_M = (4.5, 1.8)  # length and width


@dataclass(frozen=True)
class RandomCity:
    """Blocks of four lots in a turned grid of streets; on each lot a building or none.

    Attributes
    ----------
    building_m
        Height of all buildings, m.
    """

    size: int
    pixel_m: float
    building_m: float

    def heights(self, indices: Tensor, seed: int) -> Tensor:
        """Return the heights of the buildings of cities, ``(B, H, W)`` m, 0 in the open."""
        angle, *drawn = chance.uniform(seed, indices, 6, STREET_DRAWS)[:, :, None, None].unbind(1)
        sides, begins = drawn[:2], drawn[2:4]
        street = (STREET_M[0] + (STREET_M[1] - STREET_M[0]) * drawn[4]) / 2
        lots = [(BLOCK_M[0] + (BLOCK_M[1] - BLOCK_M[0]) * side) / 2 for side in sides]  # (B, 1, 1) each, m

        place = (torch.arange(self.size, device=indices.device) - (self.size - 1) / 2) * self.pixel_m
        y, x = place[:, None], place
        cos, sin = torch.cos(angle * math.pi / 2), torch.sin(angle * math.pi / 2)
        # every lot that a map can reach has its draws: `most` along either axis, an even number
        reach = self.size * self.pixel_m / math.sqrt(2)
        most = 2 * math.ceil(2 * (reach / BLOCK_M[0] + 1))
        number, within = [], []
        for along, lot, begin in zip((cos * x + sin * y, cos * y - sin * x), lots, begins, strict=True):
            at = along / lot + 2 * begin + most // 2
            number.append(at.long())
            within.append(at.frac() * lot)  # m
        table = chance.uniform(seed, indices, most**2 * NUMBERS, LOT_DRAWS).unflatten(1, (most**2, NUMBERS))
        chosen = (number[1] * most + number[0]).flatten(1)
        lot_drawn = table.gather(1, chosen[..., None].expand(-1, -1, NUMBERS)).unflatten(1, (self.size, self.size))
        there, notched, corner, *others = lot_drawn.unbind(3)

        inside, in_notch = there < BUILT, notched < NOTCHED
        for axis, (lot, position) in enumerate(zip(lots, within, strict=True)):
            first_faces_street = number[axis] % 2 == 0
            edges = []
            for end, setback in enumerate(others[2 * axis : 2 * axis + 2]):
                away = SETBACK_M * setback
                faces_street = first_faces_street if end == 0 else ~first_faces_street
                edges.append(torch.where(faces_street, street + away / 2, torch.where(away < ATTACHED_M, 0.0, away)))
            inside &= (position >= edges[0]) & (position < lot - edges[1])
            notch = (0.35 + 0.25 * others[4 + axis]) * lot
            far_side = ((4 * corner).long() >> axis) % 2 == 1
            in_notch &= torch.where(far_side, position > lot - notch, position < notch)
        return (inside & ~in_notch) * self.building_m


class ImageCity:
    """Windows of an image of a city.

    Parameters
    ----------
    path
        A picture or another image of one channel.
    bright
        Whether buildings are brighter than the middle of 8 bits, and not darker.
    building_m
        Their height, m; 0 takes the (dark) grey level. At a building's border, where pictures mix it with the open, it
        is the lowest level beside.

    Raises
    ------
    ConfigError
        The image is smaller than a map, or has no building, or nothing else.
    """

    def __init__(self, path: Path, size: int, bright: bool, building_m: float) -> None:
        self.size = size
        grey = torch.from_numpy(read_image(path).data[0].astype("float32"))
        if min(grey.shape) < size:
            raise ConfigError(
                f"{path} is {grey.shape[1]}x{grey.shape[0]} px, smaller than a map of {size}; set a smaller size."
            )
        built = grey >= 128 if bright else grey < 128
        if built.all() or not built.any():
            raise ConfigError(
                f"{path} shows {'nothing but buildings' if built.all() else 'no building'}; buildings count as "
                f"{'brighter' if bright else 'darker'} than 128 there, which --buildings changes."
            )
        own = -functional.max_pool2d(-grey[None], 3, 1, 1)[0]
        self._heights = built * (torch.full_like(grey, building_m) if building_m else own.clamp(min=1.0))

    @property
    def whole(self) -> Tensor:
        """The heights of the whole image, ``(H, W)`` m."""
        return self._heights

    def heights(self, indices: Tensor, seed: int) -> Tensor:
        """Return the heights of the buildings of windows, ``(B, H, W)`` m, 0 in the open."""
        all_heights = self._heights.to(indices.device)
        free = torch.tensor([side - self.size + 1 for side in all_heights.shape], device=indices.device)
        first = (chance.uniform(seed, indices, 2, WINDOW_DRAWS) * free).long()
        along = torch.arange(self.size, device=indices.device)
        return all_heights[(first[:, :1] + along)[:, :, None], (first[:, 1:] + along)[:, None]]


def place_transmitters(open_: Tensor, indices: Tensor, seed: int) -> Tensor:
    """Choose a pixel in the open ``(B, H, W)``, each as likely: its x and y, ``(B, 2)``; the middle where none is."""
    rows, columns = open_.shape[-2:]
    order = chance.uniform(seed, indices, rows * columns, TRANSMITTER_DRAWS)
    chosen = torch.where(open_.flatten(1), order, 0.0).argmax(1)
    chosen = torch.where(open_.flatten(1).any(1), chosen, rows // 2 * columns + columns // 2)
    return torch.stack([chosen % columns, chosen // columns], 1).float()


def place_cars(open_: Tensor, count: int, pixel_m: float, indices: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Put cars into the open ``(B, H, W)``, along its rows or its columns or, one in three, in between.

    Returns
    -------
    cars : (B, H, W)
        Whether a car is there.
    number : (B,)
        How many there are.
    """
    rows, columns = open_.shape[-2:]
    order = chance.uniform(seed, indices, rows * columns, CAR_DRAWS)
    likely, middle = torch.where(open_.flatten(1), order, 0.0).topk(min(count, rows * columns), dim=1)
    turn = (chance.uniform(seed, indices, count, TURN_DRAWS)[:, : middle.shape[1]] * 6).floor() * math.pi / 4
    reach = math.ceil(math.hypot(*CAR_M) / 2 / pixel_m)
    step = torch.arange(-reach, reach + 1, device=open_.device)
    dy, dx = (part.flatten() for part in torch.meshgrid(step, step, indexing="ij"))
    cos, sin = torch.cos(turn)[..., None], torch.sin(turn)[..., None]
    along, across = (dx * cos + dy * sin).abs() * pixel_m, (dy * cos - dx * sin).abs() * pixel_m
    covered = ((along <= CAR_M[0] / 2) & (across <= CAR_M[1] / 2)) | ((dx == 0) & (dy == 0))
    y, x = middle[..., None] // columns + dy, middle[..., None] % columns + dx  # (B, cars, steps)
    covered &= (likely > 0)[..., None] & (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    which, car, at = covered.nonzero(as_tuple=True)
    cars = torch.zeros_like(open_)
    cars[which, y[which, car, at], x[which, car, at]] = True
    return cars & open_, (likely > 0).sum(1)
