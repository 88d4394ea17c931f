"""Images of which only the part is read that is asked for, whether they are compressed or not.

`open_image` (which is `rvtool.open`) gives the first image of a file. Who already works with astropy gets the pixels of
an HDU of a compressed file, whose tiles astropy does not know, by one call:

    with astropy.io.fits.open("image.rv.fits") as hdus:
        pixels = rvtool.compressed.image.pixels_of(hdus[1])  # hdus[1].header and its WCS are the image's own
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rvtool.compressed.coding import StoredImage
from rvtool.compressed.container import is_tiled, read_tiled
from rvtool.compressed.files import read_compressed
from rvtool.compressed.pixels import HeldImage, Pixels, physical
from rvtool.compressed.record import decode_tiled, find_record
from rvtool.compressed.tiles import whole
from rvtool.data.fits import Image, beam_of, quiet
from rvtool.data.units import Unit, open_units, untiled_header
from rvtool.errors import DataError

if TYPE_CHECKING:
    from astropy.wcs import WCS


class LazyImage:
    """An image whose pixels are read from its file when they are asked for.

    ``image[y0:y1, x0:x1]`` reads the tiles that it touches, ``numpy.asarray(image)`` reads everything; both in the unit
    of the image (BSCALE, BZERO and BLANK applied), in native byte order. The file is opened for each read, so that
    nothing is left open; one that is packed whole (``.gz``, ``.bz2``) is unpacked each time.

    Attributes
    ----------
    shape : tuple of int
        The axes in the order of NumPy.
    dtype : numpy.dtype
        Of the pixels in the unit of the image.
    unit : str
        ``"Jy/beam"`` for example, or ``""``.
    header : astropy.io.fits.Header
        Of the image, as it stood in the file that was compressed; `header_bytes` are its bytes.
    beam : Beam or None
    """

    def __init__(self, path: Path) -> None:
        from astropy.io import fits

        self.path = path
        with open_units(path) as units:
            image = _first_image(units, path)
            self.header_bytes, self.shape = image.header, image.shape
            nothing = np.zeros((1,) * len(image.shape), image.dtype.newbyteorder("="))
        self.dtype = physical(nothing, self.header_bytes).dtype
        with quiet():
            self.header = fits.Header.fromstring(self.header_bytes.decode("latin-1"))
            self.unit = str(self.header.get("BUNIT", "")).strip()
            self.beam = beam_of(self.header)
        blank = np.broadcast_to(np.float32(np.nan), (1, *self.shape[-2:]))
        self._plane = Image(blank, self.unit, self.beam, self.header_bytes, path, _header=self.header)

    def __repr__(self) -> str:
        return f"<image of {' x '.join(map(str, self.shape))} {self.dtype} in {self.path}>"

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def wcs(self) -> WCS | None:
        """The celestial world coordinates, or None where the header has none."""
        return self._plane.wcs

    @property
    def pixel_arcsec(self) -> float | None:
        """The side of a pixel, from the WCS."""
        return self._plane.pixel_arcsec

    @property
    def centre(self) -> tuple[float, float] | None:
        """Right ascension and declination of the image's centre, degrees ICRS; None where the header does not tell."""
        return self._plane.centre

    def __getitem__(self, key: Any) -> np.ndarray:
        box, then = _box_of(key, self.shape)
        if any(part.start == part.stop for part in box):
            return np.empty([part.stop - part.start for part in box], self.dtype)[then]
        with open_units(self.path) as units:
            image = _first_image(units, self.path)
            return physical(image.read(box, threads=os.cpu_count() or 1), image.header)[then]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("the pixels of a file cannot be had without a copy.")
        return self[...].astype(dtype or self.dtype, copy=False)


def open_image(path: Path | str) -> LazyImage:
    """Open the first image of a FITS file, compressed by rvtool or not, without reading its pixels.

    Parameters
    ----------
    path
        ``image.rv.fits``, or any FITS file.

    Returns
    -------
    LazyImage
        ``image[y0:y1, x0:x1]`` reads only what it needs; ``numpy.asarray(image)`` reads all.

    Raises
    ------
    DataError
        The file is missing, is no FITS, is damaged or holds no image.
    """
    return LazyImage(Path(path))


def pixels_of(hdu: Any) -> np.ndarray:
    """Return the pixels of an HDU that `astropy.io.fits.open` gave, also of one whose tiles astropy does not know.

    Parameters
    ----------
    hdu
        Any image HDU of a file that was opened by its path.

    Returns
    -------
    numpy.ndarray : (..., H, W)
        In the unit of the image (BSCALE, BZERO and BLANK applied, as astropy does), native byte order.

    Raises
    ------
    DataError
        The HDU does not belong to a file on disk, or the file is damaged.
    """
    place = hdu.fileinfo()
    name = place and place["file"].name
    if not name:
        raise DataError("The HDU does not belong to a file on disk; open the file by its path.")
    path = Path(name)
    with open_units(path) as units:
        if is_tiled(units):
            for stored in read_tiled(units, path)[1]:
                if stored.image and stored.unit.data_start == place["datLoc"]:
                    image = stored.image
                    return physical(image.read(whole(image.shape), threads=os.cpu_count() or 1), image.header)
    if hdu.data is None:
        raise DataError(f"{path}: the HDU holds no pixels; name another.")
    return hdu.data.astype(hdu.data.dtype.newbyteorder("="), copy=False)


def _first_image(units: Sequence[Unit], path: Path) -> StoredImage | HeldImage | Pixels:
    if is_tiled(units) or find_record(units):
        for stored in read_compressed(units, path)[1]:
            if stored.image:
                return stored.image
    for unit in units:
        if unit.is_tiled:
            return HeldImage(untiled_header(unit.header, primary=False), lambda: decode_tiled(unit, path))  # noqa: B023
        if unit.is_image:
            return Pixels.of(unit)
    raise DataError(f"{path} holds no image of two or more axes; name another.")


def _box_of(key: Any, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[Any, ...]]:
    """Return the box that an index reads, and how to index that to get what was asked for."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    if len(keys) > len(shape):
        raise IndexError(f"{len(keys)} indices for an image of {len(shape)} axes.")
    keys += [slice(None)] * (len(shape) - len(keys))
    box: list[slice] = []
    then: list[Any] = []
    for one, length in zip(keys, shape, strict=True):
        if isinstance(one, slice):
            chosen = range(length)[one]
            box.append(slice(min(chosen), max(chosen) + 1) if chosen else slice(0, 0))
            then.append(slice(None, None, chosen.step))
        else:
            try:
                number = range(length)[index(one)]
            except TypeError:
                raise IndexError("an image is indexed by whole numbers and slices; read it, then choose.") from None
            box.append(slice(number, number + 1))
            then.append(0)
    return tuple(box), tuple(then)
