import pytest
import torch

from rvtool.kinds import Beam, DataInfo, Side
from rvtool_plugins.augmenters import NoiseConfig
from rvtool_plugins.augmenters.noise import Noise


def added(side, size=300, noise=2.0, **config):
    zeros = torch.zeros(size, 1, side.height, side.width)
    batch = {"image": zeros, "target": zeros, "image_statistics": torch.tensor([[1.0, noise, 11.0]]).expand(size, 3)}
    after = Noise(NoiseConfig(**config), DataInfo(side))(batch, torch.Generator().manual_seed(0))
    assert torch.equal(after["target"], zeros)
    return after["image"][:, 0], after["image_statistics"]


@pytest.mark.parametrize("side", [Side(1, 32, 33), Side(1, 32, 33, pixel_arcsec=1.8, beam=Beam(5.4, 5.4))])
@pytest.mark.parametrize(("own", "largest"), [(2.0, 2 * 1.5), (0.0, 10 * 0.1)])
def test_the_standard_deviation_is_even_up_to_the_largest(side, own, largest):
    noise, statistics = added(side, noise=own, max_sigma=1.5, max_peak_fraction=0.1)
    sigma = (statistics[:, 1].square() - own**2).sqrt()
    assert 0 <= sigma.min() < 0.02 * largest
    assert 0.98 * largest < sigma.max() <= largest * 1.0001
    assert sigma.mean().item() == pytest.approx(largest / 2, rel=0.08)
    measured = noise.square().mean((1, 2)).sqrt()
    assert (measured / sigma).mean().item() == pytest.approx(1, abs=0.02)
    assert statistics[:, [0, 2]].tolist() == [[1, 11]] * 300


def test_the_noise_correlates_as_an_oblong_turned_beam():
    # position angle 90: the major axis lies along x, and half a width away the beam is half its peak
    noise, _ = added(Side(1, 64, 64, pixel_arcsec=1.0, beam=Beam(8.0, 4.0, 90.0)))
    power = noise.square().mean()
    assert ((noise[:, :, 4:] * noise[:, :, :-4]).mean() / power).item() == pytest.approx(0.5, abs=0.03)
    assert ((noise[:, 2:] * noise[:, :-2]).mean() / power).item() == pytest.approx(0.5, abs=0.03)
    tilted, _ = added(Side(1, 64, 64, pixel_arcsec=1.0, beam=Beam(8.0, 2.0, 45.0)))  # from north (+y) to east (-x)
    down, up = (tilted[:, 2:, :-2] * tilted[:, :-2, 2:]).mean(), (tilted[:, 2:, 2:] * tilted[:, :-2, :-2]).mean()
    assert down > 3 * up.abs()


def test_without_a_beam_the_noise_is_white():
    noise, _ = added(Side(1, 64, 64, pixel_arcsec=1.0))
    assert abs((noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.square().mean()) < 0.01
