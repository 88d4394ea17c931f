"""What autoencoders share: known transforms, the bound on the likelihood, what is measured, images of any size."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.fft
import scipy.stats
import torch
from torch.distributions import Normal, kl_divergence

from rvtool import plugins
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import compose
from rvtool.learning.transforms import Analysis
from rvtool.learning.variational import divergence

SIDE = 24


def build(name, *, data=None, loss=(), **config):
    component = plugins.component("model", name)
    kind = component.load()
    data = data or DataInfo(Side(1, SIDE, SIDE))
    losses = compose(list(loss), kind.roles, {}, data, partial(plugins.component, "loss"))
    torch.manual_seed(0)
    small = {"width": 8, "critic_width": 4} if name == "vae-gan" else {"width": 4, "latents": 12}
    return kind(component.configure({**small, **config}), data, losses).eval()


def batch_of(count=6, height=SIDE, width=SIDE, seed=0):
    """Make noise with a source, the last column of which is not known."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    image = 20 * torch.exp(-8 * (x**2 + y**2)) + torch.randn(count, 1, height, width, generator=generator)
    mask = torch.ones(count, 1, height, width, dtype=torch.bool)
    mask[..., -1] = False
    return {"image": torch.where(mask, image, 0.0), "mask": mask}


def test_divergence_is_that_of_normal_distributions():
    torch.manual_seed(0)
    means, log_variances = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    posterior = Normal(means, (0.5 * log_variances).exp())
    torch.testing.assert_close(divergence(means, log_variances), kl_divergence(posterior, Normal(0.0, 1.0)))
    assert divergence(torch.zeros(()), torch.zeros(())) == 0


def test_latents_are_drawn_from_the_posterior():
    model = build("vae")
    image = batch_of(1, 8, 8)["image"]
    means, log_variances = model.posterior(image)
    torch.manual_seed(1)
    drawn, cost = model.pass_on(image.expand(4000, -1, -1, -1))
    deviations = (0.5 * log_variances).exp()
    torch.testing.assert_close(drawn.std(0)[None], deviations, rtol=0.06, atol=0)
    assert ((drawn.mean(0) - means) / deviations).abs().max() < 4.5 / math.sqrt(4000)
    expected = kl_divergence(Normal(means, deviations), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(cost, expected.expand(4000))
    torch.testing.assert_close(model.latents(image), means)


def cosine_coefficients(image, count):
    """Return the lowest coefficients of the orthonormal transform of cells of 8, and the image of these alone."""
    blocks = image.reshape(image.shape[0] // 8, 8, image.shape[1] // 8, 8).transpose(0, 2, 1, 3)
    coefficients = scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho")
    order = sorted((i * i + j * j, i, j) for i in range(8) for j in range(8))[:count]
    kept = np.zeros_like(coefficients)
    for _, i, j in order:
        kept[..., i, j] = coefficients[..., i, j]
    back = scipy.fft.idctn(kept, axes=(2, 3), norm="ortho").transpose(0, 2, 1, 3).reshape(image.shape)
    return np.stack([coefficients[..., i, j] for _, i, j in order]), back


@pytest.mark.parametrize("name", ["vae", "vqvae"])
def test_training_begins_with_the_cosine_transform(name):
    model = build(name, gain=0.7)
    image = batch_of(1)["image"]
    with torch.no_grad():
        latents = model.encode(image)
        made = model.decode(latents)
    coefficients, low = cosine_coefficients(image[0, 0].numpy(), 12)
    np.testing.assert_allclose(latents[0], 0.7 * coefficients, atol=1e-4)
    np.testing.assert_allclose(made[0, 0], low, atol=1e-4)
    assert np.abs(low - image[0, 0].numpy()).max() > 1  # what is left out matters


def test_all_coefficients_bring_the_image_back():
    """Of two channels too, and maps that are no coefficients begin at 0."""
    model = build("vqvae", data=DataInfo(Side(2, 16, 16)), cell=4, latents=32)
    image = torch.randn(3, 2, 16, 16)
    torch.testing.assert_close(model.decode(model.encode(image)), image, atol=1e-4, rtol=0)
    assert not Analysis(1, 5, 4, 8, further=3)(image[:, :1])[:, 5:].any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 8), (8, 8), (17, 5), (9, 40)])
