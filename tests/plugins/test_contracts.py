"""Every component that is installed keeps the contract of its kind."""

import numpy as np
import pytest
from astropy.io import fits

from rvtool import testing
from rvtool.plugins import KINDS, components
from rvtool_plugins.codecs.learned.codec import SHIPPED

SMALL = {
    "simulator": {"radio-galaxy": {"size": 32, "las_max_arcsec": 30}, "radio-map": {"size": 48, "cars": 5}},
    "loss": {
        "vgg-perceptual": {"weights": "random", "layers": "relu2_2"},  # those of ImageNet are not everywhere
        "lpips": {"weights": "random", "network": "alex"},
        "noise-preserving": {"fwhm_px": 3},  # the example's images do not tell their beam
    },
    "model": {
        "mobilenet-v2": {"width": 0.25},
        "efficientnet-b0": {"width": 0.25, "depth": 0.25},
        "pix2pix": {"width": 8, "critic_width": 8},
        "srgan": {"width": 8, "critic_width": 8, "blocks": 1},
        "vae": {"width": 8, "learning_rate": 1e-2},  # the likelihood's width begins at 1, and moves by that a step
        "vae-gan": {"width": 8, "critic_width": 4},
        "vqvae": {"width": 8},
        "vgg16": {"channels": "8,16,32", "convolutions": "1,1,2", "hidden": 16},
    },
}
"""Settings that make a check quick or possible."""


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "one.npy", np.zeros((8, 8), np.float32))
    return tmp_path


def named(kind):
    return pytest.mark.parametrize("name", components(kind))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in components(kind)])
def test_component(kind, name):
    testing.check_component(components(kind)[name])


@named("source")
def test_source(name, folder):
    testing.check_source(components("source")[name], {"path": folder} if name == "folder" else None)


@named("simulator")
def test_simulator(name, tmp_path):
    settings = SMALL["simulator"].get(name, {})
    if name == "lower-resolution":
        header = fits.Header({"BUNIT": "Jy/beam", "BMAJ": 5.4 / 3600, "BMIN": 5.4 / 3600})
        fits.writeto(tmp_path / "a.fits", np.zeros((8, 8), np.float32), header)
        settings = {"data": tmp_path, "factor": 2, "image_pixel_arcsec": 1.8}
    testing.check_simulator(components("simulator")[name], settings)


@named("model")
def test_model(name):
    testing.check_model(components("model")[name], SMALL["model"].get(name))


@named("loss")
def test_loss(name):
    testing.check_loss(components("loss")[name], SMALL["loss"].get(name))


@named("augmenter")
def test_augmenter(name):
    testing.check_augmenter(components("augmenter")[name])


@named("metric")
def test_metric(name):
    testing.check_metric(components("metric")[name])


@named("codec")
def test_codec(name):
    if name == "learned" and not SHIPPED.exists():
        pytest.skip("no run comes with the codec yet: it has nothing to code with")
    testing.check_codec(components("codec")[name])
