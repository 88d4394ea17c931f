import math

import pytest
import torch
from torch.distributions import Normal, VonMises
from torch.nn import functional

from rvtool.kinds import DataInfo, LossContext, Side
from rvtool.plugins import component

DATA = DataInfo(Side(1, 8, 8), label_column="angle", label_mean=20.0, label_std=5.0)


def build(name, **settings):
    found = component("loss", name)
    return found.load()(found.configure(settings), DATA)


def test_the_gaussian_is_the_normal_distribution_of_the_scaled_label():
    loss, y = build("gaussian-nll"), torch.tensor([12.0, 31.0])
    numbers = torch.tensor([[0.3, -1.0], [2.0, 0.5]])
    middle, spread = loss.answer(numbers).unbind(dim=1)
    torch.testing.assert_close(middle, torch.tensor([21.5, 30.0]))
    torch.testing.assert_close(spread, 5 * (functional.softplus(numbers[:, 1]) + 1e-3))
    truth = -Normal(middle, spread).log_prob(y) - math.log(5) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss(numbers, y, LossContext({})), truth.mean())


def test_beta_weighs_by_a_width_that_is_held_fixed():
    y, numbers = torch.tensor([12.0]), torch.tensor([[0.3, -1.0]], requires_grad=True)
    plain, weighed = build("gaussian-nll"), build("gaussian-nll", beta=0.5)
    spread = plain.answer(numbers)[0, 1].item() / 5
    one = torch.autograd.grad(plain(numbers, y, LossContext({})), numbers)[0]
    other = torch.autograd.grad(weighed(numbers, y, LossContext({})), numbers)[0]
    torch.testing.assert_close(other, spread * one)


@pytest.mark.parametrize("largest", [180.0, 90.0])
def test_von_mises_is_the_density_of_both_sides(largest):
    loss = build("von-mises-nll", largest_deg=largest)
    mu, k = torch.tensor([0.4, 2.9, 1.5]), torch.tensor([3.0, 40.0, 0.2])
    x = torch.tensor([0.1, 3.0, 1.0])
    numbers = torch.stack([k * mu.cos(), k * mu.sin()], dim=1)
    both = torch.logaddexp(VonMises(mu, k).log_prob(x), VonMises(-mu, k).log_prob(x))
    found = loss(numbers, x * largest / math.pi, LossContext({}))
    torch.testing.assert_close(found, -both.mean(), rtol=1e-4, atol=1e-5)


def test_von_mises_answers_with_median_and_deviation():
    loss = build("von-mises-nll")
    even, sharp, edge = loss.answer(torch.tensor([[0.0, 0.0], [50 * math.cos(1), 50 * math.sin(1)], [30.0, 0.0]]))
    torch.testing.assert_close(even, torch.tensor([90.0, 180 / math.sqrt(12)]), rtol=1e-3, atol=0)
    torch.testing.assert_close(sharp, torch.rad2deg(torch.tensor([1.0, 1 / math.sqrt(50)])), rtol=0.02, atol=0)
    torch.manual_seed(0)
    drawn = torch.rad2deg(VonMises(torch.tensor(0.0), torch.tensor(30.0)).sample((100_000,)).abs())
    torch.testing.assert_close(edge, torch.stack([drawn.median(), drawn.std()]), rtol=0.01, atol=0)


def test_weights_count():
    loss, numbers, y = build("gaussian-nll"), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([30.0, 10.0])
    only = loss(numbers, y, LossContext({"weight": torch.tensor([1.0, 0.0])}))
    torch.testing.assert_close(only, loss(numbers[:1], y[:1], LossContext({})))
