"""VLASS: from TAP by DataLink to the cutout, past failed, doubled and noise images."""

from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Fatal, Found, Further, Reply, Request, Retry, Target
from rvtool.services.replies import header_values
from rvtool.testing.sky import answer
from rvtool.testing.sources import check_source
from rvtool.verbs.collect.validate import Expected, check
from rvtool_plugins.sources.vlass import rvtool_sources

VLASS = rvtool_sources()[0]
TARGET = Target("J005012-022900", 12.55, -2.4833333)
CADC = "https://ws.cadc-ccda.hia-iha.nrc-cnrc.gc.ca"


def source(**settings):
    return VLASS.load()(VLASS.configure(settings))


def read(table, request=None, status=200, target=TARGET):
    reply = Reply(request or source().request(target), status, {}, table.encode())
    return source().read(target, reply)


def votable(columns, rows, status="OK", services=""):
    fields = "".join(
        f'<FIELD name="{name}" datatype="double"/>' if name.endswith("_deg")
        else f'<FIELD name="{name}" datatype="char" arraysize="*"/>'
        for name in columns
    )  # fmt: skip
    cells = "".join("<TR>" + "".join(f"<TD>{cell}</TD>" for cell in row) + "</TR>" for row in rows)
    return (
        '<?xml version="1.0"?><VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3" version="1.4">'
        f'<RESOURCE type="results"><TABLE>{fields}<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE>'
        f'<INFO name="QUERY_STATUS" value="{status}"/></RESOURCE>{services}</VOTABLE>'
    )


def observations(*rows, status="OK"):
    return votable(("observationID", "requirements_flag", "publisherID", "ra_deg", "dec_deg"), rows, status)


def links(*rows, services=""):
    return votable(("ID", "access_url", "service_def", "error_message", "semantics"), rows, services=services)


def soda(name, url, way="sync", uri="nrao:VLASS/VLASS2.1.ql.T10t02.J005000-023000.10.2048.v1.I.subim.fits"):
    return (
        f'<RESOURCE type="meta" ID="{name}" utype="adhoc:service">'
        f'<PARAM name="standardID" datatype="char" arraysize="*" value="ivo://ivoa.net/std/SODA#{way}-1.0"/>'
        f'<PARAM name="accessURL" datatype="char" arraysize="*" value="{url}"/><GROUP name="inputParams">'
        f'<PARAM name="ID" datatype="char" arraysize="*" value="{uri}"/>'
        '<PARAM name="POS" datatype="char" arraysize="*" value=""/></GROUP></RESOURCE>'
    )


def test_contract():
    check_source(VLASS)
    check_source(VLASS, {"epoch": 3, "size_arcmin": 5})


def test_asks_for_the_images_of_the_epoch_that_the_circle_touches():
    request = source(epoch=3, size_arcmin=6).request(TARGET)
    assert request.url == f"{CADC}/argus/sync"
    query = request.params["QUERY"]
    assert "o.collection = 'VLASS' AND o.observationID LIKE 'VLASS3.%'" in query
    assert "INTERSECTS(CIRCLE('ICRS', 12.5500000, -2.4833333, 0.0500000), p.position_bounds) = 1" in query


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_the_stand_in_gives_the_image_that_was_asked_for(sky, ask_sky, epoch):
    vlass = source(epoch=epoch)
    for thing in sky.catalogue("FRI", 4):
        found = ask_sky(vlass, Target(thing.name, thing.ra_deg, thing.dec_deg))
        assert isinstance(found, Found)
        info = vlass.info
        expected = Expected(thing.ra_deg, thing.dec_deg, info.field_arcmin, info.pixel_arcsec, info.unit)
        assert check(found.body, found.suffix, expected).beam == info.beam
        assert found.columns["product"] == "Quick Look"
        assert found.columns["survey_epoch"].startswith(f"{epoch}.")
        assert found.columns["image_file"].endswith(".tt0.subim.fits")
        assert found.columns["epoch"].endswith("-03-26")


