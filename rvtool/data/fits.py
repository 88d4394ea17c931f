"""One image: pixels, unit, place on the sky, beam, and the header as the file has it."""

from __future__ import annotations

import bz2
import gzip
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rvtool.errors import DataError, RvtoolError
from rvtool.kinds import Beam

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

FITS_SUFFIXES = (".fits", ".fit", ".fts", ".imfits", ".fits.gz", ".fits.bz2", ".fits.fz", ".fit.gz", ".fit.bz2")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
SUFFIXES = (*FITS_SUFFIXES, *PICTURE_SUFFIXES, ".npy")


def suffix_of(path: str | Path) -> str | None:
    """Return the ending by which an image file is known (``.fits.gz`` whole), or None if it is no image."""
    name = Path(path).name.lower()
    return max((s for s in SUFFIXES if name.endswith(s)), key=len, default=None)


@dataclass(frozen=True)
class Image:
    """One image as rvtool handles it.

    Attributes
    ----------
    data
        ``(C, H, W)``, native byte order, in `unit`; blank pixels of floats are NaN.
    unit
        The unit of the pixels, ``"Jy/beam"`` for example, or ``""``.
    beam
        The restoring beam, where the file tells.
    header_bytes
        The header cards exactly as they stand in the file (some real headers carry tabs, which astropy
        will not write back); empty for formats without one.
    """

    data: np.ndarray
    unit: str = ""
    beam: Beam | None = None
    header_bytes: bytes = b""
    path: Path | None = None
    plane: int = 0
    _header: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def mask(self) -> np.ndarray:
        """``(H, W)`` bool, True where every channel is known."""
        return np.isfinite(self.data).all(axis=0)

    def in_grey(self) -> Image:
        """Return a grey picture that was saved in colours with its one channel; any other image as it is."""
        if self.path is None or suffix_of(self.path) not in PICTURE_SUFFIXES or len(self.data) == 1:
            return self
        colours, opacity = np.split(self.data, [len(self.data) - 1 + len(self.data) % 2])  # grey, opacity or RGB(A)
        grey = (colours == colours[0]).all() and (opacity == np.iinfo(opacity.dtype).max).all()
        return replace(self, data=self.data[:1]) if grey else self

    @property
    def header(self) -> fits.Header | None:
        """The header as astropy reads it; None for formats without one."""
        header: fits.Header | None = self._header
        return header

    @cached_property
    def wcs(self) -> WCS | None:
        """The celestial world coordinates, or None where the header has none."""
        if self._header is None:
            return None
        from astropy.wcs import WCS

        with quiet():
            try:
                wcs = WCS(self._header, naxis=2).celestial
            except Exception:  # astropy raises a dozen kinds for broken headers; the pixels are still good
                return None
        return wcs if wcs.has_celestial else None

    @property
    def pixel_arcsec(self) -> float | None:
        """The side of a pixel, from the WCS."""
        if self.wcs is None:
            return None
        from astropy.wcs.utils import proj_plane_pixel_scales

        return float(np.mean(proj_plane_pixel_scales(self.wcs)) * 3600)

    @property
    def frequency_time(self) -> dict[str, Any]:
        """What a `Side` says of a dynamic spectrum (rows FREQ, columns TIME); empty for any other image."""
        if self._header is None or [str(self._header.get(f"CTYPE{n}", ""))[:4] for n in (1, 2)] != ["TIME", "FREQ"]:
            return {}
        from astropy.wcs import WCS

        with quiet():
            try:
                wcs = WCS(self._header, naxis=2).wcs  # in s and Hz, whatever the header speaks
                sample_s, channel_hz = wcs.get_cdelt() * wcs.get_pc().diagonal()
                middle_hz = wcs.crval[1] + channel_hz * ((self.data.shape[-2] + 1) / 2 - wcs.crpix[1])
            except Exception:  # astropy raises a dozen kinds for broken headers; the pixels are still good
                return {}
        return {
            "axes": "frequency-time",
            "centre_mhz": round(middle_hz / 1e6, 9),
            "channel_mhz": round(channel_hz / 1e6, 12),
            "sample_s": round(float(sample_s), 15),
        }

    @property
    def centre(self) -> tuple[float, float] | None:
        """Right ascension and declination of the image's centre, degrees ICRS; None where the header does not tell."""
        if self.wcs is None:
            return None
        from astropy.coordinates import ICRS
        from astropy.wcs.utils import wcs_to_celestial_frame

        height, width = self.data.shape[-2:]
        with quiet():
            try:
                if isinstance(wcs_to_celestial_frame(self.wcs), ICRS):  # without the costly detour
                    place = self.wcs.pixel_to_world_values((width - 1) / 2, (height - 1) / 2)
                    ra, dec = float(place[self.wcs.wcs.lng]), float(place[self.wcs.wcs.lat])
                else:
                    sky = self.wcs.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
                    ra, dec = float(sky.ra.deg), float(sky.dec.deg)
            except Exception:  # astropy raises a dozen kinds for broken headers; the pixels are still good
                return None
        return (ra, dec) if np.isfinite(ra) and np.isfinite(dec) else None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep astropy's warnings about other people's headers from the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def open_fits(path: Path, lazy: bool = False, body: bytes | None = None) -> Iterator[fits.HDUList]:
    """Open a FITS file of any packing, turning what astropy raises into one sentence.

    Parameters
    ----------
    lazy
        Read HDUs only as they are asked for: for a look at the header. Otherwise a file that is packed whole is
        unpacked to its end, where its checksum stands.
    body
        The file's bytes, where they are in memory; `path` then only names them.

    Raises
    ------
    DataError
        The file is missing, is no FITS, ends too early, or is damaged.
    """
    from astropy.io import fits

    with _told(path, "FITS"), quiet():
        opened = _opened(path, body) if lazy else _unpacked(path, body)
        with fits.open(opened, memmap=False, lazy_load_hdus=lazy) as hdus:
            yield hdus


