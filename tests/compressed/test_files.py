"""Compressed FITS: the bound holds, the header comes back byte for byte, and any reader opens it."""

from __future__ import annotations

import bz2
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool.compressed.files import ErrorBound, FileReport, compress_file, decompress_file
from rvtool.compressed.image import pixels_of
from rvtool.data.fits import quiet
from rvtool.data.units import card, cards_of, header_of, open_units
from rvtool.errors import DataError, PluginError
from rvtool_plugins.codecs.standard import RiceConfig
from rvtool_plugins.codecs.standard.codec import RiceCodec

RICE = RiceCodec(RiceConfig(tile_pixels=16))
Make = Callable[..., bytes]
DTYPES = ("u1", "i2", "i4", "i8", "f4", "f8")
TABS = b"HISTORY \tSkyView\tsurvey\x07\xe9".ljust(80)
BROKEN = b"BROKEN  = 'no end of this".ljust(80)


def there_and_back(source: Path, bound: ErrorBound | None, codec: Any) -> tuple[FileReport, Path, bytes]:
    packed, back = source.with_name("c.rv.fits"), source.with_name("back.fits")
    report = compress_file(source, packed, codec, bound, "packing", overwrite=True)
    assert decompress_file(packed, back, overwrite=True) == source.name
    assert sorted(p.name for p in source.parent.iterdir() if p.name.startswith(".")) == []
    return report, packed, back.read_bytes()


def check(image: np.ndarray, before: bytes, after: bytes, report: FileReport) -> None:
    """The header, the padding, the blanks, and every pixel within the bound that was told."""
    start = before.index(b"END".ljust(80)) // 2880 * 2880 + 2880
    assert after[:start] == before[:start]
    assert after[start + image.nbytes :] == before[start + image.nbytes :]
    bound = report.images[0].bound
    if bound == 0:
        assert after == before
        return
    kind = image.dtype.newbyteorder(">")
    decoded = np.frombuffer(after[start : start + image.nbytes], kind).reshape(image.shape)
    unusual = ~np.isfinite(image)
    bits = f"u{image.itemsize}"
    native = decoded.astype(image.dtype)
    assert np.array_equal(native.view(bits)[unusual], image.view(bits)[unusual])
    error = np.abs(decoded[~unusual].astype("f8") - image[~unusual].astype("f8"))
    assert error.max(initial=0) <= bound
    assert error.max(initial=0) == pytest.approx(report.images[0].max_error)


@pytest.fixture(scope="module", params=["standard", "tiles"])
def codec(request: pytest.FixtureRequest, packing: Any) -> Any:
    """Both formats: the codec that FITS defines, and one of tiles."""
    return RICE if request.param == "standard" else packing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("container")


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.lists(st.integers(1, 40), min_size=2, max_size=4).filter(lambda s: np.prod(s) < 5_000))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype[0] in "ui":
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    image = draw(st.sampled_from([0.0, 1.0, -3e4])) + rng.normal(size=shape)
    image *= draw(st.sampled_from([1e-30, 1e-4, 1.0, 1e20]))
    if draw(st.booleans()):  # a dynamic range that the stored float does not resolve to the bound
        image *= 10.0 ** rng.uniform(0, draw(st.sampled_from([2, 8, 15])), shape)
    image = image.astype(dtype)
    for value in draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38]), max_size=4)):
        image[rng.random(shape) < draw(st.sampled_from([0.01, 0.4, 1.0]))] = value
    if draw(st.booleans()):  # blanks as AIPS writes them: every bit set
        image.view(f"u{image.itemsize}")[rng.random(shape) < 0.1] = np.iinfo(f"u{image.itemsize}").max
    return image


@settings(max_examples=60, deadline=None)
@given(
    image=images(),
    value=st.sampled_from([1e-34, 1e-6, 0.01, 0.25, 1.0, 1e9]),
    in_sigma=st.booleans(),
    lossless=st.booleans(),
    unpadded=st.booleans(),
)
def test_the_bound_holds_for_anything(
    folder: Path,
    fits_bytes: Make,
    codec: Any,
    image: np.ndarray,
    value: float,
    in_sigma: bool,
    lossless: bool,
    unpadded: bool,
) -> None:
    raw = fits_bytes(image, TABS, BROKEN, card("BLANK", "-1"))
    raw = raw[: len(raw) - (-image.nbytes % 2880)] if unpadded else raw
    source = folder / "source.fits"
    source.write_bytes(raw)
    report, packed, back = there_and_back(source, None if lossless else ErrorBound(value, in_sigma), codec)
    check(image, raw, back, report)
    if codec is not RICE:
        return
    with quiet(), fits.open(packed, do_not_scale_image_data=True) as hdus:  # what other readers see
        assert hdus[1].data.shape == image.shape
        seen = np.isnan(hdus[1].data) == ~np.isfinite(image) if image.dtype.kind == "f" else hdus[1].data == image
    bound = report.images[0].bound
    beyond = np.abs(image, dtype="f8") > 2.0**30 * bound  # infinities, and what FITS cannot quantise to 32 bits
    assert seen.all() or bound == 0 or (beyond & ~np.isnan(image)).any()


