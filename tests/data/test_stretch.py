import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvtool.data.stretch import FittedStretch, Stretch, cut, fit, fit_to, measure, resample
from rvtool.errors import DataError


@given(
    kind=st.sampled_from(["linear", "sqrt", "asinh"]),
    scale=st.sampled_from(["image", "train"]),
    seed=st.integers(0, 100),
)
def test_a_stretch_comes_back(kind, scale, seed):
    image = torch.from_numpy(np.random.default_rng(seed).normal(1e-3, 1e-3, (3, 1, 8, 8)).astype(np.float32))
    statistics = np.stack([measure(x, np.ones((8, 8), bool)) for x in image.numpy()])
    stretch = fit(Stretch(kind=kind, scale=scale), statistics)
    back = stretch.invert(stretch.apply(image, torch.from_numpy(statistics)), torch.from_numpy(statistics))
    torch.testing.assert_close(back, image, rtol=1e-4, atol=1e-8)


def test_each_image_peaks_at_one_where_its_own_peak_is_the_scale():
    image = torch.tensor([[[[0.0, 0.0, 5.0]]], [[[1.0, 1.0, 1.5]]]])
    statistics = torch.from_numpy(np.stack([measure(x, np.ones((1, 3), bool)) for x in image.numpy()]))
    for kind in ("linear", "sqrt", "asinh"):
        out = FittedStretch(Stretch(kind=kind, scale="image"), 1.0).apply(image, statistics)
        assert out.amax(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1])
        assert out[..., :2].abs().max() == 0


def test_the_constant_is_the_median_peak_of_the_training_images():
    statistics = np.array([[0, 1, 2], [0, 1, 4], [0, 1, 100]], np.float32)
    assert fit(Stretch(), statistics).constant == 4


def test_clipping_cannot_be_inverted_and_says_so():
    stretch = FittedStretch(Stretch(clip_sigma=3), 1.0)
    statistics = torch.tensor([[0.0, 1.0, 10.0]])
    image = torch.tensor([[[[2.9, 3.1, 10.0]]]])
    assert stretch.apply(image, statistics)[0, 0, 0, 0] == 0
    assert stretch.apply(image, statistics)[0, 0, 0, 1] > 0
    with pytest.raises(DataError, match="clips the background"):
        stretch.invert(image, statistics)


def test_a_stretch_is_kept_in_a_file(tmp_path):
    stretch = FittedStretch(Stretch(crop=7, kind="sqrt"), 0.25)
    stretch.save(tmp_path / "s.json")
    assert FittedStretch.load(tmp_path / "s.json") == stretch


def test_cut_and_pad_keep_the_centre():
    image = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    np.testing.assert_array_equal(fit_to(image, 3, 3)[0], image[0, 1:4, 1:4])
    padded = fit_to(image, 7, 7)[0]
    np.testing.assert_array_equal(padded[1:6, 1:6], image[0])
    assert np.isnan(padded[0]).all()


def test_brightness_is_counted_from_the_background_or_from_the_level_of_the_clip():
    statistics = torch.tensor([[1.0, 1.0, 11.0]])
    image = torch.tensor([[[[1.0, 3.9, 4.1, 11.0]]]])
    for clip_to, faint in (("background", 0.31), ("level", 0.1 / 7)):
        stretch = FittedStretch(Stretch(clip_sigma=3, clip_to=clip_to, kind="linear", scale="image"), 1.0)
        out = stretch.apply(image, statistics)[0, 0, 0]
        assert out.tolist() == pytest.approx([0, 0, faint, 1.0], abs=1e-6)


def test_a_clipped_float_image_looks_like_its_clipped_picture():
    """As FIRST's pictures are made: pixels below three sigma to that level, then the level to 0 and the peak to 1."""
    image = np.random.default_rng(0).normal(0, 1, (1, 1, 80, 80)).astype(np.float32)
    image[0, 0, 35:45, 35:45] += 20
    statistics = measure(image[0], np.ones((80, 80), bool))
    level = statistics[0] + 3 * statistics[1]
    raised = np.maximum(image, level)
    picture = np.round(255 * (raised - level) / (raised.max() - level)).astype(np.float32)
    drawn = measure(picture[0], np.ones((80, 80), bool))
    stretch = FittedStretch(Stretch(clip_sigma=3, clip_to="level", kind="asinh", scale="image"), 1.0)
    both = [
        stretch.apply(torch.from_numpy(one), torch.from_numpy(s[None]))
        for one, s in ((image, statistics), (picture, drawn))
    ]
    assert (both[0] - both[1]).abs().max() < 0.01


def test_resampling_keeps_brightness_and_the_unknown():
    image = np.full((1, 8, 8), 3.0, np.float32)
    image[0, :, 4:] = np.nan
    out = resample(image, 4)
    assert out.shape == (1, 4, 4)
    np.testing.assert_allclose(out[0, :, 0], 3)
    assert np.isnan(out[0, :, 3]).all()
    assert resample(np.array([[[0, 4], [8, 12]]], np.uint8), 1) == 6
    pixels, statistics = cut(np.pad(image[:, :4, :4], ((0, 0), (9, 9), (9, 9))), 4, 4, resize=2)
    assert pixels.shape == (1, 2, 2)
    assert statistics.tolist() == [3, 0, 3]


def test_without_a_background_zero_stays_zero_whatever_the_crop():
    image = torch.tensor([0.0, 1.0, 3.0, 4.0]).reshape(1, 1, 2, 2)
    statistics = torch.tensor([[2.0, 1.0, 4.0]])
    for kind in ("linear", "sqrt", "asinh"):
        stretch = FittedStretch(Stretch(kind=kind, scale="image", background="none"), 1.0)
        out = stretch.apply(image, statistics)
        assert out.flatten()[[0, 3]].tolist() == pytest.approx([0, 1])
        torch.testing.assert_close(stretch.invert(out, statistics), image)
    assert fit(Stretch(background="none"), statistics.numpy()).constant == 4
