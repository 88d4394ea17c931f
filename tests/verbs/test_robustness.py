"""Images as the robustness report disturbs them."""

import numpy as np
import pytest

from rvtool.kinds import Beam, Side
from rvtool.verbs.evaluate.robustness import disturbances, disturbed

SKY = Side(1, 40, 40, pixel_arcsec=1.8, beam=Beam(5.4, 5.4))


def blob(width_px=1.28, at=(20, 20), size=41):
    y, x = np.mgrid[:size, :size]
    return np.exp(-((x - at[1]) ** 2 + (y - at[0]) ** 2) / (2 * width_px**2))[None].astype(np.float32)


def tried(words, side=SKY, turns=True):
    return [one for one in disturbances(side, turns) if words in one.kind]


def width(image):
    x = np.arange(image.shape[2])
    return np.sqrt((image[0] * (x - 20) ** 2).sum() / image[0].sum())


def test_every_kind_is_tried():
    assert [len(tried(words)) for words in ("shifted by 3", "shifted by 10", "quarter", "45", "noise", "beam")] == [
        4, 4, 7, 1, 1, 2,
    ]  # fmt: skip
    assert not tried("quarter", turns=False)
    spectrum = Side(1, 128, 1024, axes="frequency-time")
    assert {one.kind for one in disturbances(spectrum, True)} == {one.kind for one in tried("shifted")}


def test_shifts_move_the_sky_and_tell_what_is_unknown():
    places = set()
    for one in tried("shifted by 10"):
        out = disturbed(blob(), one, np.random.default_rng(0))
        places.add(tuple(int(i) for i in np.unravel_index(np.nanargmax(out[0]), out[0].shape)))
        assert np.isnan(out).sum() == 41**2 - 31**2
    assert places == {(10, 10), (10, 30), (30, 10), (30, 30)}


def test_unknown_pixels_move_too():
    image = blob()
    image[0, 20, 20] = np.nan
    one = tried("shifted by 3")[0]
    assert np.isnan(disturbed(image, one, np.random.default_rng(0))[0, 17, 17])
    one = tried("larger")[0]
    out = disturbed(image, one, np.random.default_rng(0))
    assert np.isnan(out).sum() == 1


def test_quarters_are_the_seven_others():
    image = np.random.default_rng(0).normal(size=(1, 5, 5)).astype(np.float32)
    seen = {disturbed(image, one, np.random.default_rng(0)).tobytes() for one in tried("quarter")}
    assert len(seen) == 7
    assert image.tobytes() not in seen


def test_a_turn_keeps_the_centre():
    image = blob(at=(20, 30))
    out = disturbed(image, tried("45")[0], np.random.default_rng(0))
    y, x = np.unravel_index(np.nanargmax(out[0]), out[0].shape)
    assert np.hypot(y - 20, x - 20) == pytest.approx(10, abs=0.8)
    assert abs(abs(y - 20) - abs(x - 20)) <= 1


def test_beams_change_the_width_as_they_should():
    beam = 5.4 / 1.8 / np.sqrt(8 * np.log(2))  # px, a point source in this beam
    wider = disturbed(blob(beam), tried("larger")[0], np.random.default_rng(0))
    sharper = disturbed(blob(beam), tried("smaller")[0], np.random.default_rng(0))
    assert width(wider) == pytest.approx(1.5 * beam, rel=0.02)
    assert sharper.max() == pytest.approx(1 / 0.8**2, rel=0.1)  # the flux stays
    assert sharper.sum() == pytest.approx(blob(beam).sum(), rel=1e-3)


def test_noise_is_correlated_and_a_part_of_the_peak():
    one = tried("noise")[0]
    image = 5 * blob(size=101)
    noise = (disturbed(image, one, np.random.default_rng(0)) - image)[0]
    assert noise.std() == pytest.approx(0.02 * 5, rel=0.01)
    beside = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    sigma = 5.4 / 1.8 / np.sqrt(8 * np.log(2))
    assert beside == pytest.approx(np.exp(-1 / (2 * sigma**2)), abs=0.05)
