"""What travels with a dataset: citations once each, thanks, records, failures."""

import csv
import json
from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from rvtool.data.dataset import Dataset
from rvtool.kinds import SourceInfo
from rvtool.verbs.collect.records import json_of, write_citations, write_failures, write_metadata

BECKER = "@article{Becker1995,\n  title = {The {FIRST} Survey},\n  note = {mail first@example.org}\n}"
CONDON = "@article{Condon1998,\n  title = {The {NVSS}}\n}"
INFOS = [
    (
        "first",
        SourceInfo(
            "https://first.example",
            bibtex=BECKER,
            citation="Becker et al. 1995",
            licence="scholarly use",
            release="2014 Dec 17",
            acknowledgement="We thank\n  the VLA.",
            unverified=("the rate limit",),
        ),
    ),
    ("both", SourceInfo("https://both.example", bibtex=f"{CONDON}\n\n{BECKER}\n")),
    ("folder", SourceInfo("file:")),
]


def test_each_citation_is_written_once(tmp_path):
    bib, _ = write_citations(tmp_path, INFOS)
    assert bib.name == "CITATION.bib"
    assert bib.read_text() == f"{BECKER}\n\n{CONDON}\n"
    write_citations(tmp_path, INFOS[2:])
    assert bib.read_text() == ""


def test_acknowledgements_say_what_is_known_and_what_is_not(tmp_path):
    _, thanks = write_citations(tmp_path, INFOS, {"first": 12})
    text = thanks.read_text()
    first, both = text.split("## ")[1:3]
    assert thanks.name == "ACKNOWLEDGEMENTS.md"
    assert first.splitlines() == [
        "first",
        "",
        "- Images: 12",
        "- Release: 2014 Dec 17",
        "- Citation: Becker et al. 1995",
        "- Licence: scholarly use",
        "- Not verified: the rate limit",
        "",
        "> We thank the VLA.",
        "",
    ]
    assert both.strip() == "both"


def test_metadata_is_a_list_that_counts_by_object_type(tmp_path):
    table = pa.table({
        "id": ["a", "b", "c"],
        "label": ["quasar", "pulsar", None],
        "ra_deg": [1.5, float("nan"), None],
        "path": ["images/ä.fits", "images/b.fits", "images/c.fits"],
    })  # fmt: skip
    path = write_metadata(tmp_path, Dataset(tmp_path, {}, table))
    records = json.loads(path.read_text())
    assert Counter(x["object_type"] for x in records) == {"quasar": 1, "pulsar": 1, "": 1}
    assert records[0] == {"id": "a", "object_type": "quasar", "ra_deg": 1.5, "path": "images/ä.fits"}
    assert "ra_deg" not in records[1]


def test_metadata_of_many_rows_keeps_all_in_order(tmp_path):
    count = 12_345  # more than are held at once
    table = pa.table({"id": np.arange(count).astype(str)})
    records = json.loads(write_metadata(tmp_path, Dataset(tmp_path, {}, table)).read_bytes())
    assert [record["id"] for record in records] == [str(n) for n in range(count)]


@given(st.dictionaries(st.text(), st.none() | st.text() | st.floats() | st.integers() | st.booleans()))
def test_a_record_is_strict_json_and_keeps_what_it_tells(record):
    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads(json_of(record), parse_constant=refuse)
    told = {k: v for k, v in record.items() if v is not None and not (isinstance(v, float) and not np.isfinite(v))}
    assert read == told


def test_failures_are_listed_and_the_list_goes_with_them(tmp_path):
    rows = [{"id": "a", "label": "", "reason": "HTTP 404, really"}, {"id": "b", "label": "x", "reason": 'said "no"'}]
    path = write_failures(tmp_path, iter(rows))
    with open(path, newline="") as stream:
        assert list(csv.DictReader(stream)) == rows
    assert write_failures(tmp_path, []) is None
    assert not path.exists()
    assert write_failures(tmp_path, []) is None
