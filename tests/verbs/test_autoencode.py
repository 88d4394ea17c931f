"""Autoencoders from end to end: what their codes cost, how they are judged, and the images that they make."""

import json
import math
from dataclasses import replace
from functools import partial
from io import StringIO

import numpy as np
import pytest
import torch
from astropy.io import fits
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from rvtool import plugins
from rvtool.data.batches import Prepare
from rvtool.data.stretch import FittedStretch, Stretch
from rvtool.errors import DataError
from rvtool.learning import compose
from rvtool.plugins import components
from rvtool.runs.run import load_run
from rvtool.testing.examples import example_data
from rvtool.verbs import evaluate, predict, simulate, train
from rvtool.verbs.evaluate.autoencoding import STEP_SIGMA, Costs, _log_slopes
from rvtool.verbs.evaluate.rates import nearest

QUIET = Console(file=StringIO(), width=200)
SMALL = {"width": 4, "latents": 16}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Simulated cutouts, a vqvae of them, and a vae of pairs that learnt to take noise out."""
    root = tmp_path_factory.mktemp("autoencode")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVTOOL_CACHE", str(root / "cache"))
        sky = {"size": 48, "las_max_arcsec": 60}
        quiet = {**sky, "rms_jy_beam": 0.0}
        for name, config in (("sky", sky), ("quiet", quiet)):
            simulate.run(simulate.Settings(simulator="radio-galaxy", count=40, out=root / name, config=config), QUIET)
        noisy = {"data": root / "quiet", "factor": 1, "to_beam_arcsec": 5.4, "rms_jy_beam": 1.5e-4}
        simulate.run(simulate.Settings(simulator="lower-resolution", out=root / "pairs", config=noisy), QUIET)
        for model, data in (("vqvae", "sky"), ("vae", "pairs")):
            patch.delenv("RVTOOL_RUN_PATH", raising=False)
            settings = train.Settings(
                model=model, config=SMALL, data=root / data, out=root / model, steps=8, batch_size=8, gpus=0
            )
            train.run(settings, QUIET)
        yield root


def test_only_noise_is_added_where_the_beam_stays(world):
    with (
        fits.open(world / "pairs/images/cube-00000.fits") as images,
        fits.open(world / "pairs/images/target-00000.fits") as targets,
    ):
        noise = images[0].data - targets[0].data
    assert noise.std() == pytest.approx(1.5e-4, rel=0.05)
    assert abs(noise.mean()) < 2e-5


def test_an_autoencoder_is_judged_with_its_rates_and_beside_other_codecs(world, tmp_path):
    settings = evaluate.Settings(runs=(str(world / "vqvae"),), out=tmp_path / "e", bootstrap=100, device="cpu")
    told = evaluate.run(settings, QUIET)
    written = json.loads((tmp_path / "e/metrics.json").read_text())
    assert written["rates"] == told["rates"]
    rates = told["rates"]
    assert rates["payload_bits_per_pixel"] == pytest.approx(rates["estimated_bits_per_pixel"], rel=0.03)
    assert rates["elbo_bits_per_pixel"] > rates["elbo_latent_bits_per_pixel"] > 0
    assert rates["fixed_bits_per_pixel"] is None  # whole numbers have no fixed length
    assert "no rates" in rates["earlier_figures"]["note"]
    own = told["tradeoff"]["vqvae, codes alone"][0]
    # the codec adds background, scale, limit and lengths to the codes: 15 or 16 bytes an image
    assert own["bits"] - rates["payload_bits_per_pixel"] == pytest.approx(8 * 15.5 / 48**2, rel=0.2)
    within = {point["asked"]: point for point in told["tradeoff"]["vqvae within a bound"]}
    assert within["0.25sigma"]["psnr"] > within["1sigma"]["psnr"]
    assert {"predictive", "rice"} <= set(told["tradeoff"])
    assert told["noise"]["kept"] is not None
    page = (tmp_path / "e/report.html").read_text()
    assert "bits a pixel as written" in page
    assert (tmp_path / "e/tradeoff.png").stat().st_size > 0


def test_the_evidence_bound_counts_whole_steps_of_physical_pixels(world):
    """Of a linear stretch the slope is one over the noise, so that a step of half the noise costs log2(2) bits more."""
    run = load_run(world / "vqvae")
    stretch = FittedStretch(Stretch(kind="linear", scale="noise"), 1.0)
    batch = next(iter(run.prepare.batches(run.material(), run.material().rows("val"), 4, torch.device("cpu"))))
    slopes = _log_slopes(Prepare(stretch), batch)
    noise = batch["image_statistics"][:, 1].double().log()
    assert torch.allclose(slopes, -noise[:, None, None, None].expand_as(slopes), atol=1e-6)
    costs = Costs()
    run.__dict__["prepare"] = Prepare(stretch)
    with torch.inference_mode():
        costs.add(run, batch, run.model.symbols(batch["image"]).numpy())
    told = costs.told(run)
    more = told["elbo_bits_per_pixel"] - told["elbo_density_bits_per_pixel"]
    assert more == pytest.approx(-math.log2(STEP_SIGMA), rel=1e-5)


def test_a_denoiser_is_judged_against_the_truth_and_cleans_maps_of_any_size(world, tmp_path):
    settings = evaluate.Settings(runs=(str(world / "vae"),), out=tmp_path / "e", bootstrap=100, device="cpu")
    told = evaluate.run(settings, QUIET)
    assert told["psnr"]["best"]  # classical denoisers stand beside it
    assert told["tradeoff"] == {}  # it makes other images than it is given, so it is no codec
    assert 0 < told["noise"]["kept"] < 1.5
    rng = np.random.default_rng(0)
    sky = rng.normal(0, 1.5e-4, (83, 301)).astype(np.float32)
    sky[40:44, 100:104] += 0.01
    sky[:5, :7] = np.nan
    axes = {"CTYPE1": "RA---SIN", "CRPIX1": 20.0, "CRVAL1": 150.0, "CDELT1": -5e-4}
    axes |= {"CTYPE2": "DEC--SIN", "CRPIX2": 20.0, "CRVAL2": 30.0, "CDELT2": 5e-4}
    header = fits.Header({"BUNIT": "Jy/beam", **axes})
    fits.writeto(tmp_path / "map.fits", sky, header)
    asked = predict.Settings(
        run=str(world / "vae"), paths=(tmp_path / "map.fits",), out=tmp_path / "clean.fits", device="cpu"
    )
    predict.run(asked, QUIET)
    with fits.open(tmp_path / "clean.fits") as made:
        clean = made[0].data
        assert made[0].header["CRVAL1"] == 150.0
    assert clean.shape == sky.shape
    assert (np.isnan(clean) == np.isnan(sky)).all()
    assert np.nanargmax(clean) // 301 in range(39, 45)


def test_samples_are_drawn_of_the_prior(world):
    model = load_run(world / "vqvae").model
    few = model.sample(torch.arange(2), 3, torch.device("cpu"))
    assert few.shape == (2, 1, 48, 48)
    again = model.sample(torch.tensor([1]), 3, torch.device("cpu"))[0]
    assert torch.allclose(few[1], again, atol=1e-4)  # the same codes, whatever the batch
    assert not torch.allclose(few[0], few[1], atol=0.1)


def test_a_scale_of_noise_needs_noise(tmp_path):
    for number in range(12):
        image = np.zeros((32, 32), np.float32)
        image[number + 4, 8:12] = 1.0
        np.save(tmp_path / f"{number}.npy", image)
    settings = train.Settings(model="vqvae", config=SMALL, data=tmp_path, out=tmp_path / "run", steps=1, gpus=0)
    with pytest.raises(DataError, match=r"no noise to measure.*--scale image"):
        train.run(settings, QUIET)


def test_rivals_get_no_fewer_bits():
    found = [(0.5, np.zeros(1)), (1.0, np.ones(1)), (2.0, np.full(1, 2.0))]
    assert nearest(found, 0.7)[0] == 1.0
    assert nearest(found, 3.0)[0] == 2.0


@pytest.mark.parametrize("name", ["vqvae", "vae"])
def test_the_default_networks_are_cheap(name):
    """At most 8,000 multiply-adds a pixel each way, so that a codec runs at a million pixels a second."""
    data = example_data(side=128)
    data = replace(data, target=None)
    component = components("model")[name]
    kind = component.load()
    model = kind(component.configure({}), data, compose([], kind.roles, {}, data, partial(plugins.component, "loss")))
    for part, given in ((model.encoder, torch.zeros(1, 1, 128, 128)), (model.decoder, torch.zeros(1, 32, 16, 16))):
        with FlopCounterMode(display=False) as counted:
            part(given)
        assert 1000 < counted.get_total_flops() / 2 / 128**2 <= 8000
