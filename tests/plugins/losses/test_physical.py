import math
from dataclasses import replace

import pytest
import torch

from rvtool.errors import ConfigError
from rvtool.kinds import Beam, DataInfo, LossContext, Side
from rvtool.plugins import component

FINE = Side(1, 64, 64, unit="Jy/beam", pixel_arcsec=2.0, beam=Beam(6, 6))
COARSE = Side(1, 32, 32, unit="Jy/beam", pixel_arcsec=4.0, beam=Beam(20, 14, 30))
SAME = replace(COARSE, beam=FINE.beam)
SKY = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def build(image=SAME, target=FINE, **settings):
    found = component("loss", "flux")
    return found.load()(found.configure(settings), DataInfo(image, target))


def value(loss, prediction, target, image, **masks):
    physical = {"prediction": prediction, "target": target, "image": image}
    stretched = torch.zeros_like(target)  # is not looked at
    return loss(stretched, stretched, LossContext(masks, physical)).item()


def enlarge(image, factor=2):
    return image.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


@pytest.mark.parametrize(("unit", "share"), [("Jy/beam", 1), ("Jy/pixel", 4), ("MJy/sr", 1)])
def test_a_resize_that_conserves_flux_costs_nothing(unit, share):
    loss = build(replace(SAME, unit=unit), replace(FINE, unit=unit))
    out = enlarge(SKY) / share
    assert value(loss, out, out, SKY) == 0
    assert value(loss, 1.1 * out, out, SKY) == pytest.approx(0.3, rel=1e-4)  # a tenth too much in each part


def test_flux_and_peak_do_not_care_where():
    moved = enlarge(SKY).roll((5, 9), (-2, -1))
    for part in ("flux", "peak"):
        only = build(**{"flux": 0, "peak": 0, "consistency": 0, part: 1})
        assert value(only, moved, enlarge(SKY), SKY) == pytest.approx(0, abs=1e-6)
    assert value(build(flux=0, peak=0), moved, enlarge(SKY), SKY) > 0.1


def gaussian(beam, pixel, size):
    """A source of 1 Jy as a beam shows it, in Jy/beam: north is +y, east is -x."""
    y, x = torch.meshgrid(*[torch.arange(size) - size / 2 + 0.5] * 2, indexing="ij")
    angle = math.radians(beam.angle_deg)
    along = pixel * (-x * math.sin(angle) + y * math.cos(angle)) / beam.major_arcsec
    across = pixel * (x * math.cos(angle) + y * math.sin(angle)) / beam.minor_arcsec
    return torch.exp(-4 * math.log(2) * (along**2 + across**2))[None, None]


def test_a_point_source_comes_back_with_the_input_s_beam():
    image = torch.nn.functional.avg_pool2d(gaussian(COARSE.beam, 2, 64), 2)
    found = build(COARSE).back(gaussian(FINE.beam, 2, 64))
    torch.testing.assert_close(found, image, atol=1e-4, rtol=0)
    mirrored = replace(COARSE, beam=Beam(20, 14, -30))
    assert (build(mirrored).back(gaussian(FINE.beam, 2, 64)) - image).abs().max() > 0.05


def test_consistency_is_asked_only_where_the_beam_lies_on_known_pixels():
    loss = build(COARSE, flux=0, peak=0)
    known = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    known[..., :20] = False
    sky = gaussian(FINE.beam, 2, 64).roll(20, -1) + 1
    image = loss.back(sky)
    image[..., :10], image[..., :3, :] = 50, 50  # unknown, and too near to the edge
    image[..., -3:, :], image[..., -2:] = 50, 50
    seen = torch.where(known, sky, torch.nan)
    assert value(loss, seen, seen, image, target_mask=known) < 0.05
    blank = image.clone()
    blank[..., 15:18, 20:25] = torch.nan
    mask = blank.isfinite()
    assert value(loss, seen, seen, blank, target_mask=known, mask=mask) < 0.05
    assert value(loss, 2 * seen, seen, image, target_mask=known) == pytest.approx(1, abs=0.06)


def test_a_faint_image_is_measured_by_its_batch():
    loss = build(peak=0, consistency=0)
    target = torch.tensor([1.0, 0.001]).view(2, 1, 1, 1) / 64**2 * torch.ones(2, 1, 64, 64)
    prediction = target + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1) / 64**2
    typical = 1.001 / 2
    assert value(loss, prediction, target, SKY[:2]) == pytest.approx(0.5 * 2 * 0.1 / (0.001 + typical), rel=1e-4)


def test_nothing_known_and_nothing_there_cost_nothing():
    leaf = enlarge(SKY).requires_grad_()
    physical = {"prediction": leaf, "target": enlarge(SKY), "image": SKY}
    empty = LossContext({"target_mask": torch.zeros(3, 1, 64, 64, dtype=torch.bool)}, physical)
    loss = build()(leaf, leaf, empty)
    loss.backward()
    assert loss.item() == 0
    assert not leaf.grad.any()
    zero = torch.zeros(2, 1, 64, 64)
    assert value(build(), zero, zero, torch.zeros(2, 1, 32, 32)) == 0


def test_gradients_reach_the_prediction_only():
    prediction, target, image = (x.clone().requires_grad_() for x in (2 * enlarge(SKY), enlarge(SKY), SKY))
    physical = {"prediction": prediction, "target": target.detach(), "image": image.detach()}
    build()(prediction, target, LossContext({}, physical)).backward()
    assert prediction.grad.isfinite().all()
    assert prediction.grad.any()
    assert target.grad is None


def test_a_stretch_that_cannot_be_inverted_is_refused():
    with pytest.raises(ConfigError, match="cannot be inverted"):
        build()(SKY, SKY, LossContext({}))


@pytest.mark.parametrize(
    ("image", "target", "match"),
    [
        (replace(SAME, unit="mJy/beam"), FINE, "one unit"),
        (replace(SAME, unit=""), replace(FINE, unit=""), "per beam, pixel or sr"),
        (SAME, None, "needs an input and a target"),
        (replace(SAME, beam=None), FINE, "the beam and the pixel scale"),
        (replace(SAME, beam=Beam(20, 5)), FINE, "does not contain"),
        (replace(SAME, pixel_arcsec=3.0), FINE, "whole number"),
        (replace(SAME, width=31), FINE, "whole number"),
    ],
)
def test_sides_that_cannot_be_compared(image, target, match):
    assert build(image, target).back is None  # flux and peak can be
    with pytest.raises(ConfigError, match=match):
        build(image, target, flux=0, peak=0)
