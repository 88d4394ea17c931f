"""Two surveys on one grid: positions coincide, fluxes are kept, blank pixels stay blank."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image as Picture

from rvtool.data.beams import per
from rvtool.data.fits import read_image
from rvtool.errors import DataError
from rvtool.kinds import Beam, SourceInfo
from rvtool.verbs.collect.pairs import align, to_fits

PLACE = (180.0, 30.0)
SOURCE = SkyCoord(*PLACE, unit="deg").spherical_offsets_by(12 * units.arcsec, -9 * units.arcsec)
WIDTH_ARCSEC = 9.0  # standard deviation of the source
PEAK = 0.02


def sky(pixel_arcsec, size, projection="SIN", turn_deg=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = PLACE
    wcs.wcs.crpix = [(size + 1) / 2] * 2
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    wcs.wcs.cd = pixel_arcsec / 3600 * np.array([[-c, s], [s, c]])
    return wcs


def blob(wcs, pixel_arcsec, size):
    """A Gaussian source, of peak brightness `PEAK`."""
    x, y = wcs.world_to_pixel(SOURCE)
    rows, columns = np.mgrid[:size, :size]
    return PEAK * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) * pixel_arcsec**2 / (2 * WIDTH_ARCSEC**2))


def write(path, pixel_arcsec, size, unit, data=None, axes=2, **form):
    """Write a FITS image of the source; a flux per pixel is its brightness times the pixel's area in arcsec^2."""
    wcs = sky(pixel_arcsec, size, **form)
    header = wcs.to_header()
    if axes == 4:  # as FIRST writes them: the pixels have two axes, the header four
        header.update({"WCSAXES": 4, "CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CTYPE4": "STOKES", "CRVAL4": 1.0})
    header["BUNIT"] = unit
    if data is None:
        data = blob(wcs, pixel_arcsec, size) * (pixel_arcsec**2 if per(unit) == "pixel" else 1)
    fits.PrimaryHDU(data.astype(np.float32), header).writeto(path)
    return path


def centroid(image):
    flux = np.nan_to_num(image.data[0].astype(float))
    rows, columns = np.mgrid[: flux.shape[0], : flux.shape[1]]
    return image.wcs.pixel_to_world((flux * columns).sum() / flux.sum(), (flux * rows).sum() / flux.sum())


def flux(image):
    """Brightness summed over the area, arcsec^2; or the flux of all pixels."""
    total = float(np.nansum(image.data[0].astype(float)))
    return total if per(image.unit) == "pixel" else total * image.pixel_arcsec**2


TRUE_FLUX = PEAK * 2 * np.pi * WIDTH_ARCSEC**2


@pytest.mark.parametrize("unit", ["JY/BEAM", "nanomaggy"])
@pytest.mark.parametrize(("pixel", "size", "turn"), [(0.9, 300, 0), (1.8, 150, 30), (6.0, 45, 10)])
def test_the_second_comes_onto_the_grid_of_the_first_with_its_place_and_flux(tmp_path, unit, pixel, size, turn):
    first = write(tmp_path / "first.fits", 1.8, 120, "JY/BEAM", axes=4)
    second = write(tmp_path / "second.fits", pixel, size, unit, projection="TAN", turn_deg=turn)
    one, other = align(first, second)
    assert np.array_equal(one.data, read_image(first).data)  # its own pixels
    assert other.data.shape == one.data.shape == (1, 120, 120)
    assert other.data.dtype == np.float32
    assert centroid(other).separation(SOURCE).arcsec < 0.1
    assert flux(other) == pytest.approx(TRUE_FLUX, rel=2e-3)


@pytest.mark.parametrize("grid", [1.0, 1.8, 4.0])
def test_a_grid_of_its_own_keeps_place_and_flux_of_both(tmp_path, grid):
    first = write(tmp_path / "first.fits", 1.8, 120, "Jy/beam", turn_deg=20)
    second = write(tmp_path / "second.fits", 1.2, 200, "counts")
    for image in align(first, second, place=PLACE, pixel_arcsec=grid):
        assert image.pixel_arcsec == pytest.approx(grid)
        assert image.data.shape[1:] == (int(216 / (np.cos(np.radians(20)) + np.sin(np.radians(20))) / grid),) * 2
        assert image.centre == pytest.approx(PLACE, abs=1e-9)
        assert image.mask.all()
        assert centroid(image).separation(SOURCE).arcsec < 0.1
        assert flux(image) == pytest.approx(TRUE_FLUX, rel=2e-3)


