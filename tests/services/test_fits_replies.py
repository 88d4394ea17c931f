"""Taking a FITS file for one, what a page says instead, and the cards of a header."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvtool.errors import DataError
from rvtool.kinds import Absent, Fatal, Found, Reply, Request, Retry, Target
from rvtool.services import mocserver, surveys
from rvtool.services.positions import position_of
from rvtool.services.replies import fits_or_refusal, header_values, iso_date
from rvtool.testing.sky.fits import fits_bytes

ASKED = Request("https://example.org/cutout")
IMAGE = fits_bytes(np.zeros((4, 4), np.float32), [("DATE-OBS", "19930417", ""), ("OBJECT", "O'Neill", "a / name")])


def read(body, status=200, **columns):
    return fits_or_refusal(Reply(ASKED, status, {}, body), **columns)


def test_an_image_comes_with_its_columns():
    assert read(IMAGE, coadd="10510", none=None) == Found(IMAGE, ".fits", {"coadd": "10510", "epoch": "1993-04-17"})
    assert read(fits_bytes(np.zeros((4, 4), np.float32))).columns == {}


@pytest.mark.parametrize(
    "page",
    [
        "Position is not in the area currently covered by the FIRST catalog",
        "<PRE>No image found</PRE>",
        "no data at this position",
        "The position is outside of the survey",
        "This field is not covered",
    ],
)
def test_words_that_say_that_nothing_is_there(page):
    assert isinstance(read(page.encode()), Absent)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "No database connection",
        "The server is not in operation",
        "not in service",
        "Outside help is on its way",
        "\0",
    ],
)
def test_other_words_are_worth_another_try(page):
    assert isinstance(read(page.encode()), Retry)


def test_the_status_counts_before_the_body():
    assert isinstance(read(IMAGE, 503), Retry)
    assert isinstance(read(IMAGE, 403), Fatal)
    assert isinstance(read(IMAGE[:1000]), Retry)


def test_the_cards_of_a_header():
    values = header_values(IMAGE)
    assert (values["NAXIS1"], values["OBJECT"], values["DATE-OBS"]) == ("4", "O'Neill", "19930417")


@given(st.binary(max_size=300))
def test_no_bytes_make_reading_fail(body):
    header_values(body)
    read(body)
    read(IMAGE[:80] + body * 20)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("19930417", "1993-04-17"),
        ("17/04/93", "1993-04-17"),
        ("2023-03-26", "2023-03-26"),
        ("2023-03-26T19:18:44.549999", "2023-03-26"),
        ("19931341", None),
        ("", None),
        ("MJD 51000", None),
    ],
)
def test_dates(text, date):
    assert iso_date(text) == date


@given(st.dates(min_value=datetime.date(1900, 1, 1)))
def test_every_date_comes_back(date):
    assert iso_date(date.isoformat()) == iso_date(date.strftime("%Y%m%d")) == date.isoformat()


def test_a_target_without_a_position_is_named():
    assert position_of(Target("t", 361.0, -1.0)) == (1.0, -1.0)
    with pytest.raises(DataError, match="'t' has no position"):
        position_of(Target("t", 12.0))


def test_the_coverage_is_fetched_once():
    request = mocserver.request("CDS/P/NVSS", order=7)
    assert request.shared
    assert request.params == {"ID": "CDS/P/NVSS", "get": "moc", "order": "7", "fmt": "fits"}


@pytest.mark.parametrize("name", ["FIRST", "NVSS", "LOTSS", "VLASS"])
def test_a_survey_tells_what_must_be_cited(name):
    survey = getattr(surveys, name)
    assert survey.licence
    assert survey.acknowledgement
    assert survey.bibtex.count("{") == survey.bibtex.count("}")
    for field in ("author", "title", "journal", "volume", "pages", "year", "doi"):
        assert f"  {field} = {{" in survey.bibtex
    assert survey.citation.split(" ")[0].strip(",") in survey.bibtex  # the first author
