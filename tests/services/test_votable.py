"""VOTables: what they hold, what they say of themselves, and what is refused in them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.errors import DataError
from rvtool.kinds import Absent, Fatal, Reply, Request, Retry
from rvtool.services.votable import Votable, catalogue_of, read_votable

FIELDS = """<FIELD name="Name" datatype="char" arraysize="*"/><FIELD name="S" datatype="float"/>
<FIELD name="n" datatype="int"><VALUES null="-1"/></FIELD>"""
ROWS = "<TR><TD>a</TD><TD>0.15</TD><TD>3</TD></TR><TR><TD/><TD/><TD>-1</TD></TR>"


def document(inner: str, prolog: str = '<?xml version="1.0"?>') -> bytes:
    """Wrap what stands in a RESOURCE."""
    root = 'VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"'
    return f"{prolog}<{root}><RESOURCE>{inner}</RESOURCE></VOTABLE>".encode()


def table(rows: str = ROWS) -> str:
    """Return a table of three columns."""
    return f"<TABLE>{FIELDS}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>"


def reply(body: bytes, status: int = 200) -> Reply:
    """Return a reply."""
    return Reply(Request("https://example.org/tap"), status, {}, body)


def test_cells_become_plain_python_and_none_where_empty() -> None:
    read = read_votable(document(table()))
    assert read == Votable(
        "OK", "", [{"Name": "a", "S": 0.15, "n": 3}, {"Name": None, "S": None, "n": None}], ("Name", "S", "n")
    )
    assert [type(value) for value in read.rows[0].values()] == [str, float, int]


def test_rows_of_every_table_come() -> None:
    other = table("<TR><TD>b</TD><TD>1</TD><TD>2</TD></TR>").replace('name="S"', 'name="T"')
    read = read_votable(document(table() + other))
    assert read.columns == ("Name", "S", "n", "T")
    assert read.rows[2] == {"Name": "b", "T": 1.0, "n": 2}


@pytest.mark.parametrize(
    ("inner", "status", "message"),
    [
        ('<INFO name="QUERY_STATUS" value="OK"/>' + table(), "OK", ""),
        (
            table() + '<INFO name="QUERY_STATUS" value="OVERFLOW">truncated result</INFO>',
            "OVERFLOW",
            "truncated result",
        ),
        ('<INFO name="QUERY_STATUS" value="ERROR">no such column</INFO>', "ERROR", "no such column"),
        (
            '<INFO ID="Error" name="Error" value="The database is not currently reachable."/>'
            '<INFO name="QUERY_STATUS" value="ERROR"/>',
            "ERROR",
            "The database is not currently reachable.",
        ),
        ('<INFO ID="Error" name="Error" value="out of range"/>', "ERROR", "out of range"),
        (
            '<INFO name="QUERY_STATUS" value="OVERFLOW"/>'
            + table()
            + '<INFO name="QUERY_STATUS" value="ERROR">late</INFO>',
            "ERROR",
            "late",
        ),
    ],
)
def test_status(inner: str, status: str, message: str) -> None:
    read = read_votable(document(inner))
    assert (read.status, read.message) == (status, message)


BOMB = '<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;&b;">]>'
STREAM = f'<TABLE>{FIELDS}<DATA><BINARY><STREAM a=">" href="file:///etc/passwd"/></BINARY></DATA></TABLE>'


@pytest.mark.parametrize(
    "body",
    [
        document(table(), BOMB),
        document(table(), BOMB.lower().replace("entity", "ENTITY")),
        document(table(), '<?xml version="1.0" encoding="UTF-16"?>').decode().encode("utf-16"),
        document(STREAM),
        document(STREAM.replace("href", "\n\txlink='>' href")),
    ],
)
def test_entities_and_further_files_are_refused(body: bytes) -> None:
    with pytest.raises(DataError, match=r"refused|no VOTable"):
        read_votable(body)


def test_links_for_people_are_no_streams() -> None:
    assert len(read_votable(document('<LINK href="https://example.org/doc"/>' + table())).rows) == 2


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>Down</body></html>", b"SIMPLE  =", document(table())[:-40], b"<VOTABLE>"]
)
def test_what_is_no_votable(body: bytes) -> None:
    with pytest.raises(DataError):
        read_votable(body)


@pytest.mark.parametrize(
    ("file", "rows", "first"),
    [
        ("astroquery_vizier/kang2010.xml", 50, ("Seq", 1)),
        ("astroquery_vizier/viz.xml", 432, ("_RAJ2000", 101.2871)),
        ("astroquery_simbad/simbad_basic_columns.xml", 67, ("column_name", "dec")),
        ("pyvo/scs_result.xml", 1273, ("raj2000", 77.6581)),
    ],
)
@pytest.mark.shared
def test_recorded_replies(shared: Path, file: str, rows: int, first: tuple[str, Any]) -> None:
    read = read_votable((shared / "services" / file).read_bytes())
    assert (read.status, len(read.rows), read.rows[0][first[0]]) == ("OK", rows, first[1])


@pytest.mark.parametrize(
    ("got", "kind", "said"),
    [
        (reply(b"", 503), Retry, "503"),
        (reply(b"", 403), Fatal, "403"),
        (reply(b"no such table", 400), Absent, "no such table"),
        (reply(b"<html><p>Blacklisted</p></html>"), Retry, "Blacklisted"),
        (reply(document('<INFO name="QUERY_STATUS" value="ERROR">busy</INFO>')), Retry, "busy"),
        (reply(document('<INFO name="QUERY_STATUS" value="ERROR"/>')), Retry, "could not answer"),
    ],
)
def test_replies_without_a_table(got: Reply, kind: type, said: str) -> None:
    answer = catalogue_of(got)
    assert isinstance(answer, kind)
    assert not isinstance(answer, Votable)
    assert said in answer.reason


def test_an_overflow_is_left_to_the_source() -> None:
    read = catalogue_of(reply(document(table() + '<INFO name="QUERY_STATUS" value="OVERFLOW"/>')))
    assert isinstance(read, Votable)
    assert (read.status, len(read.rows)) == ("OVERFLOW", 2)


words = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(words, st.floats(-1e6, 1e6, width=32), st.integers(-(2**40), 2**40)), min_size=1, max_size=4))
@pytest.mark.parametrize("form", ["tabledata", "binary2"])
def test_what_astropy_writes_comes_back(form: str, rows: list[tuple[str, float, int]]) -> None:
    file = io.BytesIO()
    Table(rows=rows, names=("word", "x", "n")).write(file, format="votable", tabledata_format=form)
    read = read_votable(file.getvalue())
    assert [(row["word"], row["x"], row["n"]) for row in read.rows] == rows
