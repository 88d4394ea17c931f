"""Positions: as typed, as written, as names."""

from __future__ import annotations

import pytest
from astropy.coordinates import Angle
from hypothesis import given
from hypothesis import strategies as st

from rvtool.services import positions

M87 = (187.705917, 12.391111)


@pytest.mark.parametrize(
    "text",
    ["187.705917 12.391111", "187.705917,+12.391111", "12 30 49.42 +12 23 28.0", "12:30:49.42 12:23:28",
     "12h30m49.42s +12d23m28s", "12h30m49.42s, +12°23′28.0″", "12H30M49.42S+12D23M28S"],
)  # fmt: skip
def test_typed_positions(text: str) -> None:
    assert positions.parse(text) == pytest.approx(M87, abs=2e-6)


@pytest.mark.parametrize("text", ["M87", "3C 31", "187.7", "1 2 3", "1e2 5", "nan 5", "PSR 0531+21", ""])
def test_names_are_no_positions(text: str) -> None:
    assert positions.parse(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [("361 0", "0 to 360"), ("-1 0", "0 to 360"), ("10 90.1", "-90 to 90"), ("25 00 00 +10 00 00", "0 to 360"),
     ("12 75 00 +12 09 00", "12 75 00"), ("12 30 60 +12 09 00", "12 30 60"), ("12:30:00 +12:99:00", r"\+12:99:00")],
)  # fmt: skip
def test_positions_off_the_sky(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        positions.parse(text)


def test_minus_zero_degrees_is_south() -> None:
    assert positions.parse("00 00 00 -00 30 00") == (0, -0.5)
    assert positions.parse("00 00 00 −00 30 00") == (0, -0.5)  # the sign that printed papers have


@pytest.mark.parametrize(
    ("text", "value"),
    [("-20:58:06.3", -20.968417), ("-20:58.1", -20.968333), ("-20", -20), ("12h30m", 12.5), ("-00°30′00″", -0.5),
     ("−0 30", -0.5), ("187 42 21.3", 187.70591667), ("12.5", 12.5)],
)  # fmt: skip
def test_single_angles(text: str, value: float) -> None:
    assert positions.angle(text) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("text", ["", "M87", "12:60", "12:30:60.0", "12:30:30:30", "12.5:30", "1e2", "nan", "--5"])
def test_what_is_no_angle(text: str) -> None:
    with pytest.raises(ValueError, match=r"below 60|no sexagesimal"):
        positions.angle(text)


def test_position_in_a_name() -> None:
    assert positions.from_name("SDSS J123049.42+122328.0") == pytest.approx(M87, abs=2e-6)
    assert positions.from_name("J002900.98-011341.7") == pytest.approx((7.254083, -1.228250), abs=1e-6)
    assert positions.from_name("J1230+1223") is None
    assert positions.from_name("J127549+122328") is None  # no time has 75 minutes


def test_seconds_that_round_up_carry() -> None:
    assert positions.sexagesimal(359.9999999, -0.99999999) == ("00 00 00.00", "-01 00 00.0")
    assert positions.j_name(*M87) == "J123049.42+122328.0"


places = st.tuples(st.floats(0, 360, exclude_max=True), st.floats(-90, 90))


@given(places)
def test_writing_and_reading(place: tuple[float, float]) -> None:
    ra, dec = positions.sexagesimal(*place)
    for back in (positions.parse(f"{ra} {dec}"), positions.from_name(positions.j_name(*place))):
        assert back is not None
        assert abs(back[1] - place[1]) <= 0.0501 / 3600
        assert abs((back[0] - place[0] + 180) % 360 - 180) <= 0.0751 / 3600


@given(places)
def test_astropy_reads_the_same(place: tuple[float, float]) -> None:
    ra, dec = positions.sexagesimal(*place, ":")
    back = positions.parse(f"{ra} {dec}")
    assert back == pytest.approx((Angle(ra, "hourangle").deg, Angle(dec, "deg").deg), abs=1e-9)
