"""Latents as discrete codes, in ways that a decoder's losses can still teach the encoder.

Each way is a module with `maps`, `alphabet` and `open` (see `rvtool.learning.Autoencoder.lay_out`), called on latents
``(B, D, h, w)`` in training, and with `symbols` and `latents` for use.

References
----------
.. [1] van den Oord, Vinyals & Kavukcuoglu 2017, arXiv:1711.00937
.. [2] Mentzer et al. 2023, finite scalar quantisation, arXiv:2309.15505
.. [3] Zeghidour et al. 2021, SoundStream, arXiv:2107.03312 (residual quantisation, restarts: section III.C)
.. [4] Chou, Lookabaugh & Gray 1989, IEEE TASSP 37, 31 (codes chosen by distance and length)
.. [5] Balle, Laparra & Simoncelli 2017, arXiv:1611.01704 (uniform noise in place of rounding)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

if TYPE_CHECKING:
    from rvtool_plugins.models.vqvae import VQVAEConfig

COMMON = 31  # whole numbers about 0 that there are tables of
UNSEEN = 0.01  # share of the numbers that did not come lately
RARE = 1e-6  # share of a code that is never chosen
DEAD = 0.02  # of the usual share: a code that is chosen less often begins anew


@dataclass
class Quantised:
    """What became of latents.

    Attributes
    ----------
    latents : (B, D, h, w)
        As the decoder gets them; their gradient is handed to the encoder.
    bits
        Scalar: about how many the codes of the batch take, by how often each is chosen; has a gradient where one is.
    distance
        Scalar: mean square distance of latents and codes, for the encoder to stay near them.
    perplexity
        Scalar: how many codes as good as used equally, the mean over maps: exp of the entropy, [1]_ section 4.
    """

    latents: Tensor
    bits: Tensor
    distance: Tensor
    perplexity: Tensor


class Books(nn.Module):
    """One book of vectors, or several of which each takes what the one before leaves.

    Books follow the means of what chooses them (appendix A.1 of [1]_). A code that hardly anything chooses is put to a
    latent of the batch. With a `rate` a code's length counts when it is chosen, by -log2 of its share: [4]_.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor
    begun: Tensor
    open = False

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.maps = config.books if config.quantiser == "residual" else 1
        self.alphabet, self.rate, self.decay = config.codes, config.rate, config.decay
        self.register_buffer("codes", torch.zeros(self.maps, config.codes, config.latents))
        self.register_buffer("counts", torch.ones(self.maps, config.codes))
        self.register_buffer("sums", torch.zeros(self.maps, config.codes, config.latents))
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, latents: Tensor) -> Quantised:
        """Choose codes, and in training move the books."""
        rows = _rows(latents.detach().float())
        rest, chosen = rows, []
        for book in range(self.maps):
            if self.training and not bool(self.begun):
                self._place(book, torch.ones_like(self.counts[book], dtype=torch.bool), rest)
            which = self._choose(book, rest)
            before, rest = rest, rest - self.codes[book][which]
            chosen.append(which)
            if self.training:
                self._move(book, which, before)
        if self.training:
            self.begun.fill_(True)
        shares = torch.stack([functional.one_hot(one, self.alphabet).float().mean(0) for one in chosen])
        entropy = -(shares * (shares + 1e-10).log()).sum(1)
        codes = _maps(rows - rest, latents.shape).to(latents)
        return Quantised(
            latents + (codes - latents).detach(),  # straight through: section 3.2 of [1]_
            self.lengths[torch.arange(self.maps)[:, None], torch.stack(chosen)].sum(),
            functional.mse_loss(latents, codes),
            entropy.exp().mean(),
        )

    @property
    def lengths(self) -> Tensor:
        """Bits of each code, ``(maps, codes)``, by its share of what was chosen."""
        return -torch.log2(self.counts / self.counts.sum(1, keepdim=True) + RARE)

    def symbols(self, latents: Tensor) -> Tensor:
        """Return the numbers of the codes, ``(B, maps, h, w)``."""
        rest, chosen = _rows(latents.float()), []
        for book in range(self.maps):
            chosen.append(self._choose(book, rest))
            rest = rest - self.codes[book][chosen[-1]]
        batch, _, height, width = latents.shape
        return torch.stack(chosen, dim=1).view(batch, height, width, self.maps).permute(0, 3, 1, 2)

    def latents(self, symbols: Tensor) -> Tensor:
        """Return the sum of the codes of these numbers, ``(B, D, h, w)``."""
        places = torch.stack([self.codes[book][symbols[:, book]] for book in range(self.maps)]).sum(0)  # (B, h, w, D)
        return places.permute(0, 3, 1, 2)

    def _choose(self, book: int, rows: Tensor) -> Tensor:
        codes = self.codes[book]
        cost = codes.square().sum(1) - 2 * rows @ codes.T  # the square of the row itself is the same for all codes
        if self.rate:
            cost = cost + self.rate * self.lengths[book]
        return cost.argmin(1)

    def _move(self, book: int, which: Tensor, rows: Tensor) -> None:
        times = functional.one_hot(which, self.alphabet).to(rows)  # (N, codes)
        counts, sums = times.sum(0), times.T @ rows
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
            distributed.all_reduce(sums)
        self.counts[book].lerp_(counts, 1 - self.decay)
        self.sums[book].lerp_(sums, 1 - self.decay)
        usual = self.counts[book].mean()
        self.codes[book] = self.sums[book] / self.counts[book].clamp_min(1e-6)[:, None]
        self._place(book, self.counts[book] < DEAD * usual, rows)

    def _place(self, book: int, those: Tensor, rows: Tensor) -> None:
        """Put codes to latents of the batch, as if each had its usual share."""
        if not bool(those.any()):
            return
        picked = rows[torch.randint(len(rows), (int(those.sum()),), device=rows.device)]
        if distributed.is_available() and distributed.is_initialized():
            distributed.broadcast(picked, 0)
        share = self.counts[book][~those].mean() if not bool(those.all()) else self.counts[book].new_tensor(1.0)
        self.codes[book][those], self.counts[book][those] = picked, share
        self.sums[book][those] = picked * share


