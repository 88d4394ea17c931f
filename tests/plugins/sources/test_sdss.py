"""SDSS: JPEGs, cutouts of frames with a right WCS, objects by SQL, and every text that is no answer."""

from __future__ import annotations

import bz2
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from rvtool.errors import DataError
from rvtool.kinds import Absent, Found, Further, Listed, Reply, Request, Retry, Target
from rvtool.testing import check_source
from rvtool.testing.sky import Sky, answer
from rvtool_plugins.sources.sdss import SdssConfig, rvtool_sources
from rvtool_plugins.sources.sdss.frames import cut
from rvtool_plugins.sources.sdss.source import PIXEL_ARCSEC, Sdss

JPEG, FITS = Sdss(SdssConfig()), Sdss(SdssConfig(form="fits", size_arcmin=1))
GALAXY = Target("galaxy", 200.0, 20.0)
NOWHERE = Target("nowhere", 20.0, -60.0)


def ask(source: Sdss, target: Target, sky: Sky) -> Reply:
    """Return the stand-in's reply to a target."""
    return answer(source.request(target), source.info.base_url, sky)


@pytest.mark.parametrize("form", ["jpeg", "fits"])
def test_contract(form: str) -> None:
    check_source(rvtool_sources()[0], {"form": form})


@pytest.mark.parametrize(("size_arcmin", "side"), [(0.43, 65), (1.0, 151), (4.5, 682), (13.5, 2045)])
def test_size_of_a_jpeg(sky: Sky, size_arcmin: float, side: int) -> None:
    source = Sdss(SdssConfig(size_arcmin=size_arcmin))
    request = source.request(GALAXY)
    assert (request.params["width"], request.params["height"], request.params["opt"]) == (str(side), str(side), "")
    if side < 1000:
        found = source.read(GALAXY, ask(source, GALAXY, sky))
        assert isinstance(found, Found)
        assert found.suffix == ".jpg"
        assert Image.open(io.BytesIO(found.body)).size == (side, side)


@pytest.mark.shared
def test_a_recorded_jpeg(shared: Path) -> None:
    body = (shared / "services/sciserver_skyserver/SDSS_getJpegImgCutout_TestGalaxy.jpeg").read_bytes()
    assert JPEG.read(GALAXY, Reply(JPEG.request(GALAXY), 200, {}, body)) == Found(body, ".jpg")


def test_one_colour_is_outside_the_survey(sky: Sky) -> None:
    assert isinstance(JPEG.read(NOWHERE, ask(JPEG, NOWHERE, sky)), Absent)


