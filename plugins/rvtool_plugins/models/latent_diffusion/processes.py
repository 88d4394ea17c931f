"""What noise does to an image, and how it is taken back: three processes behind one interface.

At time t of 0 (the image) to 1 (noise) an image x0 of deviation 1 has become x_t = a(t) x0 + b(t) e, e normal. A
network that sees x_t makes F1, from which the image is estimated, and, where `outputs` is 2, F2, from which the noise
is. Both estimates are what is best without a network, the linear one, plus F times its error [3]_ (section 5), so
that F1 and F2 have deviation 1 and all times count alike:

    x0 = a x_t / (a^2 + b^2) + b / sqrt(a^2 + b^2) F1,
    e  = b x_t / (a^2 + b^2) - a / sqrt(a^2 + b^2) F2.

References
----------
.. [1] Huang et al. 2023, decoupled diffusion models, arXiv:2306.13720 (constant attenuation: C = -x0, eqs. 5-10)
.. [2] Ho, Jain & Abbeel 2020, DDPM, arXiv:2006.11239; Nichol & Dhariwal 2021, arXiv:2102.09672 (cosine schedule)
.. [3] Karras et al. 2022, EDM, arXiv:2206.00364
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_TIME = 1e-4
LEAST_LEFT = 0.02  # of an image: with less of it noise is noise, and sampling begins at a time that training met
LEAST_RATIO = 1e-3
LAST_RATIO = 0.03  # of noise to image, before it is none
Found = tuple[Tensor, Tensor]
"""Estimates of the image and of the noise."""


class Process:
    """A way from images to noise and back; a subclass says `a` and `b`, and how to step."""

    outputs = 1

    def a(self, time: Tensor) -> Tensor:
        """Return what is left of the image."""
        raise NotImplementedError

    def b(self, time: Tensor) -> Tensor:
        """Return the deviation of the noise."""
        raise NotImplementedError

    def draw(self, even: Tensor) -> Tensor:
        """Turn numbers that are uniform in 0 .. 1 into times at which to learn."""
        return LEAST_TIME + (1 - LEAST_TIME) * even

    def times(self, steps: int) -> list[float]:
        """Return the times between which to step, from 1 down to 0.

        Of even steps in ln(b / a): what is bright takes shape while nearly all is noise, and what is faint at the end.
        """
        first, last = math.log(1 / LEAST_LEFT), math.log(LAST_RATIO)
        ratios = [math.exp(first + (last - first) * number / steps) for number in range(1, steps)]
        return [1.0, *map(self.time_of, ratios), 0.0]

    def time_of(self, ratio: float) -> float:
        """Return the time at which the noise is `ratio` times as strong as the image: where b / a is that."""
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            a, b = self.numbers(middle)
            low, high = (middle, high) if b < ratio * a else (low, middle)
        return high

    def noisy(self, image: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return x_t of images ``(B, C, H, W)`` at times ``(B,)``."""
        a, b = (_wide(part) for part in self.terms(time))
        return a * image + b * noise

    def terms(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and b."""
        return self.a(time), self.b(time)

    def numbers(self, time: float) -> tuple[float, float]:
        """Return a and b of one time."""
        a, b = (float(part) for part in self.terms(torch.tensor(time, dtype=torch.float64)))
        return a, b

    def inner(self, seen: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network sees, of deviation 1, and what it is told of the time: a quarter of ln(b / a)."""
        a, b = self.terms(time)
        ratio = (b / a.clamp_min(LEAST_LEFT)).clamp_min(LEAST_RATIO).log() / 4
        return seen / _wide((a.square() + b.square()).sqrt()), ratio

    def estimates(self, seen: Tensor, made: Tensor, time: Tensor) -> Found:
        """Return the image and the noise, as what the network made ``(B, outputs C, H, W)`` tells them."""
        a, b = (_wide(part) for part in self.terms(time))
        total = a.square() + b.square()
        first = made[:, : seen.shape[1]]
        image = a * seen / total + b / total.sqrt() * first
        if self.outputs == 2:
            return image, b * seen / total - a / total.sqrt() * made[:, seen.shape[1] :]
        return image, (seen - a * image) / b

    def aims(self, image: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return what the network should have made ``(B, outputs C, H, W)``.

        F1 and F2 are one: the estimates miss image and noise by the same b x0 - a e. Two decoders need not agree on it.
        """
        a, b = (_wide(part) for part in self.terms(time))
        aim = (b * image - a * noise) / (a.square() + b.square()).sqrt()
        return torch.cat([aim] * self.outputs, dim=1)

    def step(self, seen: Tensor, found: Found, times: tuple[float, float], fresh: Tensor) -> Tensor:
        """Go from x at one time to x at an earlier one, by the estimates of image and noise, and fresh noise."""
        raise NotImplementedError


class Decoupled(Process):
    """The image fades as 1 - t while noise grows as sqrt(t), each for itself: [1]_ with C = -x0.

    A step is the exact posterior q(x_{t-s} | x_t, x0): x_{t-s} = x_t + s x0 - s / sqrt(t) e + sqrt(s (t - s) / t) n.
    """

    outputs = 2

    def a(self, time: Tensor) -> Tensor:
        """Return 1 - t."""
        return 1 - time

    def b(self, time: Tensor) -> Tensor:
        """Return sqrt(t)."""
        return time.sqrt()

    def step(self, seen: Tensor, found: Found, times: tuple[float, float], fresh: Tensor) -> Tensor:
        """Draw from the posterior."""
        (image, noise), (now, then) = found, times
        by = now - then
        return seen + by * image - by / math.sqrt(now) * noise + math.sqrt(by * then / now) * fresh


class Cosine(Process):
    """a = cos(pi t / 2), b = sin(pi t / 2): [2]_, whose steps draw from q(x_s | x_t, x0) of a Gaussian chain."""

    def a(self, time: Tensor) -> Tensor:
        """Return what is left."""
        return (time * (math.pi / 2)).cos().clamp_min(0)

    def b(self, time: Tensor) -> Tensor:
        """Return the deviation."""
        return (time * (math.pi / 2)).sin()

    def step(self, seen: Tensor, found: Found, times: tuple[float, float], fresh: Tensor) -> Tensor:
        """Draw from the posterior: eqs. 6 and 7 of DDPM, of any two times."""
        image, noise = found
        (a, b), (a_then, b_then) = (self.numbers(time) for time in times)
        ratio = a / a_then if a_then else 0.0
        spread = b_then / b * math.sqrt(max(b**2 - (ratio * b_then) ** 2, 0.0))  # of the posterior
        return a_then * image + math.sqrt(max(b_then**2 - spread**2, 0.0)) * noise + spread * fresh


class Widening(Process):
    """The image stays and noise grows: a = 1, b from 0.002 to 80, stepped as the flow's equation: EDM, [3]_.

    Times stand for sigma = (0.002^(1/7) + t (80^(1/7) - 0.002^(1/7)))^7, eq. 5 of [3]_.
    """

    least, largest, bend = 0.002, 80.0, 7.0
    mean, spread = -1.2, 1.2  # of ln sigma in training, table 1 of [3]_ (for a deviation of 0.5)

    def a(self, time: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(time)

    def b(self, time: Tensor) -> Tensor:
        """Return sigma; 0 at time 0."""
        low, high = self.least ** (1 / self.bend), self.largest ** (1 / self.bend)
        return torch.where(time > 0, (low + time * (high - low)) ** self.bend, torch.zeros_like(time))

    def times(self, steps: int) -> list[float]:
        """Return even steps of t: eq. 5 of [3]_."""
        return [1 - number / steps for number in range(steps + 1)]

    def draw(self, even: Tensor) -> Tensor:
        """Turn uniform numbers into times whose ln sigma are normal."""
        normal = math.sqrt(2) * torch.erfinv((2 * even - 1).clamp(-0.999999, 0.999999))
        sigma = (self.mean + math.log(2) + self.spread * normal).exp().clamp(self.least, self.largest)
        low, high = self.least ** (1 / self.bend), self.largest ** (1 / self.bend)
        return ((sigma ** (1 / self.bend) - low) / (high - low)).clamp(LEAST_TIME, 1)

    def step(self, seen: Tensor, found: Found, times: tuple[float, float], fresh: Tensor) -> Tensor:
        """Follow the flow: Euler's step of eq. 4."""
        image, _ = found
        before, after = (self.numbers(time)[1] for time in times)
        return image + after / before * (seen - image)


PROCESSES: dict[str, Process] = {"ddm": Decoupled(), "ddpm": Cosine(), "edm": Widening()}


def _wide(numbers: Tensor) -> Tensor:
    return numbers[:, None, None, None]
