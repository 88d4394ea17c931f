"""Injected sources: both sides show them at one place with one brightness, and what a translator misses is told."""

from types import SimpleNamespace

import numpy as np
import pytest

from rvtool.kinds import Beam, Side
from rvtool.report.likeness import Truth
from rvtool.verbs.evaluate import injected
from rvtool.verbs.evaluate.classical import RichardsonLucy, brightness_ratio
from rvtool.verbs.evaluate.degradation import Degradation

TARGET = Side(1, 96, 96, unit="Jy/beam", pixel_arcsec=1.8, beam=Beam(5.4, 5.4))
IMAGE = Side(1, 24, 24, unit="Jy/beam", pixel_arcsec=7.2, beam=Beam(21.6, 21.6))
COUNT = 24


@pytest.fixture
def sky():
    """Make images of noise, one with a source, one with half unknown."""
    random = np.random.default_rng(0)
    truths = random.normal(0, 1.5e-4, (COUNT, 1, 96, 96))
    truths[0, 0, 48, 48] = 1.0
    seen = Degradation(IMAGE, TARGET, (24, 24))
    inputs = np.stack([seen.forward(seen.pad(truth, fine=True))[seen.image] for truth in truths])
    inputs = inputs / brightness_ratio(IMAGE, TARGET) + random.normal(0, 3e-4, inputs.shape)
    truths[1, :, :48] = np.nan
    truth = Truth([str(n) for n in range(COUNT)], truths, TARGET)
    return SimpleNamespace(truth=truth, image=IMAGE, inputs=inputs)


def test_deconvolution_finds_what_was_injected_and_nothing_finds_nothing(sky, monkeypatch):
    lucy = RichardsonLucy(IMAGE, TARGET)
    lucy.chosen = 40
    asked = []

    def restore(one, inputs, batch_size):
        asked.append(inputs)
        return iter([np.stack([lucy.apply(image) for image in inputs])])

    monkeypatch.setattr(injected, "_ask", restore)
    found = injected.judge(sky, 8, 100, 0)
    assert found["sources"] > 10
    assert found["completeness"]["value"] >= 0.8
    assert found["completeness"]["baseline"] == found["reliability"]["baseline"] == 1
    assert 0.2 < found["peak"]["median"] < 1.2
    assert np.isfinite(asked[0]).all()
    assert (asked[0] - sky.inputs).max(axis=(1, 2, 3)).mean() > 3e-4
    monkeypatch.setattr(injected, "_ask", lambda one, inputs, size: iter([np.zeros_like(one.truth.pixels)]))
    nothing = injected.judge(sky, 8, 100, 0)
    assert nothing["sources"] == found["sources"]
    assert nothing["peak"]["median"] == 0
    assert (nothing["completeness"]["value"], nothing["found"]) == (0, 0)


def test_places_are_clear_of_sources_edges_and_each_other(sky):
    random = np.random.default_rng(1)
    for plane in sky.truth.pixels[:6, 0]:
        places = list(injected._free(plane, 12.0, random))
        for row, column in places:
            assert all(17 < place < 78 for place in (row, column))
        if len(places) == 2:
            assert np.hypot(*np.subtract(*places)) > 34
    assert not list(injected._free(sky.truth.pixels[1, 0, 40:60], 12.0, random))


def test_what_cannot_be_compared_is_left_out(sky):
    sky.image = Side(1, 24, 24, unit="mag", pixel_arcsec=7.2)
    assert injected.judge(sky, 8, 10, 0) is None
