"""Every byte of a file is looked at before it is believed, and what is wrong is told in words."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.data.fits import SUFFIXES
from rvtool.errors import DataError
from rvtool.verbs.collect.validate import Expected, check, reaches_border, same_unit

RA, DEC, SIDE, PIXEL = 150.0, 30.0, 40, 1.8
EXPECTED = Expected(RA, DEC, SIDE * PIXEL / 60, PIXEL, "Jy/beam")


def sky(side=SIDE, dtype=np.float32):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return (rng.normal(0, 1e-4, (side, side)) + 0.05 * np.exp(-(x**2 + y**2) / 8)).astype(dtype)


def header_cards(ra=RA, dec=DEC, pixel=PIXEL, side=SIDE, **more):
    cards = {"BUNIT": "JY/BEAM", "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": ra, "CRVAL2": dec}
    cards |= {"CRPIX1": (side + 1) / 2, "CRPIX2": (side + 1) / 2, "CDELT1": -pixel / 3600, "CDELT2": pixel / 3600}
    return cards | more


def written(*hdus):
    out = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(out)
    return out.getvalue()


def image(data=None, compress=False, **cards):
    header = fits.Header(header_cards(**cards).items())
    if compress:
        return written(fits.PrimaryHDU(), fits.CompImageHDU(sky() if data is None else data, header))
    return written(fits.PrimaryHDU(sky() if data is None else data, header))


GOOD = image(BMAJ=5.4 / 3600, BMIN=5.4 / 3600, BPA=0.0)


def picture(suffix, data=None):
    from PIL import Image

    out = io.BytesIO()
    data = (255 * sky() / sky().max()).clip(0, 255).astype(np.uint8) if data is None else data
    Image.fromarray(data).save(out, suffix)
    return out.getvalue()


def array(data):
    out = io.BytesIO()
    np.save(out, data)
    return out.getvalue()


def test_what_a_good_file_tells():
    told = check(GOOD, ".fits", EXPECTED)
    assert (told.planes, told.channels, told.height, told.width) == ((0,), 1, SIDE, SIDE)
    assert (told.unit, told.beam.major_arcsec) == ("JY/BEAM", pytest.approx(5.4))
    assert (told.ra_deg, told.dec_deg) == (pytest.approx(RA), pytest.approx(DEC))
    assert told.pixel_arcsec == pytest.approx(PIXEL)
    assert (told.blank_fraction, told.larger) == (0, False)


def test_the_digest_is_of_the_pixels():
    told = check(GOOD, ".fits", EXPECTED).pixels_sha256
    assert told == check(image(DATE="2026-11-01"), ".fits", EXPECTED).pixels_sha256
    assert told == check(image(sky()[None]), ".fits", EXPECTED).pixels_sha256
    other = sky()
    other[3, 4] = np.nextafter(other[3, 4], np.float32(1))
    assert told != check(image(other), ".fits", EXPECTED).pixels_sha256
    assert told != check(image(sky().T), ".fits", EXPECTED).pixels_sha256
    zeros, wide = np.zeros((4, 6), np.float32), np.zeros((6, 4), np.float32)
    zeros[0, 0] = wide[0, 0] = 1
    loose = Expected(strict=False)
    assert check(image(zeros), ".fits", loose).pixels_sha256 != check(image(wide), ".fits", loose).pixels_sha256


@pytest.mark.parametrize(
    "body",
    [gzip.compress(GOOD), bz2.compress(GOOD), image(compress=True), written(fits.PrimaryHDU(), fits.ImageHDU(sky()))],
    ids=["gzip", "bzip2", "tiles", "extension"],
)
def test_packings(body):
    expected = replace(EXPECTED, ra_deg=None, pixel_arcsec=None)
    told = check(body, ".fits", expected)
    assert (told.height, told.width, told.planes) == (SIDE, SIDE, (0,))


def test_scaled_integers_are_read_as_numbers():
    hdu = fits.PrimaryHDU(sky(), fits.Header(header_cards().items()))
    hdu.scale("int16", bscale=1e-5)
    told = check(written(hdu), ".fits", EXPECTED)
    assert told.pixel_arcsec == pytest.approx(PIXEL)
    assert told.blank_fraction < 0.01


def test_four_axes_and_blank_planes():
    cube = np.stack([sky(), np.full_like(sky(), np.nan), sky()])[None]
    told = check(image(cube, CTYPE3="FREQ", CTYPE4="STOKES", CRVAL3=1.4e9), ".fits", replace(EXPECTED, max_blank=0.4))
    assert told.planes == (0, 2)
    assert told.blank_fraction == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("cards", "place"),
    [  # the galactic centre, and the galactic pole by its definition in B1950
        ({"CTYPE1": "GLON-SIN", "CTYPE2": "GLAT-SIN", "ra": 0.0, "dec": 0.0}, (266.405, -28.936)),
        ({"RADESYS": "FK4", "EQUINOX": 1950.0, "ra": 192.25, "dec": 27.4}, (192.8595, 27.1283)),
    ],
)
def test_other_frames(cards, place):
    from astropy.coordinates import SkyCoord

    frame = "galactic" if "CTYPE1" in cards else "fk4"
    true = SkyCoord(cards.get("ra", RA), cards.get("dec", DEC), unit="deg", frame=frame).icrs
    told = check(image(**cards), ".fits", replace(EXPECTED, ra_deg=true.ra.deg, dec_deg=true.dec.deg))
    assert (told.ra_deg, told.dec_deg) == (pytest.approx(true.ra.deg, abs=1e-5), pytest.approx(true.dec.deg, abs=1e-5))
    assert (told.ra_deg, told.dec_deg) == (pytest.approx(place[0], abs=2e-3), pytest.approx(place[1], abs=2e-3))
    with pytest.raises(DataError, match="another place"):
        check(image(**cards), ".fits", replace(EXPECTED, ra_deg=true.ra.deg, dec_deg=true.dec.deg + 0.2))


def half_blank(value):
    data = sky()
    data[:20] = value
    return data


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (GOOD[: len(GOOD) // 2 // 2880 * 2880], r"truncated: its HDU 0 needs 6400 bytes"),
        (GOOD[:-1], rf"cut off: {len(GOOD) - 1} of {len(GOOD)} bytes"),
        (GOOD[:1000], "ends inside a header"),
        (b"", "no FITS file: it is empty"),
        (b"<html><body>Position is not in the area</body></html>", "no FITS file: Position is not in the area"),
        (written(fits.PrimaryHDU()), "holds no image"),
        (written(fits.PrimaryHDU(sky()), fits.ImageHDU(sky()))[:-2880], "truncated: its HDU 1"),
        (image(dec=30 + 12.3 / 60), r"another place: its middle is 12\.30 arcmin away"),
        (image(ra=330, dec=-30), "another place: its middle is 10800.00 arcmin away"),
        (image(half_blank(np.nan)), "50 % of the pixels are blank"),
        (image(half_blank(0)), "50 % of the pixels are blank"),
        (image(np.full_like(sky(), np.nan)), "not one pixel is known"),
        (image(np.zeros_like(sky())), "every pixel is 0"),
        (image(pixel=15), r"pixels of 15 arcsec instead of 1\.8"),
        (image(CDELT1=-15 / 3600), r"pixels of 15 arcsec instead of 1\.8"),
        (image(sky()[:, :20]), "40x40 px expected, 20x40 came"),
        (image(sky(42), side=42), "40x40 px expected, 42x42 came"),
        (image(BUNIT="K"), "the unit is K, not Jy/beam"),
        (image(BUNIT="mJy/beam"), "the unit is mJy/beam"),
        (image(CTYPE1="LINEAR", CTYPE2="LINEAR"), "does not tell where on the sky"),
        (gzip.compress(GOOD)[:-20], "compressed file is cut off"),
    ],
)
def test_what_is_wrong_is_told(body, told):
    with pytest.raises(DataError, match=told):
        check(body, ".fits", EXPECTED)


def test_what_may_differ():
    check(image(BUNIT=""), ".fits", EXPECTED)
    check(image(sky(41), side=41), ".fits", EXPECTED)
    check(image(pixel=1.81), ".fits", EXPECTED)
    single = sky()
    single[::2, ::2] = 0  # as quantised noise has it
    assert check(image(single), ".fits", EXPECTED).blank_fraction == 0


@pytest.mark.parametrize(
    ("side", "field_px", "offset_px", "good"),
    [
        (40, 40, 3.9, True),
        (40, 40, 4.1, False),
        (10, 10, 1.9, True),  # two pixels, whatever the side
        (10, 10, 2.1, False),
        (40, None, 3.9, True),  # of its own side, where nobody told the field
        (40, None, 4.1, False),
    ],
)
def test_the_target_is_in_the_middle(side, field_px, offset_px, good):
    """A neighbour's image shows the target too, but would get the wrong label."""
    field_arcmin = field_px and field_px * PIXEL / 60
    expected = replace(EXPECTED, field_arcmin=field_arcmin)
    for east, north in ((offset_px, 0), (0, -offset_px), (0.6 * offset_px, 0.8 * offset_px)):
        moved = image(sky(side), side=side, CRPIX1=(side + 1) / 2 + east, CRPIX2=(side + 1) / 2 + north)
        if good:
            check(moved, ".fits", expected)
        else:
            with pytest.raises(DataError, match="another place"):
                check(moved, ".fits", expected)


