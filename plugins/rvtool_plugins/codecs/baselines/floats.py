"""Codecs of floats: SZ3 and SPERR, told the largest error, through HDF5's filters; and fpzip, which is lossless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from rvtool_plugins.codecs.baselines.wrapper import Baseline, Unfit


class _Filter(Baseline):
    """A filter of HDF5, applied to a data set of one chunk in memory; only the chunk's bytes are kept."""

    module = "hdf5plugin"

    def _settings(self, bound: float) -> Mapping[str, Any]:
        raise NotImplementedError

    def pack(self, tile: np.ndarray, bound: float) -> bytes:
        if not bound or min(tile.shape) < 2:
            raise Unfit
        with _in_memory() as file:
            try:
                chunk = file.create_dataset("tile", data=tile, chunks=tile.shape, **self._settings(bound))
                return bytes(chunk.id.read_direct_chunk((0, 0))[1])
            except RuntimeError as error:  # HDF5's "filter returned failure"
                raise Unfit from error

    def unpack(self, data: bytes, shape: tuple[int, int], dtype: np.dtype, bound: float) -> np.ndarray:
        with _in_memory() as file:
            chunk = file.create_dataset("tile", shape=shape, dtype=dtype, chunks=shape, **self._settings(bound))
            chunk.id.write_direct_chunk((0, 0), data)
            return chunk[...]


class Sz3(_Filter):
    """SZ3."""

    name = "sz3"

    def _settings(self, bound: float) -> Mapping[str, Any]:
        return self.library.SZ3(absolute=bound)


class Sperr(_Filter):
    """SPERR."""

    name = "sperr"

    def _settings(self, bound: float) -> Mapping[str, Any]:
        return self.library.Sperr(absolute=bound)


class Fpzip(Baseline):
    """fpzip, without its loss, which is relative to each pixel and so bounds nothing."""

    name = "fpzip"
    module = "fpzip"

    def pack(self, tile: np.ndarray, bound: float) -> bytes:  # noqa: D102
        if tile.dtype.kind != "f":
            raise Unfit
        return self.library.compress(tile)

    def unpack(self, data: bytes, shape: tuple[int, int], dtype: np.dtype, bound: float) -> np.ndarray:  # noqa: D102
        return self.library.decompress(data).reshape(shape)


def _in_memory() -> h5py.File:
    return h5py.File("tile", "w", driver="core", backing_store=False)
