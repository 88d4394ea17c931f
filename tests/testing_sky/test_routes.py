"""The stand-in's services: requests and replies in the form of the real ones."""

from __future__ import annotations

import io
import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.coordinates.name_resolve import _parse_response
from astropy.io import fits
from astropy.wcs import WCS

from rvtool.kinds import Box, Reply, Request
from rvtool.testing.sky import Asked, Sky, answer
from rvtool.testing.sky.answers import respond

SKY = Sky()
THING = SKY.catalogue("Compact", 1, Box(170, 200, 30, 50))[0]
HOURS = f"{THING.ra_deg / 15:.8f} {THING.dec_deg:.6f}"
PLACE = SkyCoord(THING.ra_deg, THING.dec_deg, unit="deg")
RA, DEC = PLACE.to_string("hmsdms", sep=" ", precision=2).replace(" +", "|+").split("|")
NVSS = {"RA": RA, "Dec": DEC, "Size": "0.25 0.2", "Cells": "15.0 15.0", "Type": "image/x-fits"}
SKYVIEW = {
    "Position": f"{THING.ra_deg},{THING.dec_deg}",
    "Survey": "VLA FIRST (1.4 GHz)",
    "Size": "0.075,0.05",
    "Pixels": "150,100",
    "Return": "FITS",
}
HIPS = {
    "hips": "CDS/P/NVSS",
    "width": "40",
    "height": "30",
    "fov": "0.15",
    "ra": str(THING.ra_deg),
    "dec": str(THING.dec_deg),
}


def ask(path: str, **params: str) -> Reply:
    return answer(Request(f"https://service.example{path}", params), "http://stand-in", SKY)


def image(reply: Reply) -> fits.PrimaryHDU:
    assert reply.status == 200
    with fits.open(io.BytesIO(reply.body)) as hdus:
        hdus.verify("exception")
        return hdus[0].copy()


def peak_arcsec(hdu: fits.PrimaryHDU) -> float:
    """How far the brightest pixel lies from the thing."""
    plane = np.squeeze(hdu.data)
    y, x = np.unravel_index(np.nanargmax(plane), plane.shape)
    found = WCS(hdu.header).celestial.pixel_to_world(x, y)
    return found.icrs.separation(PLACE).arcsec


@pytest.mark.filterwarnings("ignore:.*:astropy.wcs.FITSFixedWarning")
class TestFirst:
    """The cutout server."""

    def test_an_image_of_the_thing_off_centre_by_less_than_a_pixel(self):
        reply = ask("/cgi-bin/firstcutout", RA=HOURS, ImageSize="4.5", ImageType="FITS File", MaxImSize="1024")
        hdu = image(reply)
        assert hdu.data.shape == (150, 150)
        assert "filename=" in reply.headers["content-disposition"]
        assert peak_arcsec(hdu) < 1.3
        x, y = WCS(hdu.header).celestial.world_to_pixel(PLACE)
        assert 0 < max(abs(x - 75), abs(y - 75)) <= 0.5

    @pytest.mark.parametrize("body", [None, b"posted"])
    def test_what_astroquery_sends(self, body):
        from astroquery.image_cutouts.first import First

        payload = First.get_images(PLACE, image_size=1 * u.arcmin, get_query_payload=True)
        fields = {key: str(value) for key, value in payload.items()}
        if body is None:
            assert image(ask("/cgi-bin/firstcutout", **fields)).data.shape == (33, 33)
        else:
            from urllib.parse import urlencode

            posted = Request("https://first.example/cgi-bin/firstcutout", body=urlencode(fields).encode())
            assert image(answer(posted, "", SKY)).data.shape == (33, 33)

    def test_sexagesimal_hours_mean_the_same_place(self):
        text = PLACE.to_string("hmsdms", sep=" ", precision=5)
        assert peak_arcsec(image(ask("/cgi-bin/firstcutout", RA=text, ImageSize="1"))) < 1.3

    @pytest.mark.shared
    def test_the_header_has_what_a_recorded_one_has(self, shared):
        with fits.open(shared / "services/astroquery_image_cutouts_first/image.fits") as hdus:
            recorded = hdus[0].header
        reply = ask("/cgi-bin/firstcutout", RA=HOURS, ImageSize="1")
        ours = image(reply).header
        assert (
            reply.body[:54]
            == recorded.tostring()[:54].encode()
            == b"SIMPLE  =                    T / FIRST Cutout Server: "
        )
        unused = {"COMMENT", "HISTORY", "DATATYPE", "OBSERVER", "EPOCH", *(f"CROTA{axis}" for axis in range(1, 5))}
        assert set(recorded) - unused <= set(ours)
        same = ("NAXIS", "BITPIX", "BUNIT", "CTYPE1", "CTYPE3", "CTYPE4", "CDELT1", "BMAJ", "NAXIS1", "DATE-OBS")
        assert [ours[key] for key in same] == [recorded[key] for key in same]
        for header in (ours, recorded):  # the object is on the middle pixel
            assert abs(header["OBJCTX"] - header["XCORN"] - 16) <= 0.5
            assert abs(header["OBJCTY"] - header["YCORN"] - 16) <= 0.5

    def test_a_wide_cutout_runs_past_the_edge_of_its_coadded_image(self):
        blank = np.isnan(image(ask("/cgi-bin/firstcutout", RA=HOURS, ImageSize="30")).data)
        assert blank.any()
        assert not blank.all()

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"RA": "12.0 -30.0"}, b"not in the area"),
            ({"RA": "19.0 30.0"}, b"not in the area"),
            ({"RA": "north"}, b"error"),
            ({}, b"error"),
            ({"RA": HOURS, "ImageSize": "40"}, b"exceeds"),
        ],
    )
    def test_no_image_is_a_web_page_with_status_200(self, fields, said):
        reply = ask("/cgi-bin/firstcutout", **fields)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html")
        assert said in reply.body

    def test_the_file_changes_from_second_to_second_and_the_pixels_do_not(self, monkeypatch):
        first = ask("/cgi-bin/firstcutout", RA=HOURS)
        monkeypatch.setattr("time.ctime", lambda: "Wed Jun  3 12:46:13 2020")
        second = ask("/cgi-bin/firstcutout", RA=HOURS)
        assert first.body != second.body
        np.testing.assert_array_equal(image(first).data, image(second).data)


