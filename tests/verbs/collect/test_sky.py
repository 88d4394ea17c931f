"""What a survey covers, and which targets are the same thing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rvtool.errors import DataError
from rvtool.kinds import Box
from rvtool.verbs.collect.sky import covered, deduplicate, read_moc

ARCSEC = 1 / 3600


def test_boxes():
    north, south = Box(120, 255, -8, 58), Box(320, 50, -2.5, 1.6)
    ra = np.array([120.0, 255, 119.9, 200, 200, 340, 10, 50.1, 319.9, np.nan])
    dec = np.array([-8.0, 58, 0, 58.1, 20, 0, 1.6, 0, 0, 0])
    inside = [True, True, False, False, True, True, True, False, False, True]
    assert covered(ra, dec, (north, south)).tolist() == inside
    assert covered(ra, dec, (Box(0, 360, -40, 90),)).all()
    assert not covered(ra, dec, (Box(0, 360, 60, 90),))[:-1].any()
    assert covered(ra, dec).all()


def test_maps(tmp_path):
    from astropy.coordinates import Angle, Latitude, Longitude
    from mocpy import MOC

    moc = MOC.from_cone(Longitude("10d"), Latitude("20d"), radius=Angle("1d"), max_depth=10)
    moc.save(str(tmp_path / "moc.fits"), format="fits")
    ra, dec = np.array([10.0, 10, 10, 12.2, 12.2, np.nan]), np.array([20.0, 20.9, 21.1, 20, 20.9, 0])
    for body in ((tmp_path / "moc.fits").read_bytes(), json.dumps(moc.serialize("json")).encode()):
        read = read_moc(body)
        assert read == moc
        # the map counts alone
        inside = covered(ra, dec, (Box(0, 360, -90, 90),), read)
        assert inside.tolist() == [True, True, False, False, False, True]


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b'{"a": 1}', b"[]", b"SIMPLE  =" + b" " * 2871])
def test_what_is_no_map(body):
    with pytest.raises(DataError, match="coverage map"):
        read_moc(body)


def test_duplicates_of_one_class():
    ra = np.array([10, 10 + ARCSEC, 359.99999, 0.00001, 50])
    found = deduplicate(ra, np.zeros(5), ["FRI", "FRI", None, None, "FRI"], 2)
    assert found.keep.tolist() == [True, False, True, False, True]
    assert found.duplicate_of.tolist() == [-1, 0, -1, 2, -1]
    assert found.conflicts.shape == (0, 2)
    assert deduplicate(ra, np.zeros(5), ["FRI"] * 5, 0.05).keep.all()


def test_conflicts_are_listed_and_set_aside():
    labels = ["quasar", "spiral", "quasar", "pulsar"]
    found = deduplicate(np.array([10, 10, 10, 90.0]), np.zeros(4), labels, 2)
    assert found.keep.tolist() == [False, False, False, True]
    assert found.duplicate_of.tolist() == [-1, -1, -1, -1]
    assert found.conflicts.tolist() == [[0, 1]]


def test_a_label_is_worth_more_than_none():
    found = deduplicate(np.full(2, 10.0), np.zeros(2), ["", "FRI"], 2)
    assert found.keep.tolist() == [False, True]
    assert not len(found.conflicts)


def test_long_labels_take_no_more_room_than_they_need():
    labels = ["F" * 10_000_000, *["FRI"] * 2999]  # as an array of texts they would need 120 GB
    found = deduplicate(np.linspace(0, 300, 3000), np.zeros(3000), labels, 2)
    assert found.keep.all()


def test_rows_without_a_position_stay():
    found = deduplicate(np.array([np.nan, np.nan, 1]), np.array([np.nan, np.nan, 1]), ["a", "a", "a"], 2)
    assert found.keep.all()
    nothing = deduplicate(np.array([]), np.array([]), [], 2)
    assert nothing.keep.shape == (0,)


def test_a_hundred_thousand_positions():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 100_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 100_000)))
    ra[1::2], dec[1::2] = ra[::2] + ARCSEC, dec[::2]  # each twice, at most an arcsec apart
    found = deduplicate(ra, dec, ["a"] * 100_000, 2)
    assert found.keep.sum() == pytest.approx(50_000, abs=5)
    assert (found.duplicate_of >= 0).sum() == 100_000 - found.keep.sum()
    assert covered(ra, dec, (Box(120, 255, -8, 58),)).mean() == pytest.approx(0.1851, abs=0.005)
