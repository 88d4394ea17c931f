"""LoTSS: four cutout pages, one for each release and resolution."""

import pytest

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Covers, Fatal, Found, Reply, Retry, Target
from rvtool.testing.sky import answer
from rvtool.testing.sources import check_source
from rvtool.verbs.collect.sky import covered, read_moc
from rvtool.verbs.collect.validate import Expected, check
from rvtool_plugins.sources.lotss import rvtool_sources

LOTSS = rvtool_sources()[0]
INSIDE, SOUTH = Target("3C 295", 212.83542, 52.20278), Target("M87", 187.70593, 12.39112)


def source(**settings):
    return LOTSS.load()(LOTSS.configure(settings))


def test_contract():
    check_source(LOTSS)
    assert isinstance(source(), Covers)


@pytest.mark.parametrize(
    ("settings", "page", "beam_arcsec"),
    [
        ({}, "dr2-cutout.fits", 6),
        ({"resolution": "low"}, "dr2-low-cutout.fits", 20),
        ({"release": "dr3"}, "dr3-cutout.fits", 6),
        ({"release": "dr3", "resolution": "low"}, "dr3-low-cutout.fits", 20),
    ],
)
def test_asks_the_page_of_the_release_and_resolution(ask_sky, settings, page, beam_arcsec):
    lotss = source(**settings)
    request = lotss.request(INSIDE)
    assert request.url == f"https://lofar-surveys.org/{page}"
    assert request.params == {"pos": "14:11:20.50 +52:12:10.0", "size": "4.5"}
    found = ask_sky(lotss, INSIDE)
    assert isinstance(found, Found)
    info = lotss.info
    expected = Expected(INSIDE.ra_deg, INSIDE.dec_deg, info.field_arcmin, info.pixel_arcsec, info.unit)
    assert check(found.body, found.suffix, expected).beam == info.beam
    assert info.beam.major_arcsec == beam_arcsec


def test_outside_comes_a_web_page_with_status_200(ask_sky):
    assert isinstance(ask_sky(source(), SOUTH), Absent)
    reply = Reply(source().request(SOUTH), 200, {"content-type": "text/html"}, b"<html>Database error</html>")
    assert isinstance(source().read(SOUTH, reply), Retry)


def test_a_release_that_is_not_open_stops_everything():
    closed = source(release="dr3")
    assert isinstance(closed.read(INSIDE, Reply(closed.request(INSIDE), 401, {}, b"")), Fatal)


def test_coverage_is_that_of_the_release(sky):
    assert source(release="dr3").coverage().params["ID"] == "astron.nl/P/lotss_dr3_high"
    request = source().coverage()
    assert request.url.startswith(source().info.further_urls)
    moc = read_moc(answer(request, "http://127.0.0.1", sky).body)
    inside = covered([INSIDE.ra_deg, SOUTH.ra_deg], [INSIDE.dec_deg, SOUTH.dec_deg], moc=moc)
    assert inside.tolist() == [True, False]


def test_refuses_what_the_server_cannot_give():
    with pytest.raises(ConfigError, match="size_arcmin"):
        source(size_arcmin=121)


@pytest.mark.live
def test_the_real_server_still_answers(ask_real):
    assert isinstance(ask_real(source(), INSIDE), Found)