def test_south_of_the_survey_is_nothing(ask_sky):
    assert ask_sky(source(), Target("south", 80.0, -69.0)) == Absent("no image of epoch 2: none shows it")


def test_takes_the_image_whose_middle_is_nearest_and_that_passed():
    table = observations(
        ("far", "", "ivo://far", 13.4, -2.5),
        ("failed", "fail", "ivo://failed", 12.55, -2.4833),
        ("near", "", "ivo://near", 12.5015, -2.5),
    )
    assert read(table) == Further(Request(f"{CADC}/caom2ops/datalink", {"ID": "ivo://near"}))
    across = Target("wrap", 359.99, 0.0)
    table = observations(("far", "", "ivo://far", 359.4, 0.0), ("near", "", "ivo://near", 0.1, 0.0))
    assert read(table, target=across).request.params == {"ID": "ivo://near"}
    alike = observations(("VLASS2.1", "", "ivo://VLASS2.1", 12.5, -2.5), ("VLASS2.2", "", "ivo://VLASS2.2", 12.5, -2.5))
    assert read(alike).request.params == {"ID": "ivo://VLASS2.2"}


def test_where_there_is_no_image():
    assert read(observations()) == Absent("no image of epoch 2: none shows it")
    failed = observations(("failed", "fail", "ivo://failed", 12.5, -2.5))
    assert read(failed) == Absent("no image of epoch 2: the 1 that show it failed the quality check")
    assert isinstance(read(observations(("a", "", "ivo://a", 12.5, -2.5), status="OVERFLOW")), Retry)
    assert isinstance(read("UsageFault: cannot parse the query", status=400), Fatal)


DATALINK = Request(f"{CADC}/caom2ops/datalink", {"ID": "ivo://near"})


def test_takes_the_address_and_the_id_that_datalink_tells():
    image = "nrao:VLASS/VLASS2.1.ql.T10t02.J005000-023000.10.2048.v{}.I.iter1.image.pbcor.tt0{}.subim.fits"
    services = "".join(
        (
            soda("later", f"{CADC}/caom2ops/async", "async", image.format(1, "")),
            soda("noise", f"{CADC}/caom2ops/sync", uri=image.format(3, ".rms")),
            soda("old", f"{CADC}/caom2ops/sync", uri=image.format(1, "")),
            soda("new", "https://elsewhere.example/sync", uri=image.format(2, "")),
        )
    )
    rows = [("ivo://near", "", name, "", "#cutout") for name in ("later", "noise", "old", "new", "not there")]
    got = read(links(("ivo://near", "https://x/file", "", "", "#this"), *rows, services=services), DATALINK)
    assert got.request.url == "https://elsewhere.example/sync"
    assert got.request.params == {"ID": image.format(2, ""), "POS": "CIRCLE 12.5500000 -2.4833333 0.0166667"}


def test_never_follows_a_link_to_a_file():
    table = links(("ivo://near", "", "s", "", "#cutout"), services=soda("s", "file:///etc/passwd"))
    assert isinstance(read(table, DATALINK), Retry)


def test_faults_that_datalink_tells():
    missing = links(("ivo://near", "", "", "NotFoundFault: no such plane", "#error"))
    assert read(missing, DATALINK) == Absent("NotFoundFault: no such plane")
    assert isinstance(read(links(("ivo://near", "", "", "TransientFault: busy", "#error")), DATALINK), Retry)
    assert isinstance(read(links(), DATALINK), Retry)


def test_a_circle_beside_the_image_is_nothing():
    request = Request(f"{CADC}/caom2ops/sync", {"ID": "nrao:VLASS/x.fits", "POS": "CIRCLE 1 2 3"})
    assert isinstance(source().read(TARGET, Reply(request, 204, {}, b"")), Absent)


def test_the_stand_in_cuts_as_far_as_the_image_goes(sky):
    def cut(pos):
        request = Request(f"{CADC}/caom2ops/sync", {"ID": uri, "POS": pos})
        return answer(request, CADC, sky)

    uri = "nrao:VLASS/VLASS2.1.ql.T10t02.J005100-023000.10.2048.v1.I.iter1.image.pbcor.tt0.subim.fits"
    south = header_values(cut("CIRCLE 12.75 -3.01 0.0166667").body)
    assert (south["NAXIS1"], int(south["NAXIS2"])) == ("120", pytest.approx(86, abs=2))
    assert cut("CIRCLE 12.75 -3.6 0.0166667").status == 204
    assert cut("BOX 1 2 3 4").status == 400


