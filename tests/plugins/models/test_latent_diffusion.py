"""Diffusion: the processes against their closed forms, the network's parts, guidance, completing and cleaning."""

import json
import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from rvtool import plugins
from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import compose
from rvtool.testing.examples import example_batch, example_data
from rvtool_plugins.models.latent_diffusion import LatentDiffusionConfig
from rvtool_plugins.models.latent_diffusion.model import LatentDiffusion
from rvtool_plugins.models.latent_diffusion.network import FourierFilter, WindowAttention
from rvtool_plugins.models.latent_diffusion.processes import PROCESSES

NAMES = tuple(PROCESSES)
GREY = DataInfo(Side(1, 32, 32), classes=("a", "b"), class_counts=(3, 1))
CPU = torch.device("cpu")


def model(data=GREY, **config):
    settings = {"width": 8, "levels": 2, "window": 4, **config}
    torch.manual_seed(0)
    losses = compose([], {}, {}, data, partial(plugins.component, "loss"))
    found = LatentDiffusion(LatentDiffusionConfig(**settings), data, losses).eval()
    for parameter in found.network.parameters():  # the last layers begin at 0, which would hide what is tested
        torch.nn.init.normal_(parameter, std=0.05)
    return found


# --------------------------------------------------------------------------- processes


def test_the_decoupled_posterior_is_that_of_a_wiener_process():
    """Of x_t = (1 - t) x0 + W_t: W_s given W_t has the mean (s / t) W_t and the variance s (t - s) / t."""
    process, image, wiener = PROCESSES["ddm"], torch.tensor(0.7), torch.tensor(-0.4)
    now, then = 0.8, 0.3
    seen = (1 - now) * image + wiener
    noise = wiener / math.sqrt(now)
    mean = process.step(seen, (image, noise), (now, then), torch.tensor(0.0))
    assert mean == pytest.approx(float((1 - then) * image + then / now * wiener), rel=1e-6)
    spread = process.step(seen, (image, noise), (now, then), torch.tensor(1.0)) - mean
    assert spread**2 == pytest.approx(then * (now - then) / now, rel=1e-5)