@contextmanager
def _told(path: Path, format_name: str) -> Iterator[None]:
    """Turn whatever the reader of a format raises into one sentence."""
    try:
        yield
    except RvtoolError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not an image file.") from None
    except PermissionError:
        raise DataError(f"{path} may not be read by this user; check its permissions.") from None
    except Exception as error:  # of damaged files the readers raise two dozen kinds, some of no public class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be read as {format_name} ({reason}); it may be damaged, truncated or another format."
        ) from error


def image_hdus(hdus: Iterable[Any]) -> list[int]:
    """Return the numbers of the HDUs that hold an image of two or more dimensions."""
    found = []
    for number, hdu in enumerate(hdus):
        if not hdu.is_image:
            continue
        shape = [hdu.header.get(f"NAXIS{i + 1}", 0) for i in range(hdu.header.get("NAXIS", 0))]
        if len(shape) >= 2 and min(shape) > 0:
            found.append(number)
    return found


def beam_of(header: fits.Header | Mapping[str, Any]) -> Beam | None:
    """Return the beam that BMAJ, BMIN and BPA give, or None."""
    major = header.get("BMAJ")
    if not isinstance(major, int | float) or not major > 0:
        return None
    minor, angle = header.get("BMIN", major), header.get("BPA", 0.0)
    return Beam(float(major) * 3600, float(minor) * 3600, float(angle) if isinstance(angle, int | float) else 0.0)


def is_colour(header: Any) -> bool:
    """Tell whether the three planes of the third axis are the colours of one image."""
    return header.get("NAXIS3") == 3 and str(header.get("CTYPE3", "")).strip() == "RGB"