def test_a_neighbours_image_is_refused():
    side = 150
    body = image(sky(side), side=side, dec=DEC + 120 / 3600)
    with pytest.raises(DataError, match=r"another place: its middle is 2\.00 arcmin away"):
        check(body, ".fits", replace(EXPECTED, field_arcmin=4.5))


def test_the_users_own_files_need_one_known_pixel():
    loose = Expected(RA, DEC, 4.5, 15.0, "K", strict=False)
    data = np.full_like(sky(), np.nan)
    data[3, 4] = 1
    assert check(image(data), ".fits", loose).blank_fraction == 1 - 1 / SIDE**2
    assert check(picture("PNG", np.zeros((5, 6, 3), np.uint8)), ".png", loose).channels == 3
    unpadded = GOOD[: 2880 * 1 + 4 * SIDE**2]
    assert check(unpadded, ".fits", loose).height == SIDE
    for body in (image(np.full_like(sky(), np.nan)), GOOD[:5000], b"", b"nothing"):
        with pytest.raises(DataError):
            check(body, ".fits", loose)


def test_pictures():
    colour = np.random.default_rng(0).integers(0, 255, (30, 20, 3), dtype=np.uint8)
    for form, suffix in (("PNG", ".png"), ("JPEG", ".jpg"), ("JPEG", ".jpeg")):
        told = check(picture(form, colour), suffix, Expected())
        assert (told.planes, told.channels, told.height, told.width) == ((0,), 3, 30, 20)
        assert (told.ra_deg, told.pixel_arcsec, told.blank_fraction) == (None, None, 0)
        with pytest.raises(DataError, match="has no end"):
            check(picture(form, colour)[:-5], suffix, Expected())
        with pytest.raises(DataError, match="every pixel is"):
            check(picture(form, np.full((9, 9), 7, np.uint8)), suffix, Expected())
        with pytest.raises(DataError, match=r"is no .* file: Service is down"):
            check(b"<html>Service is down</html>", suffix, Expected())
    solid = np.broadcast_to(np.uint8([10, 20, 30]), (9, 9, 3))
    with pytest.raises(DataError, match="every pixel is 10, 20, 30"):
        check(picture("PNG", solid), ".png", Expected())
    with pytest.raises(DataError, match="10x10 px expected, 20x30 came"):
        check(picture("PNG", colour), ".png", Expected(field_arcmin=1, pixel_arcsec=6))
    body = picture("JPEG", colour)
    with pytest.raises(DataError, match="truncated"):
        check(body[: len(body) // 2] + b"\xff\xd9", ".jpg", Expected())


def test_arrays():
    told = check(array(np.stack([sky(), sky()])[:, None]), ".npy", Expected())
    assert (told.planes, told.channels) == ((0, 1), 1)
    for body in (array(sky())[:-1], array(np.array([sky()], object)), array(np.zeros(5))):
        with pytest.raises(DataError):
            check(body, ".npy", Expected())


@given(st.integers(0, len(GOOD) - 1))
@settings(deadline=None, max_examples=150)
def test_any_truncation_is_refused(length):
    with pytest.raises(DataError):
        check(GOOD[:length], ".fits", Expected())


STARTS = st.sampled_from([b"", GOOD[:2880], b"SIMPLE  =", b"\x1f\x8b\x08", b"BZh9", b"\x89PNG\r\n\x1a\n", b"\xff\xd8"])


@given(STARTS, st.binary(max_size=200), st.sampled_from(SUFFIXES), st.booleans())
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_an_image_or_refused(start, rest, suffix, strict):
    with pytest.raises(DataError):
        check(start + rest, suffix, replace(EXPECTED, strict=strict))


def test_bytes_that_no_header_may_have_are_read_as_blanks():
    at = GOOD.index(b"BPA") + 40
    for byte in (0, 9, 10, 127, 128, 255):
        body = GOOD[:at] + bytes([byte]) * 30 + GOOD[at + 30 :]
        assert check(body, ".fits", EXPECTED).pixel_arcsec == pytest.approx(PIXEL)


@given(st.integers(0, 2879), st.binary(min_size=1, max_size=20))
@settings(deadline=None, max_examples=200)
def test_damaged_headers_never_surprise(at, bytes_):
    with suppress(DataError):
        check(GOOD[:at] + bytes_ + GOOD[at + len(bytes_) :], ".fits", EXPECTED)


def test_sizes_of_the_header_are_not_believed():
    huge = GOOD.replace(b"NAXIS1  =                   40", b"NAXIS1  =  4000000000000000000")
    with pytest.raises(DataError, match="truncated"):
        check(huge, ".fits", EXPECTED)
    twice = written(fits.PrimaryHDU(sky()), fits.ImageHDU(sky()))
    at = twice.index(b"XTENSION")
    # two axes that take the reader back to the header itself
    back = twice[:at] + twice[at:].replace(b"NAXIS1  =                   40", b"NAXIS1  =                  -72")
    back = back[:at] + back[at:].replace(b"NAXIS2  =                   40", b"NAXIS2  =                   10")
    with pytest.raises(DataError, match="valid size"):
        check(back, ".fits", EXPECTED)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("JY/BEAM", "Jy/beam", True),
        ("Jy/Beam", "Jy/beam", True),
        ("beam-1 Jy", "Jy/beam", True),
        ("Jy beam^-1", "Jy/beam", True),
        ("Jy.beam**(-1)", "Jy/beam", True),
        ("nanomaggies", "nanomaggy", True),
        ("Kelvin", "K", True),
        ("Jy", "Jy/beam", False),
        ("mJy/beam", "Jy/beam", False),
        ("MJy/sr", "mJy/sr", False),
        ("K", "Jy/beam", False),
        ("Jy beam", "Jy/beam", False),
        ("1 Jy/beam", "Jy/beam", True),
        ("1.0*JY/BEAM", "Jy/beam", True),
        ("0.001 Jy/beam", "Jy/beam", False),
        ("1E-3 Jy/beam", "Jy/beam", False),
        ("1e-3 Jy/beam", "1E-3 JY/BEAM", True),
        ("10**-3 Jy/beam", "Jy/beam", False),
        ("10^(-3) Jy/beam", "Jy/beam", False),
        ("Jy/1000/beam", "Jy/beam", False),
        ("µJy/beam", "Jy/beam", False),
    ],
)
def test_units(one, other, same):
    assert same_unit(one, other) is same
    assert same_unit(other, one) is same


