"""Figures of restored images against values that are known: by hand, analytic, or torchmetrics'."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from rvtool.errors import DataError
from rvtool.kinds import Beam, Side
from rvtool.report import features, restored
from rvtool.report.features import fid, kid
from rvtool.report.likeness import METRICS, RATIOS, Truth, judge, measure, reduce, spectra, ssim

SIDE = Side(1, 48, 48, unit="Jy/beam", pixel_arcsec=1.8, beam=Beam(5.4, 5.4))
SIGMA = 5.4 / 1.8 / np.sqrt(8 * np.log(2))  # of the beam, px
RANDOM = np.random.default_rng(0)


def source(y, x, wide=SIGMA, peak=1.0, size=48):
    rows, columns = np.mgrid[:size, :size]
    return peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * wide**2))


def truth_of(*planes, sigma=0.01, **more):
    return Truth([str(n) for n in range(len(planes))], np.stack(planes)[:, None], SIDE, sigma=sigma, **more)


TRUTH = truth_of(source(24, 20), source(20, 27.3))


def test_an_equal_output_is_perfect():
    found = measure(TRUTH, TRUTH.pixels)
    assert set(found) == set(METRICS) - {"consistency"} | set(RATIOS)
    for name in RATIOS:
        assert found[name] == pytest.approx(1)
    for name in ("ssim", "coherence", "within"):
        assert found[name] == pytest.approx(1)
    for name in ("flux_error", "peak_error", "size_error", "offset_px", "spectrum_error"):
        assert found[name] == pytest.approx(0, abs=1e-9)


def test_a_constant_offset_has_its_psnr():
    # an error of 0.01 everywhere at a range of 1 is 40 dB; of 1/2 everywhere at a fixed range of 5, 20 dB
    found = measure(TRUTH, TRUTH.pixels + 0.01)
    peaks = TRUTH.pixels.max(axis=(1, 2, 3))
    assert found["psnr"] == pytest.approx(40 + 20 * np.log10(peaks))
    assert found["psnr_lit"] == pytest.approx(found["psnr"])
    fixed = truth_of(*TRUTH.pixels[:, 0], peak=5.0)
    assert measure(fixed, fixed.pixels + 0.5)["psnr"] == pytest.approx(20)


def test_only_lit_pixels_count_as_lit():
    output = np.where(TRUTH.pixels > 0.03, TRUTH.pixels, 7.0)
    found = measure(TRUTH, output)
    assert np.isinf(found["psnr_lit"]).all()
    assert (found["psnr"] < 0).all()


def test_ssim_is_that_of_torchmetrics():
    true = RANDOM.random((3, 40, 33))
    output = 0.6 * true + 0.3 * RANDOM.random(true.shape)
    pair = (torch.tensor(planes)[:, None] for planes in (output, true))
    theirs = structural_similarity_index_measure(*pair, data_range=1.0, return_full_image=True)[1].numpy()
    # theirs mirrors the edges, ours leaves out the windows that reach over them
    assert ssim(true, output, np.ones(true.shape, bool)) == pytest.approx(theirs[:, 0, 5:-5, 5:-5].mean(axis=(1, 2)))


def test_a_scaled_image_has_scaled_fluxes_and_its_size():
    found = measure(TRUTH, 1.3 * TRUTH.pixels)
    for name in ("flux_ratio", "aperture_ratio", "peak_ratio"):
        assert found[name] == pytest.approx(1.3)
    assert found["flux_error"] == pytest.approx(0.3)
    assert found["size_ratio"] == pytest.approx(1, abs=0.03)  # a brighter source shows a little more of its wings
    assert (found["within"] == 0).all()
    assert measure(TRUTH, 1.1 * TRUTH.pixels)["within"] == pytest.approx(1)


def test_a_shift_is_found_to_a_fraction_of_a_pixel():
    found = measure(truth_of(source(24, 20)), source(22.8, 20.9)[None, None])
    assert found["offset_px"] == pytest.approx(1.5, abs=1e-3)
    assert found["offset_arcsec"] == pytest.approx(2.7, abs=2e-3)


def test_a_wider_source_has_its_size_ratio():
    found = measure(truth_of(source(24, 24, 3), sigma=1e-6), source(24, 24, 6)[None, None] / 4)
    assert found["size_ratio"] == pytest.approx(2, rel=0.05)
    assert found["peak_ratio"] == pytest.approx(1 / 4)


def test_neither_noise_nor_a_faint_neighbour_lengthens_a_source():
    crowded = source(24, 24) + source(5, 40, peak=0.08) + 0.01 * RANDOM.normal(size=(48, 48))
    found = measure(truth_of(source(24, 24)), crowded[None, None])
    assert found["size_ratio"] == pytest.approx(1, abs=0.1)


def test_power_of_a_blurred_image_is_the_beams_transfer_function_squared():
    sky = RANDOM.normal(size=(2, 64, 64))
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64))
    blurred = np.fft.irfft2(np.fft.rfft2(sky) * np.exp(-2 * np.pi**2 * frequency**2), s=(64, 64))
    found = spectra(sky, blurred)
    assert found.frequency[[0, -1]] == pytest.approx([1 / 64, 1 / 2])
    expected = np.exp(-4 * np.pi**2 * found.frequency**2)
    assert found.ratio == pytest.approx(np.tile(expected, (2, 1)), rel=0.1)
    assert (found.coherence > 0.99).all()
    assert np.abs(spectra(sky, sky[::-1]).coherence[:, 10:]).max() < 0.3


def test_what_is_not_known_counts_nowhere():
    hidden = TRUTH.pixels.copy()
    hidden[:, :, 40:, :] = np.nan
    truth = Truth(TRUTH.ids, hidden, SIDE, sigma=0.01)
    output = 0.9 * TRUTH.pixels + 0.02
    spoilt = output.copy()
    spoilt[:, :, 40:, :] = np.array([np.nan, 1e6])[:, None, None, None]
    first, second = measure(truth, output), measure(truth, spoilt)
    for name in first:
        assert first[name] == pytest.approx(second[name], nan_ok=True), name


def test_channels_are_averaged():
    side = Side(2, 48, 48)
    truth = Truth(["a"], np.stack([source(24, 24), source(20, 20)])[None], side, sigma=0.01)
    found = measure(truth, truth.pixels * np.array([1.1, 1.3])[:, None, None])
    assert found["peak_ratio"] == pytest.approx(1.2)
    assert np.isnan(found["offset_arcsec"]).all()


def test_bad_input_is_told():
    with pytest.raises(DataError, match="no images"):
        Truth([], np.zeros((0, 1, 8, 8)), SIDE)
    with pytest.raises(DataError, match="true image of 1 has not one known pixel"):
        truth_of(source(24, 24), np.full((48, 48), np.nan))
    with pytest.raises(DataError, match="must be equal"):
        measure(TRUTH, TRUTH.pixels[:, :, :40])
    broken = TRUTH.pixels.copy()
    broken[1, 0, 3, 3] = np.nan
    with pytest.raises(DataError, match="image 1 is not finite"):
        measure(TRUTH, broken)


def test_medians_and_means_of_weighted_images():
    values = np.array([4.0, 1.0, np.nan, 3.0, 100.0])
    weights = np.array([[1, 1, 1, 1, 1], [0, 2, 5, 1, 0], [0, 1, 0, 1, 0], [0, 0, 3, 0, 0]], float)
    assert reduce("peak_error", values, weights) == pytest.approx([3.5, 1, 2, np.nan], nan_ok=True)
    assert reduce("ssim", values, weights) == pytest.approx([27, 5 / 3, 2, np.nan], nan_ok=True)


def test_a_model_that_loses_to_a_baseline_is_told():
    truth = truth_of(*(source(24, 20 + 0.1 * n) for n in range(12)), groups=np.arange(12) // 2)
    good, bad = measure(truth, 1.05 * truth.pixels), measure(truth, 1.2 * truth.pixels)
    found = judge(truth, bad, {"good": good, "worse": measure(truth, 2 * truth.pixels)}, 50, 0)
    row = found["peak_error"]
    assert (row["value"], row["best"], row["baseline"]) == (pytest.approx(0.2), "good", pytest.approx(0.05))
    assert row["low"] <= row["value"] <= row["high"]
    assert row["gain"] == pytest.approx(-0.15)
    assert row["gain_low"] == pytest.approx(-0.15)  # the same on every image, and so in every resample
    assert any(sentence.startswith("Peak error: the model (0.2) loses to good") for sentence in found["warnings"])
    assert found["ratios"]["flux_ratio"]["median"] == pytest.approx(1.2)
    assert found["consistency"]["value"] is None
    assert (found["images"], found["groups"]) == (12, 6)
    better = judge(truth, good, {"bad": bad}, 50, 0)
    assert better["psnr"]["gain"] > 0
    assert not any("loses" in sentence for sentence in better["warnings"])


def test_kid_of_equal_distributions_scatters_about_zero():
    draws = [kid(*np.random.default_rng(seed).normal(size=(2, 40, 8)), subsets=4)["value"] for seed in range(40)]
    assert min(draws) < 0 < max(draws)
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(40)
    # of point masses at a and b: k(a, a) + k(b, b) - 2 k(a, b), with k(x, y) = (x.y / F + 1)^3
    apart = kid(np.ones((8, 2)), np.zeros((8, 2)), subsets=4)
    assert apart == {"value": pytest.approx(2**3 + 1 - 2), "spread": pytest.approx(0), "size": 4}


def test_fid_of_two_gaussians_is_analytic():
    white = RANDOM.normal(size=(300, 2))
    white = (white - white.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    # |m1 - m2|^2 + sum over the common axes of (s1 - s2)^2, after the same turn of both
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    first, second = (white * [1, 3]) @ turn, (white * [2, 1] + [3, 4]) @ turn
    assert fid(first, second) == {"value": pytest.approx(25 + 1 + 4), "images": 300}


def test_figures_are_written(tmp_path):
    truth = truth_of(*(source(24, 20 + n) + 0.01 * RANDOM.normal(size=(48, 48)) for n in range(2)))
    outputs = 0.9 * truth.pixels
    drawn = restored.grid(truth.pixels[..., ::4, ::4], truth.pixels, outputs, tmp_path / "g.png", titles=["a", "b"])
    assert [panel.get_title() for panel in drawn.axes[:4]] == list(restored.HEADINGS)
    found, modes = measure(truth, outputs), spectra(truth.pixels[:, 0], outputs[:, 0])
    drawn = restored.flux_and_size(found["flux_ratio"], found["size_ratio"], tmp_path / "f.png")
    assert "both within 20%: 2 of 2" in [text.get_text() for text in drawn.legends[0].get_texts()]
    restored.power(modes.frequency, {"model": modes.ratio}, {"model": modes.coherence}, tmp_path / "p.png", beam_px=3)
    assert {path.name for path in tmp_path.iterdir()} == {"g.png", "f.png", "p.png"}


def test_distance_to_the_truth_counts_in_distances_between_truths():
    true = np.random.default_rng(0).normal(size=(60, 8))
    assert features.apart(true, true) == pytest.approx(np.zeros(60))
    assert np.median(features.apart(np.roll(true, 1, axis=0), true)) == pytest.approx(1, abs=0.15)
    assert features.apart(5 * np.roll(true, 1, axis=0), 5 * true) == pytest.approx(
        features.apart(np.roll(true, 1, axis=0), true)
    )
    with pytest.raises(DataError, match="do not differ"):
        features.apart(true, np.zeros_like(true))
