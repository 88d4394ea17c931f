"""The codecs of the FITS standard: the same bytes every time, and faint flux that stays."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from astropy.io import fits

from rvtool.data.units import EMPTY_PRIMARY
from rvtool.kinds import FitsCodec
from rvtool.plugins import component
from rvtool_plugins.codecs.standard import HcompressConfig, RiceConfig
from rvtool_plugins.codecs.standard.codec import HcompressCodec, RiceCodec, tile_shape

CODEC = RiceCodec(RiceConfig())
HCOMPRESS = HcompressCodec(HcompressConfig())
BOTH = pytest.mark.parametrize("codec", [CODEC, HCOMPRESS])


def decode(hdu: bytes) -> np.ndarray:
    with fits.open(io.BytesIO(EMPTY_PRIMARY + hdu)) as hdus:
        return np.array(hdus[1].data)


def test_it_is_offered_and_keeps_the_contract() -> None:
    chosen = component("codec", "rice")
    assert isinstance(chosen.load()(chosen.configure({"tile-pixels": 64})), FitsCodec)


def test_tiles_lie_in_the_last_axes_whatever_is_degenerate() -> None:
    assert tile_shape((1, 1, 512, 512), 64) == (1, 1, 64, 64)
    assert tile_shape((41, 100, 100), 64) == (1, 64, 64)
    assert tile_shape((2048, 5, 5), 64) == (163, 5, 5)
    assert tile_shape((512, 512, 1, 1), 64) == (64, 64, 1, 1)
    assert tile_shape((100_000, 1), 64) == (4096, 1)
    assert tile_shape((10, 10), 64) == (10, 10)


@BOTH
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_step_is_twice_the_bound(dtype: str, codec: RiceCodec) -> None:
    image = np.random.default_rng(0).normal(size=(150, 170)).astype(dtype)
    error = np.abs(decode(codec.encode_hdu(image, 0.25)) - image)
    assert 0.249 < error.max() <= 0.25
    assert error.std() == pytest.approx(0.25 / np.sqrt(12), rel=0.02)  # of |e|, e uniform: the dither is undone


@BOTH
def test_the_same_bytes_every_time(monkeypatch: pytest.MonkeyPatch, codec: RiceCodec) -> None:
    image = np.random.default_rng(0).normal(size=(200, 150)).astype("f4")
    image[3, 4] = 1e30  # one tile is not quantised but packed by gzip, which writes the time into its header
    first = [codec.encode_hdu(image, bound) for bound in (0.1, 0.0)]
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert [codec.encode_hdu(image, bound) for bound in (0.1, 0.0)] == first
    assert decode(first[0])[3, 4] == image[3, 4]


@BOTH
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_exact_where_no_bound_is_given(dtype: str, codec: RiceCodec) -> None:
    kind = np.dtype(dtype)
    raw = np.random.default_rng(0).integers(0, 256, (90, 65 * kind.itemsize), np.uint8)
    image = raw.view(kind)
    assert decode(codec.encode_hdu(image, 0.0)).astype(kind).tobytes() == image.tobytes()


@pytest.mark.parametrize("fill", [np.nan, 0.0])
def test_padding_costs_next_to_nothing(fill: float) -> None:
    image = np.random.default_rng(0).normal(size=(512, 512)).astype("f4")
    noise = len(CODEC.encode_hdu(image[:256], 0.25))
    image[256:, ::2] = image[256:][:, ::2]
    image[256:] = fill
    assert len(CODEC.encode_hdu(image, 0.25)) < 1.05 * noise + 2880


def test_faint_sources_keep_their_flux_in_a_stack() -> None:
    """2,500 sources of 0.3 sigma on white noise, a bound of 0.25 sigma: 1 +- 0.02 of the flux, and no more noise."""
    y, x = np.mgrid[-6:6, -6:6]
    source = 0.3 * np.exp(-(x**2 + y**2) / (2 * (4 / 2.3548) ** 2))  # (12, 12)
    kept = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=(600, 600))
        image = (noise + np.tile(source, (50, 50))).astype("f4")
        decoded = decode(CODEC.encode_hdu(image, 0.25))
        stack = (decoded - noise).reshape(50, 12, 50, 12).mean(axis=(0, 2))
        kept.append((stack * source).sum() / (source**2).sum())
        growth = decoded.std() / image.std()
        assert growth <= np.sqrt(1 + 0.5**2 / 12) + 0.002
    assert kept == pytest.approx([1] * 3, abs=0.02)


@pytest.mark.parametrize("shape", [(1, 1, 300, 259), (257, 64, 1), (3, 200), (60, 1), (2, 5, 5)])
def test_hcompress_takes_any_shape(shape: tuple[int, ...]) -> None:
    """Its tiles may not be narrower than 4 pixels, not the last ones either; what is narrower is left to RICE_1."""
    image = np.random.default_rng(0).normal(size=shape).astype("f4")
    back = decode(HCOMPRESS.encode_hdu(image, 0.25))
    assert back.shape == shape
    assert np.abs(back - image).max() <= 0.25
