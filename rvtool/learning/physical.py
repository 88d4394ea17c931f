"""How near images in their physical unit are to the truth, while models are trained."""

from __future__ import annotations

from torch import Tensor

FARTHEST = 10.0
"""Where what is made is cut before it is brought to its unit: a curve undone grows as an exponential."""

FARTHEST_NOISE = 400.0
"""The same where 1 is the noise of the image."""


def mean_psnr(made: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return the mean over images of the peak signal-to-noise ratio, dB, each with the truth's own peak as range.

    Parameters
    ----------
    made, truth : (B, C, H, W), physical unit
    known : (B, 1, H, W) bool
        Pixels that count.
    """
    known = known.expand_as(made)
    wrong = ((made - truth).float() ** 2 * known).flatten(1).sum(1)
    peak = truth.float().flatten(1).amax(1).clamp_min(1e-30)
    error = (wrong / known.flatten(1).sum(1).clamp_min(1)).clamp_min(1e-30)
    return (20 * peak.log10() - 10 * error.log10()).mean()