class TestNvss:
    """The postage stamp server."""

    def test_an_image_of_four_axes(self):
        hdu = image(ask("/cgi-bin/postage.pl", **NVSS))
        assert hdu.data.shape == (1, 1, 48, 60)
        assert peak_arcsec(hdu) < 11
        assert hdu.header["BMAJ"] * 3600 == pytest.approx(45)

    def test_no_more_than_512_pixels(self):
        assert image(ask("/cgi-bin/postage.pl/post", **NVSS | {"Size": "4 4"})).data.shape[-1] == 512

    @pytest.mark.parametrize(
        "change", [{"Dec": "-50 00 00"}, {"RA": "12:30:49.4"}, {"Size": "wide"}, {"Type": "image/jpeg"}]
    )
    def test_no_image_is_preformatted_text(self, change):
        reply = ask("/cgi-bin/postage.pl", **NVSS | change)
        assert reply.status == 200
        assert reply.body.startswith(b"<PRE>")


class TestLotss:
    """The cutout server of LoTSS."""

    @pytest.mark.parametrize(
        ("path", "pixel", "beam"), [("/dr2-cutout.fits", 1.5, 6), ("/dr3-low-cutout.fits", 4.5, 20)]
    )
    def test_an_image(self, path, pixel, beam):
        reply = ask(path, pos=PLACE.to_string("hmsdms", sep=":", precision=3), size="4.5")
        hdu = image(reply)
        assert reply.headers["content-type"] == "application/fits"
        assert hdu.data.shape == (round(270 / pixel),) * 2
        assert hdu.header["CDELT2"] * 3600 == pytest.approx(pixel)
        assert hdu.header["BMAJ"] * 3600 == pytest.approx(beam)
        assert peak_arcsec(hdu) < pixel

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"pos": "12:30:00 +10:00:00"}, b"outside the area"),
            ({"pos": "180 40", "size": "121"}, b"no more than 120"),
            ({"pos": "Nowhere"}, b"cannot be resolved"),
            ({}, b"cannot be read"),
        ],
    )
    def test_no_image_is_a_web_page_with_status_200(self, fields, said):
        reply = ask("/dr2-cutout.fits", **fields)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html")
        assert said in reply.body


class TestSkyView:
    """SkyView in one request."""

    def test_an_image_on_the_grid_that_was_asked_for(self):
        hdu = image(ask("/current/cgi/runquery.pl", **SKYVIEW))
        assert hdu.data.shape == (100, 150)
        assert hdu.header["CTYPE1"] == "RA---TAN"
        assert peak_arcsec(hdu) < 1.8

    def test_a_page_without_return_fits(self):
        assert ask("/current/cgi/runquery.pl", **SKYVIEW | {"Return": ""}).body.startswith(b"<html>")

    @pytest.mark.parametrize(
        ("change", "status"),
        [({"Position": "12,-60"}, 404), ({"Survey": "Nothing"}, 200), ({"Position": "?"}, 200), ({"Pixels": "x"}, 200)],
    )
    def test_no_image_is_a_web_page(self, change, status):
        reply = ask("/current/cgi/runquery.pl", **SKYVIEW | change)
        assert reply.status == status
        assert reply.body.startswith(b"<html>")