@pytest.fixture
def mixed(tmp_path: Path, fits_bytes: Make) -> Path:
    """Primary without data, float cube, table, scaled integers with blanks, spectrum, all blank, junk at the end."""
    rng = np.random.default_rng(1)
    cube = fits.ImageHDU(rng.normal(size=(2, 40, 50)).astype("f4"), name="CUBE")
    cube.header.update({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 10.0, "CRVAL2": -20.0, "CDELT1": -1e-3})
    table = fits.BinTableHDU.from_columns([fits.Column("a", "PE()", array=np.array([[1, 2], [3]], object))])
    unsigned = fits.ImageHDU(rng.integers(0, 65535, (30, 31), np.uint16), name="COUNTS")
    hdus = [
        fits.PrimaryHDU(),
        cube,
        table,
        unsigned,
        fits.ImageHDU(np.arange(9.0)),
        fits.ImageHDU(np.full((9, 9), np.nan)),
    ]
    path = tmp_path / "mixed name é.fits"
    fits.HDUList(hdus).writeto(path)
    scaled = fits_bytes(rng.integers(-9, 9, (20, 21), np.int16), card("BSCALE", "2.5E-3"), card("BZERO", "7.0"),
                        card("BLANK", "-9"), TABS, primary=False)  # fmt: skip
    path.write_bytes(path.read_bytes() + scaled + b"left by an old tape" * 9)
    return path


def test_every_hdu_comes_back(mixed: Path, codec: Any) -> None:
    report, packed, back = there_and_back(mixed, ErrorBound(0.25, in_sigma=True), codec)
    raw = mixed.read_bytes()
    with open_units(mixed) as units:
        start, end = units[1].data_start, units[1].data_end
        assert [unit.is_image for unit in units] == [False, True, False, True, False, True, True]
    assert back[:start] == raw[:start]
    assert back[end:] == raw[end:]
    assert report.images[2].note == "blank throughout"
    assert there_and_back(mixed, None, codec)[2] == raw
    if codec is not RICE:  # the source's primary HDU stands second
        assert [image.hdu for image in report.images] == [2, 4, 6, 7]
        return
    assert [image.hdu for image in report.images] == [1, 3, 5, 6]
    packed = there_and_back(mixed, ErrorBound(0.25, in_sigma=True), codec)[1]
    with quiet(), fits.open(mixed) as before, fits.open(packed) as after:
        assert len(after) == len(before) + 1
        assert np.abs(after["CUBE"].data - before["CUBE"].data).max() <= report.images[0].bound
        assert WCS(after["CUBE"].header).to_header_string() == WCS(before["CUBE"].header).to_header_string()
        assert after["COUNTS"].data.dtype == np.uint16
        for number in (3, 6):
            assert np.array_equal(after[number].data, before[number].data, equal_nan=True)
        assert np.isnan(after[6].data).any()


def test_the_primary_image_keeps_its_place(tmp_path: Path, fits_bytes: Make) -> None:
    source = tmp_path / "a.fits"
    first, second = (np.random.default_rng(i).normal(size=(40, 30)).astype("f4") for i in range(2))
    source.write_bytes(fits_bytes(first, TABS) + fits_bytes(second, primary=False))
    report, packed, _ = there_and_back(source, ErrorBound(0.01, in_sigma=False), RICE)
    assert [image.bound for image in report.images] == [0.01, 0.01]
    with quiet(), fits.open(packed) as seen, fits.open(tmp_path / "back.fits") as plain:
        assert seen[0].data is None
        for number, image in enumerate((first, second)):
            assert np.abs(seen[number + 1].data - image).max() <= 0.01
            assert np.array_equal(plain[number].data, seen[number + 1].data)
    assert there_and_back(source, None, RICE)[2] == source.read_bytes()


