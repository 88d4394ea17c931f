"""When images count as other than those of the training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rvtool.data.stretch import Stretch
from rvtool.kinds import Beam, Side
from rvtool.runs.unlike import unlike

FIRST = Side(1, 16, 16, unit="Jy/beam", pixel_arcsec=1.8, beam=Beam(5.4, 5.4, 0.0))


@pytest.mark.parametrize(
    ("change", "scale", "kinds"),
    [
        ({"unit": "JY / BEAM", "pixel_arcsec": 1.85, "beam": Beam(5.9, 4.9, 40.0)}, "train", []),
        ({"unit": "", "pixel_arcsec": None, "beam": None}, "train", []),
        ({"unit": "mJy/beam"}, "train", ["unit"]),
        ({"unit": "mJy/beam"}, "image", []),
        ({"pixel_arcsec": 1.5}, "image", ["pixel scale"]),
        ({"beam": Beam(6.4, 5.4, 0.0)}, "image", ["beam"]),
        ({"beam": Beam(5.4, 4.0, 0.0)}, "image", ["beam"]),
        ({"unit": "K", "pixel_arcsec": 15.0, "beam": Beam(45, 45, 0.0)}, "train", ["unit", "pixel scale", "beam"]),
    ],
)
def test_what_matters_is_told(change, scale, kinds):
    found = unlike(replace(FIRST, **change), FIRST, Stretch(scale=scale))
    assert [one.kind for one in found] == kinds
    # what the run was never told cannot be compared
    assert unlike(FIRST, Side(1, 16, 16), Stretch(scale=scale)) == []


def test_a_difference_names_both():
    (found,) = unlike(replace(FIRST, beam=Beam(45, 40, 0.0)), FIRST, Stretch())
    told = found.told("2 of 3 images", "a-run")
    assert told == "2 of 3 images have another beam than a-run was trained on: 45 x 40 arcsec, not 5.4 x 5.4 arcsec."
