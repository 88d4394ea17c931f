"""What augmenters draw: one number an image, from a generator on the CPU, so that all devices see the same."""

from __future__ import annotations

import math

import torch
from scipy.special import betaincinv
from torch import Tensor


def factors(largest: float, size: int, generator: torch.Generator) -> Tensor:
    """Draw factors ``(size,)`` from [1 / largest, largest], evenly in their logarithm."""
    return torch.exp((2 * torch.rand(size, generator=generator) - 1) * math.log(largest))


def shares(alpha: float, probability: float, size: int, generator: torch.Generator) -> Tensor:
    """Draw ``(size,)`` numbers: from Beta(alpha, alpha) with a probability, and else 1."""
    even = torch.rand(size, generator=generator, dtype=torch.float64)
    beta = torch.from_numpy(betaincinv(alpha, alpha, even.numpy())).float()
    return torch.where(torch.rand(size, generator=generator) < probability, beta, 1.0)


def partners(size: int, generator: torch.Generator) -> Tensor:
    """Draw a partner for each image, ``(size,)``: nobody is its own (of two or more), nobody is chosen twice."""
    circle = torch.randperm(size, generator=generator)
    partner = torch.empty_like(circle)
    partner[circle] = circle.roll(1)  # everybody's neighbour around a circle
    return partner


def some(most: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw how many of `most` there are in each image, one to all: ``(size, most)`` bool, True for those."""
    count = torch.randint(1, most + 1, (size, 1), generator=generator)
    return torch.arange(most) < count


def windows(length: int, widest: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw windows on an axis: widths of 1 to `widest` pixels, wholly inside.

    Returns
    -------
    inside : (*shape, length) bool
    """
    width = torch.randint(1, min(widest, length) + 1, shape, generator=generator)
    start = torch.floor(torch.rand(shape, generator=generator) * (length - width + 1))
    pixels = torch.arange(length)
    return (start[..., None] <= pixels) & (pixels < (start + width)[..., None])
