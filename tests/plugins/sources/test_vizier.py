"""VizieR: published catalogues become targets with classes, and nothing is cut off without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Fatal, Listed, Reply, Request, Retry, Target
from rvtool.testing import check_source
from rvtool.testing.sky import Asked, Sky, answer
from rvtool.testing.sky.answers import respond
from rvtool.testing.sky.faults import faulty
from rvtool_plugins.sources.vizier import VizierConfig, rvtool_sources
from rvtool_plugins.sources.vizier.source import Vizier

COMPONENT = rvtool_sources()[0]
VIZIER = Vizier(VizierConfig())


def listed(source: Vizier, label: str, reply: Reply) -> dict[str, Target]:
    """Return the targets of a reply by their identifiers."""
    read = source.entries(label, reply)
    assert isinstance(read, Listed), read
    return {target.id: target for target in read.targets}


def export(file: Path, catalogue: str) -> Reply:
    """Return what VizieR would send of an export: header, units and a rule, then rows with bars between the cells."""
    lines = [line.split("|") for line in file.read_text().splitlines() if line.strip()]
    fields = "".join(f'<FIELD name="{name}" datatype="char" arraysize="*"/>' for name in lines[0])
    rows = "".join(f"<TR>{''.join(f'<TD>{cell}</TD>' for cell in row)}</TR>" for row in lines[3:]).replace("&", "&amp;")
    body = (
        f'<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>{fields}<DATA><TABLEDATA>'
        f"{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    return Reply(Vizier(VizierConfig(catalogue=catalogue)).query("", None)[0], 200, {}, body.encode())


@pytest.mark.parametrize("settings", [{}, {"catalogue": "J/AJ/157/126"}])
def test_contract(settings: dict[str, str]) -> None:
    check_source(COMPONENT, settings)


@pytest.mark.parametrize(
    ("file", "catalogue", "counts"),
    [
        ("FR1CAT", "J/A+A/598/A49", {"FRI": 219}),
        ("FR2CAT", "J/A+A/601/A81", {"FRII": 123}),
        ("CoNFIG", "J/MNRAS/404/1719", {"FRI": 50, "FRII": 390, "Compact": 275}),
        ("Proctor-2011", "J/ApJS/194/31", {"Bent": 412}),
        ("Garon-combined", "J/AJ/157/126", {"Bent": 1106}),
    ],
)
@pytest.mark.shared
def test_classes_of_the_real_catalogues(shared: Path, file: str, catalogue: str, counts: dict[str, int]) -> None:
    reply = export(shared / "catalogues" / f"{file}.tsv", catalogue)
    everything = listed(VIZIER, "", reply)
    assert all(t.ra_deg is not None and t.dec_deg is not None for t in everything.values())
    found = Counter(target.columns.get("label") for target in everything.values())
    for label, count in counts.items():
        # the same position twice is one target: twice in Proctor's table, once in CoNFIG
        assert count - 2 <= found[label] <= count
        assert len(listed(VIZIER, label, reply)) == found[label]
    assert set(found) - {None} == set(counts)


@pytest.mark.shared
def test_known_rows_of_the_real_catalogues(shared: Path) -> None:
    garon = listed(VIZIER, "", export(shared / "catalogues" / "Garon-combined.tsv", "J/AJ/157/126"))
    assert len(garon) == 4304
    first = next(t for t in garon.values() if t.columns["Name"] == "J000024.0+122953")
    assert (first.ra_deg, first.dec_deg) == (0.10026, 12.49813)
    assert float(first.columns["bending_angle_deg"]) == 6.9
    assert first.columns["las_arcsec"] == pytest.approx(45.84)
    assert "label" not in first.columns  # straight
    fricat = listed(VIZIER, "FRI", export(shared / "catalogues" / "FR1CAT.tsv", "J/A+A/598/A49"))
    one = fricat["J002900.98-011341.7"]
    assert (one.ra_deg, one.dec_deg) == pytest.approx((7.254083, -1.22825), abs=1e-6)
    assert one.columns["flux_jy"] == pytest.approx(0.2828)
    assert one.columns["F_OIII"] == "158.5"


@pytest.mark.parametrize("label", Vizier.classes)
def test_classes_come_from_the_stand_in(sky: Sky, label: str) -> None:
    found: dict[str, Target] = {}
    for request in VIZIER.query(label, 10):
        assert request.params["-out.max"] == "unlimited"
        found |= listed(VIZIER, label, answer(request, VIZIER.info.base_url, sky))
    assert set(found) == {thing.name for thing in sky.catalogue(label, 400)}
    assert {t.columns["label"] for t in found.values()} == {label}


def test_request_says_what_astroquery_says() -> None:
    from astroquery.vizier import VizierClass

    theirs = VizierClass(columns=["*", "_RAJ2000", "_DEJ2000"], row_limit=-1)
    said = theirs.get_catalogs_async("J/A+A/598/A49", get_query_payload=True)
    (request,) = VIZIER.query("FRI", None)[:1]
    assert request.params == dict(line.split("=", 1) for line in said.splitlines() if line)


def test_constraints_columns_and_counts_are_asked_for() -> None:
    config = VizierConfig(catalogue="VIII/92/first14", columns="Fpeak,Maj", where="Fpeak=>100,Maj=<30")
    (request,) = Vizier(config).query("", 20)
    assert request.params["-out"] == "Fpeak,Maj"
    assert (request.params["Fpeak"], request.params["Maj"], request.params["-out.max"]) == (">100", "<30", "20")


def test_a_label_of_ones_own(sky: Sky) -> None:
    source = Vizier(VizierConfig(catalogue="J/AJ/157/126", label="mine"))
    (request,) = source.query("", 5)
    found = listed(source, "", answer(request, source.info.base_url, sky))
    assert [t.columns["label"] for t in found.values()] == ["mine"] * 5


def test_how_far_bent_is_bent(sky: Sky) -> None:
    request = VIZIER.query("Bent", None)[1]
    reply = answer(request, VIZIER.info.base_url, sky)
    assert len(listed(VIZIER, "Bent", reply)) == 200
    assert isinstance(Vizier(VizierConfig(bent_deg=90)).entries("Bent", reply), Absent)


@pytest.mark.parametrize("fault", ["votable-error", "votable-overflow", "html", "503"])
def test_faults_are_asked_again(sky: Sky, fault: str) -> None:
    (request,) = VIZIER.query("FRII", None)[:1]
    bad = faulty(fault, respond(Asked.of(request, VIZIER.info.base_url), sky)).reply(request)
    assert isinstance(VIZIER.entries("FRII", bad), Retry)


def test_fifty_rows_are_not_a_whole_catalogue(sky: Sky) -> None:
    (request,) = VIZIER.query("FRI", None)[:1]
    cut = answer(Request(request.url, request.params | {"-out.max": "50"}), VIZIER.info.base_url, sky)
    read = VIZIER.entries("FRI", Reply(request, cut.status, cut.headers, cut.body))
    assert isinstance(read, Retry)
    assert "only 50 rows" in read.reason


def test_a_position_off_the_sky_is_a_damaged_table(sky: Sky) -> None:
    (request,) = VIZIER.query("Bent", None)[:1]
    good = answer(request, VIZIER.info.base_url, sky)
    bad = good.body.replace(b"<TD>+20 18 29.6</TD>", b"<TD>+97 18 29.6</TD>")
    assert bad != good.body
    assert isinstance(VIZIER.entries("Bent", Reply(request, 200, {}, bad)), Retry)


def test_an_unknown_catalogue_stops(sky: Sky) -> None:
    source = Vizier(VizierConfig(catalogue="J/nowhere"))
    (request,) = source.query("", None)
    read = source.entries("", answer(request, source.info.base_url, sky))
    assert isinstance(read, Fatal)
    assert "J/nowhere" in read.reason


def test_nothing_named_is_nothing_asked() -> None:
    assert VIZIER.query("", None) == ()


def test_constraints_are_checked() -> None:
    with pytest.raises(ConfigError, match="COLUMN=CONSTRAINT"):
        Vizier(VizierConfig(where=("z",)))


@pytest.mark.live
def test_live(fetch: Callable[[Request], Reply]) -> None:
    (request,) = VIZIER.query("FRII", None)[:1]
    assert len(listed(VIZIER, "FRII", fetch(request))) >= 122
