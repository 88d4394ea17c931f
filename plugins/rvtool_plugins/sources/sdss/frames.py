"""Frames of the SDSS camera, 2048 x 1489 pixels each: many targets are cut out of one."""

from __future__ import annotations

import io
import warnings
from functools import lru_cache

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NoOverlapError
from astropy.wcs import WCS, FITSFixedWarning

from rvtool.errors import DataError
from rvtool.services.archives import unpack

LARGEST = 64 * 2**20  # bytes, four times what a frame holds
KEPT = ("BUNIT", "FILTER", "DATE-OBS", "EXPTIME", "TELESCOP", "RUN", "RERUN", "CAMCOL", "FRAME", "NMGY")


def cut(packed: bytes, place: tuple[float, float], size_arcmin: float) -> bytes | None:
    """Cut a square around a position out of a frame, turned as the camera was; pixels beyond the edge are NaN.

    Parameters
    ----------
    packed
        The frame, as FITS in bzip2.
    place
        Right ascension and declination, degrees.

    Returns
    -------
    FITS in nanomaggies; None where the frame does not reach there.

    Raises
    ------
    DataError
        It is no frame.
    """
    header, data = _frame(packed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # RADECSYS, as all frames have it
        wcs = WCS(header)
    pixel_arcsec = np.sqrt(wcs.proj_plane_pixel_area()).to_value("arcsec")
    side = max(1, round(size_arcmin * 60 / pixel_arcsec))
    try:
        part = Cutout2D(data, SkyCoord(*place, unit="deg"), side, wcs, mode="partial", fill_value=np.nan)
    except NoOverlapError:
        return None
    kept = fits.Header([header.cards[key] for key in KEPT if key in header])
    kept.update(part.wcs.to_header())
    file = io.BytesIO()
    fits.PrimaryHDU(part.data.astype(np.float32), kept).writeto(file)
    return file.getvalue()


@lru_cache(maxsize=2)
def _frame(packed: bytes) -> tuple[fits.Header, np.ndarray]:
    """Unpack a frame, once for neighbouring targets.

    Raises
    ------
    DataError
        It is no FITS image in bzip2.
    """
    try:
        with fits.open(io.BytesIO(unpack(packed, LARGEST))) as units:
            return units[0].header, np.array(units[0].data, np.float32)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"The frame cannot be read ({error}); fetch it again.") from error