def planes(path: Path | str, body: bytes | None = None) -> Iterator[Image]:
    """Read every 2-D plane of an image file.

    A FITS file gives each plane of its first image HDU, over all further axes; a picture gives one image with its
    channels; an ``.npy`` array of shape (H, W) or (C, H, W) gives one image, (N, C, H, W) gives N.

    Parameters
    ----------
    body
        The file's bytes, where they are in memory; `path` then only names them, and tells the format by its ending.

    Raises
    ------
    DataError
        The file is missing, broken, no image, or has no plane.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if suffix in PICTURE_SUFFIXES:
        yield Image(_read_picture(path, body), path=path)
    elif suffix == ".npy":
        for number, data in enumerate(_read_npy(path, body)):
            yield Image(data, path=path, plane=number)
    else:
        yield from _fits_planes(path, body)


def count_planes(path: Path) -> int:
    """Return how many planes a file has, from its header alone."""
    return glance(path, place=False)[0]


def glance(path: Path, place: bool = True) -> tuple[int, tuple[float, float] | None]:
    """Return the number of planes and, if asked, the centre on the sky (see `Image.centre`), from the header alone."""
    suffix = suffix_of(path)
    if suffix == ".npy":
        return len(_read_npy(path)), None
    if suffix not in FITS_SUFFIXES:
        return 1, None
    with open_fits(path, lazy=True) as hdus:
        for hdu in hdus:
            if image_hdus([hdu]):
                *further, height, width = hdu.shape
                further = further[:-1] if is_colour(hdu.header) else further
                count = int(np.prod(further, dtype=int))
                if not place:
                    return count, None
                blank = np.broadcast_to(np.float32(0), (1, height, width))
                return count, Image(blank, _header=hdu.header).centre
    return 1, None


def read_image(path: Path | str, plane: int = 0) -> Image:
    """Read one plane of an image file (see `planes`).

    Raises
    ------
    DataError
        As `planes`; or there is no such plane, or the plane is blank throughout.
    """
    for image in planes(path):
        if image.plane == plane:
            if not image.mask.any():
                raise DataError(f"{path} has not one known pixel in plane {plane} (all NaN); leave it out.")
            return image
    raise DataError(f"{path} has no plane {plane}.")


def _opened(path: Path, body: bytes | None) -> Path | io.BytesIO:
    return path if body is None else io.BytesIO(body)


def _unpacked(path: Path, body: bytes | None) -> Path | io.BytesIO:
    """Return what astropy is to open; a file that is packed whole, unpacked to its end: only there it is checked."""
    with open(path, "rb") if body is None else io.BytesIO(body) as file:
        magic = file.read(3)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(file) as content:
                return io.BytesIO(content.read())
        if magic == b"BZh":
            with bz2.open(file) as content:
                return io.BytesIO(content.read())
    return _opened(path, body)


def _fits_planes(path: Path, body: bytes | None) -> Iterator[Image]:
    with open_fits(path, body=body) as hdus:
        numbers = image_hdus(hdus)
        if not numbers:
            raise DataError(f"{path} holds no image (its {len(hdus)} HDUs are empty or tables).")
        hdu = hdus[numbers[0]]
        header = hdu.header
        data = hdu.data
        if data is None:
            raise DataError(f"{path} holds no pixels; it may be truncated.")
        stack = data.reshape(-1, *data.shape[-3 if is_colour(header) else -2 :])
        stack = stack.astype(stack.dtype.newbyteorder("="), copy=False)
        unit = str(header.get("BUNIT", "")).strip()
        raw = header_block(hdu)
        for number, plane in enumerate(stack):
            yield Image(plane.reshape(-1, *plane.shape[-2:]), unit, beam_of(header), raw, path, number, header)


def header_block(hdu: Any) -> bytes:
    """Return the header cards of an HDU as they stand in the file, without parsing them."""
    header = hdu.header
    cards = getattr(header, "_cards", ())
    # a card that was not touched keeps its image; asking astropy for its string would refuse tabs
    images = [getattr(card, "_image", None) or str(card) for card in cards]
    return "".join(images).encode("ascii", "replace")


def _read_picture(path: Path, body: bytes | None) -> np.ndarray:
    from PIL import Image as Picture

    with _told(path, "a picture"), Picture.open(_opened(path, body)) as picture:
        data = np.asarray(picture.convert("RGB") if picture.mode in ("P", "PA") else picture)
    return data[None] if data.ndim == 2 else np.ascontiguousarray(np.moveaxis(data, -1, 0))  # (C, H, W)


def _read_npy(path: Path, body: bytes | None = None) -> np.ndarray:
    with _told(path, "a NumPy array"):
        data = np.load(_opened(path, body), allow_pickle=False, mmap_mode="r" if body is None else None)
    if not isinstance(data, np.ndarray):
        raise DataError(f"{path} is an archive of NumPy arrays; save the image alone, with numpy.save.")
    if data.ndim not in (2, 3, 4) or data.dtype.kind not in "iufb":
        raise DataError(f"{path} has shape {data.shape} and type {data.dtype}; an image is (H, W) or (C, H, W).")
    if not data.size:
        raise DataError(f"{path} holds no pixels (its shape is {data.shape}); leave it out.")
    return data.reshape((1,) * (4 - data.ndim) + data.shape)  # (N, C, H, W)
