"""The contract of codecs."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rvtool.component import Component
from rvtool.errors import DataError
from rvtool.kinds import Codec, FitsCodec

NOISE = 1e-4  # of the test images, Jy/beam


def check_codec(component: Component, settings: Mapping[str, Any] | None = None) -> None:
    """Check that a codec keeps its bound, makes the same bytes everywhere, and refuses bytes that are not its own.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    name = f"Codec '{component.name}'"
    codec = component.load()(component.configure(settings))
    if isinstance(codec, FitsCodec):
        _check_images(name, codec.encode_hdu, _decode_hdu, most=1e-3)
    else:
        assert isinstance(codec, Codec), (
            f"{name} needs tile_shape(shape), encode(tile, bound), decode(data, shape, dtype) and model_sha256, or "
            "encode_hdu(data, bound)."
        )
        _check_tiles(name, codec)
        _check_images(name, codec.encode, codec.decode, most=0.0)
        _check_foreign(name, codec)
    _check_fresh_process(name, component, settings, codec)


def images() -> Iterator[tuple[str, np.ndarray]]:
    """Make images as surveys have them, and the odd ones."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    sky = rng.normal(0, NOISE, (48, 64)) + 0.05 * np.exp(-((x - 20) ** 2 + (y - 30) ** 2) / 18)
    yield "float32 sky", sky.astype(np.float32)
    blank = sky.astype(np.float32)
    blank[:5], blank[20, 20] = np.nan, np.nan
    yield "float32 sky with blank pixels", blank
    yield "float32 zeros", np.zeros((16, 16), np.float32)
    yield "float32 of one column", sky[:, :1].astype(np.float32)
    yield "float64 sky", sky
    yield "int16 counts", rng.integers(-3000, 3000, (32, 32)).astype(np.int16)
    yield "uint8 picture", rng.integers(0, 256, (32, 32)).astype(np.uint8)


def _check_tiles(name: str, codec: Codec) -> None:
    assert isinstance(codec.model_sha256, str), f"{name} needs a text as model_sha256, '' where it has no model."
    for shape in ((1, 1), (700, 900), (1, 3, 600, 500)):
        tile = codec.tile_shape(shape)
        assert isinstance(tile, tuple) and len(tile) == len(shape) and min(tile) >= 1, (
            f"{name} cuts {shape} into tiles of {tile}; tile_shape must return as many axes, each of 1 or more."
        )


def _check_images(
    name: str, encode: Callable[[np.ndarray, float], bytes], decode: Callable[..., np.ndarray], most: float
) -> None:
    """Check errors; `most` is the part of the pixels that may miss the bound (FITS rounds to the stored type)."""
    for what, image in images():
        before = image.copy()
        for bound in (0.0, NOISE / 4):
            data = encode(image, bound)
            assert isinstance(data, bytes), f"{name}: encode must return bytes, not {type(data).__name__}."
            assert np.array_equal(image, before, equal_nan=True), f"{name} changes the image that it encodes ({what})."
            assert encode(image, bound) == data, f"{name} makes other bytes of {what} the second time."
            back = decode(data, image.shape, image.dtype)
            assert (back.shape, back.dtype) == (image.shape, image.dtype), (
                f"{name} made {back.dtype} {back.shape} of {what}, {image.dtype} {image.shape}."
            )
            exact = bound == 0 or image.dtype.kind != "f"
            assert np.array_equal(np.isnan(back), np.isnan(image)), f"{name} moves the blank pixels of {what}."
            error = np.abs(np.nan_to_num(back.astype(np.float64)) - np.nan_to_num(image.astype(np.float64)))
            if exact:
                assert error.max() == 0, (
                    f"{name} changes {what} by {error.max():.3g} although the bound is 0 or the pixels are integers."
                )
            else:
                missed = np.mean(error > bound)
                assert missed <= most, (
                    f"{name} misses the bound {bound:.3g} in {100 * missed:.2g} % of the pixels of {what} (largest "
                    f"error {error.max():.3g})."
                )


def _decode_hdu(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Decode as any FITS reader would."""
    from astropy.io import fits

    primary = io.BytesIO()
    fits.PrimaryHDU().writeto(primary)
    with fits.open(io.BytesIO(primary.getvalue() + data)) as hdus:
        pixels = hdus[1].data
    return pixels.astype(pixels.dtype.newbyteorder("="))


def _check_foreign(name: str, codec: Codec) -> None:
    _, image = next(images())
    own = codec.encode(image, NOISE)
    flipped = own[: len(own) // 2] + bytes([own[len(own) // 2] ^ 0xFF]) + own[len(own) // 2 + 1 :]
    cases = {
        "no bytes": b"",
        "another format's bytes": b"SIMPLE  =                    T" * 50,
        "half of its bytes": own[: len(own) // 2],
        "bytes with one damaged": flipped,
    }
    for what, data in cases.items():
        try:
            back = codec.decode(data, image.shape, image.dtype)
        except DataError:
            continue
        except Exception as error:
            raise AssertionError(
                f"{name} raises {type(error).__name__} ({error}) on {what}; raise rvtool.errors.DataError, which the "
                "command line tells in one sentence."
            ) from error
        # a damaged bit may still decode; what may not happen is an image of another kind
        assert what.endswith("damaged") and back.shape == image.shape, f"{name} decodes {what} to an image."


_FRESH = """
import hashlib, importlib, json, sys
import numpy as np
module, attribute, config_module, config, settings, image, bound = json.loads(sys.argv[1])
config = getattr(importlib.import_module(config_module), config).model_validate(settings)
codec = getattr(importlib.import_module(module), attribute)(config)
encode = getattr(codec, "encode_hdu", None) or codec.encode
print(hashlib.sha256(encode(np.load(image), bound)).hexdigest())
"""


def _check_fresh_process(name: str, component: Component, settings: Mapping[str, Any] | None, codec: Any) -> None:
    _, image = next(images())
    encode = codec.encode_hdu if isinstance(codec, FitsCodec) else codec.encode
    here = hashlib.sha256(encode(image, NOISE)).hexdigest()
    module, _, attribute = component.target.partition(":")
    config = component.configure(settings).model_dump(mode="json")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.npy"
        np.save(path, image)
        names = [module, attribute, component.config.__module__, component.config.__name__]
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{_FRESH}",
             json.dumps([*names, config, str(path), NOISE])],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{name} does not run in a fresh process: {done.stderr.strip().splitlines()[-1]}"
    assert done.stdout.strip() == here, f"{name} makes other bytes in a fresh process; nothing may depend on its state."
