"""FIRST: what is asked is what astroquery asks, and every reply is taken for what it is."""

import numpy as np
import pytest

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Absent, Covers, Fetches, Found, Reply, Retry, Target
from rvtool.testing.sources import check_source
from rvtool.verbs.collect.validate import Expected, check
from rvtool_plugins.sources.first import rvtool_sources

FIRST = rvtool_sources()[0]
TARGET = Target("J105007.2+304037", 162.53, 30.677)


def source(**settings):
    return FIRST.load()(FIRST.configure(settings))


def said(text):
    request = source().request(TARGET)
    return source().read(TARGET, Reply(request, 200, {"content-type": "text/html"}, text.encode()))


def test_contract():
    check_source(FIRST)
    assert isinstance(source(), Fetches)
    assert not isinstance(source(), Covers)  # the CDS holds no map of its coverage


@pytest.mark.parametrize(("ra_deg", "dec_deg"), [(162.53, 30.677), (0.0, -7.5), (359.9999, 0.000012)])
def test_asks_what_astroquery_asks(ra_deg, dec_deg):
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from astroquery.image_cutouts.first import First

    theirs = First.get_images(SkyCoord(ra_deg, dec_deg, unit="deg"), image_size=4.5 * u.arcmin, get_query_payload=True)
    ours = source().request(Target("t", ra_deg, dec_deg))
    assert ours.url == First.URL
    assert ours.body is None
    assert set(ours.params) == set(theirs)
    assert np.allclose(
        [float(v) for v in ours.params["RA"].split()], [float(v) for v in theirs["RA"].split()], atol=1e-7
    )
    rest = {key: str(value) for key, value in theirs.items() if key != "RA"}
    assert {key: value for key, value in ours.params.items() if key != "RA"} == rest


def test_the_stand_in_gives_the_image_that_was_asked_for(sky, ask_sky):
    info = source().info
    for thing in sky.catalogue(None, 5):
        found = ask_sky(source(), Target(thing.name, thing.ra_deg, thing.dec_deg))
        assert isinstance(found, Found)
        assert found.columns["epoch"] == "1993-04-17"
        expected = Expected(thing.ra_deg, thing.dec_deg, info.field_arcmin, info.pixel_arcsec, info.unit)
        checked = check(found.body, found.suffix, expected)
        assert (checked.height, checked.width, checked.beam) == (150, 150, info.beam)


@pytest.mark.shared
def test_recorded_reply(shared):
    body = (shared / "services" / "astroquery_image_cutouts_first" / "image.fits").read_bytes()
    reply = Reply(source().request(TARGET), 200, {}, body)
    check_source(FIRST, {"size_arcmin": 1}, recorded=[(TARGET, reply, Found)])
    assert source().read(TARGET, reply).columns == {"coadd": "10510+30456E", "epoch": "1993-04-17"}


@pytest.mark.shared
def test_the_footprint_holds_every_published_image(shared):
    from rvtool.data.folder import scan
    from rvtool.verbs.collect.sky import covered

    for folder in ("first-fits", "first-4class"):
        table = scan(shared / folder)
        assert covered(table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy(), source().info.footprint).all()


def test_what_the_server_says_instead():
    assert said("<html>Position is not in the area currently covered by the FIRST images</html>") == Absent(
        "Position is not in the area currently covered by the FIRST images"
    )
    assert isinstance(said("<html>No image is available here</html>"), Absent)
    assert isinstance(said("<html>Internal error: try later</html>"), Retry)
    assert isinstance(said(""), Retry)


def test_refuses_what_the_server_cannot_give():
    assert source(size_arcmin=30.72).request(TARGET).params["MaxImSize"] == "1024"
    with pytest.raises(ConfigError, match="size_arcmin"):
        source(size_arcmin=30.8)
    with pytest.raises(DataError, match="has no position"):
        source().request(Target("nowhere"))


@pytest.mark.live
def test_the_real_server_still_answers(ask_real):
    assert isinstance(ask_real(source(), Target("3C 273", 187.27792, 2.05239)), Found)
