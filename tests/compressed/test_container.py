"""Format 2: what other readers see, its size, its memory, and codecs that fail."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from rvtool import plugins
from rvtool.compressed.container import read_tiled
from rvtool.compressed.files import ErrorBound, compress_file, decompress_file
from rvtool.compressed.headers import long_text, read_long_text
from rvtool.data.fits import quiet
from rvtool.data.units import BLOCK, card, header_of, open_units, padded
from rvtool.errors import DataError, PluginError

Make = Callable[..., bytes]
BOUND = ErrorBound(0.25, in_sigma=True)


@pytest.fixture
def source(tmp_path: Path, fits_bytes: Make) -> Path:
    """A cube with a place on the sky and a card that FITS forbids."""
    path = tmp_path / "a b.fits"
    cube = np.random.default_rng(0).normal(size=(3, 50, 70)).astype("f4")
    cards = {"CTYPE1": "'RA---SIN'", "CTYPE2": "'DEC--SIN'", "CRVAL1": "10.0", "CRVAL2": "-20.0", "CDELT1": "-1E-3"}
    path.write_bytes(fits_bytes(cube, *(card(*one) for one in cards.items()), b"HISTORY \ttabs".ljust(80)))
    return path


def test_other_readers_see_a_valid_file(source: Path, tmp_path: Path, packing: Any) -> None:
    out = tmp_path / "a.rv.fits"
    compress_file(source, out, packing, BOUND, "packing")
    with fits.open(source) as before:
        header, shape = before[0].header, before[0].shape
        before[0].add_datasum()
        datasum = before[0].header["DATASUM"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(Checksum|Datasum|verification|standard).*")
        with fits.open(out, checksum=True) as seen:
            assert seen[1].shape == shape
            assert seen[1].header["BUNIT"] == "Jy/beam"
            assert WCS(seen[1].header).to_header_string() == WCS(header).to_header_string()
            assert seen[0].header["RVCODEC"] == "packing"
        with fits.open(out, disable_image_compression=True, checksum=True) as raw:
            assert raw[1].header["ZDATASUM"] == datasum
            assert len(raw[1].data) == 3 * 4 * 5  # tiles of 1 x 16 x 16


def test_text_of_any_length_fits_into_cards() -> None:
    for length in (0, 1, 66, 67, 68, 134, 500):
        text = ("0123456&89 " * 50)[:length].rstrip()
        cards = [*long_text("RVNAME", text), card("OTHER", "1")]
        assert read_long_text(cards, "RVNAME") == text
        with quiet():
            assert fits.Header.fromstring(b"".join(cards).decode()).get("RVNAME") == text.removesuffix("&")


@pytest.mark.shared
def test_little_is_added_to_header_and_payload(shared: Path, tmp_path: Path, packing: Any) -> None:
    small = [path for path in sorted((shared / "first-fits").glob("*.fits")) if path.stat().st_size < 100_000][::40]
    assert small
    packing = type(packing)(side=512)
    for path in small:
        out = tmp_path / "a.rv.fits"
        compress_file(path, out, packing, BOUND, "packing", overwrite=True)
        with open_units(path) as plain, open_units(out) as units:
            image = read_tiled(units, out)[1][0].image
            assert image
            assert image.shape == (150, 150)
            payload = int(image.table["length"].sum())
            assert out.stat().st_size <= len(plain[0].header) + len(padded(b"\0" * payload)) + 2 * BLOCK


def test_the_same_bytes_for_any_number_of_threads(source: Path, tmp_path: Path, packing: Any) -> None:
    outs, told = [], []
    for threads in (1, 2, 5):
        out, back, done, undone = tmp_path / f"{threads}.rv.fits", tmp_path / f"{threads}.fits", [], []
        compress_file(source, out, packing, BOUND, "packing", threads=threads, progress=done.append)
        decompress_file(out, back, threads=threads, progress=undone.append)
        outs.append((out.read_bytes(), back.read_bytes()))
        told.append((sum(done) / source.stat().st_size, sum(undone) / out.stat().st_size))
    assert outs[0] == outs[1] == outs[2]
    assert told == [(1, 1)] * 3


def _sparse_cube(path: Path, planes: int) -> None:
    """A cube of 512 x 512, noise in some of its planes and nothing on the disk for the others."""
    cards = [("SIMPLE", "T"), ("BITPIX", "-32"), ("NAXIS", "3"), ("NAXIS1", "512"), ("NAXIS2", "512")]
    header = header_of([*(card(*one) for one in cards), card("NAXIS3", str(planes))])
    noise = np.random.default_rng(0).normal(size=(512, 512)).astype(">f4")
    with open(path, "wb") as file:
        file.write(header)
        for plane in range(0, planes, 8):
            file.seek(len(header) + plane * noise.nbytes)
            file.write(noise.tobytes())
        file.truncate(len(header) + planes * noise.nbytes)


def test_no_image_is_held_whole(tmp_path: Path, packing: Any) -> None:
    source, out, back = (tmp_path / name for name in ("a.fits", "a.rv.fits", "b.fits"))
    _sparse_cube(source, 24)
    packing = type(packing)(side=128)
    tracemalloc.start()
    try:
        compress_file(source, out, packing, ErrorBound(0.1, in_sigma=False), "packing", threads=2)
        decompress_file(out, back, threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # measuring the noise looks at planes, which are four tile rows here, in float64
    assert peak < 8 * 512 * 512 * 4 < source.stat().st_size / 2


_STREAM = """
import sys; sys.path.insert(0, sys.argv[1])
import conftest, threading, time
from pathlib import Path
from rvtool.compressed.files import ErrorBound, compress_file
def anonymous():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])
most = 0
def watch():
    global most
    while True:
        most = max(most, anonymous()); time.sleep(0.01)
