"""Sources of known brightness, put into the images that are judged: which of them does a translator show?

A point source is added to an empty place of the truth as its beam shows it, and to the input as the input's beam and
pixels do, and the model is asked again. How bright a source is counts in the *input's* noise, for of nothing else can a
translator know; what is found counts above 5 sigma of the truth, as with the sources that the images hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage

from rvtool.data.beams import covariance, per
from rvtool.data.stretch import measure
from rvtool.errors import DataError
from rvtool.report import detections
from rvtool.report.detections import Sources
from rvtool.verbs.evaluate.degradation import Degradation, brightness_ratio, plane_statistics

if TYPE_CHECKING:
    from rvtool.verbs.evaluate.images import Made

EACH = 2  # sources an image, at most
FAINTEST, BRIGHTEST = 3.0, 50.0  # peaks, in the input's noise
CLEAR_BEAMS = 1.5  # of the input, from anything else and from edges
AROUND_BEAMS = 0.5  # of the input: what is found so near is the source


def judge(one: Made, batch_size: int, bootstrap: int, seed: int) -> dict[str, Any] | None:
    """Inject sources and judge which are found.

    Returns
    -------
    As `rvtool.report.detections.judge`, a source counting as found within half a beam of the input; and ``peak``, the
    median of (brightest pixel there / the same of the truth) of sources of 7 sigma and more, with ``p16`` and ``p84``;
    all three None where there are no such sources. None where the sides differ in unit, a beam is not known or no image
    has room.
    """
    truth, image = one.truth, one.image
    try:
        seen = Degradation(image, truth.side, one.inputs.shape[-2:])
        ratio = brightness_ratio(image, truth.side)
    except DataError:
        return None
    assert image.beam is not None
    assert truth.side.pixel_arcsec is not None
    if truth.pixels.shape[1] > 1 or per(image.unit) != "beam":
        return None
    beam_px = image.beam.major_arcsec / truth.side.pixel_arcsec
    shape = truth.pixels.shape[-2:]
    planes, inputs = truth.pixels[:, 0].copy(), one.inputs.copy()
    draw = np.random.default_rng(seed)
    planted: list[tuple[int, float, float, float]] = []
    for number, plane in enumerate(planes):
        noise = float(plane_statistics(inputs[number, 0])[1])
        light = np.zeros(shape)
        for row, column in _free(plane, beam_px, draw) if noise > 0 else ():
            snr = FAINTEST * (BRIGHTEST / FAINTEST) ** draw.random()
            light += snr * noise * _point(row, column, shape, one)
            planted.append((number, row, column, snr))
        planes[number] += light
        inputs[number] += seen.forward(seen.pad(light[None], fine=True))[seen.image] / ratio
    if not planted:
        return None
    sources = Sources(*(np.array(column) for column in zip(*planted, strict=True)))
    outputs = np.concatenate([made[:, 0] for made in _ask(one, inputs, batch_size)])
    # whatever else the truth shows is there too, but nobody need find it
    levels = (detections.ISLAND_SIGMA, detections.SOURCE_SIGMA)  # an island of the lower may hold several
    shown = [detections.find(planes, truth.background[:, 0], level) for level in levels]
    shown = [one._replace(snr=np.zeros(len(one.snr))) for one in shown]
    both = Sources(*(np.concatenate(columns) for columns in zip(sources, *shown, strict=True)))
    sought = replace(truth.sought(injected=both), planes=planes, beam_px=beam_px)
    found = detections.judge(sought, outputs, bootstrap, seed)
    bright = sources.only(sources.snr >= detections.LEAST_SIGMA)
    peaks = [
        _brightest(outputs, *source, beam_px) / _brightest(planes, *source, beam_px)
        for source in zip(bright.plane, bright.row, bright.column, strict=True)
    ]
    p16, median, p84 = map(float, np.percentile(peaks, [16, 50, 84])) if peaks else (None,) * 3
    return found | {"peak": {"median": median, "p16": p16, "p84": p84}}


def _free(plane: np.ndarray, beam_px: float, draw: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Give places (row, column; px) of a truth that are clear of its sources, of each other and of its edges."""
    median, noise, _ = plane_statistics(plane)
    taken = ~np.isfinite(plane) | (plane > median + detections.SOURCE_SIGMA * noise)
    free = ndimage.distance_transform_edt(~np.pad(taken, 1, constant_values=True))[1:-1, 1:-1] > CLEAR_BEAMS * beam_px
    rows, columns = np.indices(plane.shape)
    for _ in range(EACH):
        places = np.flatnonzero(free)
        if not places.size:
            return
        row, column = np.unravel_index(draw.choice(places), plane.shape)
        free &= np.hypot(rows - row, columns - column) > 2 * CLEAR_BEAMS * beam_px
        yield float(row + draw.random() - 0.5), float(column + draw.random() - 0.5)


def _point(row: float, column: float, shape: tuple[int, ...], one: Made) -> np.ndarray:
    """Return what the truth's beam shows of a point source of peak 1, ``(H, W)``."""
    side = one.truth.side
    assert side.beam is not None
    assert side.pixel_arcsec is not None
    xx, xy, yy = (part / side.pixel_arcsec**2 for part in covariance(side.beam))
    rows, columns = np.indices(shape)
    y, x = rows - row, columns - column
    shown: np.ndarray = np.exp(-0.5 * (yy * x**2 - 2 * xy * x * y + xx * y**2) / (xx * yy - xy**2))
    return shown


def _ask(one: Made, inputs: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Give what the model makes of inputs ``(N, C, h, w)``, in the truth's unit."""
    run = one.run
    device = next(run.model.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(inputs), batch_size):
            some = inputs[start : start + batch_size].astype(np.float32)
            measured = np.stack([measure(image, np.isfinite(image).all(axis=0)) for image in some])
            raw = {"image": torch.from_numpy(some), "image_statistics": torch.from_numpy(measured)}
            batch = run.prepare({name: value.to(device) for name, value in raw.items()})
            yield run.prepare.restore(run.model.predict(batch), batch).cpu().numpy()


def _brightest(planes: np.ndarray, number: int, row: float, column: float, beam_px: float) -> float:
    """Return the brightest pixel of a plane near a place."""
    reach = AROUND_BEAMS * beam_px
    top, left = (max(0, round(place - reach)) for place in (row, column))
    bottom, right = (round(place + reach) + 1 for place in (row, column))
    return float(np.nanmax(planes[number, top:bottom, left:right]))