def test_an_even_brightness_stays_even_to_the_border(tmp_path):
    first = write(tmp_path / "first.fits", 5.0, 30, "K")
    even = np.ones((100, 100))
    second = write(tmp_path / "second.fits", 1.7, 100, "K", data=even, turn_deg=5)
    image = align(first, second)[1]
    assert image.data[image.mask[None]] == pytest.approx(1, abs=1e-5)


def test_blank_pixels_stay_blank_and_spread_no_further_than_they_touch(tmp_path):
    data = np.ones((120, 120))
    data[30:40, 50:60] = np.nan
    first = write(tmp_path / "first.fits", 1.8, 120, "Jy/beam")
    for name, grid in (("fine", 0.9), ("coarse", 3.6)):
        second = write(tmp_path / f"{name}.fits", 1.8, 120, "Jy/beam", data=data)
        blank = ~align(first, second, place=PLACE, pixel_arcsec=grid)[1].mask
        rows, columns = np.nonzero(blank)
        factor = 1.8 / grid
        assert blank[int(35 * factor), int(55 * factor)]
        assert rows.min() >= 29 * factor - 1
        assert rows.max() <= 41 * factor
        assert columns.min() >= 49 * factor - 1
        assert columns.max() <= 61 * factor


def test_outside_is_blank_and_too_much_of_it_is_told(tmp_path):
    first = write(tmp_path / "first.fits", 1.8, 120, "Jy/beam")
    second = write(tmp_path / "second.fits", 1.8, 90, "Jy/beam")
    with pytest.raises(DataError, match=r"second.fits leaves 44% of the pair's grid blank \(at most 20%\)"):
        align(first, second)
    image = align(first, second, max_blank=0.5)[1]
    assert image.mask.sum() == 90 * 90
    assert image.mask[15:105, 15:105].all()
    assert align(first, second, place=PLACE, pixel_arcsec=1.8)[0].data.shape == (1, 90, 90)


def test_a_picture_is_north_up_around_the_target(tmp_path):
    first = write(tmp_path / "first.fits", 1.8, 120, "Jy/beam")
    wcs = sky(0.9, 240, "TAN")
    bright = 255 * blob(wcs, 0.9, 240)[::-1] / PEAK  # the first row of a picture is the northernmost
    colours = np.stack([bright, bright / 2, np.zeros_like(bright)], axis=-1).round().astype(np.uint8)
    Picture.fromarray(colours).save(tmp_path / "second.png")
    info = SourceInfo("", unit="nanomaggy", pixel_arcsec=0.9)
    one, other = align(first, tmp_path / "second.png", place=PLACE, infos=(SourceInfo(""), info))
    assert other.data.shape == (3, 120, 120)
    assert other.unit == ""  # brightness for the eye is no flux
    assert centroid(other).separation(centroid(one)).arcsec < 0.2
    assert other.data[0].max() == pytest.approx(255, rel=0.02)
    assert np.argmax(other.data[1]) == np.argmax(other.data[0])


def test_a_picture_may_be_the_grid(tmp_path):
    wcs = sky(1.8, 120, "TAN")
    grey = (255 * blob(wcs, 1.8, 120)[::-1] / PEAK).round().astype(np.uint8)
    Picture.fromarray(grey).save(tmp_path / "first.png")
    second = write(tmp_path / "second.fits", 1.8, 130, "Jy/beam")
    pair = align(tmp_path / "first.png", second, place=PLACE, infos=(SourceInfo("", pixel_arcsec=1.8), SourceInfo("")))
    for image in pair:
        assert centroid(image).separation(SOURCE).arcsec < 0.3


def test_the_file_tells_what_is_known(tmp_path):
    first = write(tmp_path / "first.fits", 1.8, 60, "Jy/beam")
    second = write(tmp_path / "second.fits", 1.8, 64, "")
    infos = SourceInfo("", unit="K", beam=Beam(5.4, 5.4)), SourceInfo("", unit="mJy/beam", beam=Beam(45, 40, 12))
    for number, image in enumerate(align(first, second, infos=infos)):
        (tmp_path / "out.fits").write_bytes(to_fits(image))
        again = read_image(tmp_path / "out.fits")
        assert np.array_equal(again.data, image.data)
        assert again.unit == ("Jy/beam", "mJy/beam")[number]
        assert again.beam.major_arcsec == pytest.approx((5.4, 45)[number])
        assert again.beam.minor_arcsec == pytest.approx((5.4, 40)[number])
        assert again.beam.angle_deg == (0, 12)[number]
        assert again.pixel_arcsec == pytest.approx(1.8)
        assert again.centre == pytest.approx(PLACE)
        assert fits.getheader(tmp_path / "out.fits")["BITPIX"] == -32


