"""How much a classifier's answers suffer where the source is the same and only its look differs.

Each image is disturbed as it was read, before the crop, so that a shift or a turn brings in the real sky as far as the
file goes; what no file shows is unknown. Nothing else changes: the answers are asked for as always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from rvtool.data.batches import stack
from rvtool.data.beams import SIGMA_PER_FWHM
from rvtool.data.dataset import Dataset
from rvtool.data.fits import Image
from rvtool.data.pack import Pack, open_pack
from rvtool.data.stretch import fit_to
from rvtool.errors import DataError
from rvtool.kinds import Batch, Side
from rvtool.report.classification import Answers
from rvtool.report.scores import interval, resamples, scores
from rvtool.runs.apply import Asking, Jury, as_read, ask
from rvtool.runs.calibration import Prior
from rvtool.runs.run import Run

LONGEST_SHIFT_PX = 10
NOISE_OF_PEAK = 0.02
BEAMS = (0.8, 1.5)
USUAL_BEAM_PX = 3.0  # where the data does not tell its beam: surveys sample theirs about so finely
STRONGEST_GAIN = 4.0  # of a sharper beam, at the highest frequencies, which hold noise alone
RESAMPLES = 500

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""From one plane ``(H, W)`` without unknown pixels to the disturbed one."""


@dataclass(frozen=True)
class Disturbance:
    """One way to disturb an image.

    Attributes
    ----------
    kind
        What people read; several of one kind are averaged.
    change
        What happens to a plane.
    moves
        Whether pixels move, and unknown ones with them.
    """

    kind: str
    change: Change
    moves: bool = True


def disturbances(side: Side, turns: bool, crop: int = 0) -> list[Disturbance]:
    """Return what is tried on images of one side: shifts, turns, noise, another beam.

    Parameters
    ----------
    side
        With the pixels as they were read.
    turns
        Whether the eight symmetries are tried too: a model that is asked in all of them cannot tell them apart.
    crop
        The central square, px, whose peak noise is measured by; 0: all.
    """
    beam_px = USUAL_BEAM_PX
    if side.beam and side.pixel_arcsec:
        beam_px = math.sqrt(side.beam.major_arcsec * side.beam.minor_arcsec) / side.pixel_arcsec
    tried = [
        Disturbance(f"shifted by {size} px along each axis", _shift(down * size, right * size))
        for size in (3, LONGEST_SHIFT_PX)
        for down in (-1, 1)
        for right in (-1, 1)
    ]
    if side.axes == "sky":
        square = side.height == side.width
        for number in range(1, 8) if turns and square else ():
            tried.append(Disturbance("quarter turns and mirror images", _symmetry(number)))
        tried.append(Disturbance("turned by 45 degrees", _turn(45)))
        tried.append(
            Disturbance(f"noise of {NOISE_OF_PEAK:.0%} of the peak added", _noise(beam_px, crop), moves=False),
        )
        for factor in BEAMS:
            word = "smaller" if factor < 1 else "larger"
            tried.append(Disturbance(f"a beam {factor:g} times as wide ({word})", _beam(beam_px, factor), moves=False))
    return tried


