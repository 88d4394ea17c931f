"""The predictive codec: exact where it must be, within the bound everywhere else, small, and the same everywhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rvtool.coding.dither import dither
from rvtool.errors import DataError
from rvtool_plugins.codecs.predictive import PredictiveConfig
from rvtool_plugins.codecs.predictive import quantise as q
from rvtool_plugins.codecs.predictive.codec import PredictiveCodec
from rvtool_plugins.codecs.predictive.payload import read

CODEC = PredictiveCodec(PredictiveConfig())
FAST = PredictiveCodec(PredictiveConfig(fast=True))
DTYPES = ("f4", "f8", "u1", "i2", "u2", "i4", "i8")


def noise(shape: tuple[int, ...], fwhm_px: float, seed: int = 0, sigma: float = 1e-4) -> np.ndarray:
    """Noise as a Gaussian beam leaves it, float32."""
    white = np.random.default_rng(seed).normal(size=shape)
    fy, fx = np.fft.fftfreq(shape[-2]), np.fft.fftfreq(shape[-1])
    filtered = np.exp(-((2 * np.pi * fwhm_px / 2.3548) ** 2) * np.add.outer(fy**2, fx**2) / 2)
    image = np.fft.ifft2(np.fft.fft2(white) * filtered).real
    return (image / np.sqrt((filtered**2).mean()) * sigma).astype("f4")


def bits(image: np.ndarray) -> np.ndarray:
    return image.view(f"u{image.dtype.itemsize}")


def there_and_back(image: np.ndarray, bound: float, codec: PredictiveCodec = CODEC) -> bytes:
    data = codec.encode(image, bound)
    back = codec.decode(data, image.shape, image.dtype)
    assert (back.shape, back.dtype) == (image.shape, image.dtype)
    if bound == 0 or image.dtype.kind in "iu":
        assert np.array_equal(bits(back), bits(image))
        return data
    known = np.isfinite(image)
    assert np.array_equal(bits(back)[~known], bits(image)[~known])
    with np.errstate(over="ignore"):
        error = np.abs(back[known].astype(np.float64) - image[known].astype(np.float64))
    assert error.max(initial=0.0) <= bound
    return data


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    """Images of all kinds: noise, constants, steps, denormals, huge ranges, odd values."""
    shape = draw(
        st.sampled_from([(1, 1), (1, 17), (23, 1), (2, 2), (9, 14), (31, 30), (1, 1, 12, 9), (4, 11, 13), (5,)])
    )
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    kind = draw(st.sampled_from(["noise", "constant", "few", "denormal", "huge", "bits", "ramp", "grid"]))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return {
            "constant": np.full(shape, limits.max, dtype),
            "bits": rng.integers(limits.min, limits.max, shape, dtype, endpoint=True),
        }.get(kind, np.clip(rng.normal(60, 30, shape), max(limits.min, -1e9), min(limits.max, 1e9)).astype(dtype))
    smallest = np.finfo(dtype).smallest_subnormal
    with np.errstate(over="ignore"):
        image = {
            "noise": rng.normal(0, 1e-4, shape),
            "constant": np.full(shape, 0.1),
            "few": rng.choice([0.0, -0.0, 1.5, -2.25], shape),
            "denormal": rng.integers(-50, 50, shape) * float(smallest),
            "huge": rng.choice([1e-30, 1.0, -1e30, 3e38], shape) * rng.normal(1, 0.1, shape),
            "bits": rng.integers(0, 1 << 62, shape).astype(dtype),
            "ramp": np.arange(np.prod(shape)).reshape(shape) * 0.37,
            "grid": rng.integers(-900, 900, shape) * 0.1,
        }[kind].astype(dtype)
    flat = image.reshape(-1)
    for odd in draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 1e20, "payload"]), max_size=3)):
        place = int(rng.integers(flat.size))
        if odd == "payload":
            bits(flat)[place] = bits(np.array([np.nan], dtype))[0] | 77
        else:
            flat[place] = odd
    if draw(st.integers(0, 9)) == 0:
        flat[:] = np.nan
    return image


@given(images(), st.sampled_from([0.0, 1e-6, 2.5e-5, 1e-4, 0.3, 1e6]), st.booleans())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_bound_holds_for_anything(image: np.ndarray, bound: float, fast: bool) -> None:
    before = image.copy()
    there_and_back(image, bound, FAST if fast else CODEC)
    assert np.array_equal(bits(image), bits(before))


def test_pixels_that_rounding_moves_beyond_the_bound_are_exact() -> None:
    """Above 10 microJy of noise a pixel of 10 Jy is coarser in float32 than a tenth of the bound."""
    image = noise((64, 64), 3, sigma=1e-5)
    image[20:24, 30:34] += np.float32(10.0)
    there_and_back(image, 2.5e-6)
    there_and_back(image, 2e-7)


@pytest.mark.parametrize(("fwhm_px", "limit"), [(4.0, 0.8412), (0.01, 3.062)])
def test_noise_costs_little_more_than_it_must(fwhm_px: float, limit: float) -> None:
    """The limit of an ideal coder of the quantised field is mean(log2(1 + 12 S / D^2) / 2) + 0.2546 bits a pixel."""
    image = noise((256, 256), fwhm_px)
    size = 8 * len(there_and_back(image, 0.25e-4)) / image.size
    assert limit * 0.97 < size < limit * 1.06


def test_the_plane_before_helps() -> None:
    first, more = noise((64, 64), 4), noise((64, 64), 4, seed=1)
    cube = np.stack([first, 0.95 * first + 0.3 * more, 0.9 * first + 0.4 * more])
    apart = sum(len(CODEC.encode(plane, 1e-5)) for plane in cube)
    assert len(there_and_back(cube, 1e-5)) < 0.9 * apart


def test_the_plane_before_is_looked_at_where_it_moved_to() -> None:
    sky = noise((96, 96), 3)
    still, moved = np.stack([sky, sky]), np.stack([sky, np.roll(sky, (1, -2), (0, 1))])
    sizes = [len(there_and_back(cube, 1e-5)) for cube in (still, moved)]
    assert sizes[1] < 1.2 * sizes[0]


def test_a_grid_of_its_own_is_found_and_kept() -> None:
    steps = np.rint(noise((128, 128), 3, sigma=4.5))
    image = (steps * 1e-4).astype("f4")
    data = there_and_back(image, 0.0)
    assert 8 * len(data) / image.size < 3.5
    jittered = np.nextafter(image, np.float32(1), dtype="f4")
    there_and_back(jittered, 0.0)
    merged = there_and_back(image, 1.01e-4)  # three steps become one
    assert read(merged, image.dtype).step == pytest.approx(3e-4, rel=1e-5)
    assert np.array_equal(np.rint(CODEC.decode(merged, image.shape, image.dtype) / 1e-4) % 3, np.zeros(image.shape)), (
        "the middle of three steps is one of them"
    )


def test_a_padding_of_zeros_stays_zero_and_costs_nothing() -> None:
    image = noise((200, 200), 3)
    image[:, 120:] = 0.0
    data = there_and_back(image, 2e-4)
    assert not CODEC.decode(data, image.shape, image.dtype)[:, 120:].any()
    assert len(data) < 1.1 * len(CODEC.encode(np.ascontiguousarray(image[:, :120]), 2e-4)) + 60


def test_what_cannot_be_compressed_is_stored() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype("u1")
    assert len(there_and_back(image, 0.0)) < image.nbytes + 60


# --------------------------------------------------------------------------- faint flux


@pytest.mark.parametrize("in_sigma", [0.25, 0.5, 1.0])
def test_faint_sources_survive_on_average(in_sigma: float) -> None:
    """The mean of what is restored is the mean of what was there, also where it is far below the step."""
    sums, count = 0.0, 0
    for seed in range(6):
        image = noise((256, 256), 3, seed)
        image[4::8, 4::8] += np.float32(0.3e-4)  # 1,024 pixels of 0.3 sigma
        back = CODEC.decode(CODEC.encode(image, in_sigma * 1e-4), image.shape, image.dtype)
        sums += float((back.astype(np.float64) - image)[4::8, 4::8].sum())
        count += 1024
    error = sums / count / 0.3e-4
    scatter = 2 * in_sigma / np.sqrt(12) / 0.3 / np.sqrt(count)
    assert abs(error) < 4 * scatter


def test_coarse_errors_are_dithered_and_fine_ones_are_not() -> None:
    image = noise((128, 128), 3)
    seeds = [read(CODEC.encode(image, x * 1e-4), image.dtype).seed for x in (0.25, 0.5, 1.0)]
    assert seeds[0] == 0
    assert seeds[1] != 0
    assert seeds[2] != 0


def test_dithered_errors_are_even_and_do_not_follow_the_signal() -> None:
    image = noise((256, 256), 3)
    back = CODEC.decode(CODEC.encode(image, 1e-4), image.shape, image.dtype)
    error = (back.astype(np.float64) - image) / 2e-4
    assert error.std() == pytest.approx(1 / np.sqrt(12), rel=0.02)
    assert abs(np.corrcoef(error.ravel(), image.ravel())[0, 1]) < 0.02


def test_the_dither_is_even_and_differs_from_seed_to_seed() -> None:
    one, other = dither(1, (1, 200, 300)), dither(2, (1, 200, 300))
    counts = np.bincount(one.ravel().astype(int) + 32, minlength=64)
    assert (one.min(), one.max()) == (-32, 31)
    assert np.abs(counts - counts.mean()).max() < 5 * np.sqrt(counts.mean())
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(one[0, :, 1:].ravel(), one[0, :, :-1].ravel())[0, 1]) < 0.02


def test_places_of_floats_rise_with_them() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.dtype("f4"), np.dtype("f8")):
        values = np.r_[rng.normal(size=50), 0.0, -0.0, 5e-324, np.inf, -np.inf, 3e38].astype(dtype)
        places = q.ordered(values)
        assert np.array_equal(bits(q.from_ordered(places, dtype)), bits(values))
        ranked = values[np.argsort(places)]
        assert (np.diff(ranked[np.isfinite(ranked)]) >= 0).all()
        assert q.ordered(np.nextafter(values[:50], dtype.type(np.inf))).tolist() == (places[:50] + 1).tolist()


# --------------------------------------------------------------------------- the same everywhere


EVERYWHERE = """
import hashlib
import numpy as np
from rvtool_plugins.codecs.predictive import PredictiveConfig
from rvtool_plugins.codecs.predictive.codec import PredictiveCodec
rng = np.random.default_rng(0)
cube = rng.normal(size=(2, 18, 21))
cube = (cube + np.roll(cube, 1, 1) + np.roll(cube, 1, 2)).astype("f4")
cube[0, 3, 4], cube[1, 2, :5], cube[1, 5, 5] = 5000, np.nan, -0.0
whole = (np.nan_to_num(cube) * 1000).astype("i4")
found = hashlib.sha256()
for fast in (False, True):
    codec = PredictiveCodec(PredictiveConfig(fast=fast))
    for tile, bound in ((cube, 0.2), (cube, 1.0), (cube, 0.0), (cube.astype("f8"), 0.0), (cube, 1e-5), (whole, 0.0)):
        data = codec.encode(tile, bound)
        found.update(data + codec.decode(data, tile.shape, tile.dtype).tobytes())
