"""The simulated sky: what is in it, and how it looks through a beam."""

from __future__ import annotations

import io

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from rvtool.errors import DataError
from rvtool.kinds import Box
from rvtool.testing.sky import Sky, targets_csv
from rvtool.testing.sky.fits import card_image, fits_bytes, sky_cards
from rvtool.testing.sky.geometry import box_around, deproject, project, separation_deg, within
from rvtool.testing.sky.sky import LABELS, SIGMA_PER_FWHM, WHERE

PIXEL, BEAM = 1.8, 5.4
BEAM_PIXELS = 2 * np.pi * (BEAM * SIGMA_PER_FWHM / PIXEL) ** 2
places = st.tuples(st.floats(0, 359.999), st.floats(-90, 90))


@pytest.fixture(scope="module")
def sky() -> Sky:
    return Sky()


def drawn(sky: Sky, thing, rms_jy: float = 0.0, **options) -> np.ndarray:
    return sky.cutout(thing.ra_deg, thing.dec_deg, 150, 150, PIXEL, BEAM, rms_jy, **options)


@pytest.mark.parametrize("place", [(180, 30), (0.01, 0), (359.99, -45), (10, 89.9), (200, -89.95)])
def test_a_wide_search_finds_what_a_search_at_each_place_finds(sky, place):
    found = sky.things(*place, 60)
    apart = SkyCoord(*place, unit="deg").separation(
        SkyCoord([t.ra_deg for t in found], [t.dec_deg for t in found], unit="deg")
    )
    assert list(apart) == sorted(apart)
    assert apart[-1] <= 60 * u.arcmin
    assert 50 < len(found) < 90  # fewer than 25 in a square degree
    assert all(sky.things(thing.ra_deg, thing.dec_deg, 1) == [thing] for thing in found)


@given(places)
def test_a_narrow_search_finds_no_less_than_a_wide_one(place):
    sky = Sky(3)
    near = sky.things(*place, 9)
    assert near == sky.things(*place, 30)[: len(near)]


def test_no_two_things_lie_within_six_arcmin(sky):
    things = sky.catalogue(None, 2500, Box(350, 10, -60, -50))
    where = SkyCoord([t.ra_deg for t in things], [t.dec_deg for t in things], unit="deg")
    first, second, _, _ = search_around_sky(where, where, 6 * u.arcmin)
    assert (first == second).all()


def test_another_seed_is_another_sky():
    assert Sky(1).things(180, 30, 30) == Sky(1).things(180, 30, 30) != Sky(2).things(180, 30, 30)


def test_a_longer_catalogue_begins_as_a_shorter_one_and_is_really_there(sky):
    long = sky.catalogue("FRII", 1300)
    assert sky.catalogue("FRII", 20) == long[:20]
    assert {thing.label for thing in long} == {"FRII"}
    assert len({thing.name for thing in long}) == 1300
    assert all(within(WHERE, thing.ra_deg, thing.dec_deg) for thing in long)
    assert all(sky.things(thing.ra_deg, thing.dec_deg, 1) == [thing] for thing in long[:50])
    assert np.ptp([thing.ra_deg for thing in long[:50]]) > 80  # spread over the box, not in a row


def test_a_catalogue_keeps_to_a_box_that_passes_right_ascension_0(sky):
    things = sky.catalogue(None, 100, Box(350, 10, -5, 5))
    assert all(thing.ra_deg >= 350 or thing.ra_deg <= 10 for thing in things)
    assert any(thing.ra_deg > 350 for thing in things)
    assert any(thing.ra_deg < 10 for thing in things)


def test_too_long_a_catalogue_says_how_much_there_is(sky):
    with pytest.raises(DataError, match=r"holds \d+ of Bent, not 1000"):
        sky.catalogue("Bent", 1000, Box(10, 15, 0, 5))


@pytest.mark.parametrize("label", LABELS)
def test_every_class_shows_its_flux(sky, label):
    for thing in sky.catalogue(label, 5):
        assert drawn(sky, thing).sum() / BEAM_PIXELS == pytest.approx(thing.flux_jy, rel=2e-3)


def test_the_classes_look_as_their_names_say(sky):
    def brightest_arcsec(thing):
        y, x = np.unravel_index(drawn(sky, thing).argmax(), (150, 150))
        return PIXEL * np.hypot(x - 74.5, y - 74.5)

    for thing in sky.catalogue("FRI", 10) + sky.catalogue("Compact", 10):
        assert brightest_arcsec(thing) < 2
    for thing in sky.catalogue("FRII", 10):
        assert brightest_arcsec(thing) == pytest.approx(0.9 * thing.size_arcsec / 2, abs=2)


def test_the_axis_is_at_the_position_angle_from_north_to_east(sky):
    north, east = np.mgrid[:150, :150] - 74.5
    east = -east  # east is left
    for thing in sky.catalogue("FRII", 10):
        image = drawn(sky, thing)
        angle = 0.5 * np.arctan2(2 * (image * east * north).sum(), (image * (north**2 - east**2)).sum())
        apart = (np.degrees(angle) - thing.angle_deg + 90) % 180 - 90
        assert abs(apart) < 0.5


