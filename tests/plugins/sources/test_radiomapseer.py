"""RadioMapSeer: pairs, their scale and the published split, out of a folder of its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rvtool.data.dataset import open_dataset
from rvtool.data.fits import planes
from rvtool.kinds import Absent, Fatal, Found, Listed, Reply, Request, Target
from rvtool.testing import check_source
from rvtool.verbs import collect
from rvtool_plugins.sources.radiomapseer import RadioMapSeerConfig, rvtool_sources
from rvtool_plugins.sources.radiomapseer.source import RadioMapSeer, published_split

GREY = {"DPM": 255, "IRT4": 153, "carsDPM": 51}


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cities with two transmitters each, one of these with IRT4: a building, a car, gains of one level."""
    for number in (0, 7):
        city, car = np.zeros((2, 8, 8))
        city[:3], car[5] = 255, 255
        picture(tmp_path / f"png/buildings_complete/{number}.png", city)
        picture(tmp_path / f"png/cars/{number}.png", car)
        for transmitter in (0, 10):
            antenna = np.zeros((8, 8))
            antenna[6, number] = 255
            picture(tmp_path / f"png/antennas/{number}_{transmitter}.png", antenna)
            for simulation in ("DPM", "carsDPM", *(["IRT4"] if transmitter == 0 else [])):
                gain = np.full((8, 8), GREY[simulation])
                gain[:3] = 0
                picture(tmp_path / f"gain/{simulation}/{number}_{transmitter}.png", gain)
    return tmp_path


def get(request: Request) -> Reply:
    path = Path(url2pathname(urlsplit(request.url).path))
    return Reply(request, 200, {}, path.read_bytes()) if path.exists() else Reply(request, 404, {}, b"")


def listed(root: Path, **settings: Any) -> tuple[RadioMapSeer, dict[str, Target]]:
    source = RadioMapSeer(RadioMapSeerConfig(path=root, **settings))
    read = source.entries("", get(*source.query("", None)))
    assert isinstance(read, Listed)
    return source, {target.id: target for target in read.targets}


def pixels(found: Found | None) -> np.ndarray:
    assert found is not None
    return next(planes(Path(f"a{found.suffix}"), found.body)).data


def test_contract(root: Path) -> None:
    check_source(rvtool_sources()[0], {"path": root}, probe=Target("7_10"))


def test_targets_have_their_map_and_its_published_part(root: Path) -> None:
    _, found = listed(root)
    assert list(found) == ["0_0", "0_10", "7_0", "7_10"]
    assert found["7_10"].columns == {
        "map": 7,
        "transmitter": 10,
        "simulation": "dpm",
        "with_cars": False,
        "frequency_mhz": 5900.0,
        "power_dbm": 23.0,
        "group": 7,
        "split": published_split()[7],
    }
    assert found["0_0"].columns["split"] == ""  # its readers never see it
    assert list(listed(root, simulation="irt4")[1]) == ["0_0", "7_0"]


@pytest.mark.parametrize(
    ("settings", "level"),  # 0.2 of the grey levels is the noise floor, and 0; 0.6 is half way up
    [({}, 1.0), ({"simulation": "irt4"}, 0.5), ({"cars": True}, 0.0)],
)
def test_a_pair_is_its_pixels(root: Path, settings: dict[str, Any], level: float) -> None:
    source, found = listed(root, **settings)
    read = source.read(found["7_0"], get(source.request(found["7_0"])))
    assert isinstance(read, Found)
    assert read.columns == {"transmitter_x_px": 7.0, "transmitter_y_px": 6.0}
    buildings, antenna, cars = pixels(read)
    assert buildings.sum() == 24
    assert np.argwhere(antenna == 1).tolist() == [[6, 7]]
    assert cars.sum() == (8 if "cars" in settings else 0)
    gain = pixels(read.pair)[0]
    assert gain[3:] == pytest.approx(level, abs=1e-6)
    assert gain[:3] == pytest.approx(0, abs=1e-6)


def test_no_map_is_in_two_parts() -> None:
    split = published_split()
    assert {part: list(split.values()).count(part) for part in ("train", "val", "test")} == {
        "train": 501,
        "val": 100,
        "test": 99,
    }
    assert set(split) == set(range(1, 701))
    # numpy.random.seed(42); numpy.random.shuffle(numpy.arange(700)) at 0, 500, 501, 600, 601 and 699, counted from 1
    parts = ["train", "train", "val", "val", "test", "test"]
    assert [split[number] for number in (159, 187, 124, 289, 419, 103)] == parts


def test_what_is_not_there_is_told(root: Path) -> None:
    for settings in ({"path": root / "elsewhere"}, {"path": root, "simulation": "irt2"}):
        source = RadioMapSeer(RadioMapSeerConfig(**settings))
        read = source.entries("", get(*source.query("", None)))
        assert isinstance(read, Fatal)
        assert "--path" in read.reason
    source, found = listed(root)
    request = source.request(found["0_0"])
    (root / "png/antennas/7_0.png").unlink()
    picture(root / "gain/DPM/7_10.png", np.zeros((4, 4)))
    assert isinstance(source.read(found["7_0"], get(source.request(found["7_0"]))), Absent)
    assert isinstance(source.read(found["7_10"], get(source.request(found["7_10"]))), Absent)
    assert isinstance(source.read(found["0_0"], Reply(request, 200, {}, b"no picture")), Absent)


def test_a_collection_is_of_places_and_no_sky(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RVTOOL_CACHE", str(tmp_path / "cache"))
    settings = collect.Settings(source="radiomapseer", config={"path": root}, out=tmp_path / "maps")
    collect.run(settings, Console(quiet=True))
    dataset = open_dataset(tmp_path / "maps")
    assert len(dataset) == 4
    assert {dataset.info[side]["axes"] for side in ("image", "target")} == {"metres"}
