"""Baselines without learning: exact where they must be, and better than interpolation where the beams are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rvtool.errors import DataError
from rvtool.kinds import Beam, Side
from rvtool.report.likeness import Truth, measure
from rvtool.verbs.evaluate import classical
from rvtool.verbs.evaluate.classical import Interpolation, MeanImage, NearestNeighbour
from rvtool.verbs.evaluate.degradation import Degradation, consistency

FACTOR = 4
TARGET = Side(1, 64, 64, unit="Jy/beam", pixel_arcsec=1.8, beam=Beam(5.4, 5.4))
IMAGE = Side(1, 16, 16, unit="JY/BEAM", pixel_arcsec=7.2, beam=Beam(21.6, 21.6))
SIGMA = 5.4 / 1.8 / np.sqrt(8 * np.log(2))
NOISE = 3e-4
RANDOM = np.random.default_rng(0)


def sky(*points, size=64):
    """Point sources (row, column, Jy) through the target's beam, Jy/beam."""
    y, x = np.mgrid[:size, :size]
    return sum(jy * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * SIGMA**2)) for row, column, jy in points)[None]


def seen_by(image, truth, noise=NOISE):
    seen = Degradation(image, TARGET, tuple(side // FACTOR for side in truth.shape[1:]))
    there = seen.forward(seen.pad(truth, fine=True))[seen.image] / classical.brightness_ratio(image, TARGET)
    return there + noise * RANDOM.normal(size=there.shape)


def pairs(count):
    truths = []
    for _ in range(count):
        places = RANDOM.uniform(24, 40, size=(3, 2))
        truths.append(sky(*((*place, 0.05) for place in places)) + 1e-4 * RANDOM.normal(size=(1, 64, 64)))
    return [seen_by(IMAGE, truth) for truth in truths], truths


@pytest.mark.parametrize("name", classical.KERNELS)
def test_interpolation_keeps_the_flux_of_the_sky(name):
    image = 16 * sky((32, 32, 1.0))[:, 16:48:2, 16:48:2]
    output = Interpolation(name, IMAGE, TARGET).apply(image)
    # flux = sum of Jy/beam / (pixels of a beam): a beam has 16 times the area, and a pixel too
    assert output.sum() == pytest.approx(image.sum(), rel=1e-6)
    assert output.shape == (1, 64, 64)


@pytest.mark.parametrize(("name", "power", "margin"), [("nearest", 0, 0), ("bilinear", 1, 4), ("bicubic", 2, 8)])
def test_interpolation_is_exact_for_polynomials(name, power, margin):
    def plane(side, step):
        return (((np.arange(side) + 0.5) * step) ** power)[None, :, None].repeat(side, axis=2)

    side = replace(TARGET, unit="K")
    output = Interpolation(name, replace(IMAGE, unit="K"), side).apply(plane(16, 4.0))
    inside = slice(margin, 64 - margin)
    assert output[0, inside, inside] == pytest.approx(plane(64, 1.0)[0, inside, inside])


def test_blank_pixels_stay_blank_and_spoil_no_neighbour():
    image = np.ones((1, 16, 16))
    image[0, 3, 5] = np.nan
    for baseline in classical.super_resolution(IMAGE, TARGET)[:4]:
        output = baseline.apply(image)
        assert np.isnan(output[0, 12:16, 20:24]).all()
        assert np.isnan(output).sum() == 16
        assert np.nanmax(output) == pytest.approx(1 / 16)


def test_a_point_source_keeps_its_jansky_through_the_larger_beam():
    image = replace(IMAGE, beam=Beam(28.8, 21.6, 30.0))
    shown = seen_by(image, sky((33.5, 33.5, 1.0)), noise=0)[0]  # the middle of an image pixel
    # in Jy/beam a point of 1 Jy peaks at 1, but for the mean over a pixel
    axes = np.array([28.8, 21.6]) / 7.2 / np.sqrt(8 * np.log(2))
    assert shown.max() == pytest.approx(1 - (1 / axes**2).sum() / 24, rel=0.02)
    rows, columns = np.mgrid[:16, :16] - 8
    moments = [(shown * a * b).sum() / shown.sum() for a, b in ((columns, columns), (columns, rows), (rows, rows))]
    # 30 degrees from north to east: the upper end leans to the left
    major, minor = axes**2
    expected = [major / 4 + minor * 3 / 4, -(major - minor) * np.sqrt(3) / 4, major * 3 / 4 + minor / 4]
    assert moments == pytest.approx(np.array(expected) + np.array([1, 0, 1]) / 12, abs=0.02)


def test_backward_is_the_transpose_of_forward():
    seen = Degradation(IMAGE, TARGET, (16, 16))
    fine = RANDOM.normal(size=(1, *seen.padded))
    coarse = RANDOM.normal(size=seen.forward(fine).shape)
    assert (seen.forward(fine) * coarse).sum() == pytest.approx((fine * seen.backward(coarse)).sum())


def test_tuned_deconvolution_beats_bicubic():
    inputs, truths = pairs(7)
    truth = Truth(list("abcd"), np.stack(truths[3:]), TARGET)
    found = {}
    for baseline in classical.super_resolution(IMAGE, TARGET):
        baseline.tune(inputs[:3], truths[:3])
        found[baseline.name] = measure(truth, np.stack([baseline.apply(image) for image in inputs[3:]]))
    lit = {name: one["psnr_lit"].mean() for name, one in found.items()}
    assert lit["Wiener"] > lit["bicubic"] + 2
    assert lit["Richardson-Lucy"] > lit["bicubic"] + 2
    for name in ("bicubic", "Wiener", "Richardson-Lucy"):
        assert np.median(found[name]["flux_ratio"]) == pytest.approx(1, abs=0.1), name
    peaks = {name: np.median(one["peak_ratio"]) for name, one in found.items()}
    assert peaks["bicubic"] < 0.4 < 0.5 < peaks["Richardson-Lucy"]


def test_deconvolution_leaves_blank_what_is_blank():
    inputs, truths = pairs(1)
    inputs[0][0, :2] = np.nan
    for baseline in classical.super_resolution(IMAGE, TARGET)[4:]:
        with pytest.raises(DataError, match="before it was tuned"):
            baseline.apply(inputs[0])
        baseline.tune(inputs, truths)
        output = baseline.apply(inputs[0])
        assert np.isnan(output[0, :8]).all()
        assert np.isfinite(output[0, 8:]).all()


def test_the_truth_is_consistent_but_for_the_inputs_noise():
    truths = np.stack([sky((60, 60, 0.2), size=128), sky((40, 70, 0.1), size=128)])
    inputs = np.stack([seen_by(IMAGE, truth) for truth in truths])
    truths[:, :, 100:] = np.nan
    inputs[:, :, 30:] += 0.01  # where the output is not known, nothing can be held against it
    assert consistency(truths, inputs, IMAGE, TARGET) == pytest.approx([1, 1], abs=0.2)
    assert (consistency(1.2 * truths, inputs, IMAGE, TARGET) > 3).all()
    assert (consistency(truths, inputs, replace(IMAGE, beam=Beam(18.0, 18.0)), TARGET) > 3).all()


def test_what_cannot_be_compared_is_told():
    with pytest.raises(DataError, match="no whole multiple"):
        classical.super_resolution(replace(IMAGE, height=15), TARGET)
    with pytest.raises(DataError, match="not smaller than the image's"):
        Degradation(replace(IMAGE, beam=Beam(21.6, 5.0)), TARGET, (16, 16))
    with pytest.raises(DataError, match="without both beams"):
        classical.super_resolution(replace(IMAGE, beam=None), TARGET)
    with pytest.raises(DataError, match="bring both to one unit"):
        classical.brightness_ratio(replace(IMAGE, unit="K"), TARGET)
    assert classical.brightness_ratio(replace(IMAGE, unit="Jy beam^-1"), TARGET) == pytest.approx(1 / 16)
    pixels = [replace(side, unit="nanomaggy/pixel") for side in (IMAGE, TARGET)]
    assert classical.brightness_ratio(*pixels) == pytest.approx(1 / 16)


def test_which_baselines_there_are():
    def names(image, target):
        return [baseline.name for baseline in classical.super_resolution(image, target)]

    assert names(IMAGE, TARGET) == [*classical.KERNELS, "Wiener", "Richardson-Lucy"]
    plain = [replace(side, unit="K", beam=None) for side in (IMAGE, TARGET)]
    assert names(*plain) == list(classical.KERNELS)
    same_grid = replace(IMAGE, height=64, width=64, pixel_arcsec=1.8)
    assert names(same_grid, TARGET) == ["unchanged", "Wiener", "Richardson-Lucy"]


def test_mean_image_and_nearest_neighbour():
    inputs = [sky((place, place, 1.0)) for place in (10, 30, 50)]
    targets = [np.full((3, 8, 8), float(n)) for n in range(3)]
    targets[2][:, 0] = np.nan
    mean, nearest = classical.translation()
    assert isinstance(mean, MeanImage)
    assert isinstance(nearest, NearestNeighbour)
    for baseline in (mean, nearest):
        baseline.tune(inputs, targets)
    assert mean.apply(inputs[0])[:, :2, 0] == pytest.approx(np.array([[0.5, 1.0]] * 3))
    assert nearest.apply(sky((32, 29, 0.8)))[0, 4, 4] == 1
    assert (nearest.apply(sky((48, 51, 1.2)))[:, :2, 4] == [0, 2]).all()
