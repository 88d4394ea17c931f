import bz2
import gzip

import numpy as np
import pytest
from astropy.coordinates import FK4, SkyCoord
from astropy.io import fits

from rvtool.data.fits import count_planes, glance, planes, read_image
from rvtool.errors import DataError

WCS = {
    "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 8.5, "CRPIX2": 8.5,
    "CDELT1": -1.8 / 3600, "CDELT2": 1.8 / 3600, "BUNIT": "JY/BEAM", "BMAJ": 5.4 / 3600, "BMIN": 5.4 / 3600, "BPA": 0.0,
}  # fmt: skip


def write(path, data, **cards):
    hdu = fits.PrimaryHDU(data)
    hdu.header.update({**WCS, **cards})
    hdu.writeto(path)
    return path


def test_an_image_keeps_what_the_file_says(tmp_path):
    data = np.arange(256, dtype=np.float32).reshape(16, 16)
    data[0, 0] = np.nan
    image = read_image(write(tmp_path / "a.fits", data))
    assert image.data.shape == (1, 16, 16)
    np.testing.assert_array_equal(image.data[0], data)
    assert (image.unit, image.beam.major_arcsec) == ("JY/BEAM", pytest.approx(5.4))
    assert image.pixel_arcsec == pytest.approx(1.8)
    assert image.centre == pytest.approx((150.0, 2.0), abs=1e-6)
    assert not image.mask[0, 0]
    assert image.mask.sum() == 255
    assert image.header_bytes.startswith(b"SIMPLE  =")


def test_the_centre_is_icrs_whatever_the_header_speaks(tmp_path):
    data = np.ones((16, 16), np.float32)
    place = SkyCoord(150.0, 2.0, unit="deg")
    galactic, old = place.galactic, place.transform_to(FK4(equinox="B1950"))
    swapped = {"CTYPE1": "DEC--SIN", "CTYPE2": "RA---SIN", "CRVAL1": 2.0, "CRVAL2": 150.0}
    headers = [
        {"CTYPE1": "GLON-SIN", "CTYPE2": "GLAT-SIN", "CRVAL1": galactic.l.deg, "CRVAL2": galactic.b.deg},
        {"RADESYS": "FK4", "EQUINOX": 1950.0, "CRVAL1": old.ra.deg, "CRVAL2": old.dec.deg},
        swapped,
    ]
    for number, cards in enumerate(headers):
        path = write(tmp_path / f"{number}.fits", data, **cards)
        assert read_image(path).centre == pytest.approx((150.0, 2.0), abs=1e-4), cards
        assert glance(path) == (1, read_image(path).centre)
    assert read_image(write(tmp_path / "x.fits", data, CTYPE1="RA---XXX", CTYPE2="DEC--XXX")).centre is None


def test_planes_of_arrays_are_counted_from_the_header(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 3, 4, 4), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((3, 4, 4), np.float32))
    assert [count_planes(tmp_path / name) for name in ("a.npy", "b.npy")] == [5, 1]


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 3, 16, 16), (3, 1, 16, 16)])
def test_cubes_give_every_plane(tmp_path, shape):
    path = write(tmp_path / "cube.fits", np.random.default_rng(0).normal(size=shape).astype(np.float32))
    assert [image.plane for image in planes(path)] == [0, 1, 2]
    assert count_planes(path) == 3
    with pytest.raises(DataError, match="no plane 3"):
        read_image(path, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16, np.float32, np.float64])
def test_every_pixel_type_is_read(tmp_path, dtype):
    data = np.arange(256).reshape(16, 16).astype(dtype)
    image = read_image(write(tmp_path / "a.fits", data))
    np.testing.assert_array_equal(image.data[0].astype(float), data.astype(float))
    assert image.data.dtype.isnative


def test_scaled_integers_become_physical(tmp_path):
    hdu = fits.PrimaryHDU(np.arange(256, dtype=np.float32).reshape(16, 16))
    hdu.scale("int16", bscale=0.5, bzero=3)
    hdu.writeto(tmp_path / "a.fits")
    np.testing.assert_allclose(read_image(tmp_path / "a.fits").data[0].ravel(), np.arange(256), atol=0.25)


def test_packed_files_are_read(tmp_path):
    data = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    raw = write(tmp_path / "a.fits", data).read_bytes()
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "a.fits.bz2").write_bytes(bz2.compress(raw))
    fits.CompImageHDU(data, compression_type="GZIP_2", quantize_level=0).writeto(tmp_path / "a.fits.fz")
    for name in ("a.fits.gz", "a.fits.bz2", "a.fits.fz"):
        np.testing.assert_array_equal(read_image(tmp_path / name).data[0], data)
        assert count_planes(tmp_path / name) == 1