def _fpack(path: Path) -> None:
    with quiet(), fits.open(path) as hdus:
        fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="GZIP_2", quantize_level=0).writeto(
            path, overwrite=True
        )


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", lambda path: path.write_bytes(gzip.compress(path.read_bytes()))),
        (".bz2", lambda path: path.write_bytes(bz2.compress(path.read_bytes()))),
        (".fz", _fpack),
    ],
)
def test_packed_input(tmp_path: Path, fits_bytes: Make, codec: Any, suffix: str, pack: Callable[[Path], Any]) -> None:
    image = np.random.default_rng(0).normal(size=(50, 60)).astype("f4")
    raw = fits_bytes(image, card("EXTEND", "T"))
    source = tmp_path / f"a.fits{suffix}"
    source.write_bytes(raw)
    pack(source)
    report, _, back = there_and_back(source, ErrorBound(0.01, in_sigma=False), codec)
    assert report.images[0].max_error <= 0.01
    with fits.open(tmp_path / "back.fits") as hdus:
        assert np.abs(hdus[0].data - image).max() <= 0.01
    assert there_and_back(source, None, codec)[2][2880:] == raw[2880:]
    assert {one[:30] for one in cards_of(back)} == {one[:30] for one in cards_of(raw)}  # fpack adds comments


def test_the_bound_is_in_the_unit_of_a_scaled_float_image(tmp_path: Path, fits_bytes: Make, codec: Any) -> None:
    image = np.random.default_rng(0).normal(size=(64, 64)).astype("f4")
    source = tmp_path / "a.fits"
    source.write_bytes(fits_bytes(image, card("BSCALE", "-1000.0"), card("BZERO", "5.0")))
    report, packed, _ = there_and_back(source, ErrorBound(0.25, in_sigma=True), codec)
    assert report.images[0].sigma == pytest.approx(1000, rel=0.05)
    assert report.images[0].max_error == pytest.approx(250, rel=0.06)
    with fits.open(packed) as hdus:
        assert pixels_of(hdus[1]) == pytest.approx(image * -1000.0 + 5, abs=report.images[0].bound * 1.001)


def test_why_an_image_is_kept_exactly_is_told(tmp_path: Path, fits_bytes: Make, codec: Any) -> None:
    source = tmp_path / "a.fits"
    pedestal = (1000 + np.random.default_rng(0).normal(size=(64, 64))).astype("f4")  # resolved to 6e-5
    for image, bound, words in (
        (pedestal, ErrorBound(4e-5, in_sigma=False), "finer"),
        (np.zeros((64, 64), "f4"), ErrorBound(1, in_sigma=True), "no noise"),
        (pedestal.astype("i2"), ErrorBound(1, in_sigma=True), "integers"),
    ):
        source.write_bytes(fits_bytes(image))
        report, _, back = there_and_back(source, bound, codec)
        assert words in report.images[0].note
        assert back == source.read_bytes()


def test_a_standard_codec_that_breaks_the_bound_is_mended(tmp_path: Path, fits_bytes: Make) -> None:
    class Coarse:
        def encode_hdu(self, data: np.ndarray, bound: float) -> bytes:
            return RICE.encode_hdu(data, 1.01 * bound)

    image = np.random.default_rng(0).normal(size=(64, 64)).astype("f4")
    source = tmp_path / "a.fits"
    source.write_bytes(fits_bytes(image))
    report, _, back = there_and_back(source, ErrorBound(0.1, in_sigma=False), Coarse())
    check(image, source.read_bytes(), back, report)
    with pytest.raises(PluginError, match="encode_hdu"):
        compress_file(source, tmp_path / "b", object(), None, "none")