@given(st.text(alphabet="JybeamµK²٣ 0123.456789eE+-*/^()", max_size=30))
@settings(deadline=None)
def test_any_text_may_be_a_unit(text):
    assert same_unit(text, text)
    assert same_unit(text + " Jy/beam", "Jy/beam") is same_unit("Jy/beam", text + " Jy/beam")


def jet(length_px, side=100, start=(50, 50)):
    data = np.random.default_rng(0).normal(0, 1, (side, side))
    data[start[0] - 1 : start[0] + 2, start[1] : start[1] + length_px] += 50
    return data


def test_larger_than_the_cutout():
    assert not reaches_border(jet(45), (50, 50), 3)
    assert reaches_border(jet(50), (50, 50), 3)
    assert reaches_border(np.where(np.arange(100) == 5, np.nan, jet(50)), (50, 50), 3)  # blank pixels do not matter
    assert not reaches_border(jet(8, start=(50, 92)), (50, 50), 3)  # a neighbour at the border
    assert reaches_border(jet(8, start=(50, 92)), (92, 50), 3)
    assert not reaches_border(np.full((9, 9), np.nan), (4, 4), 3)
    assert check(GOOD, ".fits", replace(EXPECTED, las_arcsec=0.81 * SIDE * PIXEL)).larger
    assert not check(GOOD, ".fits", replace(EXPECTED, las_arcsec=0.79 * SIDE * PIXEL)).larger


