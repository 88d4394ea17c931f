import math

import pytest
import torch

from rvtool import testing
from rvtool.kinds import DataInfo, Side
from rvtool.plugins import component
from rvtool_plugins.augmenters import BrightnessContrastConfig
from rvtool_plugins.augmenters.brightness import BrightnessContrast, colour_matrices

DATA = DataInfo(Side(1, 8, 8))
STILL = {"max_brightness": 1, "max_contrast": 1, "max_saturation": 1, "max_hue_deg": 0}


def varied(batch, **changed):
    config = BrightnessContrastConfig(**{**STILL, **changed})
    return BrightnessContrast(config, DATA)(batch, torch.Generator().manual_seed(0))


def batch(size=200, channels=1, noise=0.1):
    image = torch.rand(size, channels, 8, 8, generator=torch.Generator().manual_seed(1)) * 10 + 2
    statistics = torch.tensor([[2.0, noise, 12.0]]).expand(size, 3)
    return {"image": image, "image_statistics": statistics}


def test_brightness_is_a_factor_above_the_background_for_image_and_target():
    before = batch()
    before |= {"target": before["image"] * 3, "target_statistics": before["image_statistics"] * 3}
    after = varied(before, max_brightness=1.5)
    ratio = (after["image"] - 2) / (before["image"] - 2)
    factors = ratio[:, 0, 0, 0]
    torch.testing.assert_close(ratio, factors[:, None, None, None].expand_as(ratio), rtol=1e-3, atol=0)
    torch.testing.assert_close(after["target"], 3 * after["image"])
    assert 1 / 1.5 <= factors.min() < 0.7
    assert 1.45 < factors.max() <= 1.5
    assert abs(factors.log().mean()) < 0.05  # as often brighter as fainter
    assert torch.equal(after["image_statistics"], before["image_statistics"])


def test_contrast_is_an_exponent_that_keeps_the_peak_and_the_shape_of_the_noise():
    before = batch(noise=0.5)
    before["image"][:, 0, 0, :4] = torch.tensor([12.0, 7.0, 2.25, 1.75])  # the peak, its half, half sigma up and down
    after = varied(before, max_contrast=1.3)["image"][:, 0, 0] - 2
    exponents = (after[:, 1] / 10).log() / math.log(0.5)
    torch.testing.assert_close(after[:, 0], torch.full_like(exponents, 10))
    assert 1 / 1.3 <= exponents.min() < 0.8
    assert 1.25 < exponents.max() <= 1.3
    torch.testing.assert_close(after[:, 2], 0.25 * 0.05 ** (exponents - 1))  # the gain of one sigma
    torch.testing.assert_close(after[:, 3], -after[:, 2])


def test_flat_and_negative_images_stay_finite():
    flat = {"image": torch.full((4, 1, 8, 8), -1.0), "image_statistics": torch.tensor([[-1.0, 0.0, -1.0]] * 4)}
    assert torch.equal(varied(flat, max_contrast=2, max_brightness=10)["image"], flat["image"])


def test_colours_turn_about_grey():
    third = torch.tensor(2 * math.pi / 3)
    matrices = colour_matrices(torch.tensor([1.0, 0.0, 1.0]), torch.stack([third * 0, third * 0, third]))
    torch.testing.assert_close(matrices[0], torch.eye(3))
    torch.testing.assert_close(matrices[1], torch.full((3, 3), 1 / 3))
    torch.testing.assert_close(matrices[2], torch.eye(3).roll(1, 0), atol=1e-6, rtol=0)  # red becomes green


def test_grey_stays_grey_and_colours_keep_their_mean():
    before = batch(channels=3)
    before["image"][:, :, 0, 0] = 5.0
    after = varied(before, max_saturation=2, max_hue_deg=180)["image"]
    torch.testing.assert_close(after[:, :, 0, 0], before["image"][:, :, 0, 0])
    torch.testing.assert_close(after.mean(1), before["image"].mean(1))
    assert (after - before["image"]).abs().amax((1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("name", ["brightness-contrast", "noise", "mixup"])
def test_the_contract_holds_for_colours_and_without_classes(name):
    sky = Side(3, 16, 20)
    testing.check_augmenter(component("augmenter", name), data=DataInfo(sky))