print(found.hexdigest())
"""


def test_plain_python_and_compiled_code_agree() -> None:
    """The interpreter runs the same lines on the same integers: encoder and decoder, bytes and pixels."""
    runs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", EVERYWHERE],
            env={**os.environ, **extra}, check=True, capture_output=True, text=True,
        ).stdout
        for extra in ({}, {"NUMBA_DISABLE_JIT": "1"}, {"OPENBLAS_NUM_THREADS": "1", "NUMBA_CPU_NAME": "generic"})
    ]  # fmt: skip
    assert len(set(runs)) == 1
    assert len(runs[0]) == 65


def test_threads_do_not_disturb_each_other() -> None:
    tiles = [noise((96, 96), 3, seed) for seed in range(8)]
    alone = [hashlib.sha256(CODEC.encode(tile, 3e-5)).hexdigest() for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        assert [hashlib.sha256(data).hexdigest() for data in pool.map(lambda t: CODEC.encode(t, 3e-5), tiles)] == alone


# --------------------------------------------------------------------------- damage


def test_damaged_bytes_do_no_harm() -> None:
    """10,000 damaged tiles: each is refused with a `DataError`, or decodes to some tile of the right shape."""
    rng = np.random.default_rng(0)
    sky = noise((12, 14), 3)
    sky[3, 4:8] = np.nan
    few = rng.choice([0.5, 1.5, 2.0], (12, 14)).astype("f4")
    cases = [(sky, 3e-5), (sky, 1e-4), (sky, 0.0), (few, 0.0), (sky.astype("f8"), 0.0)]
    cases.append((np.nan_to_num(sky * 1e7).astype("i2"), 0.0))
    whole = [(CODEC.encode(tile, bound), tile) for tile, bound in cases]
    refused = 0
    for number in range(10_000):
        data, tile = whole[number % len(whole)]
        damaged = bytearray(data)
        kind = number % 5
        if kind == 0:
            del damaged[int(rng.integers(len(damaged))) :]
        elif kind == 1:
            damaged += rng.bytes(int(rng.integers(1, 40)))
        elif kind == 2:
            damaged[:40] = bytes(rng.integers(0, 256, min(40, len(damaged)), np.uint8))
        else:
            for _ in range(kind):
                damaged[int(rng.integers(min(len(damaged), 60 if kind == 3 else 10**6)))] ^= 1 << int(rng.integers(8))
        try:
            back = CODEC.decode(bytes(damaged), tile.shape, tile.dtype)
        except DataError:
            refused += 1
        else:
            assert (back.shape, back.dtype) == (tile.shape, tile.dtype)
    assert refused > 4000


def test_other_shapes_and_types_are_refused_or_do_no_harm() -> None:
    tile = noise((24, 24), 3)
    data = CODEC.encode(tile, 3e-5)
    for dtype in DTYPES:
        if dtype not in ("f4", "f8"):
            with pytest.raises(DataError):
                CODEC.decode(data, tile.shape, np.dtype(dtype))
    for shape in ((24, 23), (1, 1), (600,), (3, 24, 24)):
        with contextlib.suppress(DataError):
            assert CODEC.decode(data, shape, tile.dtype).shape == shape
    with pytest.raises(DataError, match="larger than any"):
        CODEC.decode(data, (1 << 20, 1 << 20), tile.dtype)
    with pytest.raises(DataError, match="newer rvtool"):
        CODEC.decode(b"\x02" + data[1:], tile.shape, tile.dtype)


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        ((1000, 1000), (500, 500)),
        ((150, 150), (150, 150)),
        ((40, 513, 100), (8, 513, 100)),
        ((1, 1, 1200, 700), (1, 1, 400, 350)),
        ((100_000, 3), (25000, 3)),
        ((5000,), (5000,)),
    ],
)
def test_tiles_are_even(shape: tuple[int, ...], tile: tuple[int, ...]) -> None:
    assert CODEC.tile_shape(shape) == tile