class TestHips:
    """hips2fits and the MOCServer."""

    PATH = "/hips-image-services/hips2fits"

    def test_an_image_without_unit_and_beam(self):
        hdu = image(ask(self.PATH, **HIPS))
        assert hdu.data.shape == (30, 40)
        assert hdu.header["CDELT2"] == pytest.approx(0.15 / 40)
        assert not {"BUNIT", "BMAJ"} & set(hdu.header)
        assert peak_arcsec(hdu) < 0.75 * 13.5

    def test_a_grid_given_as_a_header(self):
        header = {k: v for k, v in image(ask(self.PATH, **HIPS)).header.items() if k != "HISTORY"}
        same = ask(self.PATH, hips="CDS/P/NVSS", format="fits", wcs=json.dumps(header))
        np.testing.assert_allclose(image(same).data, image(ask(self.PATH, **HIPS)).data, atol=1e-6)

    def test_a_colour_survey_is_a_cube_of_bytes(self):
        cube = image(ask(self.PATH, **HIPS | {"hips": "CDS/P/SDSS9/color"})).data
        assert (cube.shape, cube.dtype) == ((4, 30, 40), np.uint8)

    def test_blank_where_the_survey_has_not_looked(self):
        from PIL import Image

        outside = HIPS | {"dec": "-70"}
        assert np.isnan(image(ask(self.PATH, **outside)).data).all()
        white = np.asarray(Image.open(io.BytesIO(ask(self.PATH, **outside, format="jpg").body)))
        assert white.min() == 255
        clear = np.asarray(Image.open(io.BytesIO(ask(self.PATH, **outside, format="png").body)))
        assert clear[..., 3].max() == 0

    @pytest.mark.parametrize("form", ["jpg", "png"])
    def test_a_picture_has_the_north_on_top(self, form):
        from PIL import Image

        shifted = HIPS | {"dec": str(THING.dec_deg - 0.03), "format": form}
        grey = np.asarray(Image.open(io.BytesIO(ask(self.PATH, **shifted).body)).convert("L"))
        assert grey.shape == (30, 40)
        assert np.unravel_index(grey.argmax(), grey.shape)[0] == pytest.approx(14.5 - 0.03 / (0.15 / 40), abs=2)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"hips": "NVSS"}, "no HiPS is named NVSS"),
            ({"width": "10000", "height": "10000"}, "larger than 50000000"),
            ({"fov": "wide"}, "unreadable"),
            ({"format": "jpg", "min_cut": "101%"}, "within 0 to 100"),
            ({"format": "jpg", "min_cut": "90%", "max_cut": "10%"}, "not below"),
            ({"projection": "AIT"}, "not AIT"),
        ],
    )
    def test_errors_are_told_in_json(self, change, said):
        reply = ask(self.PATH, **HIPS | change)
        assert reply.status == 400
        assert said in json.loads(reply.body)["description"]

    @pytest.mark.parametrize("form", ["json", "fits"])
    def test_coverage(self, form):
        from mocpy import MOC

        body = ask("/MocServer/query", ID="astron.nl/P/lotss_dr2_high", get="moc", fmt=form, order="7").body
        moc = MOC.from_string(body.decode(), "json") if form == "json" else MOC.from_fits(io.BytesIO(body))
        inside = moc.contains_lonlat([180, 0, 359, 300] * u.deg, [40, 25, 25, 40] * u.deg)
        assert inside.tolist() == [True, True, True, False]
        assert moc.max_order == 7

    def test_a_record(self):
        record = ask("/MocServer/query", ID="CDS/P/NVSS", get="record").body.decode()
        assert "ID                   = CDS/P/NVSS\n" in record
        assert (
            json.loads(ask("/MocServer/query", ID="CDS/P/NVSS", get="record", fmt="json").body)[0]["ID"] == "CDS/P/NVSS"
        )
        assert ask("/MocServer/query", ID="CDS/P/None", get="record").body == b""


@pytest.mark.parametrize("name", ["M87", "m 87", "M%2087"])
def test_a_name_is_resolved_as_astropy_reads_it(name):
    ra, dec = _parse_response(ask(f"/cgi-bin/nph-sesame/SNV?{name}").body.decode())
    assert (float(ra), float(dec)) == pytest.approx((187.7059, 12.3911), abs=1e-4)


def test_an_unknown_name_is_not_resolved():
    assert _parse_response(ask("/cgi-bin/nph-sesame/SNV?Nobody").body.decode()) == (None, None)


def test_an_unknown_path_is_not_found_and_a_pair_is_answered_too():
    assert respond(Asked("GET", "/nothing", {}), SKY).status == 404
    pair = Request("https://x.example/cgi-bin/nph-sesame/SNV?M51")
    reply = answer(Request("https://x.example/nothing", pair=pair), "", SKY)
    assert reply.pair is not None
    assert (reply.status, reply.pair.status) == (404, 200)


def test_a_request_is_taken_apart_as_a_server_does():
    request = Request("https://x.example/a%20b?c=1%2B1&opt=", {"d": "+10 20"}, b"e=5+6")
    asked = Asked.of(request, "http://stand-in")
    assert asked == Asked(
        "POST", "/a b", {"c": "1+1", "opt": "", "d": "+10 20", "e": "5 6"}, b"e=5+6", "http://stand-in"
    )
