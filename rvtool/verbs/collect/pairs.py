"""Two images of one target from two surveys, brought onto one grid of the sky."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rvtool.data.beams import per
from rvtool.data.fits import PICTURE_SUFFIXES, Image, beam_of, quiet, read_image, suffix_of
from rvtool.errors import DataError
from rvtool.kinds import SourceInfo

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

Position = tuple[float, float]
"""Right ascension and declination, degrees ICRS."""

ARCSEC = 1 / 3600  # degrees
SAME_PIXEL = 1.01  # pixels that differ by less than this factor are interpolated, not averaged
MOST_BLANK = 0.2
NOTHING_KNOWN = SourceInfo("")


def align(
    first: Path,
    second: Path,
    *,
    place: Position | None = None,
    pixel_arcsec: float | None = None,
    infos: tuple[SourceInfo, SourceInfo] = (NOTHING_KNOWN, NOTHING_KNOWN),
    max_blank: float = MOST_BLANK,
) -> tuple[Image, Image]:
    """Bring two images of one target onto one grid.

    The grid is the first image's own, whose pixels stay as they are; with `pixel_arcsec` it is TAN, north up, around
    the target, over the largest square that both images show. Where its pixels are finer than an image's, that is
    interpolated linearly (splines would carry every blank pixel through the whole image); where they are coarser, it
    is averaged over the exact overlap of the pixels (`reproject_exact`), which keeps fluxes and, unlike the kernels of
    `reproject_adaptive`, blurs nothing. Brightness (Jy/beam, K) stays; flux in a pixel (nanomaggy, counts) follows the
    pixels' area. A pixel that touches a blank one, or lies outside, is NaN.

    Parameters
    ----------
    first, second
        FITS files with a celestial WCS, or pictures, which are taken to be TAN, north up, around the target.
    place
        The target; the first image's centre where it is not told.
    pixel_arcsec
        Side of the grid's pixels, arcsec.
    infos
        What the two sources know: unit and beam where the files do not tell, and the pixel scale of pictures.
    max_blank
        Largest part of the grid that may be blank on either side.

    Returns
    -------
    Both images, ``(C, H, W)`` float32 with C of 1 or 3, and their headers; `to_fits` gives the files.

    Raises
    ------
    DataError
        An image has no place on the sky, does not show the target, or leaves too much of the grid blank.
    """
    one, other = placed(first, place, infos[0]), placed(second, place, infos[1])
    if pixel_arcsec is None:
        assert one.wcs is not None  # placed refuses images without one
        grid, shape = one.wcs, one.data.shape[-2:]
        aligned = (one, onto(other, grid, shape))
    else:
        target = place or one.centre
        if target is None:
            raise DataError(f"{first} does not tell where its centre is; give the target's position.")
        grid, shape = _common_grid((one, other), target, pixel_arcsec)
        aligned = (onto(one, grid, shape), onto(other, grid, shape))
    for image in aligned:
        blank = 1 - float(image.mask.mean())
        if blank > max_blank:
            raise DataError(
                f"{image.path} leaves {blank:.0%} of the pair's grid blank (at most {max_blank:.0%}); ask both sources"
                " for the same field, or set the grid's pixel to take the field that both show."
            )
    return tuple(described(image, grid) for image in aligned)  # type: ignore[return-value]


def to_fits(image: Image) -> bytes:
    """Return an aligned image as a FITS file, float32: ``(H, W)``, or ``(3, H, W)`` for colour."""
    from astropy.io import fits

    file = io.BytesIO()
    data = image.data[0] if len(image.data) == 1 else image.data
    fits.PrimaryHDU(data, image._header).writeto(file)
    return file.getvalue()


# --------------------------------------------------------------------------- reading


def placed(path: Path, place: Position | None, info: SourceInfo) -> Image:
    """Read an image as floats with a celestial WCS, filled by what its source knows."""
    image = read_image(path)
    channels = 3 if len(image.data) >= 3 else 1  # a picture's opacity is no channel
    image = replace(image, data=image.data[:channels].astype(np.float32), beam=image.beam or info.beam)
    if suffix_of(path) in PICTURE_SUFFIXES:
        if place is None or info.pixel_arcsec is None:
            raise DataError(f"{path} is a picture, which needs the target's position and its source's pixel scale.")
        height, width = image.data.shape[-2:]
        header = _tan(place, info.pixel_arcsec, height, width).to_header()
        return replace(image, data=image.data[:, ::-1], _header=header)  # its first row is the northernmost
    if image.wcs is None:
        raise DataError(f"{path} has no celestial coordinates; a pair needs FITS with a WCS, or pictures.")
    return replace(image, unit=image.unit or info.unit)


def _tan(place: Position, pixel_arcsec: float, height: int, width: int) -> WCS:
    """Make the gnomonic projection with north up around a place, ICRS."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = place
    wcs.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    wcs.wcs.cdelt = [-pixel_arcsec * ARCSEC, pixel_arcsec * ARCSEC]
    return wcs


