"""`rvtool compare-codecs`: who is ranked, who is not and why, and what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from rich.console import Console
from scipy.ndimage import gaussian_filter

from rvtool.compressed.bounds import ErrorBound
from rvtool.errors import ConfigError, DataError, PluginError
from rvtool.plugins import component
from rvtool.verbs import compare_codecs
from rvtool.verbs.compare_codecs.judge import judge, subject_of

for library in ("imagecodecs", "hdf5plugin"):
    pytest.importorskip(library)

SIGMA = 1e-4


def image_of(path: Path, pixels: np.ndarray) -> Path:
    hdu = fits.PrimaryHDU(pixels)
    hdu.header["HISTORY"] = "made of noise"
    hdu.writeto(path)
    return path


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise as a beam leaves it, with a blank corner."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(256, 270)), 4 / 2.3548, mode="wrap")
    pixels = (SIGMA * noise / noise.std()).astype(np.float32)
    pixels[:20, :30] = np.nan
    return image_of(tmp_path_factory.mktemp("sky") / "sky.fits", pixels)


def compare(*images: Path, **settings) -> tuple[dict, str]:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    given = compare_codecs.Settings(images=images, repeats=1, **settings)
    return compare_codecs.run(given, console), console.export_text()


def test_who_eats_faint_flux_is_listed_and_not_ranked(sky: Path, tmp_path: Path) -> None:
    result, told = compare(
        sky, codec=("sz3", "jpegls", "rice"), max_error=("0.5sigma",), lossless=True, out=tmp_path / "out"
    )
    json.dumps(result, allow_nan=False)
    within, exact = result["results"][:3], result["results"][3:]
    assert [one["codec"] for one in within[2:]] == ["sz3"]
    assert "stacked flux 0." in within[2]["failures"][0]
    assert within[2]["bytes"] < within[0]["bytes"] < within[1]["bytes"]
    for one in within[:2]:
        assert one["failures"] == []
        assert one["sigma"] == pytest.approx(SIGMA, rel=0.05)
        assert 0.99 < one["error_in_bounds"] <= 1
        assert one["noise_growth"] == pytest.approx(np.sqrt(1 + 1 / 12), rel=5e-3)
        assert abs(one["stack"]["value"] - 1) <= 0.02
        assert 8 * one["bytes"] / one["pixels"] == one["bits_per_pixel"] > one["payload_bits_per_pixel"]
        assert min(one["encode_mb_s"], one["decode_mb_s"]) > 0
    assert all(one["error_in_bounds"] == 0 and one["stack"] is None and not one["failures"] for one in exact)
    assert result["headline"] == f"0.5sigma: {within[0]['codec']}, lossless: {exact[0]['codec']}"
    assert "Not ranked: sz3: stacked flux" in told
    assert told.index("rice") < told.index("sz3")
    assert max(map(len, told.splitlines())) <= 80 + len("Not ranked: ")
    assert "…" not in told

    with open(tmp_path / "out" / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["codec"] for row in rows] == [one["codec"] for one in result["results"]]
    assert float(rows[0]["stack"]) == within[0]["stack"]["value"]
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == result["results"]
    assert (tmp_path / "out" / "rates-sky.png").stat().st_size > 1000


def test_all_that_are_installed_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    integers = image_of(tmp_path / "counts.fits", np.random.default_rng(0).integers(0, 99, (40, 50)).astype(np.int16))
    floats = image_of(tmp_path / "small.fits", np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32))
    monkeypatch.setattr(component("codec", "jpegxl").load(), "module", "no_such_library")
    result, told = compare(integers, floats, out=tmp_path)
    assert "rvtool[baselines]" in result["left_out"]["jpegxl"]
    assert "Left out: jpegxl" in told
    named = {one["codec"] for one in result["results"]}
    assert {"rice", "hcompress", "jpegls", "sz3"} <= named
    assert "jpegxl" not in named
    of_integers = [one for one in result["results"] if one["image"] == str(integers)]
    assert all(one["bound"] == 0 and not one["failures"] for one in of_integers)
    assert "all images" in told
    assert not (tmp_path / "rates-counts.png").exists()
    with pytest.raises(PluginError, match="baselines"):
        compare(integers, codec=("jpegxl",))


def test_chance_in_a_small_image_is_no_fault_of_the_codec(sky: Path) -> None:
    codec = component("codec", "jpegls")
    found = judge(
        subject_of(sky), "jpegls", codec.load()(codec.configure({})), "1sigma", ErrorBound(1, in_sigma=True), repeats=1
    )
    assert found.stack
    assert found.stack.error > 0.01  # there is no room for enough sources
    assert 0.02 < abs(found.stack.value - 1) < 0.02 + 3 * (found.stack.error - 0.005)
    assert not any("stacked flux" in why for why in found.failures)


class Clumsy:
    """Fails."""

    model_sha256 = ""

    def tile_shape(self, shape):
        return tuple(shape)

    def encode(self, tile, bound):
        return b""

    def decode(self, data, shape, dtype):
        return np.zeros(shape, dtype)


def test_a_codec_that_fails_is_told(sky: Path) -> None:
    verdict = judge(subject_of(sky), "clumsy", Clumsy(), "0.25sigma", ErrorBound(0.25, True), repeats=1)
    assert verdict.bytes == 0
    assert "does not keep the bound" in verdict.failures[0]


def test_cubes_and_scaled_pixels(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).normal(0, 8, (3, 80, 90)).astype(np.float32)
    hdu = fits.PrimaryHDU(cube)
    hdu.header["BSCALE"] = 0.5
    hdu.writeto(tmp_path / "cube.fits")
    result, _ = compare(tmp_path / "cube.fits", codec=("jpegls",), set={"codec": {"jpegls": {"tile_pixels": 64}}})
    (one,) = result["results"]
    assert one["sigma"] == pytest.approx(4, rel=0.05)
    assert one["bound"] == one["sigma"] / 4
    assert 0.99 < one["error_in_bounds"] <= 1
    assert one["stack"]["error"] > 0
    assert one["failures"] == []


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"codec": ("ryce",)}, "did you mean 'rice'"),
        ({"max_error": ("much",)}, "such as 0.25sigma"),
        ({"max_error": ("0",)}, "positive"),
        ({"codec": ("rice",), "set": {"codec": {"jpegls": {}}}}, "not compared"),
        ({"codec": ("rice",), "out": Path(__file__)}, "name a folder"),
        ({"codec": ("rice",), "set": {"loss": {}}}, "only settings of codecs"),
        ({"codec": ("rice",), "set": {"codec": {"rice": {"tiles": 4}}}}, "tile_pixels"),
    ],
)
def test_wrong_settings(sky: Path, settings: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        compare(sky, **settings)


def test_a_missing_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        compare(tmp_path / "none.fits", codec=("rice",))
