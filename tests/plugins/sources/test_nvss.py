"""NVSS: the postage stamp server's fields, its limits, and what it says in <PRE>."""

import pytest

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Found, Reply, Retry, Target
from rvtool.testing.sources import check_source
from rvtool.verbs.collect.validate import Expected, check
from rvtool_plugins.sources.nvss import rvtool_sources

NVSS = rvtool_sources()[0]
M87 = Target("M87", 187.705930, 12.391123)


def source(**settings):
    return NVSS.load()(NVSS.configure(settings))


def test_contract():
    check_source(NVSS)


def test_asks_in_the_words_of_the_postage_stamp_server():
    request = source().request(M87)
    assert request.url == "https://www.cv.nrao.edu/cgi-bin/postage.pl"
    assert request.params == {
        "Equinox": "J2000",
        "PolType": "I",
        "RA": "12 30 49.42",
        "Dec": "+12 23 28.0",
        "Size": "0.133333 0.133333",
        "Cells": "15 15",
        "MAPROJ": "SIN",
        "rotate": "0.0",
        "Type": "application/octet-stream",
    }
    assert source(cell_arcsec=7.5).request(Target("t", 1, -0.5)).params["Dec"] == "-00 30 00.0"


@pytest.mark.parametrize(("settings", "side_px"), [({}, 32), ({"size_arcmin": 64, "cell_arcsec": 7.5}, 512)])
def test_the_stand_in_gives_the_image_that_was_asked_for(sky, ask_sky, settings, side_px):
    nvss = source(**settings)
    thing = sky.catalogue("FRII", 1)[0]
    found = ask_sky(nvss, Target(thing.name, thing.ra_deg, thing.dec_deg))
    assert isinstance(found, Found)
    expected = Expected(thing.ra_deg, thing.dec_deg, nvss.info.field_arcmin, nvss.info.pixel_arcsec, nvss.info.unit)
    checked = check(found.body, found.suffix, expected)
    assert (checked.height, checked.width, checked.beam) == (side_px, side_px, nvss.info.beam)


def test_what_the_server_says_instead(ask_sky):
    south = ask_sky(source(), Target("south", 80, -69))
    assert isinstance(south, Absent)
    assert "declinations above -40" in south.reason
    reply = Reply(source().request(M87), 200, {}, b"<PRE>\nThe map cannot be made now\n</PRE>")
    assert isinstance(source().read(M87, reply), Retry)


def test_refuses_what_the_server_cannot_give():
    with pytest.raises(ConfigError, match="size_arcmin is 128 at most"):
        source(size_arcmin=129)
    with pytest.raises(ConfigError, match="cell_arcsec"):
        source(cell_arcsec=60)


@pytest.mark.live
def test_the_real_server_still_answers(ask_real):
    assert isinstance(ask_real(source(), M87), Found)
