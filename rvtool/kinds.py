"""What each of the seven kinds of component provides: the contracts that `rvtool.testing` checks.

A target is built by the core as ``Target(config)`` (source, simulator, codec), as ``Target(config, data)``
(loss, augmenter, metric) or as ``Target(config, data, losses)`` (model), where ``config`` is the validated
settings of its `Component` and ``data`` a `DataInfo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch

Batch: TypeAlias = "dict[str, torch.Tensor]"
"""A batch: ``image (B, C, H, W) float32`` and ``mask (B, 1, H, W) bool`` (True where a pixel is known); where they
exist ``target`` and ``target_mask``, ``label`` ((B,) int64, (B, K) float32 once labels are soft, or (B,) float32 where
it is a number to be estimated), ``view`` and ``view_mask`` (a second augmentation of the image), ``weight (B,)``,
``condition (B, P)``, the numbers that images are made for in their own units, and ``index (B,)``, the rows of the
manifest."""


# --------------------------------------------------------------------------- what is known of the data


@dataclass(frozen=True)
class Beam:
    """An elliptical Gaussian restoring beam: full widths at half maximum and position angle (north to east)."""

    major_arcsec: float
    minor_arcsec: float
    angle_deg: float = 0.0


@dataclass(frozen=True)
class Side:
    """What a model sees of one side (the image, or the target) after the stretch.

    Attributes
    ----------
    axes
        ``"sky"``, ``"metres"``, or ``"frequency-time"``: rows are frequencies, the lowest first, columns are times.
    centre_mhz, channel_mhz, sample_s
        Of frequency and time: the middle of the band, the step of a row, the step of a column.
    """

    channels: int
    height: int
    width: int
    axes: str = "sky"
    unit: str = ""
    pixel_arcsec: float | None = None
    beam: Beam | None = None
    centre_mhz: float | None = None
    channel_mhz: float | None = None
    sample_s: float | None = None


@dataclass(frozen=True)
class DataInfo:
    """What a model, a loss or an augmenter is told of the data before it is built.

    Attributes
    ----------
    classes
        Class names in the order of the label's integers; empty where nothing is classified.
    class_counts
        Images of each class in the training split.
    label_mean, label_std
        Of a label that is a number: mean and standard deviation over the training split, in its own unit.
    conditions
        Columns of numbers that images are made for, in the order of a batch's ``condition``.
    condition_means, condition_stds
        Of each of them over the training split.
    """

    image: Side
    target: Side | None = None
    label_column: str = "label"
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    label_mean: float = 0.0
    label_std: float = 1.0
    conditions: tuple[str, ...] = ()
    condition_means: tuple[float, ...] = ()
    condition_stds: tuple[float, ...] = ()


# --------------------------------------------------------------------------- source


@dataclass(frozen=True)
class Target:
    """Something to fetch: an identifier, a position where there is one, and further columns for the manifest.

    The column ``label`` is the object's class.
    """

    id: str
    ra_deg: float | None = None
    dec_deg: float | None = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What to ask for: a URL (``file:`` for local files), a body for POST, and the pair's other image.

    Attributes
    ----------
    params
        The query; encoded by the core.
    shared
        Many targets need this very reply (a survey frame, a catalogue): it is fetched once and kept in the cache.
    """

    url: str
    params: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    pair: Request | None = None
    content_type: str = "application/x-www-form-urlencoded"
    shared: bool = False


@dataclass(frozen=True)
class Reply:
    """What came back, for the pair's other image too.

    Attributes
    ----------
    status
        The HTTP status; 0 where no whole reply came (no connection, cut off, too slow), with the reason as the body.
    headers
        Their names in lower case.
    """

    request: Request
    status: int
    headers: dict[str, str]
    body: bytes
    pair: Reply | None = None


@dataclass(frozen=True)
class Found:
    """An image: its bytes as they are to be kept, the file name's ending, and columns for the manifest."""

    body: bytes
    suffix: str
    columns: dict[str, Any] = field(default_factory=dict)
    pair: Found | None = None


@dataclass(frozen=True)
class Further:
    """The reply leads to another request, whose reply the source reads next."""

    request: Request


@dataclass(frozen=True)
class Listed:
    """Targets out of a catalogue, and the request of the next page where there is one."""

    targets: tuple[Target, ...]
    further: Request | None = None


@dataclass(frozen=True)
class Absent:
    """The service answered that it has no image there: never asked again."""

    reason: str


