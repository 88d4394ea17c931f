"""Random numbers by address: known values, independence of the batch, and their distributions."""

from __future__ import annotations

import torch
from scipy import stats

from rvtool.data import chance

MANY = torch.arange(2000)


def test_splitmix_gives_the_published_sequence():
    # the reference implementation (Vigna, splitmix64.c) seeded with 1234567
    known = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    numbers = chance._splitmix(torch.tensor(1234567), torch.arange(5))
    assert [int(n) % 2**64 for n in numbers] == known


def test_numbers_of_an_address_stay_what_they_are():
    # a dataset made years ago must be made again bit by bit
    assert chance.bits(0, torch.tensor([0, 1]), 2).tolist() == [
        [-6411193824288604561, -5511663747979980962],
        [5095610196844313600, 3982070227906906278],
    ]
    known = torch.tensor([0.5041418075561523, 0.1645953506231308, 1.6005487442016602])
    torch.testing.assert_close(chance.normal(7, torch.tensor([3]), (3,))[0], known)


def test_same_numbers_in_any_batch_order_and_start():
    whole = chance.normal(5, MANY, (7, 3))
    backwards = chance.normal(5, MANY.flip(0), (7, 3)).flip(0)
    alone = torch.cat([chance.normal(5, MANY[i : i + 1], (7, 3)) for i in range(40)])
    assert torch.equal(whole, backwards)
    assert torch.equal(whole[:40], alone)
    assert torch.equal(chance.bits(5, MANY, 9)[:, 4:], chance.bits(5, MANY, 5, start=4))


def test_seed_takes_any_integer():
    one = torch.arange(1)
    assert torch.equal(chance.bits(-1, one, 4), chance.bits(2**64 - 1, one, 4))
    assert not torch.equal(chance.bits(0, one, 4), chance.bits(1, one, 4))


def test_uniform_is_uniform_and_open():
    numbers = chance.uniform(1, MANY, 500).flatten()
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.numpy(), "uniform").pvalue > 0.001


def test_normal_is_normal():
    numbers = chance.normal(2, MANY, (501,)).flatten().numpy()  # an odd count: the last pair is cut
    assert stats.kstest(numbers, "norm").pvalue > 0.001
    assert abs(stats.kurtosis(numbers)) < 0.02
    assert (abs(numbers) > 4).mean() < 2e-4


def test_draws_indices_and_seeds_are_independent():
    numbers = chance.normal(3, MANY, (400,))
    other = chance.normal(4, MANY, (400,))
    for a, b in (
        (numbers[:, 1:], numbers[:, :-1]),  # neighbouring draws
        (numbers[:, :200], numbers[:, 200:]),  # the two of a pair
        (numbers[1:], numbers[:-1]),  # neighbouring indices
        (numbers, other),  # neighbouring seeds
    ):
        limit = 4 / a.numel() ** 0.5
        assert abs(float((a * b).mean())) < limit
        assert abs(float(((a**2 - 1) * (b**2 - 1)).mean())) < 2 * limit
