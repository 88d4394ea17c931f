"""SIMBAD: objects by type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Listed, Reply, Request, Retry
from rvtool.services.votable import read_votable
from rvtool.testing import check_source
from rvtool.testing.sky import Sky, answer
from rvtool_plugins.sources.simbad import SimbadConfig, rvtool_sources
from rvtool_plugins.sources.simbad.source import COLUMNS, OTYPES, Simbad

SIMBAD = Simbad(SimbadConfig())


@pytest.mark.parametrize("settings", [{}, {"otypes": "HII"}])
def test_contract(settings: dict[str, str]) -> None:
    check_source(rvtool_sources()[0], settings)


def test_emission_nebulae_of_the_stand_in(sky: Sky) -> None:
    (request,) = SIMBAD.query("emission_nebula", 30)
    read = SIMBAD.entries("emission_nebula", answer(request, SIMBAD.info.base_url, sky))
    assert isinstance(read, Listed)
    expected = sky.catalogue("emission_nebula", 30)
    assert [(t.ra_deg, t.dec_deg) for t in read.targets] == [(t.ra_deg, t.dec_deg) for t in expected]
    assert {t.columns["label"] for t in read.targets} == {"emission_nebula"}
    assert {t.columns["otype"] for t in read.targets} == set(OTYPES["emission_nebula"])
    assert read.targets[0].columns["major_axis_arcmin"] == pytest.approx(expected[0].size_arcsec / 60)
    assert read.targets[0].id == f"SIM {expected[0].name}"  # one blank, where SIMBAD writes two


def test_types_of_the_settings(sky: Sky) -> None:
    source = Simbad(SimbadConfig(otypes="QSO,Psr", label="point"))
    (request,) = source.query("", None)
    read = source.entries("", answer(request, source.info.base_url, sky))
    assert isinstance(read, Listed)
    assert {(t.columns["otype"], t.columns["label"]) for t in read.targets} == {("QSO", "point"), ("Psr", "point")}
    assert source.query("", None) != SIMBAD.query("", None) == ()


@pytest.mark.shared
def test_the_columns_exist(shared: Path) -> None:
    table = read_votable((shared / "services/astroquery_simbad/simbad_basic_columns.xml").read_bytes())
    units = {row["column_name"]: row["unit"] for row in table.rows if row["table_name"] == "basic"}
    assert {"ra", "dec", *COLUMNS} <= set(units)
    assert (units["galdim_majaxis"], units["galdim_angle"]) == ("arcmin", "deg")


def test_request_says_what_pyvo_says() -> None:
    from pyvo.dal import TAPQuery

    (request,) = SIMBAD.query("emission_nebula", 5)
    theirs = TAPQuery("https://simbad.cds.unistra.fr/simbad/sim-tap", request.params["query"], maxrec=2_000_000)
    assert request.url == theirs.queryurl
    ours = {key.upper(): value for key, value in request.params.items() if key != "format"}
    assert ours == {key: str(value) for key, value in theirs.items()} | {"LANG": "adql"}


def test_a_blacklisting_is_waited_for() -> None:
    page = b"<!DOCTYPE html><html><body>Your IP address has been temporarily blacklisted</body></html>"
    read = SIMBAD.entries("emission_nebula", Reply(SIMBAD.query("emission_nebula", 5)[0], 200, {}, page))
    assert isinstance(read, Retry)
    assert "blacklisted" in read.reason
    assert read.after_s is not None
    assert read.after_s >= 600


def test_an_overflow_is_an_end_only_where_it_was_asked_for(sky: Sky) -> None:
    (few,), (many,) = SIMBAD.query("emission_nebula", 10), SIMBAD.query("emission_nebula", None)
    ten = answer(few, SIMBAD.info.base_url, sky)
    assert b"OVERFLOW" in ten.body
    assert isinstance(SIMBAD.entries("emission_nebula", ten), Listed)
    assert isinstance(SIMBAD.entries("emission_nebula", Reply(many, 200, {}, ten.body)), Retry)


def test_a_wrong_query_is_refused(sky: Sky) -> None:
    (request,) = SIMBAD.query("emission_nebula", 10)
    wrong = Request(request.url, request.params | {"query": "SELECT nonsense"})
    assert isinstance(SIMBAD.entries("", answer(wrong, SIMBAD.info.base_url, sky)), Absent)


def test_another_table_is_no_answer(sky: Sky) -> None:
    (request,) = SIMBAD.query("emission_nebula", 10)
    fewer = Request(request.url, request.params | {"query": request.params["query"].replace("otype, ", "", 1)})
    read = SIMBAD.entries("emission_nebula", answer(fewer, SIMBAD.info.base_url, sky))
    assert isinstance(read, Retry)


def test_types_cannot_carry_adql() -> None:
    with pytest.raises(ConfigError, match="no object type"):
        Simbad(SimbadConfig(otypes=("HII') OR 1=1 --",)))


@pytest.mark.live
def test_live(fetch: Callable[[Request], Reply]) -> None:
    read = SIMBAD.entries("emission_nebula", fetch(SIMBAD.query("emission_nebula", 5)[0]))
    assert isinstance(read, Listed)
    assert len(read.targets) == 5