@dataclass(frozen=True)
class Retry:
    """The service could not answer now: asked again later, after `after_s` seconds where it said so."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True)
class Fatal:
    """No further request can succeed (wrong key, moved service): the whole collection stops."""

    reason: str


@dataclass(frozen=True)
class Box:
    """A part of the sky between two right ascensions and two declinations, degrees ICRS; `ra_min` > `ra_max` wraps."""

    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float


@dataclass(frozen=True)
class SourceInfo:
    """Facts of a survey and its service.

    Attributes
    ----------
    base_url
        What every request's URL begins with (scheme and host), unless it is one of `further_urls`. Users replace
        them all with ``--base-url`` or the variable ``RVTOOL_BASE_URL_<NAME>``.
    mirrors
        Other addresses of the same service, tried when it is down.
    pixel_arcsec, field_arcmin
        Side of a pixel and of a whole cutout as the settings ask for it; what comes is checked against them.
    footprint
        Where the survey has looked; empty where it is not known, or the whole sky.
    max_rate_per_s, max_connections
        What is polite, for each host.
    citation, bibtex, acknowledgement
        For people, for ``CITATION.bib``, and what the survey asks to be printed.
    unverified
        Facts that nobody has tried against the live service.
    last_checked
        The day on which somebody did, for the rest.
    """

    base_url: str
    unit: str = ""
    beam: Beam | None = None
    pixel_arcsec: float | None = None
    field_arcmin: float | None = None
    axes: str = "sky"
    max_rate_per_s: float = 1.0
    max_connections: int = 1
    licence: str = ""
    citation: str = ""
    unverified: tuple[str, ...] = ()
    further_urls: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    footprint: tuple[Box, ...] = ()
    release: str = ""
    bibtex: str = ""
    acknowledgement: str = ""
    last_checked: str | None = None


@runtime_checkable
class Source(Protocol):
    """Pure: builds requests and reads replies; the core does all downloading.

    A source is at least one of `Fetches` and `Catalogues`, and may be `Offers` and `Covers`.
    """

    info: SourceInfo


@runtime_checkable
class Fetches(Source, Protocol):
    """A source of images: what to ask for a target, and what the reply says.

    The first reply that is `Found`, `Absent`, `Retry` or `Fatal` ends it; `Further` asks on.
    """

    def request(self, target: Target) -> Request: ...

    def read(self, target: Target, reply: Reply) -> Found | Further | Absent | Retry | Fatal: ...


@runtime_checkable
class Offers(Source, Protocol):
    """A source that knows its targets from its settings alone, without asking anybody."""

    def targets(self) -> Iterator[Target]: ...


@runtime_checkable
class Catalogues(Source, Protocol):
    """A source of targets.

    `classes` are the classes of objects that it can list, by the names that become labels. ``query(label, count)``
    asks for objects of one, `count` of them or a few more where the service can be told so; ``query("", None)`` asks
    for everything that the settings name. Every reply is read by `entries`, pages by `Listed.further`.
    """

    classes: ClassVar[tuple[str, ...]]

    def query(self, label: str, count: int | None) -> tuple[Request, ...]: ...

    def entries(self, label: str, reply: Reply) -> Listed | Absent | Retry | Fatal: ...


@runtime_checkable
class Covers(Source, Protocol):
    """A source whose survey's coverage is a MOC (FITS or JSON) that can be asked for."""

    def coverage(self) -> Request: ...


# --------------------------------------------------------------------------- simulator


@dataclass(frozen=True)
class SimulatorInfo:
    """Axes, unit, pixel scale and beam of each side that a simulator makes.

    Attributes
    ----------
    classes
        What the integers of ``label`` mean.
    words
        What those of other columns mean, by the column's name.
    """

    image: Side
    target: Side | None = None
    classes: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@runtime_checkable
class Simulator(Protocol):
    """Batched, on the device, addressed by index.

    ``simulate(indices, seed, device)`` gives the same image for an index whatever the batch it is in. The batch has
    ``image (B, C, H, W)`` in the unit of `info`, ``label (B,)`` where `info.classes` is not empty, optionally
    ``mask`` (False where a pixel is unknown; the image is 0 there) and ``target``, and one ``(B,)`` tensor for each
    true parameter, named with its unit (``flux_jy``). A simulator whose images are made of others may have ``rows``,
    the manifest of those (a `pyarrow.Table`, one row an index; larger indices begin anew): ids, labels, positions,
    groups and splits are then theirs.
    """

    info: SimulatorInfo

    def simulate(self, indices: torch.Tensor, seed: int, device: torch.device) -> Batch: ...


# --------------------------------------------------------------------------- model, loss, augmenter, metric