@pytest.mark.parametrize("projection", ["SIN", "TAN"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.2)])
def test_pixels_and_header_agree(sky, projection, shift):
    """Draw a point whose image's reference is far outside, and find it where astropy says."""
    thing = sky.catalogue("Compact", 1, Box(130, 230, 50, 60))[0]
    at = thing.ra_deg + shift[0], thing.dec_deg + shift[1]
    east, north = project(thing.ra_deg, thing.dec_deg, *at, projection)
    crpix = (75.3 + east * 3600 / PIXEL, 80.6 - north * 3600 / PIXEL)
    image = sky.cutout(*at, 140, 150, PIXEL, BEAM, 0, projection=projection, crpix=crpix)
    body = fits_bytes(image, sky_cards(*at, 140, 150, PIXEL, projection, crpix=crpix))
    with fits.open(io.BytesIO(body)) as hdus:
        x, y = WCS(hdus[0].header).wcs_world2pix(thing.ra_deg, thing.dec_deg, 0)
        data = hdus[0].data
    rows, columns = np.mgrid[:140, :150]
    assert (data * columns).sum() / data.sum() == pytest.approx(x, abs=0.01)
    assert (data * rows).sum() / data.sum() == pytest.approx(y, abs=0.01)
    assert (x, y) == pytest.approx((74.3, 79.6), abs=1e-3)


def test_noise_has_the_rms_and_the_correlation_of_the_beam(sky):
    noise = np.concatenate([drawn(sky, t, 2e-4) - drawn(sky, t) for t in sky.catalogue("pulsar", 20)])
    assert noise.std() == pytest.approx(2e-4, rel=0.03)
    sigma = BEAM * SIGMA_PER_FWHM / PIXEL
    beside = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert beside == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.01)


def test_a_cutout_may_be_larger_than_the_tile_of_noise(sky):
    image = sky.cutout(180, 30, 1100, 40, PIXEL, BEAM, 1e-3)
    assert image.shape == (1100, 40)
    assert image.dtype == np.float32
    assert np.median(np.abs(image[1024:])) > 1e-4  # noise there too


@given(places, st.floats(-1, 1), st.floats(-1, 1), st.sampled_from(["SIN", "TAN"]))
def test_a_place_in_the_plane_comes_back(place, east, north, projection):
    back = project(*deproject(east, north, *place, projection), *place, projection)
    assert back == pytest.approx((east, north), abs=1e-7)


@given(places, places)
def test_separations_are_those_of_astropy(first, second):
    ours = separation_deg(*first, np.array([second[0]]), np.array([second[1]]))[0]
    theirs = SkyCoord(*first, unit="deg").separation(SkyCoord(*second, unit="deg")).deg
    assert ours == pytest.approx(theirs, abs=1e-5)


@given(places, st.floats(0, 360), st.floats(0.001, 5))
def test_a_circle_lies_within_its_box(place, towards, radius):
    edge = SkyCoord(*place, unit="deg").directional_offset_by(towards * u.deg, 0.999 * radius * u.deg)
    box = box_around(*place, radius)
    slack = Box(box.ra_min, box.ra_max, box.dec_min - 1e-9, box.dec_max + 1e-9)
    assert within(slack, edge.ra.deg, edge.dec.deg)


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53), st.booleans()))
def test_numbers_come_back_from_a_card(value):
    back = fits.Card.fromstring(card_image("VALUE", value, "what it is"))
    back.verify("exception")
    assert (back.value, type(back.value)) == (value, type(value))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_texts_come_back_from_a_card(text):
    back = fits.Card.fromstring(card_image("VALUE", text, ""))
    assert back.value == text.rstrip()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_file_keeps_to_the_standard(dtype):
    data = np.arange(24).reshape(2, 3, 4).astype(dtype)
    body = fits_bytes(data, [("BUNIT", "JY/BEAM", "unit"), ("HISTORY", "made up", "")], simple="made at noon")
    assert len(body) == 2 * 2880
    with fits.open(io.BytesIO(body)) as hdus:
        hdus.verify("exception")
        assert hdus[0].data.dtype.newbyteorder("=") == dtype
        np.testing.assert_array_equal(hdus[0].data, data)
        assert hdus[0].header["BUNIT"] == "JY/BEAM"
        assert hdus[0].header.comments["SIMPLE"] == "made at noon"


def test_targets_take_turns(sky, tmp_path):
    things = targets_csv(tmp_path / "t.csv", sky, 3, ("FRI", "FRII"))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "id,ra_deg,dec_deg,label"
    assert [line.split(",")[3] for line in lines[1:]] == ["FRI", "FRII"] * 3
    name, ra, dec, _ = lines[1].split(",")
    assert (name, float(ra), float(dec)) == (things[0].name, things[0].ra_deg, things[0].dec_deg)