def test_colour_is_written_as_three_planes_with_a_good_header(tmp_path):
    first = write(tmp_path / "first.fits", 1.8, 40, "Jy/beam")
    Picture.fromarray(np.full((90, 90, 4), 9, np.uint8)).save(tmp_path / "second.png")  # with an opacity
    info = SourceInfo("", pixel_arcsec=1.8)
    other = align(first, tmp_path / "second.png", place=PLACE, infos=(info, info))[1]
    (tmp_path / "out.fits").write_bytes(to_fits(other))
    with fits.open(tmp_path / "out.fits") as hdus:
        hdus.verify("exception")
        assert hdus[0].data.shape == (3, 40, 40)
        assert WCS(hdus[0].header).celestial.wcs.crval.tolist() == list(PLACE)


def test_what_cannot_be_a_pair_is_told(tmp_path):
    first = write(tmp_path / "first.fits", 1.8, 40, "Jy/beam")
    Picture.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.zeros((40, 40), np.float32))
    with pytest.raises(DataError, match=r"a.png is a picture, which needs the target's position"):
        align(first, tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.npy has no celestial coordinates"):
        align(first, tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"first.fits does not show the target at 181.00000 \+30.00000"):
        align(first, first, place=(181.0, 30.0), pixel_arcsec=2.0)
    with pytest.raises(DataError, match="no field in common of one pixel"):
        align(first, first, pixel_arcsec=100.0)


@pytest.mark.parametrize(
    ("unit", "flux"),
    [
        ("JY/BEAM", False), ("mJy beam-1", False), ("K", False), ("MJy/sr", False), ("", False), ("mag", False),
        ("nanomaggy", True), ("nmgy", True), ("Jy/pixel", True), ("JY/PIX", True), ("counts/s", True), ("ADU", True),
        ("count", True), ("DN", True), ("electron/s", True), ("photon/s/cm2", True), ("nmgy/arcsec2", False),
        ("electron/s/arcsec**2", False), ("photon/s/cm2/sr", False), ("counts arcmin^-2", False), ("ct/deg2", False),
        ("nanomaggy sr-1", False), ("counts/beam", False), ("electron / s / steradian", False),
    ],
)  # fmt: skip
def test_units_of_flux_in_a_pixel(unit, flux):
    assert (per(unit) == "pixel") is flux


@pytest.mark.shared
def test_first_and_nvss_coincide_and_keep_their_fluxes(shared):
    folder = shared / "first-nvss-pairs"
    for name in sorted(p.name for p in (folder / "first").iterdir())[::20]:
        first, nvss = folder / "first" / name, folder / "nvss" / name
        place = read_image(first).centre
        fine, coarse = (align(first, nvss, place=place, pixel_arcsec=grid) for grid in (3.0, 15.0))
        assert fine[0].data.shape == (1, 89, 89)  # 4.5 arcmin, where NVSS has 8
        for path, after in ((first, coarse[0]), (nvss, fine[1])):
            before = read_image(path)
            assert softly_seen(after, place) == pytest.approx(softly_seen(before, place), rel=0.03)
            assert middle(after, place).separation(middle(before, place)).arcsec < 0.15 * after.pixel_arcsec
        # one source seen with beams of 5.4 and 45 arcsec: within one pixel of NVSS
        assert middle(fine[0], place).separation(middle(fine[1], place)).arcsec < 15.0


def seen_through_gaussian(image, place, fwhm_arcsec=90.0):
    """Brightness through a soft aperture: without an edge, it does not depend on how pixels lie."""
    rows, columns = np.mgrid[: image.data.shape[1], : image.data.shape[2]]
    distance = image.wcs.pixel_to_world(columns, rows).separation(SkyCoord(*place, unit="deg")).arcsec
    return np.nan_to_num(image.data[0].astype(float)) * np.exp(-4 * np.log(2) * (distance / fwhm_arcsec) ** 2)


def softly_seen(image, place):
    return seen_through_gaussian(image, place).sum() * image.pixel_arcsec**2


def middle(image, place):
    light = seen_through_gaussian(image, place)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    return image.wcs.pixel_to_world((light * columns).sum() / light.sum(), (light * rows).sum() / light.sum())
