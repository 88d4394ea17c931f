"""What generators share: what they are asked for, and how far made images are from true ones."""

import pytest
import torch

from rvtool.kinds import DataInfo, Side
from rvtool.learning.generator import Asked, noise_of, sliced_wasserstein

NUMBERS = {"conditions": ("flux_jy", "las_arcsec"), "condition_means": (1.0, 50.0), "condition_stds": (0.5, 20.0)}


def test_images_are_no_distance_from_themselves_and_far_from_others():
    torch.manual_seed(0)
    one, again, noisy = torch.rand(40, 1, 32, 32), torch.rand(40, 1, 32, 32), torch.randn(40, 1, 32, 32)
    assert sliced_wasserstein(one, one) == 0
    near, far = sliced_wasserstein(one, again), sliced_wasserstein(one, noisy)
    assert 0 < near < 0.1 * far
    assert sliced_wasserstein(one, one + 0.5) > near


def test_numbers_that_are_dropped_do_not_count():
    data = DataInfo(Side(1, 8, 8), classes=("a", "b"), class_counts=(1, 1), **NUMBERS)
    asked = Asked(2, data, 16)
    batch = {"label": torch.tensor([0, 0, 1]), "condition": torch.tensor([[1.0, 50.0], [2.0, 50.0], [1.0, 50.0]])}
    told = asked(batch, torch.tensor([False, False, False]))
    assert not torch.allclose(told[0], told[1])
    assert not torch.allclose(told[0], told[2])
    dropped = asked(batch, torch.tensor([True, True, True]))
    torch.testing.assert_close(dropped[0], dropped[1])
    torch.testing.assert_close(dropped[0], dropped[2])
    assert not torch.allclose(dropped[0], told[0])  # the mean itself is another thing than whatever


def test_nothing_to_ask_for():
    assert not Asked(0, DataInfo(Side(1, 8, 8)), 16)


def test_noise_belongs_to_indices():
    shape, device = (2, 3, 5), torch.device("cpu")
    both = noise_of(3, torch.tensor([4, 9]), shape, device)
    torch.testing.assert_close(noise_of(3, torch.tensor([9]), shape, device), both[1:])
    every = [noise_of(seed, torch.arange(200), shape, device, draw) for seed, draw in ((0, 0), (0, 1), (1, 0))]
    for number, one in enumerate(every):
        assert one.std() == pytest.approx(1, abs=0.03)
        for other in every[:number]:
            assert abs((one * other).mean()) < 0.05
