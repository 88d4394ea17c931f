"""The fuzzing target itself: it takes real tiles and random bytes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

SPEC = importlib.util.spec_from_file_location("decoder", Path(__file__).with_name("decoder.py"))
assert SPEC
assert SPEC.loader
decoder = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(decoder)


def test_the_target_runs() -> None:
    rng = np.random.default_rng(0)
    for number, (shape, dtype) in enumerate(decoder.TILES):
        tile = rng.integers(0, 99, shape).astype(dtype)
        decoder.decode(bytes([number]) + decoder.CODEC.encode(tile, 0.0))
        decoder.decode(bytes([number]) + rng.bytes(60))
    decoder.decode(b"")