def measure(
    members: Sequence[tuple[Run, Dataset, np.ndarray]],
    answers: Answers,
    asking: Asking,
    *,
    prior: Prior,
    seed: int,
    moved: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Ask about disturbed images, and compare with the answers to the images as they are.

    Parameters
    ----------
    members
        One classifier, or the members of an ensemble, each with the dataset and its rows (N,) that show the images.
    answers
        What was said of these images undisturbed.
    moved
        Told how many of how many disturbances are done.

    Returns
    -------
    For each kind of disturbance ``kind``, ``balanced_accuracy``, ``difference`` from the undisturbed with its 95 %
    interval ``low`` and ``high`` (bootstrap of sky groups, paired), ``changed`` (share of the images whose answer
    changes), and ``variants``, over how many it is averaged.
    """
    runs = [run for run, _, _ in members]
    same = asking.symmetries or all(getattr(run.model, "invariant", False) for run in runs)
    jury = Jury(runs, prior)
    tried = disturbances(as_read(runs[0]), not same, runs[0].stretch.settings.crop)
    frames = [_frame(run, dataset) for run, dataset, _ in members]
    weights = np.concatenate([np.ones((1, len(answers.ids))), *resamples(answers.members, RESAMPLES, seed)])
    plain = scores(answers.labels, answers.probabilities, weights)["balanced_accuracy"]
    found: dict[str, list[tuple[np.ndarray, float]]] = {}
    for done, one in enumerate(tried, 1):
        said = [
            ask(run, _batches(run, frame, rows, one, seed), asking)
            for (run, _, rows), frame in zip(members, frames, strict=True)
        ]
        verdict = jury.conclude(said)
        there = scores(answers.labels, verdict.probabilities, weights)["balanced_accuracy"]
        changed = (verdict.probabilities.argmax(axis=1) != answers.probabilities.argmax(axis=1)).mean()
        found.setdefault(one.kind, []).append((there, float(changed)))
        moved(done, len(tried))
    table = []
    for kind, variants in found.items():
        mean = np.mean([there for there, _ in variants], axis=0)
        low, high = interval((mean - plain)[1:])
        table.append(
            {
                "kind": kind,
                "balanced_accuracy": float(mean[0]),
                "difference": float(mean[0] - plain[0]),
                "low": low,
                "high": high,
                "changed": float(np.mean([changed for _, changed in variants])),
                "variants": len(variants),
            }
        )
    return table


def _frame(run: Run, dataset: Dataset) -> Pack:
    """Open the images with as much sky round the crop as a turn and the longest shift can bring in."""
    crop = run.stretch.settings.crop
    margin = math.ceil((math.sqrt(2) - 1) / 2 * crop) + LONGEST_SHIFT_PX
    return open_pack(dataset, crop + 2 * margin if crop else 0)


def _batches(run: Run, frame: Pack, rows: np.ndarray, one: Disturbance, seed: int) -> Iterator[Batch]:
    """Disturb, crop, measure and stretch, as images that are read for the first time are.

    What is wholly unknown once it is disturbed stays as it was.
    """
    device = next(run.model.parameters()).device
    for start in range(0, len(rows), 64):
        made = []
        for row in rows[start : start + 64]:
            image = frame.pixels[row].astype(np.float32)
            try:
                changed = disturbed(image, one, np.random.default_rng((seed, int(row))))
                made.append(run.raw(Image(changed)))
            except DataError:
                made.append(run.raw(Image(image)))
        yield run.prepare(stack(made, device))


def disturbed(image: np.ndarray, one: Disturbance, random: np.random.Generator) -> np.ndarray:
    """Disturb ``(C, H, W)``; the channels alike, but for their noise."""
    known = np.isfinite(image)
    out = np.empty_like(image)
    for channel, plane in enumerate(image):
        level = np.median(plane[known[channel]]) if known[channel].any() else 0.0
        out[channel] = one.change(np.where(known[channel], plane, level), random)
        unknown = ~known[channel]
        if one.moves and unknown.any():
            unknown = one.change(unknown.astype(np.float32), random) > 0
        out[channel][unknown] = np.nan
    return out


def _shift(down: int, right: int) -> Change:
    def change(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return ndimage.shift(plane, (down, right), order=0, cval=np.nan)

    return change


def _symmetry(number: int) -> Change:
    def change(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return np.rot90(plane[:, ::-1] if number >= 4 else plane, number % 4)

    return change


def _turn(angle_deg: float) -> Change:
    def change(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return ndimage.rotate(plane, angle_deg, reshape=False, order=1, cval=np.nan)

    return change


def _noise(beam_px: float, crop: int) -> Change:
    """Add noise that is correlated as the beam is: white noise smoothed by a kernel whose square in Fourier it is."""
    kernel_px = beam_px * SIGMA_PER_FWHM / math.sqrt(2)

    def change(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
        noise = ndimage.gaussian_filter(random.normal(size=plane.shape), kernel_px, mode="wrap")
        seen = fit_to(plane[None], min(crop or len(plane), len(plane)), min(crop or plane.shape[1], plane.shape[1]))
        return plane + NOISE_OF_PEAK * (seen.max() - np.median(plane)) * noise / noise.std()

    return change


def _beam(beam_px: float, factor: float) -> Change:
    """Turn a Gaussian beam into one `factor` times as wide: exp(-2 pi^2 s^2 f^2 (factor^2 - 1)) of each frequency f."""
    variance = (beam_px * SIGMA_PER_FWHM) ** 2 * (factor**2 - 1)

    def change(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
        squares = np.fft.fftfreq(plane.shape[0])[:, None] ** 2 + np.fft.rfftfreq(plane.shape[1]) ** 2
        gain = np.minimum(np.exp(-2 * math.pi**2 * variance * squares), STRONGEST_GAIN)
        return np.fft.irfft2(np.fft.rfft2(plane) * gain, plane.shape)

    return change
