"""Faults: each makes what its name says of a good reply, and the same requests meet them every time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from rvtool.errors import ConfigError
from rvtool.kinds import Request
from rvtool.services.replies import retry_after
from rvtool.testing.sky import Answer, Asked, Sky
from rvtool.testing.sky.answers import respond
from rvtool.testing.sky.faults import FAULTS, PURE, WIRE, drawn, faulty

GOOD = respond(Asked("GET", "/cgi-bin/firstcutout", {"RA": "12.0 30.0", "ImageSize": "4.5"}), Sky())
TABLE = Answer(b"<VOTABLE><RESOURCE><TABLE/></RESOURCE></VOTABLE>", "text/xml")


def header_and_data(answer: Answer) -> tuple[fits.Header, np.ndarray]:
    with fits.open(io.BytesIO(answer.body)) as hdus:
        hdus.verify("exception")
        return hdus[0].header, hdus[0].data


def test_there_is_one_for_each_thing_that_goes_wrong():
    assert set(WIRE) == {"truncated", "truncated-chunked", "reset", "slow"}
    assert set(PURE) == {
        "429-seconds", "429-date", "503", "html", "pre", "csv-error", "votable-error", "votable-overflow",
        "blank", "wrong-size", "elsewhere",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="did you mean 'html'"):
        faulty("htm", GOOD)


@pytest.mark.parametrize(("name", "status"), [("429-seconds", 429), ("429-date", 429), ("503", 503), ("html", 200)])
def test_refusals_have_the_status_of_their_names(name, status):
    answer = faulty(name, GOOD)
    assert answer.status == status
    assert answer.body.startswith(b"<html>")


@pytest.mark.parametrize(("name", "least", "most"), [("429-seconds", 1, 1), ("429-date", 0.5, 2)])
def test_retry_after_is_told_in_both_forms(name, least, most):
    wait = retry_after(faulty(name, GOOD).reply(Request("http://x.example")))
    assert wait is not None
    assert least <= wait <= most


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pre", b"<PRE>"),
        ("csv-error", b'"ERROR: Maximum 60 queries allowed per minute.'),
        ("votable-error", b'<INFO name="QUERY_STATUS" value="ERROR"/>'),
        ("votable-overflow", b'<INFO name="QUERY_STATUS" value="OVERFLOW"/>'),
    ],
)
def test_what_services_say_with_status_200(name, said):
    answer = faulty(name, GOOD)
    assert answer.status == 200
    assert said in answer.body


def test_an_overflow_keeps_the_rows_of_a_table():
    body = faulty("votable-overflow", TABLE).body
    assert body == (b'<VOTABLE><RESOURCE><TABLE/><INFO name="QUERY_STATUS" value="OVERFLOW"/>\n</RESOURCE></VOTABLE>')


def test_images_that_are_wrong_are_good_files():
    header, data = header_and_data(GOOD)
    assert np.isnan(header_and_data(faulty("blank", GOOD))[1]).all()
    smaller_header, smaller = header_and_data(faulty("wrong-size", GOOD))
    np.testing.assert_array_equal(smaller, data[37:112])
    assert smaller_header["CRPIX2"] == header["CRPIX2"] - 37  # each pixel keeps its place in the sky
    moved, same = header_and_data(faulty("elsewhere", GOOD))
    assert abs(moved["CRVAL2"] - header["CRVAL2"]) == 5
    np.testing.assert_array_equal(same, data)


@pytest.mark.parametrize("name", ["blank", "wrong-size", "elsewhere", *WIRE])
def test_what_is_no_image_stays(name):
    assert faulty(name, TABLE) is TABLE


def test_the_same_requests_meet_the_same_faults_in_the_right_numbers():
    requests = [Asked("GET", "/x", {"RA": str(number)}) for number in range(4000)]
    first = [drawn(asked, 0, 0.12, tuple(FAULTS)) for asked in requests]
    assert first == [drawn(asked, 0, 0.12, tuple(FAULTS)) for asked in requests]
    assert first != [drawn(asked, 1, 0.12, tuple(FAULTS)) for asked in requests]
    met = [name for name in first if name]
    assert len(met) == pytest.approx(480, abs=80)
    assert set(met) == set(FAULTS)
    assert all(drawn(asked, 0, 0.0, tuple(FAULTS)) is None for asked in requests[:100])
    assert all(drawn(asked, 0, 1.0, ("slow",)) == "slow" for asked in requests[:100])