def test_half_a_jpeg_is_fetched_again(sky: Sky) -> None:
    reply = ask(JPEG, GALAXY, sky)
    assert isinstance(JPEG.read(GALAXY, Reply(reply.request, 200, {}, reply.body[: len(reply.body) // 2])), Retry)


def test_a_frame_serves_many(sky: Sky) -> None:
    thing = sky.catalogue("quasar", 1)[0]
    target, near = Target("a", thing.ra_deg, thing.dec_deg), Target("b", thing.ra_deg + 1e-4, thing.dec_deg)
    further = FITS.read(target, ask(FITS, target, sky))
    assert isinstance(further, Further)
    assert further.request.shared
    assert FITS.read(near, ask(FITS, near, sky)) == further
    frame = answer(further.request, FITS.info.further_urls[0], sky)
    found, beside = FITS.read(target, frame), FITS.read(near, frame)
    assert isinstance(found, Found)
    assert isinstance(beside, Found)
    assert found.body != beside.body
    with fits.open(io.BytesIO(found.body)) as units:
        header, data = units[0].header, units[0].data
    assert (header["BUNIT"], header["FILTER"], data.dtype, data.shape) == ("nanomaggy", "r", ">f4", (151, 151))
    wcs = WCS(header)
    y, x = np.unravel_index(np.argmax(data), data.shape)
    assert abs(x - 75) <= 1
    assert abs(y - 75) <= 1
    peak = wcs.pixel_to_world(x, y)
    assert peak.separation(SkyCoord(thing.ra_deg, thing.dec_deg, unit="deg")).arcsec < PIXEL_ARCSEC
    assert wcs.proj_plane_pixel_scales()[0].to_value("arcsec") == pytest.approx(PIXEL_ARCSEC, rel=1e-6)


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.shared
def test_a_real_frame_keeps_pixels_and_sky(shared: Path) -> None:
    packed = (shared / "radio-images/reprojected_sdss_r.fits.bz2").read_bytes()
    with fits.open(io.BytesIO(bz2.decompress(packed))) as units:
        whole, sky_of = units[0].data, WCS(units[0].header)
    centre = sky_of.pixel_to_world(300, 200)
    body = cut(packed, (centre.ra.deg, centre.dec.deg), 1.0)
    assert body is not None
    with fits.open(io.BytesIO(body)) as units:
        part, wcs, unit = units[0].data, WCS(units[0].header), units[0].header["BUNIT"]
    assert unit == "nanomaggy"
    side = part.shape[0]
    assert part.shape == (side, side)
    left, low = 300 - side // 2, 200 - side // 2
    assert np.array_equal(part, whole[low : low + side, left : left + side])
    for x, y in ((0, 0), (side - 1, 3)):
        assert wcs.pixel_to_world(x, y).separation(sky_of.pixel_to_world(left + x, low + y)).arcsec < 1e-3


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.shared
def test_the_edge_of_a_frame(shared: Path) -> None:
    packed = (shared / "radio-images/reprojected_sdss_r.fits.bz2").read_bytes()
    with fits.open(io.BytesIO(bz2.decompress(packed))) as units:
        corner = WCS(units[0].header).pixel_to_world(0, 0)
    body = cut(packed, (corner.ra.deg, corner.dec.deg), 1.0)
    assert body is not None
    with fits.open(io.BytesIO(body)) as units:
        assert 0.7 < np.isnan(units[0].data).mean() < 0.8
    assert cut(packed, (corner.ra.deg + 5, corner.dec.deg), 1.0) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"no bzip2", bz2.compress(b"no FITS"), bz2.compress(bytes(2**27))[:60]],
    ids=["nothing", "no bzip2", "no FITS", "cut off"],
)
def test_frames_that_are_none(body: bytes) -> None:
    with pytest.raises(DataError):
        cut(body, (10, 10), 1.0)
    request = Request("https://data.sdss.org/sas/frame.fits.bz2")
    assert isinstance(FITS.read(GALAXY, Reply(request, 200, {}, body)), Retry)


@pytest.mark.parametrize("release", ["dr12", "dr17", "dr18"])
def test_frames_lie_where_astroquery_finds_them(release: str) -> None:
    from astroquery.sdss import SDSSClass

    folder = {"dr12": "boss", "dr17": "eboss", "dr18": "prior-surveys/sdss4-dr17-eboss"}[release]
    where = {"run": 1904, "rerun": 301, "camcol": 3, "field": 163}
    said = f"#Table1\n{','.join(where)}\n{','.join(map(str, where.values()))}\n"
    source = Sdss(SdssConfig.model_validate({"form": "fits", "band": "g", "release": release}))
    further = source.read(GALAXY, Reply(source.request(GALAXY), 200, {}, said.encode()))
    assert isinstance(further, Further)
    theirs = SDSSClass.IMAGING_URL_SUFFIX.format(
        base="https://data.sdss.org/sas", dr=release.removeprefix("dr"), instrument=folder, band="g", **where
    )
    assert further.request.url == theirs


@pytest.mark.shared
def test_a_recorded_table_leads_to_its_frame(shared: Path) -> None:
    body = (shared / "services/astroquery_sdss/xid_im.txt").read_bytes()
    further = FITS.read(GALAXY, Reply(FITS.request(GALAXY), 200, {}, body))
    assert isinstance(further, Further)
    assert further.request.url.endswith("/dr17/eboss/photoObj/frames/301/1904/3/frame-r-001904-3-0163.fits.bz2")


@pytest.mark.parametrize("label", Sdss.classes)
def test_objects_of_the_stand_in(sky: Sky, label: str) -> None:
    (request,) = JPEG.query(label, 25)
    assert "TOP 25 " in request.params["cmd"]
    read = JPEG.entries(label, answer(request, JPEG.info.base_url, sky))
    assert isinstance(read, Listed)
    assert [t.id for t in read.targets] == [thing.name for thing in sky.catalogue(label, 25)]
    assert {t.columns["label"] for t in read.targets} == {label}
    assert all(0 < t.columns["redshift"] < 0.3 for t in read.targets)


def test_everything_is_every_class(sky: Sky) -> None:
    labels = []
    for request in JPEG.query("", None):
        read = JPEG.entries("", answer(request, JPEG.info.base_url, sky))
        assert isinstance(read, Listed)
        labels += [t.columns["label"] for t in read.targets[:1]]
    assert labels == ["quasar", "spiral_galaxy"]


BUSY = '#Table1\n"ERROR: Maximum 60 queries allowed per minute. Rejected query: SELECT TOP 10 ra, dec"\n'
OUTAGE = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (BUSY, Retry, "Maximum 60 queries"),
        (OUTAGE, Retry, "503 Service Unavailable"),
        ("<html><head>\n<title>Skyserver Error</title></head></html>", Retry, "Skyserver Error"),
        ("error_message\n'Incorrect syntax'", Retry, "error_message"),
        ('{"error_message": "timeout"}', Retry, "error_message"),
        ("", Retry, "nothing"),
        ("#Table1\nname,plate\na,1\n", Retry, "not the one"),
        ("#Table1\nra,dec,redshift,specobjid,run,rerun,camcol,field\n1.0,2", Retry, "not the one"),
        ("#Table1\nra,dec,redshift,specobjid\n", Absent, "no such object"),
        ("No objects have been found", Absent, "no such object"),
    ],
)
def test_texts_that_are_no_table(text: str, kind: type, said: str) -> None:
    for read in (
        JPEG.entries("quasar", Reply(JPEG.query("quasar", 10)[0], 200, {}, text.encode())),
        FITS.read(GALAXY, Reply(FITS.request(GALAXY), 200, {}, text.encode())),
    ):
        assert isinstance(read, kind)
        assert isinstance(read, Retry | Absent)
        assert said in read.reason


def test_the_limit_is_waited_for() -> None:
    read = JPEG.entries("quasar", Reply(JPEG.query("quasar", 10)[0], 200, {}, BUSY.encode()))
    assert isinstance(read, Retry)
    assert read.after_s == 60


def test_no_object_near_by_is_no_frame(sky: Sky) -> None:
    assert isinstance(FITS.read(NOWHERE, ask(FITS, NOWHERE, sky)), Absent)


@pytest.mark.live
def test_live(fetch: Callable[[Request], Reply]) -> None:
    m51 = Target("M51", 202.469575, 47.195258)
    assert isinstance(JPEG.read(m51, fetch(JPEG.request(m51))), Found)
    further = FITS.read(m51, fetch(FITS.request(m51)))
    assert isinstance(further, Further)
    assert isinstance(FITS.read(m51, fetch(further.request)), Found)