def test_pictures_and_arrays_keep_their_channels(tmp_path):
    from PIL import Image

    rgb = np.random.default_rng(0).integers(0, 255, (8, 9, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, np.moveaxis(rgb, -1, 0))
    np.save(tmp_path / "a.npy", rgb.astype(np.float32).transpose(2, 0, 1))
    assert read_image(tmp_path / "a.npy").data.shape == (3, 8, 9)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.fits", b"hello", "cannot be read as FITS"),
        ("empty.fits", b"", "cannot be read as FITS"),
        ("text.png", b"hello", "cannot be read as a picture"),
        ("text.npy", b"hello", "cannot be read as a NumPy array"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_image(tmp_path / name)


def test_a_truncated_file_is_told(tmp_path):
    path = write(tmp_path / "a.fits", np.zeros((64, 64), np.float32))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"a\.fits cannot be read as FITS .*truncated"):
        read_image(path)


@pytest.mark.parametrize("pack", [gzip, bz2])
def test_one_damaged_byte_of_a_packed_file_is_told(tmp_path, pack):
    data = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    whole = pack.compress(write(tmp_path / "a.fits", data).read_bytes())
    path = tmp_path / "a.fits.packed"
    for place in np.linspace(12, len(whole) - 2, 9).astype(int):  # in the stream and in the checksum behind it
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DataError, match="cannot be read as FITS"):
            read_image(path)


@pytest.mark.parametrize("codec", ["GZIP_1", "RICE_1", "HCOMPRESS_1"])
def test_a_damaged_tile_is_told(tmp_path, codec):
    data = np.random.default_rng(0).integers(0, 999, (16, 16)).astype(np.int16)
    path = tmp_path / "a.fits.fz"
    tile = {"tile_shape": (16, 16)} if codec == "HCOMPRESS_1" else {}
    fits.CompImageHDU(data, compression_type=codec, **tile).writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        start = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + b"\xff" * 8 + whole[start + 8 :])
    with pytest.raises(DataError, match="cannot be read as FITS"):
        read_image(path)


def test_a_card_that_nobody_can_read_is_told(tmp_path):
    path = write(tmp_path / "a.fits", np.zeros((16, 16), np.float32))
    whole = path.read_bytes()
    start = whole.index(b"BUNIT")
    path.write_bytes(whole[:start] + b"BUNIT   = 'JY/BEAM".ljust(80) + whole[start + 80 :])
    with pytest.raises(DataError, match=r"cannot be read as FITS \(Unparsable card"):
        read_image(path)


def test_arrays_that_are_no_image_are_told(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 1, 8, 8), np.float32))
    np.savez(tmp_path / "many.npz", np.zeros((8, 8)))
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    for name, says in (("none.npy", r"holds no pixels \(its shape is \(0, 1, 8, 8\)\)"), ("many.npy", "is an archive")):
        with pytest.raises(DataError, match=says):
            list(planes(tmp_path / name))


def test_only_grey_pictures_lose_their_colours(tmp_path):
    from PIL import Image

    grey = np.random.default_rng(0).integers(0, 255, (8, 9)).astype(np.uint8)
    opaque, clear = np.full_like(grey, 255), np.full_like(grey, 254)
    stacks = {
        "RGB": [grey] * 3, "RGBA": [grey] * 3 + [opaque], "LA": [grey, opaque],
        "clear": [grey, clear], "tinted": [grey, grey, 255 - grey], "seen through": [grey] * 3 + [clear],
    }  # fmt: skip
    for name, stack in stacks.items():
        Image.fromarray(np.stack(stack, axis=-1)).save(tmp_path / f"{name}.png")
        image = read_image(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(image.data, stack)
        kept = [grey] if name in ("RGB", "RGBA", "LA") else stack
        np.testing.assert_array_equal(image.in_grey().data, kept)
    np.save(tmp_path / "bands.npy", [grey] * 3)  # the channels of an array are no colours
    assert len(read_image(tmp_path / "bands.npy").in_grey().data) == 3


def test_no_image_and_all_nan_are_told(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "none.fits")
    with pytest.raises(DataError, match="holds no image"):
        read_image(tmp_path / "none.fits")
    write(tmp_path / "nan.fits", np.full((16, 16), np.nan, np.float32))
    with pytest.raises(DataError, match="not one known pixel"):
        read_image(tmp_path / "nan.fits")
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "missing.fits")


@pytest.mark.shared
def test_every_real_image_is_read(shared):
    for path in sorted((shared / "radio-images").iterdir()):
        images = list(planes(path))
        assert images
        assert len(images) == count_planes(path)
        assert any(image.mask.any() for image in images)
    tabbed = next(iter(planes(shared / "radio-images" / "J153522.1+342247.fits")))
    assert (
        tabbed.header_bytes
        == (shared / "radio-images" / "J153522.1+342247.fits").read_bytes()[: len(tabbed.header_bytes)]
    )
