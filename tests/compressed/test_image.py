"""Parts of images: only the tiles that are needed are read, and they are what the whole image holds there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import rvtool
from rvtool.compressed.container import read_tiled
from rvtool.compressed.files import compress_file, decompress_file, parse_region
from rvtool.compressed.image import pixels_of
from rvtool.data.units import card, open_units
from rvtool.errors import ConfigError, DataError
from rvtool_plugins.codecs.standard import RiceConfig
from rvtool_plugins.codecs.standard.codec import RiceCodec

Make = Callable[..., bytes]
SKY = {"CTYPE1": "'RA---SIN'", "CTYPE2": "'DEC--SIN'", "CRVAL1": "10.0", "CRVAL2": "-20.0", "CDELT1": "-1E-3"}
SKY |= {"CDELT2": "1E-3", "CRPIX2": "12.5", "BMAJ": "0.002"}


@pytest.fixture
def files(tmp_path: Path, fits_bytes: Make, packing: Any) -> dict[str, Path]:
    """One cube, plain and in both formats; its header lacks CRPIX1."""
    cube = np.random.default_rng(0).normal(size=(3, 50, 70)).astype("f4")
    files = {name: tmp_path / f"{name}.fits" for name in ("plain", "tiles", "standard")}
    files["plain"].write_bytes(fits_bytes(cube, *(card(*one) for one in SKY.items())))
    compress_file(files["plain"], files["tiles"], packing, None, "packing")
    compress_file(files["plain"], files["standard"], RiceCodec(RiceConfig(tile_pixels=16)), None, "rice")
    return files


@pytest.mark.parametrize("kind", ["plain", "tiles", "standard"])
def test_an_image_is_indexed_as_an_array(files: dict[str, Path], kind: str) -> None:
    cube = fits.getdata(files["plain"])
    image = rvtool.open(files[kind])
    assert (image.shape, image.ndim, image.dtype, image.unit) == (cube.shape, 3, np.dtype("f4"), "Jy/beam")
    assert image.beam.major_arcsec == pytest.approx(7.2)
    assert image.pixel_arcsec == pytest.approx(3.6)
    assert image.header["CRVAL1"] == 10.0
    for key in (
        np.s_[1, 10:20, 30:50],
        np.s_[..., -1],
        np.s_[::-1, 40:3:-7, ::9],
        np.s_[2],
        np.s_[:, 5:5],
        np.s_[-1, -1, -1],
        np.s_[0:99, 49:],
    ):
        assert np.array_equal(image[key], cube[key])
        assert image[key].shape == cube[key].shape
    assert np.array_equal(np.asarray(image), cube)
    assert np.asarray(image, "f8").dtype == np.float64
    for wrong in (np.s_[3], np.s_[0, 0, 0, 0], np.s_[[0, 1]], np.s_["x"]):
        with pytest.raises(IndexError):
            image[wrong]


def test_only_the_tiles_that_are_needed_are_read(files: dict[str, Path], tmp_path: Path) -> None:
    with open_units(files["tiles"]) as units:
        image = read_tiled(units, files["tiles"])[1][0].image
        assert image
        offsets = image.table["offset"]
    raw = bytearray(files["tiles"].read_bytes())
    raw[offsets[0] + 5] ^= 1  # of plane 0, the first 16 x 16 pixels
    files["tiles"].write_bytes(raw)
    assert rvtool.open(files["tiles"])[0, :16, 16:].size
    decompress_file(files["tiles"], tmp_path / "part.fits", region=parse_region("16:70,0:50"))
    with pytest.raises(DataError, match="tile 0"):
        rvtool.open(files["tiles"])[0, 15, 15]
    with pytest.raises(DataError, match="tile 0"):
        decompress_file(files["tiles"], tmp_path / "whole.fits")
    assert not (tmp_path / "whole.fits").exists()


@pytest.mark.parametrize("kind", ["tiles", "standard"])
def test_a_region_is_a_file_of_its_own(files: dict[str, Path], tmp_path: Path, kind: str) -> None:
    out = tmp_path / "part.fits"
    done: list[int] = []
    decompress_file(files[kind], out, region=parse_region("20:45, 7:31, 1:3"), threads=2, progress=done.append)
    assert sum(done) == files[kind].stat().st_size
    with fits.open(out) as part, fits.open(files["plain"]) as all_of_it:
        assert np.array_equal(part[0].data, all_of_it[0].data[1:3, 7:31, 20:45])
        here, there = WCS(part[0].header).celestial, WCS(all_of_it[0].header).celestial
        assert np.allclose(here.wcs_pix2world([[3, 4]], 0), there.wcs_pix2world([[23, 11]], 0), rtol=0, atol=1e-12)
        kept = set(all_of_it[0].header) - {"NAXIS1", "NAXIS2", "NAXIS3", "CRPIX2"}
        assert all(part[0].header[name] == all_of_it[0].header[name] for name in kept)
    decompress_file(files[kind], out, region=parse_region("0:70,49:50"), overwrite=True)
    assert fits.getdata(out).shape == (3, 1, 70)
    for beyond in ("0:71,0:50", "0:7,0:51", "0:7,0:5,3:4"):
        with pytest.raises(DataError, match="0:70,0:50,0:3"):
            decompress_file(files[kind], out, region=parse_region(beyond), overwrite=True)


def test_what_is_no_region_is_told() -> None:
    assert str(parse_region(" 1:2,3 : 4")) == "1:2,3:4"
    for text in ("", "1:2", "1:2,3:4,5:6,7:8", "2:1,0:5", "1:1,0:5", "-1:2,0:5", "a:b,c:d", "1:2:3,0:5"):
        with pytest.raises(ConfigError, match="no region"):
            parse_region(text)


def test_pixels_are_scaled_as_astropy_scales_them(tmp_path: Path, fits_bytes: Make, packing: Any) -> None:
    rng = np.random.default_rng(0)
    source, out = tmp_path / "a.fits", tmp_path / "a.rv.fits"
    for image, cards in (
        (rng.integers(-99, 99, (30, 40), "i2"), {"BZERO": "32768"}),
        (rng.integers(-99, 99, (30, 40), "i2"), {"BSCALE": "0.5", "BZERO": "3.0", "BLANK": "-9"}),
        (rng.integers(-99, 99, (30, 40), "i4"), {"BLANK": "-9"}),
        (rng.integers(0, 99, (30, 40), "u1"), {}),
        (rng.normal(size=(30, 40)), {"BSCALE": "-2.0"}),
    ):
        source.write_bytes(fits_bytes(image, *(card(*one) for one in cards.items())))
        compress_file(source, out, packing, None, "packing", overwrite=True)
        with fits.open(source) as plain, fits.open(out) as packed:
            seen = pixels_of(packed[1])
            expected = plain[0].data
            assert np.array_equal(seen, expected, equal_nan=expected.dtype.kind == "f")
            assert seen.dtype == expected.dtype.newbyteorder("=")
            assert rvtool.open(out)[3:5].dtype == rvtool.open(out).dtype
            assert np.array_equal(pixels_of(plain[0]), expected, equal_nan=expected.dtype.kind == "f")
    with pytest.raises(DataError, match="on disk"):
        pixels_of(fits.ImageHDU(image))
    source.write_bytes(fits_bytes(np.zeros(5)))
    with pytest.raises(DataError, match="no image"):
        rvtool.open(source)