# --------------------------------------------------------------------------- the grid


def _common_grid(images: tuple[Image, Image], target: Position, pixel_arcsec: float) -> tuple[WCS, tuple[int, int]]:
    """Return the grid around a target over the largest square that all images show, and its shape."""
    half = min(_half_side_arcsec(image, target) for image in images)
    side = int(2 * half / pixel_arcsec + 1e-6)
    if side < 1:
        raise DataError(
            f"{images[0].path} and {images[1].path} have no field in common of one pixel of {pixel_arcsec:g} arcsec;"
            " choose a finer grid."
        )
    return _tan(target, pixel_arcsec, side, side), (side, side)


def _half_side_arcsec(image: Image, target: Position) -> float:
    """Return half the side of the largest square around a target, north up, that lies inside an image."""
    from astropy.coordinates import SkyCoord

    assert image.wcs is not None
    height, width = image.data.shape[-2:]
    with quiet():
        x, y = image.wcs.world_to_pixel(SkyCoord(*target, unit="deg"))
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise DataError(f"{image.path} does not show the target at {target[0]:.5f} {target[1]:+.5f}; check it.")
        across, up = np.arange(width + 1) - 0.5, np.arange(height + 1) - 0.5  # along the border, pixel by pixel
        left, bottom = np.full_like(up, -0.5), np.full_like(across, -0.5)
        border_x = np.concatenate([across, across, left, left + width])
        border_y = np.concatenate([bottom, bottom + height, up, up])
        border = image.wcs.pixel_to_world(border_x, border_y)
        offsets = _tan(target, 1.0, 1, 1).world_to_pixel(border)  # arcsec
    return float(np.maximum(*np.abs(offsets)).min())


def onto(image: Image, grid: WCS, shape: tuple[int, ...]) -> Image:
    """Resample an image."""
    from astropy.wcs.utils import proj_plane_pixel_area
    from reproject import reproject_exact, reproject_interp

    assert image.wcs is not None
    areas = proj_plane_pixel_area(grid) / proj_plane_pixel_area(image.wcs)  # one new pixel holds so many old ones
    coarser = areas > SAME_PIXEL**2
    with quiet():
        resample = reproject_exact if coarser else reproject_interp
        data, covered = resample((image.data.astype(float), image.wcs), grid, shape_out=(len(image.data), *shape))
    data[covered < 0.5] = np.nan  # its centre lies outside; what interpolation covers, it covers wholly
    if per(image.unit) == "pixel":
        data *= areas
    return replace(image, data=data.astype(np.float32))


def described(image: Image, grid: WCS) -> Image:
    """Give an aligned image the header of the grid, and what is known of its pixels."""
    header: Header = grid.to_header(relax=True)
    if len(image.data) == 3:
        header["WCSAXES"], header["CTYPE3"] = 3, "RGB"
    if image.unit:
        header["BUNIT"] = image.unit
    if image.beam is not None:
        header["BMAJ"] = image.beam.major_arcsec * ARCSEC
        header["BMIN"] = image.beam.minor_arcsec * ARCSEC
        header["BPA"] = image.beam.angle_deg
    block = header.tostring(endcard=False, padding=False).encode("ascii")
    return Image(image.data, image.unit, beam_of(header), block, image.path, 0, header)
