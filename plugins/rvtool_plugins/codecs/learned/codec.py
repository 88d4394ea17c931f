"""A tile to bytes and back through a run's autoencoder.

The bytes of a tile: how it is coded (`EXACTLY`, `ALONE`, `WITHIN`), and of the latter two for each plane background,
scale and limit, float32, and the codes as a varint of their length and the bytes of `rvtool.coding.maps`; then `ALONE`
what is blank, or `WITHIN` a bound the residual.

Symbols are whole numbers under whole-number tables, so that they come back exactly everywhere. What the decoder makes
of them are floats, which differ in their last digits with the order in which a machine adds. `TOLERANCE` says by how
much at most, as a part of 1 + |y| in stretched units; the residual keeps so much of the bound free, and where the
stretch would make more of it (next to very bright sources) the approximation is cut.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from math import isinf, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rvtool import load_run
from rvtool.coding.mask import decode_mask, encode_mask
from rvtool.coding.raw import pack_bits, planes, read_varint, unpack_bits, unsigned, varint
from rvtool.coding.residual import decode_residual, encode_residual
from rvtool.compressed.coding import installed_codec
from rvtool.data.stretch import measure
from rvtool.errors import ConfigError, DataError
from rvtool_plugins.codecs.learned import LearnedConfig

EXACTLY, ALONE, WITHIN = 0, 1, 2
EXACT_CODEC = "predictive"  # for what is no float image with noise, and for what is to be kept bit by bit

TOLERANCE = 2e-5
MARGIN = 1 / 64  # of the bound, which the decoder's floats may use up
SHIPPED = Path(__file__).parent / "run"

_MOST_PIXELS = 1 << 31
_BRIGHTNESS = np.concatenate(
    [np.linspace(0, 20, 401), np.geomspace(20.05, 400, 400)]
)  # stretched, to look limits up in


class LearnedCodec:
    """Lossy coding of float images by a run, with or without a bound on the error of each pixel.

    Parameters
    ----------
    config
        The run, the size of tiles, and whether the residual is dithered.

    Raises
    ------
    ConfigError
        The run is no autoencoder of grey images, or its stretch cannot be undone.
    """

    exact = False
    unbounded = True

    def __init__(self, config: LearnedConfig) -> None:
        self.config = config
        self.run = _opened(config.run or str(SHIPPED))
        self.model = self.run.model
        self.cell: int = self.model.cell
        self.prior = self.model.prior
        self.prior.check()
        self.exactly = installed_codec(EXACT_CODEC)

    @classmethod
    def for_model(cls, sha256: str) -> LearnedCodec:
        """Return the codec of a run that is named by its hash.

        Raises
        ------
        DataError
            It is not among the runs here.
        """
        return _by_hash(sha256)

    @property
    def model_sha256(self) -> str:
        """Hash of the run."""
        return str(self.run.sha256)

    def tile_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Cut the last two axes into even tiles of at most `tile_pixels`, of whole cells."""
        sides = [1] * max(len(shape) - 2, 0)
        for length in shape[-2:] if len(shape) > 1 else ():
            parts = -(-length // self.config.tile_pixels)
            sides.append(min(-(-length // parts // self.cell) * self.cell, max(length, 1)))
        return tuple(sides) if len(shape) > 1 else self.exactly.tile_shape(shape)

    def encode(self, tile: np.ndarray, bound: float) -> bytes:
        """Encode a tile.

        Parameters
        ----------
        tile : (..., H, W), native byte order
        bound : float, unit of `tile`
            Largest error of a finite pixel; 0 keeps every bit, infinity leaves it to the network.
        """
        flat = np.ascontiguousarray(tile).reshape(planes(tile.shape))
        if flat.dtype.kind != "f" or bound == 0:
            return bytes([EXACTLY]) + self.exactly.encode(flat, 0.0 if isinf(bound) else bound)
        known = np.isfinite(flat)
        with np.errstate(over="ignore"):
            images = np.where(known, flat, np.nan).astype(np.float32)
        seen = [measure(plane[None], np.isfinite(plane)) for plane in images]
        scales = [_scale(self.run.stretch, one) for one in seen]
        limits = [_limit(self.run.stretch, background, scale, bound) for background, scale in scales]
        if not all(0 < scale < np.inf for _, scale in scales) or min(limits) <= 0:
            # nothing that the network has learnt, or a bound that floats of another machine might miss
            return bytes([EXACTLY]) + self.exactly.encode(flat, 0.0 if isinf(bound) else bound)
        symbols = self._symbols(images, scales)
        parts = [bytes([ALONE if isinf(bound) else WITHIN])]
        for one, (background, scale), limit in zip(symbols, scales, limits, strict=True):
            coded = self.prior.encode(one)
            parts.append(struct.pack("<fff", background, scale, limit) + varint(len(coded)) + coded)
        if isinf(bound):
            mask = encode_mask(~known) if not known.all() else b""
            bits = pack_bits(flat.view(unsigned(flat.dtype))[~known])
            return b"".join([*parts, varint(len(mask)), mask, bits])
        approximation = self._image(symbols, scales, limits, flat.shape)
        seed = 1 + zlib.crc32(flat.tobytes()) % 65535 if self.config.dither else 0
        return b"".join([*parts, encode_residual(flat, approximation, bound, MARGIN * bound, seed=seed)])

    def decode(self, data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Decode a tile.

        Raises
        ------
        DataError
            The bytes are not those of a tile of this shape and type.
        """
        flat = planes(tuple(shape))
        dtype = np.dtype(dtype).newbyteorder("=")
        if prod(flat) > _MOST_PIXELS or min(flat) < 0:
            raise DataError(f"A tile of {' x '.join(map(str, shape))} pixels is larger than any; the file is damaged.")
        if data[:1] == bytes([EXACTLY]):
            return np.asarray(self.exactly.decode(data[1:], flat, dtype)).reshape(tuple(shape))
        try:
            return self._decoded(data, flat, dtype).reshape(tuple(shape))
        except (struct.error, zlib.error, IndexError, ValueError, OverflowError) as error:
            raise DataError("A compressed tile is not what was written; fetch or make the file again.") from error

    def _decoded(self, data: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
        how, place = data[0], 1
        if how not in (ALONE, WITHIN) or dtype.kind != "f":
            raise ValueError("coded in another way")
        scales, limits, symbols = [], [], []
        maps = (self.prior.classes.shape[0], *(-(-side // self.cell) for side in shape[1:]))
        for _ in range(shape[0]):
            background, scale, limit = struct.unpack_from("<fff", data, place)
            length, place = read_varint(data, place + 12)
            if not (np.isfinite(background) and 0 < scale < np.inf and limit > 0) or place + length > len(data):
                raise ValueError("a plane without a scale, or fewer codes than were written")
            symbols.append(self.prior.decode(data[place : place + length], maps))
            scales.append((background, scale))
            limits.append(limit)
            place += length
        approximation = self._image(np.stack(symbols), scales, limits, shape)
        if how == WITHIN:
            return decode_residual(data[place:], approximation, dtype)
        length, place = read_varint(data, place)
        mask, bits = data[place : place + length], data[place + length :]
        blank = decode_mask(mask, shape) if bits else np.zeros(shape, bool)  # a mask of ones alone takes no bytes
        values = unpack_bits(bits, dtype, int(blank.sum()))
        if len(mask) != length or values.size not in (1, int(blank.sum())):
            raise ValueError("blank pixels without bits")
        with np.errstate(over="ignore"):
            pixels = approximation.astype(dtype)
        pixels.view(unsigned(dtype))[blank] = values
        return pixels

    @torch.inference_mode()
    def _symbols(self, images: np.ndarray, scales: Sequence[tuple[float, float]]) -> np.ndarray:
        """Return the codes ``(P, S, h, w)`` of planes ``(P, H, W)``, NaN where blank."""
        pixels = torch.from_numpy(images)[:, None]
        known = torch.isfinite(pixels)
        statistics = _statistics(self.run.stretch, scales)
        stretched = self.run.stretch.apply(torch.where(known, pixels, 0.0), statistics)
        most = float(_BRIGHTNESS[-1])  # floats that overflow would make no codes
        symbols = self.model.symbols(torch.where(known, stretched, 0.0).clamp(-most, most))
        return np.asarray(symbols.numpy())

    @torch.inference_mode()
    def _image(
        self,
        symbols: np.ndarray,
        scales: Sequence[tuple[float, float]],
        limits: Sequence[float],
        shape: tuple[int, int, int],
    ) -> np.ndarray:
        """Return what the decoder makes of codes, cut where it could not be relied on: ``(P, H, W)``, float32."""
        made = self.model.decode(self.model.restore(torch.from_numpy(symbols)))[:, :, : shape[1], : shape[2]].float()
        most = torch.tensor(limits, dtype=torch.float32)[:, None, None, None]
        made = torch.nan_to_num(made).clamp(-most, most)
        return np.asarray(self.run.stretch.invert(made, _statistics(self.run.stretch, scales))[:, 0].numpy())


@lru_cache(maxsize=4)
def _by_hash(sha256: str) -> LearnedCodec:
    """Build the codec of a run once, however many files it wrote: what a hash names never changes."""
    if SHIPPED.exists() and load_run(SHIPPED).sha256 == sha256:
        return LearnedCodec(LearnedConfig.model_validate({}))
    return LearnedCodec(LearnedConfig.model_validate({"run": f"sha256:{sha256}"}))


def _opened(name: str) -> Any:
    """Open a run that can compress."""
    run = load_run(name)
    if run.task != "autoencoding":
        raise ConfigError(
            f"{run.path} is a run of '{run.record['model']}', which is no autoencoder, so that it cannot compress; "
            "name one of 'vqvae', 'vae' or 'vae-gan'."
        )
    if run.data.image.channels != 1 or run.data.target is not None or not run.stretch.invertible:
        raise ConfigError(
            f"{run.path} makes other images than it is given, or none in their unit, so that it cannot compress; train "
            "one on images of one channel, without targets and without --clip-sigma."
        )
    return run


def _scale(stretch: Any, measured: np.ndarray) -> tuple[float, float]:
    """Return what counts as 0 in a plane, and what becomes 1."""
    background, noise, peak = (float(value) for value in measured)
    settings = stretch.settings
    background = background if settings.background == "image" else 0.0
    scales = {"noise": noise, "image": peak - background, "train": float(stretch.constant)}
    return background, scales[settings.scale]


def _statistics(stretch: Any, scales: Sequence[tuple[float, float]]) -> torch.Tensor:
    """Return what the stretch takes from planes, ``(P, 3)``: background, noise and peak, of which one is the scale."""
    return torch.tensor([[background, scale, background + scale] for background, scale in scales])


def _limit(stretch: Any, background: float, scale: float, bound: float) -> float:
    """Return the stretched brightness up to which the decoder's floats stay within the margin of a bound, 0 if none."""
    if not 0 < scale < np.inf:
        return 0.0
    statistics = _statistics(stretch, [(background, scale)])
    values = torch.from_numpy(np.stack([_BRIGHTNESS, _BRIGHTNESS + TOLERANCE * (1 + _BRIGHTNESS)]))[None, None]
    if isinf(bound):  # as far as floats reach
        kept = torch.isfinite(stretch.invert(values.float(), statistics)).numpy()[0, 0, 1]
    else:
        both = stretch.invert(values, statistics.double()).double().numpy()[0, 0]
        with np.errstate(invalid="ignore"):  # both may be infinite: not kept
            kept = np.abs(both[1] - both[0]) <= MARGIN * bound
    return float(np.float32(_BRIGHTNESS[int(kept.argmin()) - 1 if not kept.all() else -1])) if kept[0] else 0.0