class Scalars(nn.Module):
    """Every latent a whole number: any, or one of a few levels between which it is bent ([2]_).

    Rounding is straight through for one half of the steps; in the other uniform noise stands for it, which has the true
    slope in the mean [5]_. How often each number comes is counted, and how many bits that makes is interpolated between
    the numbers, so that the encoder is told what a smaller one would save.
    """

    shares: Tensor
    tail: Tensor

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.maps = config.latents
        self.levels = config.levels if config.quantiser == "fsq" else 0
        self.open = not self.levels
        self.alphabet = self.levels or COMMON
        self.decay = config.decay
        self.reach = self.levels // 2 if self.levels else 8 * COMMON
        tail = (1.0 + torch.arange(-self.reach, self.reach + 1).abs()) ** -2
        self.register_buffer("tail", tail / tail.sum(), persistent=False)
        self.register_buffer("shares", self.tail.repeat(self.maps, 1))

    def forward(self, latents: Tensor) -> Quantised:
        """Round in training as the class says; else always."""
        bent = self._bent(latents)
        whole = bent.detach().round()
        passed = bent + (whole - bent).detach()
        if self.training and torch.rand(()) < 0.5:
            passed = bent + torch.rand_like(bent) - 0.5
        if self.training:
            self._count(whole)
        counted = bent + torch.rand_like(bent) - 0.5 if self.training else whole
        entropy = -(self.shares * self.shares.clamp_min(1e-10).log()).sum(1)
        # nothing stays away from what it is rounded to
        return Quantised(passed, self._bits(counted).sum(), latents.new_zeros(()), entropy.exp().mean())

    def _count(self, whole: Tensor) -> None:
        """Follow how often each number comes."""
        places = (whole.nan_to_num().clamp(-self.reach, self.reach).long() + self.reach).transpose(0, 1).flatten(1)
        fresh = torch.zeros_like(self.shares).scatter_add_(1, places, torch.ones_like(places, dtype=self.shares.dtype))
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(fresh)
        self.shares.lerp_(fresh / fresh.sum(1, keepdim=True), 1 - self.decay)

    def symbols(self, latents: Tensor) -> Tensor:
        """Return the numbers ``(B, maps, h, w)``; levels are counted from 0."""
        numbers = self._bent(latents.float()).round().long()
        return numbers + self.levels // 2 if self.levels else numbers

    def latents(self, symbols: Tensor) -> Tensor:
        """Return the numbers as latents."""
        return (symbols - self.levels // 2 if self.levels else symbols).float()

    def _bent(self, latents: Tensor) -> Tensor:
        """Bend latents between the levels: eq. 1 of [2]_, which with an odd number needs no shift."""
        if not self.levels:
            return latents
        return (self.levels // 2 + 0.499) * torch.tanh(latents)

    def _bits(self, numbers: Tensor) -> Tensor:
        """Return about how many bits numbers take, between whole ones interpolated."""
        lengths = -torch.log2((1 - UNSEEN) * self.shares + UNSEEN * self.tail)  # (maps, numbers)
        reach = self.reach
        within = numbers.float().clamp(-reach, reach - 1e-3)
        lower = within.floor()
        part = within - lower
        # what is no number is told by the loss; as an index it would crash
        place = (lower.nan_to_num().long() + reach).transpose(0, 1).flatten(1)  # (maps, B h w)
        below, above = (lengths.gather(1, place + more) for more in (0, 1))
        part = part.transpose(0, 1).flatten(1)
        beyond = (numbers.float() - within).abs().sum() / reach  # far out each further reach costs about a bit
        return (1 - part) * below + part * above + beyond / numbers.numel()


def _rows(latents: Tensor) -> Tensor:
    """``(B, D, h, w) -> (B h w, D)``."""
    return latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])


def _maps(rows: Tensor, shape: torch.Size) -> Tensor:
    """``(B h w, D) -> (B, D, h, w)``: what `_rows` did, undone axis by axis."""
    batch, depth, height, width = shape
    return rows.view(batch, height, width, depth).permute(0, 3, 1, 2)
