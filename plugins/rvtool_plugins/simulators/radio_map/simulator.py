"""Maps of the gain between a transmitter and every place of a city."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rvtool.data.fits import Image
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch, Side, SimulatorInfo
from rvtool_plugins.simulators.radio_map import RANDOM, RadioMapConfig
from rvtool_plugins.simulators.radio_map.city import ImageCity, RandomCity, place_cars, place_transmitters
from rvtool_plugins.simulators.radio_map.paths import Medium, path_loss
from rvtool_plugins.simulators.radio_map.rays import Terrain

WEAKEST_DB, STRONGEST_DB = -127.0, -47.0
BLOCK_PIXELS = 2**16  # worked on at a time: maps with few corners do not wait for those with many


class RadioMap:
    """Pairs: a city with its transmitter, and what of the signal reaches each place.

    The gain is minus the path loss in dB, cut at `WEAKEST_DB` and `STRONGEST_DB` and scaled so that these become 0 and
    1, as RadioMapSeer's are where the noise floor is taken off: a difference of 0.01 is 0.8 dB. It is 0 within
    buildings. See `paths` for what the loss is made of.

    The bend's largest loss was fitted to one ray-traced map of a campus (2.5 GHz, 2 m a pixel, the transmitter 2 m
    above a roof of 26 m); losses of walls change nothing there, and are those of 3GPP TR 38.901 (table 7.4.3-2: 0.5 dB
    a metre) and of a concrete wall.

    References
    ----------
    Levie, Yapar, Kutyniok & Caire 2021, IEEE Trans. Wireless Commun. 20, 4001, doi:10.1109/TWC.2021.3054977. Yapar,
    Levie, Kutyniok & Caire 2022, arXiv:2212.11777.

    Raises
    ------
    ConfigError
        See `ImageCity`.
    DataError
        The image of a city cannot be read.
    """

    def __init__(self, config: RadioMapConfig) -> None:
        self.config = config
        side = (config.size, config.size, "metres")
        self.info = SimulatorInfo(image=Side(3, *side, unit="presence"), target=Side(1, *side, unit="gain"))
        self._city: RandomCity | ImageCity
        if config.city == RANDOM:
            self._city = RandomCity(config.size, config.pixel_m, config.building_m)
        else:
            self._city = ImageCity(Path(config.city), config.size, config.buildings == "bright", config.building_m)
        self._medium = Medium(
            config.frequency_mhz,
            config.transmitter_m,
            config.receiver_m,
            config.bend_db,
            config.wall_db,
            config.building_db_m,
            config.car_db,
        )

    def simulate(self, indices: Tensor, seed: int, device: torch.device) -> Batch:
        """Simulate the maps of `indices`; an index has one map a seed, in whatever batch.

        Returns
        -------
        ``image (B, 3, H, W)``: 1 where buildings, the transmitter and cars are, 0 elsewhere; ``target (B, 1, H, W)``,
        the gain; and ``(B,)`` each: ``transmitter_x_px`` and ``transmitter_y_px`` (columns and rows from 0),
        ``transmitter_m``, ``frequency_mhz``, ``power_dbm``, ``built_fraction`` of the map, ``visible_fraction`` of the
        open that sees the transmitter, and ``cars``.
        """
        block = max(BLOCK_PIXELS // self.config.size**2, 1)
        parts = [self._some(part, seed) for part in indices.to(device).split(block)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def observe(self, city: np.ndarray | Tensor, transmitter: tuple[float, float]) -> Batch:
        """Simulate one map of a given city.

        Parameters
        ----------
        city : (H, W)
            Heights of buildings, m, 0 in the open; or bool, for buildings of `building_m`.
        transmitter
            x (column) and y (row) of its pixel, from 0.

        Returns
        -------
        As `simulate`, of one map of the city's size, and ``loss_db (1, 1, H, W)``: the path loss, infinite within
        buildings.

        Raises
        ------
        DataError
            The transmitter is outside the city.
        """
        height = torch.as_tensor(city)
        height = height * self.config.building_m if height.dtype == torch.bool else height.float()
        x, y = transmitter
        rows, columns = height.shape
        if not (-0.5 <= x < columns - 0.5 and -0.5 <= y < rows - 0.5):
            raise DataError(
                f"The transmitter at {x:g},{y:g} is outside the city of {columns}x{rows} px; set it inside."
            )
        at = torch.tensor([[round(x), round(y)]], dtype=torch.float32, device=height.device)
        terrain = Terrain(height[None], torch.zeros_like(height[None], dtype=torch.bool), self.config.pixel_m)
        return self._map(terrain, at, torch.zeros(1, dtype=torch.int64, device=height.device), loss=True)

    @classmethod
    def asked(cls, image: Image, condition: Mapping[str, str]) -> Image:
        """Draw what a model of such pairs is asked with: a city and where its transmitter is.

        Parameters
        ----------
        image
            A city with dark buildings, as the maps that `RadioMapConfig.city` names.
        condition
            ``transmitter``: its column and row, px from 0, as ``120,88``; and ``buildings``, ``dark`` or ``bright``.

        Raises
        ------
        ConfigError
            There is no transmitter, it is not within the city, or something else is asked.
        """
        wanted = dict(condition)
        place, kind = wanted.pop("transmitter", ""), wanted.pop("buildings", "dark")
        if wanted or kind not in ("dark", "bright"):
            raise ConfigError(
                "A radio map is asked for by condition.transmitter=X,Y and condition.buildings=dark or bright; leave "
                "the rest out."
            )
        try:
            x, y = (float(word) for word in place.split(","))
        except ValueError:
            raise ConfigError("Say where the transmitter is: --set condition.transmitter=X,Y (px, from 0).") from None
        plane = torch.from_numpy(np.ascontiguousarray(image.data, np.float32)).mean(0)
        rows, columns = plane.shape
        if not (-0.5 <= x < columns - 0.5 and -0.5 <= y < rows - 0.5):
            raise ConfigError(
                f"The transmitter at {x:g},{y:g} is outside the city of {columns}x{rows} px; set it inside."
            )
        middle = (plane.min() + plane.max()) / 2
        built = plane < middle if kind == "dark" else plane > middle
        drawn = planes(built[None], torch.tensor([[x, y]]))
        return replace(image, data=drawn[0].numpy(), unit="presence")

    def _some(self, indices: Tensor, seed: int) -> Batch:
        height = self._city.heights(indices, seed)
        transmitter = place_transmitters(height == 0, indices, seed)
        cars, count = torch.zeros_like(height, dtype=torch.bool), torch.zeros_like(indices)
        if self.config.cars:
            cars, count = place_cars(height == 0, self.config.cars, self.config.pixel_m, indices, seed)
        return self._map(Terrain(height, cars, self.config.pixel_m), transmitter, count)

    def _map(self, terrain: Terrain, transmitter: Tensor, cars: Tensor, loss: bool = False) -> Batch:
        loss_db, visible = path_loss(terrain, transmitter, self._medium, math.inf if loss else -WEAKEST_DB)
        gain = ((-loss_db - WEAKEST_DB) / (STRONGEST_DB - WEAKEST_DB)).clamp(0, 1)
        ones, config = torch.ones_like(transmitter[:, 0]), self.config
        open_ = (terrain.height == 0).flatten(1).sum(1)
        batch = {
            "image": planes(terrain.height > 0, transmitter, terrain.cars),
            "target": gain[:, None],
            "transmitter_x_px": transmitter[:, 0],
            "transmitter_y_px": transmitter[:, 1],
            "transmitter_m": config.transmitter_m * ones,
            "frequency_mhz": config.frequency_mhz * ones,
            "power_dbm": config.power_dbm * ones,
            "built_fraction": 1 - open_ / terrain.height[0].numel(),
            "visible_fraction": visible.flatten(1).sum(1) / open_.clamp(min=1),
            "cars": cars,
        }
        return {**batch, "loss_db": loss_db[:, None]} if loss else batch


def planes(built: Tensor, transmitter: Tensor, cars: Tensor | None = None) -> Tensor:
    """Draw what a map is made of: 1 where buildings ``(B, H, W)``, the transmitter ``(B, 2)`` and cars are.

    Returns
    -------
    image : (B, 3, H, W)
    """
    drawn = torch.zeros(len(built), 3, *built.shape[1:], device=built.device)
    drawn[:, 0] = built
    x, y = transmitter.round().long().unbind(1)
    drawn[torch.arange(len(built), device=built.device), 1, y, x] = 1
    if cars is not None:
        drawn[:, 2] = cars
    return drawn