import rvtool.compressed.image, scipy.special
before = anonymous()
threading.Thread(target=watch, daemon=True).start()
compress_file(Path(sys.argv[2]), Path(sys.argv[3]), conftest.PackingCodec(side=128), ErrorBound(0.1, False), "packing")
print(most - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the memory from /proc")
def test_a_large_cube_streams(tmp_path: Path) -> None:
    source = tmp_path / "a.fits"
    _sparse_cube(source, 512)
    done = subprocess.run(
        [sys.executable, "-c", _STREAM, Path(__file__).parent, source, tmp_path / "a.rv.fits"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 32_000  # kB, of a file of 512 MB


def test_a_codec_that_fails_leaves_nothing(source: Path, tmp_path: Path, packing: Any) -> None:
    class Broken(type(packing)):  # type: ignore[misc]
        def __init__(self, **methods: Callable[..., Any]) -> None:
            super().__init__()
            self.__dict__ |= methods

    out = tmp_path / "a.rv.fits"
    good = packing.decode
    for codec, bound, words in (
        (Broken(encode=lambda tile, bound: packing.encode(tile, 1.01 * bound)), BOUND, "does not keep the bound"),
        (Broken(decode=lambda data, shape, kind: -good(data, shape, kind)), None, "does not keep the bound"),
        (Broken(decode=lambda data, shape, kind: good(data, shape, kind)[0]), None, "decode gave"),
        (Broken(encode=lambda tile, bound: 1 / 0), None, "ZeroDivisionError"),
        (Broken(tile_shape=lambda shape: (16, 16)), None, "tile_shape"),
        (Broken(tile_shape=lambda shape: (0, 16, 16)), None, "tile_shape"),
        (object(), None, "neither"),
    ):
        with pytest.raises(PluginError, match=words):
            compress_file(source, out, codec, bound, "packing")
        assert not out.exists()
        assert not list(tmp_path.glob(".*"))


def test_minus_zero_and_blanks_come_back_bit_by_bit(tmp_path: Path, fits_bytes: Make, packing: Any) -> None:
    image = np.random.default_rng(0).normal(size=(20, 20)).astype("f4")
    image.view("u4")[0, :4] = 0xFFFFFFFF, 0x7FC12345, 0xFF800000, 0x80000000
    source, out, back = (tmp_path / name for name in ("a.fits", "a.rv.fits", "b.fits"))
    source.write_bytes(fits_bytes(image))
    compress_file(source, out, packing, None, "packing")
    decompress_file(out, back)
    assert back.read_bytes() == source.read_bytes()

    class Careless(type(packing)):  # type: ignore[misc]
        def decode(self, data: bytes, shape: Any, dtype: np.dtype) -> np.ndarray:
            return super().decode(data, shape, dtype) + np.float32(0)  # -0.0 becomes 0.0

    with pytest.raises(PluginError, match="bound"):
        compress_file(source, out, Careless(), None, "packing", overwrite=True)


def test_odd_files_come_back(tmp_path: Path, fits_bytes: Make, packing: Any) -> None:
    rng = np.random.default_rng(0)
    image = fits_bytes(rng.normal(size=(1, 1, 20, 30)).astype("f4"), primary=False)
    plain = fits_bytes(rng.normal(size=(20, 30)).astype("f4"))
    line = [card("SIMPLE", "T"), card("BITPIX", "-32"), card("NAXIS", "1"), card("NAXIS1", "7")]
    spectrum = header_of([*line, b"HISTORY \t!".ljust(80)]) + padded(b"seven floats are 28 bytes...")
    names = [("BITPIX", "16"), ("NAXIS", "2"), ("NAXIS1", "0"), ("NAXIS2", "3"), ("GROUPS", "T")]
    names += [("PCOUNT", "2"), ("GCOUNT", "4")]
    groups = header_of([card("SIMPLE", "T"), *(card(*one) for one in names)])
    long = b"LONG    = 'a string that goes &'".ljust(80) + b"CONTINUE  'on / and on'".ljust(80)
    after_end = bytearray(plain)
    after_end[2000:2004] = b"junk"
    table = fits.BinTableHDU.from_columns([fits.Column("a", "PE()", array=np.array([[1.0], [2.0, 3.0]], object))])
    source, out, back = (tmp_path / name for name in ("a.fits", "a.rv.fits", "b.fits"))
    table.writeto(source)
    tables = source.read_bytes()
    for raw in (
        spectrum + image,
        groups + padded(bytes(range(40))) + image,
        tables + image + b"\0" * 7000,
        fits_bytes(rng.integers(0, 9, (9, 9), "i2"), long, card("TFORM1", "'1J'"), card("ZTILE1", "3"), b" " * 80),
        bytes(after_end),
        plain + b"x" * 100_000,
        fits_bytes(rng.normal(size=(1, 1)), card("CHECKSUM", "'abcdefghijklmnop'"), card("DATASUM", "'1'")),
    ):
        source.write_bytes(raw)
        compress_file(source, out, packing, None, "packing", overwrite=True)
        decompress_file(out, back, overwrite=True)
        assert back.read_bytes() == raw
        with quiet(), fits.open(out) as hdus:
            assert all(hdu.header is not None for hdu in hdus)
    source.write_bytes(plain.replace(b"END     ", b"        ") * 3000)
    with pytest.raises(DataError, match="without END"):
        compress_file(source, out, packing, None, "packing", overwrite=True)


def test_what_cannot_be_read_is_told(source: Path, tmp_path: Path, packing: Any, monkeypatch: Any) -> None:
    out, back = tmp_path / "a.rv.fits", tmp_path / "b.fits"
    compress_file(source, out, packing, BOUND, "packing")
    whole = out.read_bytes()
    out.write_bytes(whole.replace(b"RVFORMAT=                    2", b"RVFORMAT=                    3"))
    with pytest.raises(DataError, match="update rvtool"):
        decompress_file(out, back)
    out.write_bytes(whole)

    class Other(type(packing)):  # type: ignore[misc]
        def decode(self, data: bytes, shape: Any, dtype: np.dtype) -> np.ndarray:
            return super().decode(data, shape, dtype) * np.float32(1.0001)

    class Component:
        def load(self) -> Callable[[Any], Any]:
            return lambda config: Other()

        def configure(self, settings: Any) -> None:
            return None

    found = plugins.component
    monkeypatch.setattr(plugins, "component", lambda kind, name: Component())
    with pytest.raises(DataError, match="other pixels"):
        decompress_file(out, back)
    Other.model_sha256 = "ab" * 32
    with pytest.raises(DataError, match="trained model"):
        decompress_file(out, back)
    monkeypatch.setattr(plugins, "component", found)
    compress_file(source, out, packing, BOUND, "packign", overwrite=True)
    with pytest.raises(DataError, match=r"codec 'packign'.*install"):
        decompress_file(out, back)
    assert not back.exists()
