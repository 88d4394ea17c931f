"""The baselines keep the codecs' contract on what their libraries do not know."""

from __future__ import annotations

import numpy as np
import pytest

from rvtool.errors import DataError, PluginError
from rvtool.plugins import component
from rvtool_plugins.codecs.baselines import BaselineConfig

NAMES = ("jpegxl", "jpegls", "pcodec", "sz3", "sperr", "fpzip")
SIGMA = 1e-5


def built(name: str):
    chosen = component("codec", name)
    return chosen.load()(chosen.configure())


def odd(dtype: str) -> np.ndarray:
    """Noise with blank pixels of two payloads, infinities, zeros of both signs, and what no grid of the bound holds."""
    image = np.random.default_rng(0).normal(0, SIGMA, (40, 50)).astype(dtype)
    image[:3], image[5, 5], image[6, :4] = np.nan, np.inf, (-np.inf, -0.0, 1e30, 10.0)
    image.view(f"u{image.itemsize}")[7, 7] = image.view(f"u{image.itemsize}")[0, 0] + 5  # another NaN
    return image


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("bound", [0.0, SIGMA / 4])
def test_odd_pixels(name: str, dtype: str, bound: float) -> None:
    codec, image = built(name), odd(dtype)
    back = codec.decode(codec.encode(image, bound), image.shape, image.dtype)
    bits = f"u{image.itemsize}"
    exact = ~np.isfinite(image) if bound else np.ones(image.shape, bool)
    assert np.array_equal(back.view(bits)[exact], image.view(bits)[exact])
    finite = np.isfinite(image)
    assert (np.abs(back[finite].astype("f8") - image[finite]) <= bound).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1), (1, 1, 20, 30), (20, 30, 1, 1), (5,)])
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    codec = built(name)
    assert codec.tile_shape(shape) == shape
    image = np.random.default_rng(0).normal(0, SIGMA, shape)
    for one, bound in ((image, SIGMA), (image.astype("f4"), 0.0), ((image / SIGMA * 3e8).astype("i4"), SIGMA)):
        back = codec.decode(codec.encode(one, bound), shape, one.dtype)
        assert back.shape == shape
        assert np.abs(back.astype("f8") - one).max() <= (bound if one.dtype.kind == "f" else 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i8", "u8"])
def test_integers_come_back(name: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    image = np.random.default_rng(0).integers(info.min, info.max, (9, 11), dtype, endpoint=True)
    image[0, :2] = info.min, info.max
    codec = built(name)
    assert np.array_equal(codec.decode(codec.encode(image, 0.5), image.shape, image.dtype), image)


def test_tiles_lie_in_the_last_axes_that_matter() -> None:
    codec = kind_of("jpegls")(BaselineConfig(tile_pixels=256))
    assert codec.tile_shape((3, 500, 600, 1)) == (1, 256, 256, 1)
    assert codec.tile_shape((100, 1, 600)) == (100, 1, 256)


@pytest.mark.parametrize("name", ["jpegxl", "jpegls"])
def test_pictures_that_only_swell(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 2**64, (300, 300), np.uint64).view(np.float64)
    codec = built(name)
    assert codec.decode(codec.encode(image, 0.0), image.shape, image.dtype).tobytes() == image.tobytes()


def kind_of(name: str):
    return component("codec", name).load()


def test_another_shape_type_or_codec_is_refused() -> None:
    image = odd("f4")
    data = built("jpegls").encode(image, SIGMA)
    assert built("jpegls").decode(data, np.array(image.shape), image.dtype).shape == image.shape
    for codec, shape, dtype in (
        ("jpegls", (50, 40), "f4"),
        ("jpegls", image.shape, "f8"),
        ("jpegxl", image.shape, "f4"),
    ):
        with pytest.raises(DataError, match=codec):
            built(codec).decode(data, shape, np.dtype(dtype))


def test_what_lies_too_bright_for_the_grid_costs_no_second_plane() -> None:
    image = np.random.default_rng(0).normal(0, SIGMA, (200, 200)).astype("f4")
    plain = len(built("jpegls").encode(image, SIGMA))
    image[50, 50] = 1e10
    assert len(built("jpegls").encode(image, SIGMA)) < plain + 40


def test_the_extra_is_named_where_a_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = kind_of("jpegxl")
    monkeypatch.setattr(kind, "module", "no_such_library")
    with pytest.raises(PluginError, match=r"rvtool\[baselines\]"):
        kind(BaselineConfig())
