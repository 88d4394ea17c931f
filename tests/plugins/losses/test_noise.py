"""The loss on what is left out: nothing for noise as the image has it; too little, another grain, and flux cost."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from rvtool.errors import ConfigError
from rvtool.kinds import Beam, LossContext
from rvtool.plugins import component
from rvtool.testing.examples import example_data

FWHM, SIGMA, SIDE = 4.0, 2e-4, 128


def grained(seed, fwhm=FWHM):
    """Noise whose correlation is a Gaussian of that width: white noise under one that is narrower by the root of 2."""
    white = np.random.default_rng(seed).normal(size=(2, 1, SIDE, SIDE))
    smooth = gaussian_filter(white, (0, 0, *[fwhm / math.sqrt(2) / 2.3548] * 2), mode="wrap")
    return torch.from_numpy(SIGMA * smooth / smooth.std()).float()


def build(**settings):
    chosen = component("loss", "noise-preserving")
    return chosen.load()(chosen.configure(settings), example_data(side=SIDE))


def cost(loss, residual, noise):
    source = torch.zeros_like(noise)
    source[..., 60:64, 60:64] = 100 * SIGMA
    image = noise + source
    statistics = torch.tensor([[0.0, SIGMA, 1.0]] * len(image))
    batch = {"image": image, "mask": torch.ones_like(image, dtype=torch.bool), "image_statistics": statistics}
    context = LossContext(batch, physical={"image": image, "prediction": image - residual, "target": image})
    return loss(image - residual, image, context)


def test_noise_like_the_images_own_costs_next_to_nothing():
    noise = grained(0)
    loss = build(fwhm_px=FWHM)
    right = float(cost(loss, noise, noise))
    assert right < 0.02
    assert float(cost(loss, 0.3 * noise, noise)) > 0.5 > 20 * right  # most of the noise is kept in the prediction
    assert float(cost(loss, grained(1, fwhm=1.5), noise)) > 5 * right  # of another grain
    assert float(cost(loss, noise + SIGMA, noise)) > 0.4  # with flux in it


def test_the_divergence_is_that_of_normal_distributions():
    loss = build(correlation=0)
    noise = grained(2)
    residual = 0.5 * noise + 0.25 * SIGMA
    inside = noise.abs() < 3 * SIGMA
    inside[..., 60:64, 60:64] = False
    ours = torch.stack([residual[n][inside[n]] for n in range(2)][:1])  # one image
    mean, deviation = ours.mean() / SIGMA, ours.std(unbiased=False) / SIGMA
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, deviation), normal(0.0, 1.0))
    assert float(cost(loss, residual, noise)) == pytest.approx(float(expected), rel=0.05)


def test_it_teaches_and_says_what_it_needs():
    noise = grained(3)
    residual = (0.2 * noise).requires_grad_()
    cost(build(fwhm_px=FWHM), residual, noise).backward()
    # the residual should grow: its gradient points against it
    assert float((residual.grad * noise).sum()) < 0
    with pytest.raises(ConfigError, match="fwhm_px"):
        build()
    data = example_data()
    known = replace(data, image=replace(data.image, beam=Beam(5.4, 5.4)))
    chosen = component("loss", "noise-preserving")
    assert chosen.load()(chosen.configure({}), known).expected[0] == pytest.approx(math.exp(-4 * math.log(2) / 9))