@pytest.mark.parametrize("name", ["vae", "vqvae"])
def test_images_of_any_size_come_back_at_their_size(name, height, width):
    model = build(name)
    image = torch.randn(2, 1, height, width)
    whole = model.whole(image)
    assert whole.shape[-2:] == (-(-height // 8) * 8, -(-width // 8) * 8)
    assert torch.equal(whole[..., :height, :width], image)
    assert torch.equal(whole[..., height:, :], whole[..., height - 1 : height, :].expand_as(whole[..., height:, :]))
    assert torch.equal(whole[..., width:], whole[..., width - 1 : width].expand_as(whole[..., width:]))
    with torch.no_grad():
        assert model(image).shape == image.shape
        symbols = model.symbols(image)
        assert symbols.shape == (2, 12, -(-height // 8), -(-width // 8))
        assert symbols.dtype == torch.int64
        assert model.decode(model.restore(symbols)).shape == whole.shape


def test_the_learnt_likelihood_tends_to_the_root_mean_square_error():
    """Of L / (2 sigma^2) + log sigma the least is where sigma^2 = L."""
    model = build("vae").train()
    batch = {**batch_of(), "image": 3 * batch_of()["image"]}
    optimizer = torch.optim.Adam([model.log_sigma], lr=0.1)
    errors = []
    for _ in range(80):
        made, total, parts = model.judge(batch)
        by_hand = 0.5 * parts["mse"] * (-2 * model.log_sigma).exp() + model.log_sigma + parts["kl"] * math.log(2)
        torch.testing.assert_close(total, by_hand)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        errors.append(float(parts["mse"]))
    assert made.shape == batch["image"].shape
    assert float(model.log_sigma.detach().exp()) ** 2 == pytest.approx(np.mean(errors), rel=0.05)
    assert abs(np.log(np.mean(errors))) > 1  # it began elsewhere


def test_a_likelihood_that_is_given_is_trained_with_and_the_true_one_measured():
    model = build("vae", sigma=0.5, beta=3.0)
    assert "log_sigma" not in dict(model.named_parameters())
    batch = batch_of()
    model.settle(lambda: [batch])
    measured = float(model.log_sigma)
    assert measured != pytest.approx(math.log(0.5), abs=0.05)
    with torch.no_grad():
        _, total, parts = model.judge(batch)  # measuring changes nothing of what is minimised
    assert float(total) == pytest.approx(
        float(2 * parts["mse"] + math.log(0.5) + 3 * parts["kl"] * math.log(2)), rel=1e-5
    )


def test_symbols_of_a_variational_model_are_steps_as_wide_as_its_posterior():
    model = build("vae", step=2.0)
    batches = [batch_of(4, seed=seed) for seed in range(3)]
    model.settle(lambda: batches)
    with torch.no_grad():
        log_variances = torch.cat([model.posterior(batch["image"])[1] for batch in batches])
        deviations = (0.5 * log_variances).exp().transpose(0, 1).flatten(1)
        means = model.encode(batches[0]["image"])
        restored = model.restore(model.quantise(means))
    np.testing.assert_allclose(model.steps, 2 * np.median(deviations, axis=1), rtol=0.03)
    assert ((restored - means).abs() <= 0.5 * model.steps[:, None, None] * (1 + 1e-5)).all()
    assert float(model.log_sigma) == 0  # it is learnt, and stays so


@pytest.mark.parametrize("name", ["vae", "vqvae"])
def test_the_prior_that_is_measured_tells_what_codes_take(name):
    model = build(name, **({"step": 1.0} if name == "vae" else {}))
    batches = [batch_of(16, 40, 40, seed=seed) for seed in range(4)]
    image = batch_of(1, 200, 200, seed=9)["image"]
    before = model.prior.bits(model.symbols(image)[0].numpy()).sum()
    model.settle(lambda: batches)
    symbols = model.symbols(image)[0].numpy()  # the steps are measured too
    coded = model.prior.encode(symbols)
    assert 8 * len(coded) == pytest.approx(model.prior.bits(symbols).sum(), rel=0.03)
    assert 2000 < 8 * len(coded) < 0.8 * before
    assert np.array_equal(model.prior.decode(coded, symbols.shape), symbols)
    again = build(name)
    again.load_state_dict(model.state_dict())  # it travels with the weights
    assert np.array_equal(again.prior.tables, model.prior.tables)
    assert np.array_equal(again.prior.classes, model.prior.classes)


def test_the_width_that_is_measured_is_that_of_known_pixels():
    model = build("vqvae")
    batches = [batch_of(4, 24, 20, seed=seed) for seed in range(2)]
    model.settle(lambda: batches)
    with torch.no_grad():
        errors = torch.cat([(model(batch["image"]) - batch["image"])[..., :-1].flatten() for batch in batches])
    assert float(model.log_sigma.exp()) == pytest.approx(float(errors.square().mean().sqrt()), rel=1e-4)


@pytest.mark.parametrize("name", ["vae", "vqvae"])
def test_nats_are_what_codes_and_known_pixels_take(name):
    model = build(name)
    batch = batch_of(3, 20, 24)
    model.settle(lambda: [batch])
    torch.manual_seed(5)
    cost, pixels = model.nats(batch)
    torch.manual_seed(5)
    with torch.no_grad():
        latents, expected = model.pass_on(model.whole(batch["image"]))
        made = model.decode(latents)[..., :20, :24]
    torch.testing.assert_close(cost, expected)
    density = scipy.stats.norm.logpdf(batch["image"], made, math.exp(float(model.log_sigma)))
    np.testing.assert_allclose(pixels, -density[..., :-1].sum(axis=(1, 2, 3)), rtol=1e-5)
    if name == "vqvae":
        symbols = model.symbols(batch["image"]).numpy()
        np.testing.assert_allclose(cost, [math.log(2) * model.prior.bits(one).sum() for one in symbols], rtol=1e-6)


@pytest.mark.parametrize("name", ["vae", "vqvae", "vae-gan"])
def test_what_is_sampled_depends_on_index_and_seed_alone(name):
    model = build(name, data=DataInfo(Side(1, 33, 35)))
    draw = partial(model.sample, device=torch.device("cpu"))
    many = draw(torch.tensor([4, 0, 9]), 1)
    assert many.shape == (3, 1, 33, 35)
    torch.testing.assert_close(draw(torch.tensor([9]), 1), many[2:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(draw(torch.tensor([0, 4]), 1), many[[1, 0]], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(draw(torch.tensor([9]), 2), many[2:], atol=1e-3)
    assert not torch.allclose(many[0], many[1], atol=1e-3)


def test_what_cannot_be_is_told():
    with pytest.raises(DataError, match="no cleaner images"):
        build("vae", data=DataInfo(Side(1, 16, 16), Side(1, 32, 32)))
    with pytest.raises(ConfigError, match="No loss compares"):
        build("vqvae", loss=("mse:0",))
    for name in ("vae", "vqvae"):
        with pytest.raises(ConfigError, match="more than the 16 values"):
            build(name, cell=4, latents=17)
    with pytest.raises(ConfigError, match="odd number"):
        build("vqvae", quantiser="fsq", levels=4)