@pytest.mark.shared
def test_first_and_nvss(shared):
    """Each is good for what it is asked for, and no source below half of the field is told to be larger."""
    with open(shared / "first-fits" / "labels.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 359
    small, elsewhere = [], []
    for row in rows:
        field = int(row["size_px"]) * 1.8 / 60
        expected = Expected(float(row["ra_deg"]), float(row["dec_deg"]), field, 1.8, "Jy/beam")
        try:
            told = check((shared / "first-fits" / row["file"]).read_bytes(), ".fits", expected)
        except DataError as error:
            elsewhere.append((row["file"], str(error)))
            continue
        assert (told.height, told.planes) == (int(row["size_px"]), (0,))
        assert told.blank_fraction == 0
        if float(row["las_arcsec"] or "inf") < field * 60 / 2:
            small.append(told.larger)
    assert len(small) > 300
    assert not any(small)
    # one was fetched for a declination that lacks its last digits: the source is at +18.3250
    assert elsewhere == [("J209.5930+18.3000.fits", "the image shows another place: its middle is 1.50 arcmin away")]
    with open(shared / "first-nvss-pairs" / "labels.csv") as file:
        pairs = list(csv.DictReader(file))
    for row in pairs:
        place = float(row["ra_deg"]), float(row["dec_deg"])
        for side, expected in (
            ("image", Expected(*place, 8.0, 15.0, "Jy/beam")),
            ("target", Expected(*place, 4.5, 1.8, "Jy/beam")),
        ):
            assert check((shared / "first-nvss-pairs" / row[side]).read_bytes(), ".fits", expected).planes == (0,)


@pytest.mark.shared
def test_other_instruments(shared):
    """Of all that is there, only what is mostly blank is refused."""
    refused = {}
    for path in sorted((shared / "radio-images").iterdir()):
        try:
            told = check(path.read_bytes(), ".fits", Expected())
        except DataError as error:
            refused[path.name] = str(error)
            continue
        assert told.unit == "" or "jy" in told.unit.lower() or told.unit == "nanomaggy"
    assert refused == {
        "1904-66_SIN.fits": "40 % of the pixels are blank",
        "M17_SWex_unittest.fits": "53 % of the pixels are blank",
    }
    cube = check((shared / "radio-images" / "ngc6946.fits").read_bytes(), ".fits", Expected(308.72, 60.15))
    assert len(cube.planes) == 101
    with pytest.raises(DataError, match="holds no image"):
        check((shared / "services" / "astroquery_sdss" / "emptyfile.fits").read_bytes(), ".fits", Expected())
    for path in (shared / "services" / "sciserver_skyserver").glob("*.jpeg"):
        assert check(path.read_bytes(), ".jpeg", Expected()).channels == 3
