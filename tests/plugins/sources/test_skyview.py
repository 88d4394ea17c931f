"""SkyView: one request for each image, and whatever comes is resampled."""

import json

import pytest

from rvtool.kinds import Absent, Found, Reply, Retry, Target
from rvtool.testing.sources import check_source
from rvtool.verbs.collect.validate import Expected, check
from rvtool_plugins.sources.skyview import rvtool_sources

SKYVIEW = rvtool_sources()[0]
QUASAR = Target("3C 273", 187.27792, 2.05239)


def source(**settings):
    return SKYVIEW.load()(SKYVIEW.configure(settings))


def test_contract():
    check_source(SKYVIEW)
    check_source(SKYVIEW, {"survey": "WENSS", "size_arcmin": 60, "pixel_arcsec": 21})


def test_asks_for_everything_in_one_request():
    request = source().request(QUASAR)
    assert request.url == "https://skyview.gsfc.nasa.gov/current/cgi/runquery.pl"
    assert request.params == {
        "Position": "187.2779200,2.0523900",
        "Survey": "VLA FIRST (1.4 GHz)",
        "Coordinates": "J2000",
        "Projection": "Tan",
        "Size": "0.075000000,0.075000000",
        "Pixels": "150,150",
        "Return": "FITS",
    }
    assert source(sampler="lanczos").request(QUASAR).params["Sampler"] == "Lanczos3"


def test_the_pixel_is_exactly_as_large_as_asked():
    params = source(size_arcmin=1, pixel_arcsec=1.8).request(QUASAR).params
    assert params["Pixels"] == "33,33"
    assert float(params["Size"].split(",")[0]) * 3600 / 33 == pytest.approx(1.8)


@pytest.mark.shared
def test_words_are_those_of_the_recorded_form(shared):
    recorded = shared / "services" / "astroquery_skyview"
    surveys = [name for names in json.loads((recorded / "survey_dict.json").read_text()).values() for name in names]
    assert source().config.survey in surveys
    form = (recorded / "query_page.html").read_text()
    for sampler in ("linear", "lanczos", "spline", "clip"):
        assert f"<OPTION value='{source(sampler=sampler).request(QUASAR).params['Sampler']}'>" in form


@pytest.mark.shared
def test_recorded_replies(shared):
    page = (shared / "services" / "astroquery_skyview" / "results.html").read_bytes()
    image = (shared / "radio-images" / "NVSS_J001357.2-091951.5.fits").read_bytes()
    nvss = source(survey="NVSS", size_arcmin=75, pixel_arcsec=15)
    target = Target("J001357.2-091951.5", 3.48833, -9.33097)
    request = nvss.request(target)
    check_source(
        SKYVIEW,
        {"survey": "NVSS"},
        recorded=[(target, Reply(request, 200, {}, page), Retry), (target, Reply(request, 200, {}, image), Found)],
    )
    found = nvss.read(target, Reply(request, 200, {}, image))
    assert found.columns == {"calibration": "resampled"}
    expected = Expected(target.ra_deg, target.dec_deg, nvss.info.field_arcmin, nvss.info.pixel_arcsec, nvss.info.unit)
    assert check(found.body, found.suffix, expected).beam == nvss.info.beam


def test_the_stand_in_gives_the_image_that_was_asked_for(sky, ask_sky):
    thing = sky.catalogue("Compact", 1)[0]
    found = ask_sky(source(), Target(thing.name, thing.ra_deg, thing.dec_deg))
    info = source().info
    expected = Expected(thing.ra_deg, thing.dec_deg, info.field_arcmin, info.pixel_arcsec, info.unit)
    assert check(found.body, found.suffix, expected).width == 150
    assert isinstance(ask_sky(source(), Target("south", 80, -69)), Absent)


def test_facts_are_those_of_the_survey():
    assert source().info.beam.major_arcsec == 5.4
    assert source(survey="NVSS").info.beam.major_arcsec == 45
    other = source(survey="WENSS").info
    assert (other.unit, other.beam, other.footprint) == ("", None, ())
    assert other.citation == "McGlynn, Scollick & White 1998, IAU Symposium 179, 465 (SkyView)"
    assert source().info.bibtex.count("@") == 2


@pytest.mark.live
def test_the_real_server_still_answers(ask_real):
    assert isinstance(ask_real(source(), QUASAR), Found)