@pytest.mark.parametrize("name", ["ddm", "ddpm"])
def test_a_step_keeps_the_process(name):
    """From x_t of the true image and noise a step leads to numbers that are distributed as x_s."""
    process, count = PROCESSES[name], 200_000
    generator = torch.Generator().manual_seed(0)
    noise, fresh = (torch.randn(count, generator=generator) for _ in range(2))
    image, now, then = torch.full((count,), 1.5), 0.9, 0.4
    (a, b), (a_then, b_then) = process.numbers(now), process.numbers(then)
    found = process.step(a * image + b * noise, (image, noise), (now, then), fresh)
    assert found.mean() == pytest.approx(a_then * 1.5, abs=0.01)
    assert found.std() == pytest.approx(b_then, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_step_gives_the_image(name):
    process, image = PROCESSES[name], torch.randn(4, 2, 3, 3)
    noise = torch.randn_like(image)
    seen = process.noisy(image, noise, torch.full((4,), 0.25, dtype=torch.float64)).float()
    made = process.step(seen, (image, noise), (0.25, 0.0), torch.zeros_like(image))
    torch.testing.assert_close(made, image, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_network_aims_at_gives_image_and_noise_back(name):
    process, image = PROCESSES[name], torch.randn(5, 2, 3, 3)
    noise = torch.randn_like(image)
    time = torch.tensor([0.05, 0.3, 0.5, 0.8, 1.0])
    seen = process.noisy(image, noise, time)
    aim = process.aims(image, noise, time)
    found, other = process.estimates(seen, aim, time)
    torch.testing.assert_close(found, image, rtol=1e-3, atol=5e-3)
    torch.testing.assert_close(other, noise, rtol=1e-3, atol=5e-3)
    inner, _ = process.inner(seen, time)
    big = process.noisy(torch.randn(5, 64, 32, 32), torch.randn(5, 64, 32, 32), time)
    assert process.inner(big, time)[0].std(dim=(1, 2, 3)) == pytest.approx([1.0] * 5, rel=0.02)
    assert inner.shape == seen.shape


@pytest.mark.parametrize("name", ["ddm", "ddpm"])
def test_sampling_begins_where_training_was(name):
    """What the network is told of the first time of sampling is what it was told of one in two hundred images."""
    process = PROCESSES[name]
    times = process.draw(torch.linspace(0.0005, 0.9995, 1000))
    told = [process.inner(torch.zeros(len(t), 1, 1, 1), t)[1] for t in (times, torch.tensor([process.times(5)[0]]))]
    assert (told[0] >= told[1] - 0.01).float().mean() > 0.005


@pytest.mark.parametrize("name", NAMES)
def test_the_time_of_a_noise_level(name):
    process = PROCESSES[name]
    a, b = process.numbers(process.time_of(0.2))
    assert b / a == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize(("name", "steps"), [("ddm", 50), ("ddpm", 50), ("edm", 50)])
def test_a_normal_distribution_is_sampled_as_it_is(name, steps):
    """With the network that is right for N(m, s^2) the samples have this mean and deviation."""
    process, mean, spread = PROCESSES[name], 0.8, 0.5
    generator = torch.Generator().manual_seed(1)
    count = 100_000
    times = process.times(steps)
    seen = process.numbers(times[0])[1] * torch.randn(count, generator=generator)
    for now, then in pairwise(times):
        a, b = process.numbers(now)
        image = mean + a * spread**2 / (a**2 * spread**2 + b**2) * (seen - a * mean)
        found = (image, (seen - a * image) / b)
        seen = process.step(seen, found, (now, then), torch.randn(count, generator=generator))
    assert seen.mean() == pytest.approx(mean, abs=0.02)
    assert seen.std() == pytest.approx(spread, rel=0.1)


# --------------------------------------------------------------------------- the network's parts


def test_a_filter_of_ones_changes_nothing():
    maps = torch.randn(2, 3, 7, 10)
    torch.testing.assert_close(FourierFilter(3)(maps), maps, rtol=1e-4, atol=1e-5)


def test_a_filter_treats_a_frequency_alike_whatever_the_size():
    found = FourierFilter(1)
    torch.nn.init.normal_(found.weight)
    gains = []
    for side in (16, 32, 48):
        places = torch.arange(side)
        wave = torch.cos(2 * math.pi * (places[:, None] / 8 + places / 4))[None, None]
        made = found(wave)
        gains.append(float((made.detach() * wave).mean() / (wave * wave).mean()))
    assert gains[1:] == pytest.approx(gains[:1] * 2, rel=1e-3)
    assert abs(gains[0] - 1) > 0.05


def test_a_window_looks_at_itself_only():
    torch.manual_seed(0)
    attention = WindowAttention(8, 8, heads=2, window=4).eval()
    torch.nn.init.normal_(attention.out.weight)
    attention.seen_norm = torch.nn.Identity()  # it would mix the windows
    maps, seen = torch.randn(1, 8, 10, 10), torch.randn(1, 8, 10, 10)  # no whole windows: the rest is no place
    before = attention(maps, seen)
    seen[..., :4, :4] += 1
    changed = (attention(maps, seen) - before).abs().amax(dim=(0, 1)) > 1e-6
    assert changed[:4, :4].all()
    assert not changed[4:].any()
    assert not changed[:, 4:].any()


def test_edges_are_no_places_to_look_at():
    """A map whose places are all alike stays alike where windows reach beyond it."""
    attention = WindowAttention(8, 8, heads=2, window=4).eval()
    torch.nn.init.normal_(attention.out.weight)
    attention.seen_norm = torch.nn.Identity()
    made = attention(torch.zeros(1, 8, 6, 6), torch.ones(1, 8, 6, 6))
    torch.testing.assert_close(made, made[..., :1, :1].expand_as(made))


# --------------------------------------------------------------------------- the model


def test_guidance_of_one_is_the_condition_itself():
    asked = {"label": torch.tensor([1, 0])}
    plain, more = model(guidance=1.0), model(guidance=3.0)
    maps, time = torch.randn(2, 16, 8, 8), torch.full((2,), 0.5)
    none = torch.zeros(2, dtype=torch.bool)
    told, untold = plain.told(asked, none), plain.told(asked, ~none)
    with_it, without = (plain.estimate(maps, time, one)[:2] for one in (told, untold))
    for found, expected in zip(plain._guided(maps, time, told, untold), with_it, strict=True):
        torch.testing.assert_close(found, expected)
    for found, one, other in zip(more._guided(maps, time, told, untold), with_it, without, strict=True):
        torch.testing.assert_close(found, other + 3 * (one - other))
    assert not torch.allclose(with_it[0], without[0])


@pytest.mark.parametrize("objective", NAMES)
def test_samples_are_of_the_size_of_the_data(objective):
    found = model(DataInfo(Side(2, 20, 28)), objective=objective, patch=2)
    samples = found.sample(torch.arange(3), 0, CPU)
    assert samples.shape == (3, 2, 20, 28)
    assert samples.isfinite().all()


def test_known_pixels_stay_and_unknown_ones_are_made():
    found = model(DataInfo(Side(1, 32, 32)), sampling_steps=5)
    image = torch.randn(1, 1, 32, 32)
    mask = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    mask[..., 8:16, 8:16] = False
    statistics = torch.tensor([[0.0, 0.0, 1.0]])  # without noise
    batch = {"image": torch.where(mask, image, 0.0), "mask": mask, "image_statistics": statistics}
    made = found.predict(batch)
    assert (made - image)[mask].abs().max() < 0.2  # the last step begins with a hundredth of noise
    assert (made[~mask] != 0).all()


def test_a_clean_image_is_left_alone():
    found = model(DataInfo(Side(1, 32, 32)))
    image = torch.randn(1, 1, 32, 32)
    statistics = torch.tensor([[0.0, 0.0, 1.0]])
    batch = {"image": image, "mask": torch.ones_like(image, dtype=torch.bool), "image_statistics": statistics}
    torch.testing.assert_close(found.predict(batch), image, atol=0.1, rtol=0.1)


def test_classes_come_as_often_as_in_the_training():
    found = model()
    labels = found.asked(torch.arange(4000), 5)["label"]
    assert labels.float().mean() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(labels[100:200], found.asked(torch.arange(100, 200), 5)["label"])


def test_a_first_stage_of_other_channels_is_told():
    from rvtool.data.info import write_data_info

    three = DataInfo(Side(3, 32, 32))
    told = {"run": "runs/x", "model": "vae", "config": {"width": 8}, "data_info": write_data_info(three), "stretch": {}}
    with pytest.raises(ConfigError, match="3 channels"):
        model(first_stage=json.dumps(told))


def test_a_condition_is_an_image_where_there_are_targets():
    data = example_data()
    found, batch = model(data), example_batch(data)
    made = found.sample(batch["index"], 0, CPU, batch)
    assert made.shape == batch["target"].shape
    other = {**batch, "image": batch["image"].flip(0)}
    assert not torch.allclose(made, found.sample(batch["index"], 0, CPU, other))
