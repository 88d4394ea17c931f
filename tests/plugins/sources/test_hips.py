"""HiPS: what is asked is what astroquery asks; pictures, refusals and coverage."""

import json

import pytest

from rvtool.errors import ConfigError
from rvtool.kinds import Covers, Fatal, Found, Reply, Retry, Target
from rvtool.testing.sky import answer
from rvtool.testing.sources import check_source
from rvtool.verbs.collect.sky import covered, read_moc
from rvtool.verbs.collect.validate import Expected, check
from rvtool_plugins.sources.hips import rvtool_sources

HIPS = rvtool_sources()[0]
M87 = Target("M87", 187.705930, 12.391123)


def source(**settings):
    return HIPS.load()(HIPS.configure(settings))


@pytest.mark.parametrize("form", ["fits", "jpg", "png"])
def test_contract(form):
    check_source(HIPS, {"format": form})
    assert isinstance(source(), Covers)


@pytest.mark.parametrize("form", ["fits", "jpg"])
def test_asks_what_astroquery_asks(form):
    from astropy import units as u
    from astropy.coordinates import Angle, Latitude, Longitude
    from astroquery.hips2fits import hips2fits

    theirs = hips2fits.query(
        hips="CDS/P/NVSS", width=32, height=32, projection="TAN", format=form, stretch="asinh",
        ra=Longitude(M87.ra_deg * u.deg), dec=Latitude(M87.dec_deg * u.deg), fov=Angle(8 * u.arcmin),
        get_query_payload=True,
    )  # fmt: skip
    ours = source(format=form, stretch="asinh").request(M87)
    assert ours.url == hips2fits.server
    for name in ("ra", "dec", "fov"):
        assert float(ours.params[name]) == pytest.approx(theirs[name], abs=1e-7)
    rest = {name: str(theirs[name]) for name in ours.params if name not in ("ra", "dec", "fov")}
    assert {name: ours.params[name] for name in rest} == rest
    cuts = {"min_cut", "max_cut", "stretch"}
    assert set(theirs) - set(ours.params) == ({"cmap"} if form == "jpg" else {"cmap"} | cuts)


@pytest.mark.parametrize("form", ["fits", "jpg", "png"])
def test_the_stand_in_gives_the_image_that_was_asked_for(sky, ask_sky, form):
    hips = source(format=form, size_arcmin=16)
    thing = sky.catalogue("FRII", 1)[0]
    found = ask_sky(hips, Target(thing.name, thing.ra_deg, thing.dec_deg))
    assert isinstance(found, Found)
    assert found.columns == {"calibration": "resampled"}
    info = hips.info
    assert info.unit == ("Jy/beam" if form == "fits" else "")
    expected = Expected(thing.ra_deg, thing.dec_deg, info.field_arcmin, info.pixel_arcsec, info.unit)
    checked = check(found.body, found.suffix, expected)
    assert (found.suffix, checked.width, checked.unit) == (f".{form}", 64, "")


def test_a_refusal_concerns_every_target():
    said = {"title": "Bad request", "description": "no HiPS is named CDS/P/Nothing"}
    reply = Reply(source().request(M87), 400, {}, json.dumps(said).encode())
    assert source().read(M87, reply) == Fatal(
        "hips2fits refuses the settings: Bad request: no HiPS is named CDS/P/Nothing"
    )
    for status in (429, 500):
        assert isinstance(source().read(M87, Reply(reply.request, status, {}, reply.body)), Retry)
    assert isinstance(source().read(M87, Reply(reply.request, 200, {}, b"")), Retry)


def test_a_picture_is_no_other_picture():
    png = b"\x89PNG\r\n\x1a\n" + bytes(3000)
    jpg = source(format="jpg")
    assert isinstance(jpg.read(M87, Reply(jpg.request(M87), 200, {}, png)), Retry)


@pytest.mark.parametrize("keyword", ["NVSS", "P/NVSS", "DSS2", "CDS/NVSS", "CDS/P/"])
def test_a_short_keyword_is_refused(keyword):
    with pytest.raises(ConfigError, match="survey"):
        source(survey=keyword)


@pytest.mark.parametrize("survey", ["CSIRO/P/RACS/low/I", "astron.nl/P/lotss_dr2_high", "ov-gso/P/GLEAM/170-231"])
def test_a_full_id_is_taken(survey):
    assert source(survey=survey).request(M87).params["hips"] == survey


def test_refuses_what_the_service_cannot_give():
    assert source(size_arcmin=7071, pixel_arcsec=60).config.side_px == 7071
    with pytest.raises(ConfigError, match="50 million at most"):
        source(size_arcmin=7072, pixel_arcsec=60)
    with pytest.raises(ConfigError, match="below max_cut_percent"):
        source(min_cut_percent=90, max_cut_percent=10)
    with pytest.raises(ConfigError, match="max_cut_percent"):
        source(max_cut_percent=101)


def test_coverage_tells_where_the_survey_has_looked(sky):
    moc = read_moc(answer(source().coverage(), "http://127.0.0.1", sky).body)
    assert covered([187.7, 80.0], [12.4, -69.0], moc=moc).tolist() == [True, False]


def test_facts_are_those_of_the_survey():
    assert source().info.beam.major_arcsec == 45
    assert source(survey="astron.nl/P/lotss_dr2_high").info.beam.major_arcsec == 6
    other = source(survey="CSIRO/P/RACS/low/I").info
    assert (other.unit, other.beam, other.citation) == ("", None, "Fernique et al. 2015, A&A 578, A114 (HiPS)")


@pytest.mark.live
def test_the_real_service_still_answers(ask_real):
    assert isinstance(ask_real(source(), M87), Found)