def test_soda_is_asked_as_astroquery_asks(monkeypatch):
    """The reply of the CADC that pyvo has recorded, with the cutout that astroquery makes of it."""
    import pyvo
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from astropy.io.votable import parse
    from astroquery.cadc import core

    recorded = Path(pyvo.__file__).parent / "dal" / "tests" / "data" / "datalink" / "cutout1.xml"
    results = pyvo.dal.adhoc.DatalinkResults(parse(recorded, verify="ignore"))
    monkeypatch.setattr(core.pyvo.dal.adhoc.DatalinkResults, "from_result_url", lambda *_, **__: results)
    monkeypatch.setattr(results, "bysemantics", lambda term: (link for link in results if link.semantics == term))
    monkeypatch.setattr(core.CadcClass, "data_link_url", "")
    monkeypatch.setattr(core.CadcClass, "cadcdatalink", SimpleNamespace(_session=None))
    cadc = object.__new__(core.CadcClass)
    place = SkyCoord(TARGET.ra_deg, TARGET.dec_deg, unit="deg", frame="fk5")
    theirs = cadc.get_image_list({"publisherID": ["ivo://x"]}, place, 1 * u.arcmin)
    asked = source().read(TARGET, Reply(DATALINK, 200, {}, recorded.read_bytes())).request
    same = next(url for url in theirs if url.startswith(asked.url) and asked.params["RUNID"] in url and "54151b" in url)
    query = {key: values[0] for key, values in parse_qs(urlsplit(same).query).items()}
    assert {key: asked.params[key] for key in ("ID", "RUNID")} == {key: query[key] for key in ("ID", "RUNID")}
    ours, circle = asked.params["POS"].split(), query["POS"].split()
    assert ours[0] == circle[0] == "CIRCLE"
    assert [float(part) for part in ours[1:]] == pytest.approx([float(part) for part in circle[1:]], abs=1e-6)
    assert set(asked.params) == set(query) == {"ID", "RUNID", "POS"}


@given(
    st.binary(max_size=400)
    | st.text(max_size=200).map(lambda text: links((text.encode().hex(), "", "", "", "")).encode())
)
def test_no_bytes_make_it_fail(body):
    for request in (DATALINK, source().request(TARGET)):
        assert isinstance(source().read(TARGET, Reply(request, 200, {}, body)), Retry)


def test_refuses_what_the_service_cannot_give():
    with pytest.raises(ConfigError, match="epoch"):
        source(epoch=4)
    with pytest.raises(ConfigError, match="size_arcmin"):
        source(size_arcmin=61)


@pytest.mark.shared
def test_recorded_image(shared):
    body = (shared / "radio-images" / "VLASS_J001357.2-091951.5.fits").read_bytes()
    uri = "nrao:VLASS/VLASS3.1.ql.T09t01.J001410-093000.10.2048.v2.I.iter1.image.pbcor.tt0.subim.fits"
    target = Target("J001357.2-091951.5", 3.48833, -9.33097)
    vlass = source(size_arcmin=4, epoch=3)
    found = vlass.read(target, Reply(Request(f"{CADC}/caom2ops/sync", {"ID": uri}), 200, {}, body))
    assert found.body == body
    assert (found.columns["epoch"], found.columns["survey_epoch"]) == ("2023-03-26", "3.1")
    info = vlass.info
    checked = check(body, ".fits", Expected(3.48833, -9.33097, info.field_arcmin, info.pixel_arcsec, info.unit))
    assert (checked.width, checked.unit) == (241, "Jy/beam")


@pytest.mark.live
def test_the_real_services_still_answer(ask_real):
    assert isinstance(ask_real(source(), Target("3C 273", 187.27792, 2.05239)), Found)
