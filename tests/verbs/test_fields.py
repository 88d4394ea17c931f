"""Maps of a field: judged by their own figures, beside what needs no network."""

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rvtool.data.fits import planes
from rvtool.errors import ConfigError, DataError
from rvtool.report.fields import measure
from rvtool.verbs import evaluate, predict, simulate, train
from rvtool_plugins.simulators.radio_map.simulator import RadioMap

QUIET = Console(file=StringIO(), width=200)


def test_figures_of_one_map():
    true = np.zeros((1, 1, 20, 20), np.float32)
    true[..., :10] = 0.5
    made = true + 0.1
    open_ = np.ones((1, 1, 20, 20), bool)
    open_[..., 10:] = False
    made[..., 10:] = 0.3  # within buildings it is wrong by more
    found = measure(true, made, open_, 1.0)
    assert found["rmse_open"][0] == pytest.approx(0.1, rel=1e-5)
    assert found["nmse_open"][0] == pytest.approx(0.01 / 0.25, rel=1e-5)
    both = (0.1**2 + 0.3**2) / 2
    assert found["rmse"][0] == pytest.approx(both**0.5, rel=1e-5)
    assert found["nmse"][0] == pytest.approx(2 * both / 0.25, rel=1e-5)
    assert found["psnr"][0] == pytest.approx(-10 * np.log10(both), rel=1e-5)
    assert found["ssim"][0] < 0.9
    assert measure(true, true, open_, 1.0)["ssim"][0] == pytest.approx(1)


def test_what_is_not_known_does_not_count():
    true = np.full((1, 1, 20, 20), 0.5, np.float32)
    true[..., :5] = np.nan
    found = measure(true, np.full_like(true, 0.7), np.ones((1, 1, 20, 20), bool), 1.0)
    assert found["rmse"][0] == found["rmse_open"][0] == pytest.approx(0.2, rel=1e-5)


def test_radio_maps_are_learnt_judged_and_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("RVTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RVTOOL_RUN_PATH", raising=False)
    data = tmp_path / "maps"
    city = {"size": 32, "pixel_m": 4}
    simulate.run(simulate.Settings(simulator="radio-map", count=30, out=data, config=city), QUIET)
    small = {"width": 8, "levels": 2, "sampling_steps": 2, "window": 4}
    given = {"model": "latent-diffusion", "config": small, "data": data, "epochs": 2, "batch_size": 8, "gpus": 0}
    train.run(train.Settings(**given, out=tmp_path / "run", augment=(), sample_every=2), QUIET)
    assert (tmp_path / "run" / "samples" / "epoch-0001.png").exists()
    told = evaluate.run(evaluate.Settings(runs=(str(tmp_path / "run"),), bootstrap=100), QUIET)
    kept = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert kept["rmse_open"]["best"] in ("mean", "distance")
    assert kept["range"] == "1 (gain)"
    assert told["rmse"]["value"] == kept["rmse"]["value"]

    from PIL import Image

    built = np.full((32, 32), 255, np.uint8)
    built[4:12, 4:12] = 20
    Image.fromarray(built).save(tmp_path / "city.png")
    asked = {"run": str(tmp_path / "run"), "paths": (tmp_path / "city.png",)}
    for name, place in (("a", "20,20"), ("b", "25,6")):
        predict.run(
            predict.Settings(**asked, out=tmp_path / f"{name}.fits", set={"condition": {"transmitter": place}}), QUIET
        )
    from astropy.io import fits

    one, other = (fits.getdata(tmp_path / f"{name}.fits") for name in "ab")
    assert one.shape == (32, 32)
    assert not np.allclose(one, other)
    wide = np.full((64, 64), 255, np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    for name, place in (("c", "5,5"), ("d", "20,9")):
        given = {**asked, "paths": (tmp_path / "wide.png",), "set": {"condition": {"transmitter": place}}}
        predict.run(predict.Settings(**given, out=tmp_path / f"{name}.fits"), QUIET)
    far = [fits.getdata(tmp_path / f"{name}.fits")[40:, 40:] for name in "cd"]
    assert not np.allclose(*far)  # the transmitter is seen from there, beyond what a tile would hold
    image = next(iter(planes(tmp_path / "city.png")))
    for wrong, words in (({"transmitter": "99,2"}, "outside"), ({}, "transmitter"), ({"x": "1"}, "leave the rest out")):
        with pytest.raises((ConfigError, DataError), match=words):
            RadioMap.asked(image, wrong)
