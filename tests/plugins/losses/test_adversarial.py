import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from rvtool.kinds import DataInfo, LossContext, Side
from rvtool.plugins import component

DATA = DataInfo(Side(1, 8, 8), Side(1, 8, 8))
ADVERSARIAL = ("lsgan", "hinge", "bce-gan", "relativistic", "wgan-gp")
REAL = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
FAKE = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def build(name, **settings):
    found = component("loss", name)
    return found.load()(found.configure(settings), DATA)


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


@settings(max_examples=25)
@given(real=st.floats(-5, 5, width=32), fake=st.floats(-5, 5, width=32))
def test_the_formulas_of_one_answer_each(real, fake):
    found = {
        "lsgan": (0.5 * (fake - 1) ** 2, 0.5 * (real - 1) ** 2 + 0.5 * fake**2),
        "hinge": (-fake, max(0, 1 - real) + max(0, 1 + fake)),
        "wgan-gp": (-fake, fake - real),
        "bce-gan": (-log_sigmoid(fake), -log_sigmoid(real) - log_sigmoid(-fake)),
        # D(x) - D(G) tells which is which, so each player's two parts are alike
        "relativistic": (-2 * log_sigmoid(fake - real), -2 * log_sigmoid(real - fake)),
    }
    for name, (generator, discriminator) in found.items():
        loss, x, g = build(name), torch.tensor([[real]]), torch.tensor([[fake]])
        assert loss.generator(g, x).item() == pytest.approx(generator, rel=1e-4, abs=1e-5)
        assert loss.discriminator(x, g).item() == pytest.approx(discriminator, rel=1e-4, abs=1e-5)


def test_relativistic_compares_with_the_average():
    loss, one = build("relativistic"), torch.ones_like(REAL)
    bce = functional.binary_cross_entropy_with_logits
    real, fake = REAL - FAKE.mean(), FAKE - REAL.mean()
    torch.testing.assert_close(loss.discriminator(REAL, FAKE), bce(real, one) + bce(fake, 0 * one))
    torch.testing.assert_close(loss.generator(FAKE, REAL), bce(fake, one) + bce(real, 0 * one))


def test_the_wasserstein_penalty_wants_a_slope_of_one_between_the_images():
    loss = build("wgan-gp", gradient_penalty=10.0)
    slope = torch.tensor(3.0)
    real, fake = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    seen = []

    def critic(image):
        seen.append(image.detach())
        return slope * image.flatten(1).sum(1) / 4  # |grad| = 3 sqrt(16) / 4

    assert loss.penalty(critic, real, fake).item() == pytest.approx(10 * (3 - 1) ** 2)
    assert ((seen[0] > 0) & (seen[0] < 1)).all()
    torch.testing.assert_close(
        seen[0][0], seen[0][0].mean().expand(1, 4, 4)
    )  # one place between the two, for the whole image
    assert seen[0][0].mean() != seen[0][1].mean()


def test_label_smoothing_is_one_sided():
    smoothed, bce = build("bce-gan", label_smoothing=0.2), functional.binary_cross_entropy_with_logits
    expected = bce(REAL, torch.full_like(REAL, 0.8)) + bce(FAKE, torch.zeros_like(FAKE))
    torch.testing.assert_close(smoothed.discriminator(REAL, FAKE), expected)
    torch.testing.assert_close(smoothed.generator(FAKE, REAL), build("bce-gan").generator(FAKE, REAL))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_scales_count_alike_whatever_their_size(name):
    loss, small = build(name), (REAL[..., :2, :2], FAKE[..., :2, :2])
    both = loss.discriminator([REAL, small[0]], [FAKE, small[1]])
    torch.testing.assert_close(both, (loss.discriminator(REAL, FAKE) + loss.discriminator(*small)) / 2)
    assert loss([FAKE, small[1]], [REAL, small[0]], LossContext({})) == loss.generator(
        [FAKE, small[1]], [REAL, small[0]]
    )


def test_a_sure_critic_still_teaches_the_generator():
    fake = torch.full((2, 1), -50.0, requires_grad=True)
    build("bce-gan").generator(fake, REAL).backward()
    torch.testing.assert_close(fake.grad, torch.full((2, 1), -0.5))


def test_the_penalty_of_a_linear_and_of_a_square_critic():
    """D = w . x has the slope w everywhere; D = |x|^2 / 2 has the slope x."""
    loss = build("hinge", gradient_penalty=10.0)
    images, w = torch.randn(4, 1, 3, 3), torch.randn(9, requires_grad=True)
    linear = loss.penalty(lambda x: x.flatten(1) @ w, images, images)
    torch.testing.assert_close(linear, 5 * w.square().sum())
    linear.backward()
    torch.testing.assert_close(w.grad, 10 * w.detach())  # it teaches the critic
    square = loss.penalty(lambda x: x.square().flatten(1).sum(1) / 2, images, images)
    torch.testing.assert_close(square, 5 * images.square().flatten(1).sum(1).mean())
    # two scales of patches: the mean of their logits, here w . x and 0
    scales = loss.penalty(lambda x: [(x.flatten(1) @ w)[:, None].expand(-1, 6), 0 * x], images, images)
    torch.testing.assert_close(scales, linear.detach() / 4)


def test_no_penalty_asks_no_critic():
    assert build("lsgan").penalty(lambda x: pytest.fail("asked"), REAL, FAKE).item() == 0


def test_feature_matching_teaches_the_generator_only():
    loss, critic = build("feature-matching"), nn.Conv2d(1, 2, 3)
    fake, real = FAKE.clone().requires_grad_(), REAL.clone().requires_grad_()
    ours, truth = critic(fake), critic(real)
    value = loss([[fake, ours], [ours]], [[real, truth], [truth]], LossContext({}))
    near, far = (fake - real).abs().mean(), (ours - truth).abs().mean()
    torch.testing.assert_close(value, ((near + far) / 2 + far) / 2)
    value.backward()
    assert fake.grad.any()
    assert real.grad is None
