"""Radio maps: free space, walls, roofs and corners of known cities; the way back; a real ray-traced map."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from rvtool.errors import ConfigError, DataError
from rvtool_plugins.simulators.radio_map import RadioMapConfig
from rvtool_plugins.simulators.radio_map.city import ImageCity
from rvtool_plugins.simulators.radio_map.simulator import RadioMap

CPU = torch.device("cpu")
WAVE_M = 299.792458 / 5900


def friis(metres):
    return 20 * math.log10(4 * math.pi * metres / WAVE_M)


def edge(angle, before_m, after_m):
    """Return the loss of an edge, above that of one that is just touched (P.526, eq. 27 and 31)."""
    v = angle * math.sqrt(2 / WAVE_M / (1 / before_m + 1 / after_m))
    return 20 * math.log10((math.hypot(v - 0.1, 1) + v - 0.1) / (math.hypot(0.1, 1) - 0.1))


def loss(city, x, y, **settings):
    """Return the loss from a transmitter to everywhere, ``(H, W)`` dB."""
    return RadioMap(RadioMapConfig(**settings)).observe(np.asarray(city, np.float32), (x, y))["loss_db"][0, 0]


def test_free_space_is_exact_in_every_direction():
    batch = RadioMap(RadioMapConfig(pixel_m=2)).observe(np.zeros((90, 120), bool), (17, 40))
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
    metres = 2 * torch.hypot(x - 17, y - 40)
    metres[40, 17] = 1  # half a pixel
    expected = 20 * torch.log10(4 * math.pi * metres / WAVE_M)
    assert torch.allclose(batch["loss_db"][0, 0], expected, atol=1e-3)
    assert torch.allclose(batch["target"][0, 0], ((127 - expected) / 80).clamp(0, 1), atol=1e-4)
    assert batch["image"].sum() == batch["image"][0, 1, 40, 17] == 1
    assert batch["visible_fraction"].item() == 1
    assert expected[40, 67].item() == pytest.approx(87.86, abs=0.01)  # 100 m at 5.9 GHz


def test_a_wall_takes_what_it_takes():
    city = np.zeros((33, 64))
    city[:, 20:30] = 1000
    found = loss(city, 5, 16, wall_db=5, building_db_m=0.5, pixel_m=2)
    assert found[16, 50].item() == pytest.approx(friis(90) + 2 * 5 + 20 * 0.5, abs=0.6)  # a sample is a metre or so
    assert torch.isinf(found[:, 20:30]).all()
    assert found[16, 19].item() == pytest.approx(friis(28), abs=1e-3)


def test_round_a_corner_there_is_one_bend():
    city = np.zeros((64, 64))
    city[20:, 30:40] = 1000  # from the map's edge up: the one way is round its two upper corners
    corner = math.hypot(24, 21), math.hypot(5 + 6, 21)  # at (29, 19) and (40, 19) from (5, 40) and (51, 40)
    bends = [math.atan2(21, 24), math.atan2(21, 11)]
    expected = friis(sum(corner) + 11) + edge(bends[0], corner[0], 11) + edge(bends[1], 11, corner[1])
    found = loss(city, 5, 40, wall_db=200, bend_db=200)
    assert found[40, 51].item() == pytest.approx(expected, abs=0.01)
    capped = loss(city, 5, 40, wall_db=200, bend_db=20)
    assert capped[40, 51].item() == pytest.approx(friis(sum(corner) + 11) + 40, abs=0.01)


def test_over_a_roof_there_is_one_bend_where_both_see_one_edge():
    city = np.zeros((16, 200))
    city[:, 100] = 20
    found = loss(city, 50, 8, transmitter_m=10, receiver_m=2, wall_db=200, bend_db=200)
    expected = friis(math.hypot(50, 10) + math.hypot(50, 18)) + edge(math.atan2(10, 50) + math.atan2(18, 50), 50, 50)
    assert found[8, 150].item() == pytest.approx(expected, abs=0.3)
    seen = loss(city, 50, 8, transmitter_m=60, receiver_m=2, wall_db=200)
    assert seen[8, 150].item() == pytest.approx(friis(math.hypot(100, 58)), abs=1e-3)
    assert seen[8, 115].item() > friis(math.hypot(65, 58)) + 10


def test_the_way_back_loses_the_same():
    simulator = RadioMap(RadioMapConfig(size=64))
    cities = simulator.simulate(torch.arange(3), 0, CPU)["image"][:, 0] > 0
    differences = []
    for city in cities:
        y, x = (~city).nonzero().T
        chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:10]
        there = torch.stack(
            [simulator.observe(city, (int(x[n]), int(y[n])))["loss_db"][0, 0, y[chosen], x[chosen]] for n in chosen]
        )
        differences.append((there - there.T)[torch.ones(10, 10).triu(1) > 0].abs())
    differences = torch.cat(differences)
    assert (differences < 0.01).float().mean() > 0.95
    assert differences.square().mean().sqrt() < 1


def test_a_map_is_its_indexs_and_seeds(monkeypatch):
    simulator = RadioMap(RadioMapConfig(size=32, cars=4))
    whole = simulator.simulate(torch.arange(6), 3, CPU)
    monkeypatch.setattr("rvtool_plugins.simulators.radio_map.simulator.BLOCK_PIXELS", 1)
    for name, values in simulator.simulate(torch.tensor([4, 1]), 3, CPU).items():
        assert torch.equal(values, whole[name][[4, 1]])
    other = simulator.simulate(torch.arange(6), 4, CPU)
    assert all(not torch.equal(other["target"][n], whole["target"][n]) for n in range(6))
    assert len(whole["target"].flatten(1).unique(dim=0)) == 6


def test_transmitter_and_cars_stand_in_the_open():
    made = RadioMap(RadioMapConfig(size=64, cars=30)).simulate(torch.arange(8), 0, CPU)
    buildings, transmitter, cars = made["image"].unbind(1)
    assert (buildings + transmitter).max() == 1
    assert (buildings + cars).max() == 1
    for n in range(8):
        assert transmitter[n].nonzero().tolist() == [[made["transmitter_y_px"][n], made["transmitter_x_px"][n]]]
    assert made["cars"].tolist() == [30] * 8
    assert 4 < cars.sum().item() / 240 < 9  # 8 square metres each, less what they share or a wall takes
    assert (made["target"][buildings[:, None] == 1] == 0).all()


def test_cars_stand_in_the_straight_line():
    # a row of cars across the map: what lies beyond is seen through one
    simulator = RadioMap(RadioMapConfig(size=32, cars=1000, building_m=2, car_db=7, pixel_m=4))
    free = simulator.config.model_copy(update={"car_db": 0.0})
    with_cars, without = (s.simulate(torch.arange(2), 0, CPU)["target"] for s in (simulator, RadioMap(free)))
    assert (with_cars <= without).all()
    assert (with_cars < without).float().mean() > 0.3


def test_windows_of_a_city(tmp_path):
    city = np.full((60, 90), 255, np.uint8)
    city[20:40, 30:60] = 12  # of 12 m, with the mixed border of a picture
    city[19, 30:60] = 100
    Image.fromarray(city).save(tmp_path / "city.png")
    made = RadioMap(RadioMapConfig(size=32, city=str(tmp_path / "city.png"), pixel_m=3)).simulate(
        torch.arange(20), 0, CPU
    )
    dark = torch.from_numpy(city < 128).float()
    windows = dark.unfold(0, 32, 1).unfold(1, 32, 1).flatten(0, 1)
    assert all((windows == plane).flatten(1).all(1).any() for plane in made["image"][:, 0])
    assert len(made["image"][:, 0].flatten(1).unique(dim=0)) > 10
    heights = ImageCity(tmp_path / "city.png", 32, False, 0).whole
    assert heights[19:40, 30:60].unique().tolist() == [12]
    with pytest.raises(ConfigError, match="smaller than a map"):
        RadioMap(RadioMapConfig(size=64, city=str(tmp_path / "city.png")))
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(tmp_path / "field.png")
    with pytest.raises(ConfigError, match="--buildings"):
        RadioMap(RadioMapConfig(size=32, city=str(tmp_path / "field.png")))
    with pytest.raises(DataError, match="outside the city"):
        RadioMap(RadioMapConfig()).observe(city < 128, (90, 10))


@pytest.mark.shared
def test_against_a_ray_traced_map(shared):
    folder = shared / "radiomaps"
    traced, marker = (
        torch.from_numpy(np.asarray(Image.open(folder / f"v6_{name}_map.png"), np.float32)) for name in ("power", "tx")
    )
    heights = ImageCity(folder / "v6_city_map.png", 256, False, 0).whole
    y, x = marker.nonzero().float().mean(0).tolist()
    # a pixel of 2 m follows from where the buildings stand in USC_city_map.png, whose pixels and tx_positions.npy share
    # metres; there the transmitter (row 94, 27 m up) stands on this roof of 26 m
    simulator = RadioMap(RadioMapConfig(frequency_mhz=2500, pixel_m=2.005, transmitter_m=28))
    batch = simulator.observe(heights, (x, y))
    near = torch.nn.functional.max_pool2d((heights > 0).float()[None], 5, 1, 2)[0]  # where the picture mixes levels
    used = (near == 0) & (traced > 0)

    def rmse(model):  # what the transmitter radiates is not told: the best constant is taken off
        left = (traced + model)[used]
        return (left - left.mean()).square().mean().sqrt().item()

    rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    metres = torch.sqrt((2.005 * torch.hypot(columns - x, rows - y)) ** 2 + 26.5**2)
    ours, free, constant = (
        rmse(model) for model in (batch["loss_db"][0, 0], 20 * torch.log10(metres), torch.zeros(256, 256))
    )
    assert ours < 11 < 14 < free < constant
    seen = used & (batch["loss_db"][0, 0] < 20 * torch.log10(metres) + 40.41 + 0.01)  # free space at 2.5 GHz
    assert seen.sum() > 5000
    assert (traced + 20 * torch.log10(metres))[seen].std() < 2.5