def test_what_cannot_be_compressed_is_told_in_one_sentence(tmp_path: Path, fits_bytes: Make, codec: Any) -> None:
    source, out = tmp_path / "a.fits", tmp_path / "a.rv.fits"
    raw = fits_bytes(np.random.default_rng(0).normal(size=(64, 64)).astype("f4"))
    table = header_of([card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0")])
    for content, words in (
        (b"<html>no such image</html>", "no FITS"),
        (b"", "no FITS"),
        (raw[:5000], "truncated"),
        (raw[:1000], "truncated"),
        (gzip.compress(raw)[:-900], "cannot be unpacked"),
        (table, "no image"),
        (raw.replace(b"NAXIS1  =", b"NAXIS9  ="), "size"),
    ):
        source.write_bytes(content)
        with pytest.raises(DataError, match=words) as caught:
            compress_file(source, out, codec, None, "packing")
        assert str(source) in str(caught.value)
        assert source.read_bytes() == content
        assert not out.exists()
    with pytest.raises(DataError, match="does not exist"):
        compress_file(tmp_path / "none.fits", out, codec, None, "packing")
    source.write_bytes(raw)
    with pytest.raises(DataError, match="the file that is read"):
        compress_file(source, source, codec, None, "packing", overwrite=True)
    compress_file(source, out, codec, None, "packing")
    with pytest.raises(DataError, match="exists already"):
        compress_file(source, out, codec, None, "packing")
    with pytest.raises(DataError, match="already"):
        compress_file(out, tmp_path / "twice.rv.fits", codec, None, "packing")
    with pytest.raises(DataError, match="not made by"):
        decompress_file(source, tmp_path / "b.fits")


def test_damage_of_the_standard_format_is_told(tmp_path: Path, fits_bytes: Make) -> None:
    source, packed = tmp_path / "a.fits", tmp_path / "a.rv.fits"
    source.write_bytes(fits_bytes(np.random.default_rng(0).normal(size=(64, 64)).astype("f4")))
    compress_file(source, packed, RICE, ErrorBound(0.1, in_sigma=True), "rice")
    whole = packed.read_bytes()
    with open_units(packed) as units:
        positions = [(unit.data_start + unit.data_end) // 2 for unit in units[1:]]
        positions += [units[-1].data_end - 3]
    for position in positions:
        packed.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        with pytest.raises(DataError, match="damaged"):
            decompress_file(packed, tmp_path / "back.fits")
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        decompress_file(packed, tmp_path / "back.fits")
    packed.write_bytes(whole.replace(b"RVFORMAT=                    1", b"RVFORMAT=                    2"))
    with pytest.raises(DataError, match="update rvtool"):
        decompress_file(packed, tmp_path / "back.fits")
    assert not (tmp_path / "back.fits").exists()


def test_a_fresh_process_decodes_the_same_bits(mixed: Path) -> None:
    _, packed, back = there_and_back(mixed, ErrorBound(0.25, in_sigma=True), RICE)
    again = mixed.with_name("again.fits")
    code = "import sys, pathlib, rvtool.compressed.files as c; c.decompress_file(*map(pathlib.Path, sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, packed, again], check=True)
    assert again.read_bytes() == back


@pytest.mark.shared
def test_real_images(shared: Path, tmp_path: Path) -> None:
    files = sorted(shared.glob("radio-images/*")) + sorted(shared.glob("first-fits/*.fits"))[::20]
    assert len(files) == 22 + 18
    codec = RiceCodec(RiceConfig())
    for file in files:
        source = tmp_path / file.name
        source.write_bytes(file.read_bytes())
        report, packed, back = there_and_back(source, ErrorBound(0.25, in_sigma=True), codec)
        with open_units(source) as before, open_units(tmp_path / "back.fits") as after, quiet():
            image = before[0].array()
            decoded = after[0].array()
            assert after[0].header == before[0].header
            assert np.array_equal(np.isnan(decoded), np.isnan(image))
            error = np.nanmax(np.abs(decoded.astype("f8") - image.astype("f8")))
            assert error == pytest.approx(report.images[0].max_error)
            assert error <= report.images[0].bound == (0 if image.dtype.kind == "i" else 0.25 * report.images[0].sigma)
            header = before[0].header
            assert back[: len(header)] == header
            with fits.open(source) as plain, fits.open(packed) as seen:
                assert WCS(seen[1].header).to_header_string() == WCS(plain[0].header).to_header_string()
                inside = np.nanmax(np.abs(seen[1].data.astype("f8") - plain[0].data.astype("f8")))
                assert inside <= report.images[0].bound  # other readers, which know nothing of patches
        source.unlink()


@pytest.mark.shared
def test_an_atca_map_is_far_smaller_than_fpack_makes_it(shared: Path, tmp_path: Path) -> None:
    file = shared / "radio-images/ScorpioExtendedSourceField.fits"
    report = compress_file(file, tmp_path / "a.rv.fits", RiceCodec(RiceConfig()), ErrorBound(0.25, True), "rice")
    fpack = tmp_path / "fpack.fits"
    with fits.open(file) as hdus:
        fits.CompImageHDU(
            hdus[0].data, hdus[0].header, compression_type="RICE_1", quantize_level=4, quantize_method=1, dither_seed=1
        ).writeto(fpack)
    assert report.out_bytes <= 0.6 * fpack.stat().st_size
