"""The check of codecs finds what is broken on purpose. (On its own: it starts processes that import this module.)"""

from __future__ import annotations

import os
import random
import struct
import zlib

import numpy as np
import pytest

from rvtool import Component, Config
from rvtool.errors import DataError


class Settings(Config):
    pass


def component(target: type) -> Component:
    return Component("toy", "A toy", Settings, f"{__name__}:{target.__name__}")


class Packed:
    """Rounds to the bound, deflates, and signs with a checksum."""

    model_sha256 = ""

    def __init__(self, config):
        pass

    def tile_shape(self, shape):
        return tuple(shape)

    def encode(self, tile, bound):
        if tile.dtype.kind == "f" and bound > 0:
            # a little less than twice the bound, for the rounding of float32
            step = 1.9 * bound
            tile = (np.round(tile.astype(np.float64) / step) * step).astype(tile.dtype)
        body = zlib.compress(tile.tobytes())
        return struct.pack("<4sI", b"TOY1", zlib.crc32(body)) + body

    def decode(self, data, shape, dtype):
        if len(data) < 8 or data[:4] != b"TOY1" or struct.unpack("<I", data[4:8])[0] != zlib.crc32(data[8:]):
            raise DataError("These bytes were not made by the codec 'toy', or are damaged.")
        return np.frombuffer(zlib.decompress(data[8:]), dtype).reshape(shape)


class Coarse(Packed):
    def encode(self, tile, bound):
        return super().encode(tile, 3 * bound)


class Salted(Packed):
    def encode(self, tile, bound):
        return super().encode(tile, bound) + bytes([random.randrange(256)])


class Zeroing(Packed):
    def encode(self, tile, bound):
        return super().encode(np.nan_to_num(tile), bound)


class Gullible(Packed):
    def decode(self, data, shape, dtype):
        return np.frombuffer(zlib.decompress(data[8:]), dtype).reshape(shape)


class Stateful(Packed):
    """Whose bytes tell the process that made them."""

    def encode(self, tile, bound):
        return super().encode(tile, bound) + struct.pack("<I", os.getpid())

    def decode(self, data, shape, dtype):
        return super().decode(data[:-4], shape, dtype)


class Flat(Packed):
    def tile_shape(self, shape):
        return (64, 64)


class Nothing:
    def __init__(self, config):
        pass


def test_codec():
    from rvtool.testing import check_codec

    check_codec(component(Packed))


@pytest.mark.parametrize(
    ("codec", "match"),
    [
        (Coarse, "misses the bound"),
        (Salted, "other bytes of float32 sky the second time"),
        (Zeroing, "moves the blank pixels"),
        (Gullible, "raises error"),
        (Stateful, "in a fresh process"),
        (Nothing, "needs tile_shape"),
        (Flat, "as many axes"),
    ],
)
def test_broken_codecs(codec, match):
    from rvtool.testing import check_codec

    with pytest.raises(AssertionError, match=match):
        check_codec(component(codec))
