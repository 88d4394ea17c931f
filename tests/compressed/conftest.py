"""A codec for tests of the container: a quantiser and zlib."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from rvtool import plugins
from rvtool.data.units import card, header_of, padded
from rvtool.errors import DataError


class PackingCodec:
    """Float pixels in steps just below twice the bound, those that this does not serve apart; all else as it is."""

    model_sha256 = ""

    def __init__(self, side: int = 16) -> None:
        self.side = side

    def tile_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (1,) * (len(shape) - 2) + (self.side, self.side)

    def encode(self, tile: np.ndarray, bound: float) -> bytes:
        step = 2 * bound * (1 - 1e-6) if tile.dtype.kind == "f" else 0.0
        if not step:
            return b"E" + zlib.compress(tile.tobytes(), 1)
        with np.errstate(all="ignore"):
            steps = np.nan_to_num(np.rint(tile.astype("f8") / step).clip(-(2**31), 2**31 - 1)).astype("i4")
            coarse = (steps * step).astype(tile.dtype)
            error = np.abs(coarse.astype("f8") - tile.astype("f8"))
        exact = ~(error <= bound)
        parts = [steps.tobytes(), np.packbits(exact).tobytes(), tile[exact].tobytes()]
        return b"S" + np.float64(step).tobytes() + zlib.compress(b"".join(parts), 1)

    def decode(self, data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        count = int(np.prod(shape))
        try:
            if data[:1] == b"E":
                return np.frombuffer(zlib.decompress(data[1:]), dtype).reshape(shape)
            step = np.frombuffer(data[1:9])[0]
            body = zlib.decompress(data[9:])
            steps = np.frombuffer(body, "i4", count)
            exact = np.unpackbits(np.frombuffer(body, "u1", -(-count // 8), 4 * count), count=count).astype(bool)
            with np.errstate(all="ignore"):
                pixels = (steps * step).astype(dtype)
            pixels[exact] = np.frombuffer(body, dtype, offset=4 * count + -(-count // 8))
        except (ValueError, IndexError, zlib.error) as error:
            raise DataError(f"no tile of this codec ({error})") from error
        return pixels.reshape(shape)


class _Offer:
    """What `rvtool.plugins.component` gives for the codec above."""

    def load(self) -> Callable[[None], PackingCodec]:
        return lambda config: PackingCodec()

    def configure(self, settings: dict[str, Any]) -> None:
        return None


@pytest.fixture(scope="session")
def packing() -> PackingCodec:
    return PackingCodec()


@pytest.fixture(autouse=True)
def _offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the codec be found by the name ``packing``."""
    found = plugins.component
    monkeypatch.setattr(plugins, "component", lambda kind, name: _Offer() if name == "packing" else found(kind, name))


BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}


@pytest.fixture(scope="session")
def fits_bytes() -> Callable[..., bytes]:
    """Write one image HDU by hand, with cards that astropy would refuse to write."""

    def make(image: np.ndarray, *extra: bytes, primary: bool = True) -> bytes:
        cards = [card("SIMPLE", "T") if primary else b"XTENSION= 'IMAGE   '".ljust(80)]
        cards += [card("BITPIX", str(BITPIX[image.dtype.str[1:]])), card("NAXIS", str(image.ndim))]
        cards += [card(f"NAXIS{i + 1}", str(n)) for i, n in enumerate(reversed(image.shape))]
        cards += [] if primary else [card("PCOUNT", "0"), card("GCOUNT", "1")]
        big = image.astype(image.dtype.newbyteorder(">"))
        return header_of([*cards, card("BUNIT", "'Jy/beam '"), *extra]) + padded(big.tobytes())

    return make
