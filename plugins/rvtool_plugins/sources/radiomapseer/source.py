"""RadioMapSeer as it was published: a folder of pictures, one a city, a transmitter, and a simulation of both."""

from __future__ import annotations

import gzip
import io
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy.io import fits

from rvtool.data.fits import planes
from rvtool.errors import DataError
from rvtool.kinds import Absent, Fatal, Found, Listed, Reply, Request, Retry, SourceInfo, Target
from rvtool.services.replies import refusal
from rvtool_plugins.sources.radiomapseer import RadioMapSeerConfig

CITIES, TRANSMITTERS, CARS = "png/buildings_complete", "png/antennas", "png/cars"
NAME = re.compile(r"(\d+)_(\d+)\.png")
MAPS = 700  # 1.png ... 700.png are in the published split; there is also a 0.png, which its readers pass over
SPLIT_SEED = 42
SPLIT = {"train": (0, 500), "val": (501, 600), "test": (601, 699)}  # places in the shuffled list, both ends included
FLOOR = 51  # grey level of -127 dB, the noise floor: a fifth of what lies between -147 dB (0) and -47 dB (255)
FREQUENCY_MHZ, POWER_DBM = 5900.0, 23.0


class RadioMapSeer:
    """Lists maps and transmitters and gives them as pairs.

    The image is 1 where buildings, the transmitter and cars are (three channels), the target the gain: 0 at the noise
    floor (-127 dB) and below, 1 at -47 dB, as the published RadioUNet takes it. A difference of 0.01 is 0.8 dB.

    The split is that of RadioUNet's own reader: the maps 1 to 700, shuffled with the seed 42, the first 501 to train
    with, 100 to validate, 99 to test. Readers that came after it let the map at place 600 both train and test; here
    every map is in one part, all of its transmitters with it. Map 0, which is in no published part, is in none.
    """

    classes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: RadioMapSeerConfig) -> None:
        self.config = config
        self._root = (config.path or Path("RadioMapSeer")).resolve()
        self._gain = f"gain/{'cars' if config.cars else ''}{config.simulation.upper()}"
        self.info = SourceInfo(
            base_url=self._root.as_uri(),
            axes="metres",
            citation="Levie, Yapar, Kutyniok & Caire 2021, IEEE Trans. Wireless Commun. 20, 4001; "
            "Yapar, Levie, Kutyniok & Caire 2022, arXiv:2212.11777",
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for the picture of one city, which tells that they are there."""
        return (self._request(f"{CITIES}/{self._pairs[0][0] if self._pairs else 1}.png"),)

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal:
        """List the maps that the simulation has, each with all its transmitters."""
        if refused := refusal(reply):
            return self._nothing() if reply.status == 404 else refused
        if not self._pairs:
            return self._nothing()
        return Listed(tuple(self._target(*pair) for pair in self._pairs))

    def request(self, target: Target) -> Request:
        """Ask for the radio map; the pictures that it belongs to lie beside it."""
        return self._request(f"{self._gain}/{target.id}.png")

    def read(self, target: Target, reply: Reply) -> Found | Absent | Retry | Fatal:
        """Make the pair: the city with its transmitter and cars, and the gain."""
        if refused := refusal(reply):
            return refused
        if not (named := NAME.fullmatch(f"{target.id}.png")):
            return Absent("RadioMapSeer's maps are named as 12_34: the city, and the transmitter in it")
        city = f"{named[1]}.png"
        try:
            gain = _grey(Path(named[0]), reply.body)
        except DataError:
            return Absent(f"the radio map {named[0]} is no grey picture of 8 bits")
        try:
            buildings, antenna = _there(self._root / CITIES / city), _there(self._root / TRANSMITTERS / named[0])
            cars = _there(self._root / CARS / city) if self.config.cars else np.zeros_like(gain)
        except DataError as error:
            return Absent(str(error).rstrip("."))
        if len({layer.shape for layer in (gain, buildings, antenna, cars)}) > 1 or not antenna.any():
            return Absent("the pictures of city, transmitter and gain differ in size, or show no transmitter")
        y, x = np.argwhere(antenna).mean(0)
        columns = {"transmitter_x_px": float(x), "transmitter_y_px": float(y)}
        scale = 1 / (255 - FLOOR)
        pair = Found(_fits(np.maximum(gain, FLOOR), BUNIT="gain", BSCALE=scale, BZERO=-FLOOR * scale), ".fits.gz")
        return Found(
            _fits(np.stack([buildings, antenna, cars]), BUNIT="presence", CTYPE3="RGB"), ".fits.gz", columns, pair
        )

    @cached_property
    def _pairs(self) -> list[tuple[int, int]]:
        """The maps and transmitters that there are, in the order of their numbers."""
        names = (NAME.fullmatch(path.name) for path in (self._root / self._gain).glob("*.png"))
        return sorted((int(name[1]), int(name[2])) for name in names if name)

    def _target(self, number: int, transmitter: int) -> Target:
        columns: dict[str, Any] = {
            "map": number,
            "transmitter": transmitter,
            "simulation": self.config.simulation,
            "with_cars": self.config.cars,
            "frequency_mhz": FREQUENCY_MHZ,
            "power_dbm": POWER_DBM,
            "group": number,
            "split": published_split().get(number, ""),
        }
        return Target(f"{number}_{transmitter}", columns=columns)

    def _request(self, path: str) -> Request:
        return Request((self._root / path).as_uri())

    def _nothing(self) -> Fatal:
        return Fatal(
            f"{self._root} has no {CITIES} or no {self._gain}; give source 'radiomapseer' the --path of the folder "
            "RadioMapSeer, and a --simulation that is there"
        )


@lru_cache(maxsize=1)
def published_split() -> dict[int, str]:
    """Return the part of each map's number: RadioUNet's shuffle, and its ranges."""
    order = np.arange(MAPS)
    np.random.RandomState(SPLIT_SEED).shuffle(order)
    return {int(order[place]) + 1: part for part, (first, last) in SPLIT.items() for place in range(first, last + 1)}


def _grey(path: Path, body: bytes | None = None) -> np.ndarray:
    """Read a picture of one channel, ``(H, W)`` uint8.

    Raises
    ------
    DataError
        It is none.
    """
    image = next(planes(path, body)).in_grey().data
    if image.dtype != np.uint8 or len(image) != 1:
        raise DataError(f"{path} is no grey picture of 8 bits, as RadioMapSeer's are.")
    return image[0]


@lru_cache(maxsize=256)  # a city stands beside all of its transmitters
def _there(path: Path) -> np.ndarray:
    """Read where something is drawn, ``(H, W)`` of 0 and 1."""
    return (_grey(path) >= 128).astype(np.uint8)


def _fits(pixels: np.ndarray, **cards: Any) -> bytes:
    """Write 8-bit pixels ``([3, ]H, W)`` as packed FITS; one of cities has a fiftieth of its size."""
    hdu = fits.PrimaryHDU(pixels)
    hdu.header.update(cards)
    file = io.BytesIO()
    hdu.writeto(file)
    return gzip.compress(file.getvalue(), mtime=0)
