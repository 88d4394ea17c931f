"""Codes out of books and whole numbers: nothing is scrambled, what is learnt follows its formulae."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from rvtool import plugins
from rvtool.learning.losses import compose
from rvtool.testing.examples import example_batch, example_data
from rvtool_plugins.models.vqvae import VQVAEConfig
from rvtool_plugins.models.vqvae.model import VQVAE
from rvtool_plugins.models.vqvae.quantise import DEAD, Books, Scalars


def books(**config):
    torch.manual_seed(0)
    return Books(VQVAEConfig(**{"quantiser": "vq", "rate": 0, "latents": 5, "codes": 8, **config}))


def scalars(**config):
    torch.manual_seed(0)
    return Scalars(VQVAEConfig(**{"latents": 3, **config}))


@pytest.mark.parametrize("quantiser", ["vq", "residual"])
def test_codes_stay_at_their_places(quantiser):
    """Every place and channel holds another value, and the codes are all of them: a permuted axis would show."""
    shape = (2, 5, 3, 4)
    latents = torch.arange(math.prod(shape), dtype=torch.float32).view(shape)
    found = books(quantiser=quantiser, books=2, codes=24).eval()
    found.codes[0] = latents.permute(0, 2, 3, 1).reshape(24, 5)
    found.begun.fill_(True)
    symbols = found.symbols(latents)
    assert symbols.shape == (2, found.maps, 3, 4)
    assert torch.equal(symbols[:, 0], torch.arange(24).view(2, 3, 4))
    assert torch.equal(found.latents(symbols), latents)
    result = found(latents)
    torch.testing.assert_close(result.latents, latents)
    assert result.distance == 0
    assert result.perplexity == pytest.approx((24 + 1) / 2 if quantiser == "residual" else 24, rel=1e-4)


@pytest.mark.parametrize("quantiser", ["vq", "residual"])
def test_the_gradient_passes_straight_through(quantiser):
    found = books(quantiser=quantiser).train()
    latents = torch.randn(4, 5, 6, 6, requires_grad=True)
    result = found(latents)
    weight = torch.randn(4, 5, 6, 6)
    (slope,) = torch.autograd.grad((result.latents * weight).sum(), latents, retain_graph=True)
    assert torch.equal(slope, weight)  # as of the identity
    assert (result.latents - latents).abs().max() > 0.1  # which it is not
    (slope,) = torch.autograd.grad(result.distance, latents)  # only the latents follow; codes are means
    torch.testing.assert_close(slope, 2 * (latents - result.latents) / latents.numel())


def test_books_follow_the_means_of_what_chooses_them():
    found = books(codes=3, decay=0.9).train()
    found.codes[0], found.sums[0] = torch.eye(5)[:3] * 4, torch.eye(5)[:3] * 4
    found.begun.fill_(True)
    latents = 4 * torch.eye(5)[torch.tensor([0, 0, 1, 2])] + 0.1 * torch.randn(4, 5)
    found(latents.T.reshape(1, 5, 2, 2))
    counts = 0.9 * torch.ones(3) + 0.1 * torch.tensor([2.0, 1.0, 1.0])
    sums = 0.9 * 4 * torch.eye(5)[:3] + 0.1 * torch.stack([latents[:2].sum(0), latents[2], latents[3]])
    torch.testing.assert_close(found.counts[0], counts)
    torch.testing.assert_close(found.codes[0], sums / counts[:, None])
    before = found.codes.clone()
    found.eval()(latents.T.reshape(1, 5, 2, 2))
    assert torch.equal(found.codes, before)  # in use nothing moves


@pytest.mark.parametrize("quantiser", ["vq", "residual", "fsq", "scalar"])
def test_codes_are_chosen_without_rounding_under_mixed_precision(quantiser):
    data = example_data()
    config = VQVAEConfig(quantiser=quantiser, rate=0, latents=5 if quantiser != "fsq" else 3, codes=8, width=8)
    torch.manual_seed(0)
    model = VQVAE(config, data, compose([], VQVAE.roles, {}, data, partial(plugins.component, "loss"))).train()
    seen = []
    model.quantiser.register_forward_hook(lambda _, given, found: seen.append((given[0].dtype, found.latents.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        model.judge(example_batch(data))
    assert seen == [(torch.float32, torch.float32)]


def test_dead_codes_begin_anew_at_latents():
    found = books(codes=4, decay=0.5).train()
    found.begun.fill_(True)
    found.codes[0] = torch.tensor([0.0, 1.0, 500.0, 900.0])[:, None].expand(4, 5)
    found.sums[0] = found.codes[0]
    latents = torch.cat([torch.zeros(5, 50), torch.ones(5, 50)], dim=1).view(1, 5, 10, 10)
    latents = latents + 0.2 * torch.rand(latents.shape)
    perplexities = []
    for _ in range(14):
        perplexities.append(float(found(latents).perplexity))
    assert perplexities[0] < 2.01  # two codes were out of reach
    assert perplexities[-1] > 2.5
    assert found.codes.max() < 2
    assert (found.counts[0] >= DEAD * found.counts[0].mean()).all()


def test_a_book_begins_with_latents():
    latents = torch.randn(2, 5, 4, 4) + 100
    found = books(decay=0.999).train()
    found(latents)
    assert (found.codes - 100).abs().max() < 6
    assert bool(found.begun)


def test_each_further_book_leaves_less():
    found = books(quantiser="residual", books=4, codes=16, decay=0.8).train()
    latents = torch.randn(8, 5, 8, 8)
    for _ in range(30):
        found(latents)
    found.eval()
    symbols = found.symbols(latents)
    whole, errors = found.latents(symbols), []
    for count in range(5):
        part = sum(
            (found.codes[book][symbols[:, book]].permute(0, 3, 1, 2) for book in range(count)),
            torch.zeros_like(latents),
        )
        errors.append(float(functional.mse_loss(part, latents)))
    assert all(after < 0.8 * before for before, after in pairwise(errors))
    assert float(functional.mse_loss(whole, latents)) == pytest.approx(errors[-1])
    assert float(found(latents).distance) == pytest.approx(errors[-1], rel=1e-4)


def test_a_rate_makes_rare_codes_dear():
    """The code of least distance + rate x length is chosen: checked by looking at all."""
    found = books(codes=6, rate=0.7).eval()
    found.codes[0], found.counts[0] = torch.randn(6, 5), torch.tensor([100.0, 30.0, 10.0, 3.0, 1.0, 0.1])
    latents = torch.randn(2, 5, 7, 7)
    rows = latents.permute(0, 2, 3, 1).reshape(-1, 5)
    lengths = -torch.log2(found.counts[0] / found.counts[0].sum())
    cost = torch.cdist(rows, found.codes[0]).square() + 0.7 * lengths
    chosen = found.symbols(latents)
    assert torch.equal(chosen.flatten(), cost.argmin(1))
    near = torch.cdist(rows, found.codes[0]).argmin(1)
    assert not torch.equal(chosen.flatten(), near)
    assert float(found(latents).bits) == pytest.approx(float(lengths[chosen.flatten()].sum()), rel=1e-3)
    assert lengths[chosen.flatten()].sum() < lengths[near].sum()


@pytest.mark.parametrize("levels", [3, 5, 9])
def test_levels_are_few_and_about_zero(levels):
    found = scalars(quantiser="fsq", levels=levels).eval()
    latents = torch.linspace(-50, 50, 3 * 40 * 40).view(1, 3, 40, 40) ** 3 / 2500
    symbols = found.symbols(latents)
    assert (found.alphabet, found.open, symbols.min(), symbols.max()) == (levels, False, 0, levels - 1)
    assert found.symbols(torch.zeros(1, 3, 1, 1)).unique().tolist() == [levels // 2]
    numbers = found.latents(symbols)
    assert numbers.unique().tolist() == list(range(-(levels // 2), levels // 2 + 1))
    torch.testing.assert_close(found(latents).latents, numbers)  # what is trained with is what comes back
    assert found.symbols(torch.randn(1, 3, 40, 40)).unique().numel() == levels


def test_whole_numbers_are_any():
    found = scalars().eval()
    latents = torch.tensor([0.4, -1.6, 1e6]).view(1, 3, 1, 1)
    assert found.symbols(latents).flatten().tolist() == [0, -2, 10**6]
    assert torch.equal(found.latents(found.symbols(latents)), latents.round())
    assert found(latents).distance == 0


def test_rounding_and_noise_pass_the_gradient():
    found = scalars().train()
    latents = (3 * torch.randn(2, 3, 8, 8)).requires_grad_()
    rounded = []
    for _ in range(40):
        result = found(latents)
        (slope,) = torch.autograd.grad(result.latents.sum(), latents)
        assert torch.equal(slope, torch.ones_like(slope))
        assert (result.latents - latents).abs().max() <= 0.5 + 1e-5
        rounded.append(torch.equal(result.latents, result.latents.round()))
    assert 8 < sum(rounded) < 32  # one half of the steps


def test_bits_follow_how_often_numbers_come_and_have_their_slope():
    found = scalars(decay=0.0).train()
    latents = (3 * torch.randn(1, 3, 40, 40)).round()
    found(latents)
    found.eval()
    counts = [(latents[0, number] == 2).sum() / 1600 for number in range(3)]
    at_two = found(torch.full((1, 3, 1, 1), 2.0)).bits
    assert float(at_two) == pytest.approx(-sum(math.log2(share) for share in counts), rel=0.02)
    places = torch.tensor([0.3, -1.7, 4.4], dtype=torch.float64).view(1, 3, 1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(found._bits(places).sum(), places)
    for number in range(3):
        ahead, behind = places.detach().clone(), places.detach().clone()
        ahead[0, number], behind[0, number] = ahead[0, number] + 0.05, behind[0, number] - 0.05
        difference = (found._bits(ahead).sum() - found._bits(behind).sum()) / 0.1
        assert float(slope[0, number]) == pytest.approx(float(difference), rel=1e-3)
    assert slope.flatten()[0] > 0 > slope.flatten()[1]  # a number nearer to 0 takes less
    far = torch.full((1, 3, 1, 1), 5000.0, requires_grad=True)
    (slope,) = torch.autograd.grad(found._bits(far).sum(), far)
    assert (slope > 0).all()


@pytest.mark.parametrize("found", [scalars, books])
def test_a_diverged_step_is_no_crash(found):
    """A loss that is no number is told by the training; on the way there no index may be out of bounds."""
    result = found().train()(torch.full((1, found().maps if found is scalars else 5, 4, 4), torch.nan))
    assert result.latents.isnan().all()
