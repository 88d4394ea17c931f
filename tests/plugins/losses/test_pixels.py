import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.image import structural_similarity_index_measure

from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, LossContext, Side
from rvtool.plugins import component

DATA = DataInfo(Side(1, 24, 24), Side(2, 24, 24))
NOWHERE = LossContext({})


def build(name, **settings):
    found = component("loss", name)
    return found.load()(found.configure(settings), DATA)


def images(seed, height=24, width=20):
    return torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25)
@given(error=st.floats(-3, 3, width=32))
def test_a_constant_error_costs_what_the_formula_says(error):
    target = images(0)
    costs = {"l1": abs(error), "mse": error**2, "charbonnier": math.sqrt(error**2 + 1e-6)}
    for name, cost in costs.items():
        assert build(name)(target + error, target, NOWHERE).item() == pytest.approx(cost, rel=1e-4, abs=1e-5)


def test_rms_is_psnr_in_other_words_and_knows_no_brightness():
    target = images(0) * torch.tensor([1.0, 0.05]).reshape(2, 1, 1, 1)
    made = target + 0.1 * target.amax((1, 2, 3), keepdim=True)
    loss = build("rms")(made, target, NOWHERE)
    assert -20 * math.log10(loss.item()) == pytest.approx(20, abs=0.02)
    mask = torch.ones(2, 1, 24, 20, dtype=torch.bool)
    mask[..., :5] = False
    made[..., :5] = 1e6
    masked = build("rms")(made, target, LossContext({"target_mask": mask}))
    peaks = [image[:, :, 5:].amax() / image.amax() for image in target]
    assert masked.item() == pytest.approx(0.1 * sum(1 / float(peak) for peak in peaks) / 2, rel=1e-2)
    same = target.clone().requires_grad_()
    build("rms")(same, target, NOWHERE).backward()
    assert same.grad.isfinite().all()


@pytest.mark.parametrize("data_range", [1.0, 3.0])
def test_ssim_is_that_of_the_whole_windows(data_range):
    one, other = images(0), images(1)
    _, full = structural_similarity_index_measure(one, other, data_range=data_range, return_full_image=True)
    expected = 1 - full[..., 5:-5, 5:-5].mean()  # nearer to the edge torchmetrics mirrors the image
    torch.testing.assert_close(build("ssim", data_range=data_range)(one, other, NOWHERE), expected)


def test_ssim_of_constants_compares_their_brightness():
    loss = build("ssim")(torch.full((1, 2, 11, 11), 0.5), torch.full((1, 2, 11, 11), 0.25), NOWHERE)
    assert loss.item() == pytest.approx(1 - (2 * 0.125 + 1e-4) / (0.25 + 0.0625 + 1e-4), rel=1e-4)


def test_ssim_needs_a_window():
    with pytest.raises(ConfigError, match="windows of 11 px, and these images have 20x10 px"):
        build("ssim")(images(0, 10), images(1, 10), NOWHERE)


def test_total_variation_of_a_slope():
    row = torch.arange(5.0).expand(1, 1, 4, 5)
    assert build("tv")(2 * row, torch.zeros(1, 1, 4, 5), NOWHERE).item() == pytest.approx(2)
    assert build("tv")(torch.ones(1, 1, 4, 5), row, NOWHERE).item() == 0


@pytest.mark.parametrize("name", ["l1", "mse", "charbonnier", "ssim", "tv"])
def test_unknown_pixels_do_not_count(name):
    prediction, target = images(0).requires_grad_(), images(1)
    known = torch.ones(2, 1, 24, 20, dtype=torch.bool)
    known[0, :, 3:5, 3:9] = False
    spoilt = torch.where(known, target, torch.nan)
    context = LossContext({"target_mask": known})
    first = build(name)(prediction, spoilt, context)
    first.backward()
    assert prediction.grad.isfinite().all()
    assert not prediction.grad[~known.expand_as(target)].any()
    changed = torch.where(known, prediction, 7.0)
    torch.testing.assert_close(build(name)(changed, target, context), first)
    nothing = build(name)(prediction, target, LossContext({"target_mask": torch.zeros_like(known)}))
    assert nothing.item() == 0


@pytest.mark.parametrize("name", ["l1", "ssim", "charbonnier"])
def test_autocast_does_not_round(name):
    prediction, target = 0.5 + 0.01 * images(0), 0.5 + 0.01 * images(1)
    exact = build(name)(prediction, target, NOWHERE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(build(name)(prediction, target, NOWHERE), exact)


def test_pixels_of_sources_count_more_where_asked():
    """Of one lit pixel in ten and an error of 1 everywhere the mean is (9 + lit) / 10."""
    loss = build("mse", lit=6)
    image = torch.zeros(1, 1, 1, 10)
    image[..., 3] = 5.0  # of noise 1
    batch = {"image": image, "mask": torch.ones_like(image, dtype=torch.bool)}
    batch["image_statistics"] = torch.tensor([[0.0, 1.0, 5.0]])
    with pytest.raises(ConfigError, match="lit"):
        loss(image + 1, image, LossContext(batch))
    physical = {"image": image, "target": image, "prediction": image + 1}
    assert float(loss(image + 1, image, LossContext(batch, physical))) == pytest.approx(1.5)
