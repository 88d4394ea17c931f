"""Random numbers by address: the number at (seed, index, draw) is the same in any batch, order, process and year.

Each index owns a stream of 64-bit numbers, addressed by ``draw``; its stream is the SplitMix64 sequence whose seed is
the index-th output of the SplitMix64 sequence of ``seed``. No state, so nothing depends on what was drawn before.

References
----------
Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA, doi:10.1145/2660193.2660195
(the gamma and the mixing function, Stafford's variant 13). Box & Muller 1958, doi:10.1214/aoms/1177706645.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def _signed(value: int) -> int:
    """Return the signed 64-bit integer of the same bits, as torch counts them."""
    return (value + 2**63) % 2**64 - 2**63


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


def _fold_(z: torch.Tensor, shift: int) -> torch.Tensor:
    """Do ``z ^= z >>> shift`` in place; torch shifts arithmetically, so the copies of the sign are cut off."""
    return z.bitwise_xor_((z >> shift).bitwise_and_((1 << (64 - shift)) - 1))


def _splitmix(state: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Return the output at `position` (from 0) of the SplitMix64 sequences seeded by `state`; shapes broadcast."""
    z = state + (position + 1) * _GAMMA  # products and sums wrap at 64 bits, as the algorithm wants
    _fold_(z, 30).mul_(_MULTIPLIERS[0])
    _fold_(z, 27).mul_(_MULTIPLIERS[1])
    return _fold_(z, 31)


def bits(seed: int, indices: torch.Tensor, count: int, start: int = 0) -> torch.Tensor:
    """Return the 64-bit numbers of the draws `start` ... `start + count - 1`.

    Parameters
    ----------
    seed
        Any integer; only its lowest 64 bits count.
    indices : (B,), int64
        Whose streams; the numbers come out on the device of this tensor.

    Returns
    -------
    bits : (B, count), int64
    """
    root = torch.tensor(_signed(seed), dtype=torch.int64, device=indices.device)
    streams = _splitmix(root, indices)
    return _splitmix(streams[:, None], torch.arange(start, start + count, device=indices.device))


def uniform(seed: int, indices: torch.Tensor, count: int, start: int = 0) -> torch.Tensor:
    """Return numbers uniform in the open interval (0, 1), in steps of 2^-23.

    Returns
    -------
    numbers : (B, count), float32
    """
    steps = (bits(seed, indices, count, start) >> 41).bitwise_and_(2**23 - 1)
    return steps.to(torch.float32).add_(0.5).mul_(2.0**-23)


def normal(seed: int, indices: torch.Tensor, shape: Sequence[int], start: int = 0) -> torch.Tensor:
    """Return numbers of the standard normal distribution, with tails to 6.7 sigma.

    Takes half as many draws as numbers, rounded up: 32 bits give the radius of a pair, 32 its angle.

    Returns
    -------
    numbers : (B, *shape), float32
    """
    count = math.prod(shape)
    pairs = (count + 1) // 2
    halves = bits(seed, indices, pairs, start).view(torch.int32)  # (B, 2 pairs): one half of them gives the radii
    halves[:, :pairs].bitwise_and_(2**31 - 1)
    values = halves.to(torch.float32)
    radius = values[:, :pairs].add_(0.5).mul_(2.0**-31)  # uniform in (0, 1]
    radius.log_().mul_(-2.0).sqrt_()
    angle = values[:, pairs:].mul_(math.pi * 2.0**-31)
    numbers = torch.empty_like(values)
    torch.mul(torch.cos(angle), radius, out=numbers[:, :pairs])
    torch.mul(angle.sin_(), radius, out=numbers[:, pairs:])
    return numbers[:, :count].reshape(len(indices), *shape)  # (B, 2 pairs) -> (B, *shape)
