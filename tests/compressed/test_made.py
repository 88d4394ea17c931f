"""What was made already is known again, and nothing passes for a source that it does not bring back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from rvtool.compressed.bounds import ErrorBound
from rvtool.compressed.files import compress_file, decompress_file, read_compressed
from rvtool.compressed.made import verify, was_compressed, was_restored
from rvtool.data.units import open_units
from rvtool.errors import DataError
from rvtool_plugins.codecs.standard import RiceConfig
from rvtool_plugins.codecs.standard.codec import RiceCodec

SIGMA, JY = ErrorBound(0.25, in_sigma=True), ErrorBound(0.25, in_sigma=False)
ASKED = [SIGMA, ErrorBound(0.5, in_sigma=True), JY, None]


@pytest.fixture(params=["packing", "rice"])
def codec(request: pytest.FixtureRequest, packing: Any) -> tuple[Any, str]:
    return (packing if request.param == "packing" else RiceCodec(RiceConfig())), request.param


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Float images, one blank and one flat, integers, a table and bytes that no HDU claims."""
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(40, 50)), np.full((9, 9), np.nan), np.ones((9, 9)), rng.integers(0, 99, (9, 9))]
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))])
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), *map(fits.ImageHDU, images), table]).writeto(path)
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["BSCALE"] = 1.0
    path.write_bytes(path.read_bytes() + b"more")
    return path


@pytest.mark.parametrize("made", ASKED)
def test_what_was_made_is_known_by_its_bound(source: Path, codec: tuple[Any, str], made: ErrorBound | None) -> None:
    out = source.with_name("a.rv.fits")
    compress_file(source, out, codec[0], made, codec[1])
    assert [asked for asked in ASKED if was_compressed(out, source, codec[1], "", asked)] == [made]
    verify(out, source)


def test_what_was_made_of_something_else_is_not_known(source: Path, codec: tuple[Any, str]) -> None:
    out, (works, name) = source.with_name("a.rv.fits"), codec
    assert not was_compressed(out, source, name, "", SIGMA)
    compress_file(source, out, works, SIGMA, name)
    assert not was_compressed(out, source, "other", "", SIGMA)
    assert not was_compressed(out, source, name, "0" * 64, SIGMA)
    assert not was_compressed(source, source, name, "", SIGMA)
    twin = source.rename(source.with_name("b.fits"))
    assert not was_compressed(out, twin, name, "", SIGMA)
    source = twin.rename(source)
    later = out.stat().st_mtime_ns + 10**9
    os.utime(source, ns=(later, later))
    assert not was_compressed(out, source, name, "", SIGMA)
    with fits.open(source, mode="update") as hdus:
        hdus[1].header["OBJECT"] = "Hydra A"
    os.utime(source, ns=(0, 0))
    assert not was_compressed(out, source, name, "", SIGMA)
    with pytest.raises(DataError, match="HDU 1"):
        verify(out, source)


def test_a_restored_file_whose_pixels_changed_is_not_known(source: Path, codec: tuple[Any, str]) -> None:
    packed, out = source.with_name("a.rv.fits"), source.with_name("back.fits")
    compress_file(source, packed, codec[0], SIGMA, codec[1])
    decompress_file(packed, out)
    with open_units(packed) as stored:
        kept = read_compressed(stored, packed)[1]
        assert was_restored(out, kept, packed)
        with open_units(out) as units:
            start = units[1].data_start
        changed = bytearray(out.read_bytes())
        changed[start + 3] ^= 1  # the last bit of a float: within any bound, and yet another file
        out.write_bytes(changed)
        assert not was_restored(out, kept, packed)


def test_another_pixel_is_told(source: Path, codec: tuple[Any, str]) -> None:
    out = source.with_name("a.rv.fits")
    for hdu, bound in ((1, SIGMA), (1, None), (2, SIGMA), (4, SIGMA), (5, SIGMA)):
        compress_file(source, out, codec[0], bound, codec[1], overwrite=True)
        before = bytearray(source.read_bytes())
        with open_units(source) as units:
            start = units[hdu].data_start
        changed = bytearray(before)
        changed[start] ^= 0x40  # the exponent of a float
        source.write_bytes(changed)
        with pytest.raises(DataError, match=f"HDU {hdu} of its source"):
            verify(out, source)
        source.write_bytes(before)


def test_what_was_restored_is_known(source: Path, codec: tuple[Any, str]) -> None:
    out, back = source.with_name("a.rv.fits"), source.with_name("back.fits")
    compress_file(source, out, codec[0], SIGMA, codec[1])
    with open_units(out) as stored:
        kept = read_compressed(stored, out)[1]
        assert not was_restored(back, kept, out)
        assert not was_restored(source, kept, out)  # older than what was made of it
        decompress_file(out, back)
        assert was_restored(back, kept, out)
        back.write_bytes(back.read_bytes()[:-3])
        assert not was_restored(back, kept, out)
