"""A target for atheris: whatever the bytes, a decoder ends in `DataError` or in a tile of the right shape.

    pip install atheris
    python tests/fuzzing/decoder.py [FOLDER_OF_SEEDS] [-max_total_time=600]

The suite runs 10,000 damaged tiles and thousands of damaged files of its own; this goes on from there.
"""

from __future__ import annotations

import sys

import numpy as np

from rvtool.errors import DataError
from rvtool_plugins.codecs.predictive import PredictiveConfig
from rvtool_plugins.codecs.predictive.codec import PredictiveCodec

CODEC = PredictiveCodec(PredictiveConfig())
TILES = [((1, 1), "f4"), ((12, 14), "f4"), ((3, 9, 8), "f8"), ((12, 14), "i2"), ((40, 3), "u1")]


def decode(data: bytes) -> None:
    """Decode bytes as a tile, of a shape and type that the first of them choose."""
    if not data:
        return
    shape, dtype = TILES[data[0] % len(TILES)]
    try:
        back = CODEC.decode(data[1:], shape, np.dtype(dtype))
    except DataError:
        return
    assert (back.shape, back.dtype) == (shape, np.dtype(dtype))


def main() -> None:
    """Fuzz until told to stop."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