@dataclass
class LossContext:
    """What a loss may look at besides prediction and target.

    Attributes
    ----------
    batch
        The batch as the model saw it (``image``, ``mask``, ``weight`` where there is one).
    physical
        ``prediction``, ``target`` and ``image`` before the stretch, in their physical units, where the model provides
        them.
    """

    batch: Batch
    physical: Batch | None = None


@runtime_checkable
class Loss(Protocol):
    """An ``nn.Module``: ``(prediction, target, context) -> scalar``.

    `role` says what it is for: ``classification``, ``reconstruction``, ``perceptual``, ``adversarial``, ... A loss that
    needs a file loads it on first use, or by ``start()`` where it has that, so that a trained run opens without it. A
    loss of ``features`` compares lists of tensors, a list a scale of what a critic's layers made. An adversarial loss
    has ``generator(fake, real)``, ``discriminator(real, fake)`` and optionally ``penalty(critic, real, fake)``; with
    ``relative = False`` it says that ``generator`` does not look at ``real``, which then need not be judged. A loss
    for regression is the likelihood of the label ``(B,)`` under a network's `outputs` numbers ``(B, outputs)``;
    ``answer(prediction)`` gives estimate and standard deviation ``(B, 2)`` in the label's unit, and `limits` are the
    least and the largest label that there can be.
    """

    role: ClassVar[str]

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor, context: LossContext) -> torch.Tensor: ...


@runtime_checkable
class Augmenter(Protocol):
    """``(batch, generator) -> batch``: batched, on the device of the batch; shape, dtype and unit stay.

    `axes` names the axes that it makes sense on. The generator lives on the CPU, so that the draws are the same on
    every device. Augmenters act on the physical unit, before the stretch, unless the class attribute ``after_stretch``
    is there and True: then on what the model sees. In either case an unknown pixel is False in the mask, and
    ``image_statistics (B, 3)`` (and ``target_statistics``) are what the stretch takes from each image: background,
    noise and peak, in the physical unit.
    """

    axes: ClassVar[tuple[str, ...]]

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch: ...


@runtime_checkable
class Predicts(Protocol):
    """A trained model that answers: class probabilities ``(B, K)``, or images."""

    def predict(self, batch: Batch) -> torch.Tensor: ...


@runtime_checkable
class Samples(Protocol):
    """A trained model that makes images, stretched as those of its training: ``(B, C, H, W)``.

    The same image for an index whatever the batch it is in. `condition` says of which class (``label``), with which
    numbers (``condition``) or from which image (``image``, ``mask``), as a prepared batch does.
    """

    def sample(
        self, indices: torch.Tensor, seed: int, device: torch.device, condition: Batch | None = None
    ) -> torch.Tensor: ...


@runtime_checkable
class Autoencodes(Protocol):
    """A trained model that makes codes of images, and images of codes."""

    def encode(self, image: torch.Tensor) -> torch.Tensor: ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor: ...


# --------------------------------------------------------------------------- codec


@runtime_checkable
class Codec(Protocol):
    """Tiles to bytes and back: the same bytes and the same pixels on every machine and in every thread.

    `bound` is the largest allowed error of a finite pixel, in the unit of the stored pixels; 0, and every integer type,
    asks for the pixels bit by bit. The bits of NaN and of infinities come back whatever the bound. Decoding needs
    nothing but its arguments and, where there is one, the trained model: all settings are in the bytes. Foreign and
    damaged bytes raise `DataError`.

    A codec on a trained network may declare two things besides. ``exact = False``: the pixels differ from machine to
    machine by what floats do, and the bound holds on all of them. ``unbounded = True``: `bound` may be infinite, for
    pixels that only the network vouches for. Its class method ``for_model(sha256)`` builds the codec of a run.

    Attributes
    ----------
    model_sha256
        Hash of the trained model that decoding needs; ``""`` where it needs none.
    """

    model_sha256: str

    def tile_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the tiles, of as many axes, into which an image of this shape is cut."""
        ...

    def encode(self, tile: np.ndarray, bound: float) -> bytes: ...

    def decode(self, data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray: ...


@runtime_checkable
class FitsCodec(Protocol):
    """A codec that FITS itself defines: its tile-compressed HDU is decoded by every FITS reader.

    `encode_hdu` returns the bytes of one standard tile-compressed HDU (header and data unit) of pixels as they are
    stored, BSCALE and BZERO not applied. `bound` is in their unit; 0, and every integer type, asks for the pixels bit
    by bit. The same bytes every time. The core adds the image's own header, checks every pixel, and keeps apart the few
    that FITS does not bring back (infinities, and what the cast to the stored type moves beyond the bound).
    """

    def encode_hdu(self, data: np.ndarray, bound: float) -> bytes: ...
