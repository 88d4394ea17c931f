"""What a beam's second moments are, and what a unit is counted per."""

import math

import pytest

from rvtool.data.beams import area, covariance, per, spelled
from rvtool.kinds import Beam


def test_the_moments_of_a_beam_lie_along_its_angle():
    half = 1 / (8 * math.log(2))
    assert covariance(Beam(6, 3)) == pytest.approx((9 * half, 0, 36 * half))  # to the north
    assert covariance(Beam(6, 3, 90)) == pytest.approx((36 * half, 0, 9 * half))
    xx, xy, yy = covariance(Beam(6, 3, 45))  # to the north-east: x counts to the west
    assert xx == pytest.approx(yy)
    assert xy == pytest.approx(-13.5 * half)
    assert 2 * math.pi * math.sqrt(xx * yy - xy**2) == pytest.approx(area(Beam(6, 3)))


@pytest.mark.parametrize(
    ("unit", "counted"),
    [
        ("Jy/beam", "beam"),
        ("mJy beam-1", "beam"),
        ("JY/BEAM", "beam"),
        ("MJy/sr", "area"),
        ("nanomaggy/arcsec2", "area"),
        ("Jy/pixel", "pixel"),
        ("nanomaggy", "pixel"),
        ("count", "pixel"),
        ("K", ""),
        ("", ""),
    ],
)
def test_a_unit_is_counted_per_something_or_nothing(unit, counted):
    assert per(unit) == counted


def test_one_unit_has_one_spelling():
    assert {spelled(unit) for unit in ("JY/BEAM", "Jy beam-1", "Jy beam^-1", "Jy*beam**-1")} == {"jy/beam"}
    assert spelled("Jy pixel-1") == "jy/pix"
