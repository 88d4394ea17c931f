"""Is it the image that was asked for? Every byte is looked at before a file is believed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from rvtool.data.fits import PICTURE_SUFFIXES
from rvtool.data.splits import separation_arcmin
from rvtool.errors import DataError
from rvtool.kinds import Beam
from rvtool.verbs.collect.pixels import read_pixels
from rvtool.verbs.collect.place import Place, place_of

SCALE_TOLERANCE = 0.01
SIZE_TOLERANCE_PX = 1
# From the image's middle to the target. Services cut at whole pixels of their maps: in 359 images of FIRST and 200 of
# NVSS it is 1.4 px at most (but for one that shows another place); a neighbour's image must not pass.
OFFSET_SIDES = 0.1
OFFSET_PX = 2

# An island above 3 sigma makes a source larger than its cutout if it reaches from near the target to the border. Most
# double sources have nothing at their middle, so near is 0.4 of the cutout's side, but two beams from the border at
# least, which no unresolved neighbour bridges. On 359 FIRST sources, cut to 72, 108, 144 and 270 arcsec, this finds
# 46/107, 23/59 and 4/26 of those with a catalogued size above the cutout's side (none is above 270 arcsec), and wrongly
# 4/165, 2/222, 0/252 and 0/328 of those below half of it; islands through the target's own pixels find 21, 4 and 2.
LARGER_SIGMA = 3.0
NEAR_SIDES = 0.4
BORDER_BEAMS = 2.0
USUAL_BEAM_PX = 3.0  # maps are sampled with about three pixels a beam
LARGEST_SIDES = 0.8  # catalogued size that still fits into the cutout

_FACTOR = re.compile(
    r"(/?)\s*([^\W\d]+|\d*\.?\d+(?:e[+-]?\d+)?)\s*(?:\^|\*\*)?\s*\(?([+-]?\d+)?\)?[\s.*]*", re.IGNORECASE
)
_UNIT_NAMES = {"jansky": "Jy", "bm": "beam", "kelvin": "K", "nmgy": "nanomaggy", "nanomaggies": "nanomaggy"}


@dataclass(frozen=True)
class Expected:
    """What was asked for; what is None or empty is not checked.

    Attributes
    ----------
    ra_deg, dec_deg
        The place that the image must show in its middle, ICRS.
    field_arcmin, pixel_arcsec
        Side of the cutout, and of a pixel.
    las_arcsec
        Largest angular size of the source, as a catalogue tells.
    strict
        False where any image with a known pixel is good: the user's own files.
    max_blank
        Largest part of blank pixels.
    """

    ra_deg: float | None = None
    dec_deg: float | None = None
    field_arcmin: float | None = None
    pixel_arcsec: float | None = None
    unit: str = ""
    las_arcsec: float | None = None
    strict: bool = True
    max_blank: float = 0.2


@dataclass(frozen=True)
class Checked:
    """What a good file holds.

    Attributes
    ----------
    planes
        The numbers of the planes with at least one known pixel.
    ra_deg, dec_deg
        The image's centre, ICRS; None where the file does not tell.
    pixels_sha256
        Of the type, the shape and the bytes of the pixels: the header may carry the time of day.
    blank_fraction
        Pixels that are NaN, or 0 together with their neighbours.
    larger
        The source seems to reach beyond the cutout.
    """

    planes: tuple[int, ...]
    unit: str
    beam: Beam | None
    pixel_arcsec: float | None
    channels: int
    height: int
    width: int
    ra_deg: float | None
    dec_deg: float | None
    pixels_sha256: str
    blank_fraction: float
    larger: bool


def load_libraries() -> None:
    """Load what checking needs: a second that no service should have to wait for."""
    import astropy.wcs  # noqa: F401
    import scipy.ndimage  # noqa: F401


def check(body: bytes, suffix: str, expected: Expected) -> Checked:
    """Check the bytes of an image file.

    Parameters
    ----------
    suffix
        One of `rvtool.data.fits.SUFFIXES`.

    Raises
    ------
    DataError
        With the reason why it is not the image that was asked for.
    """
    try:
        pixels = read_pixels(body, suffix, expected.strict)
    except DataError:
        raise
    except Exception as error:  # astropy, Pillow and NumPy raise a dozen kinds for broken bytes
        raise DataError(f"the file cannot be read ({type(error).__name__}: {error})") from error
    stack = pixels.stack
    count, channels, height, width = stack.shape
    known = np.isfinite(stack)
    whole = bool(known.all())
    alive = (True,) * count if whole else tuple(known.all(axis=1).any(axis=(1, 2)).tolist())
    if not any(alive):
        raise DataError("not one pixel is known (all are NaN)")
    picture = suffix in PICTURE_SUFFIXES
    blank = _blank_fraction(stack, known, picture)
    asked = None if expected.ra_deg is None or expected.dec_deg is None else (expected.ra_deg, expected.dec_deg)
    place = place_of(pixels.header, height, width, asked) if pixels.header else None
    scale = float(np.mean(place.pixel_arcsec)) if place else None
    if expected.strict:
        _check_pixels(stack, known, whole, blank, expected)
        _check_geometry(place, height, width, expected, picture or suffix == ".npy")
        if expected.unit and pixels.unit and not same_unit(pixels.unit, expected.unit):
            raise DataError(f"the unit is {pixels.unit}, not {expected.unit}")
    image = stack[alive.index(True)]
    side_arcsec = scale * min(height, width) if scale else 60 * (expected.field_arcmin or math.inf)
    beam_px = pixels.beam.major_arcsec / scale if pixels.beam and scale else USUAL_BEAM_PX
    target = place.target if place else ((width - 1) / 2, (height - 1) / 2)
    return Checked(
        planes=tuple(number for number, has in enumerate(alive) if has),
        unit=pixels.unit,
        beam=pixels.beam,
        pixel_arcsec=scale,
        channels=channels,
        height=height,
        width=width,
        ra_deg=place.ra_deg if place else None,
        dec_deg=place.dec_deg if place else None,
        pixels_sha256=pixels.sha256,
        blank_fraction=blank,
        larger=(expected.las_arcsec or 0) > LARGEST_SIDES * side_arcsec
        or reaches_border(image[0] if channels == 1 else image.mean(axis=0), target, beam_px),
    )


def same_unit(one: str, other: str) -> bool:
    """Whether two units are the same but for their spelling: ``JY/BEAM``, ``Jy beam^-1`` and ``beam-1 Jy``.

    A number is a factor like any other: ``0.001 Jy/beam`` is not ``Jy/beam``.
    """
    factors, others = _factors(one), _factors(other)
    return len(factors) == len(others) and all(
        power == of_other and _same_name(name, named)
        for (name, power), (named, of_other) in zip(factors, others, strict=True)
    )


def _factors(unit: str) -> list[tuple[str, int]]:
    found = _FACTOR.findall(unit)
    powers = [
        (_UNIT_NAMES.get(name.lower(), name), int(power or 1) * (-1 if slash else 1))
        for slash, name, power in found
        if not (name[0] in ".0123456789" and float(name) == 1)
    ]
    return sorted(powers, key=lambda factor: (factor[0].lower(), factor[1]))


def _same_name(one: str, other: str) -> bool:
    """Compare in any case, except that mJy is no MJy; of what is written in one case only, nobody can tell."""
    mixed = not any(name.isupper() or name.islower() for name in (one, other))
    return one == other or (one.lower() == other.lower() and not mixed)


def reaches_border(image: np.ndarray, target: tuple[float, float], beam_px: float) -> bool:
    """Whether an island above the noise reaches from near the target to the border: the source may go on beyond.

    Parameters
    ----------
    image : (H, W)
    target
        Its pixel, x and y from 0.
    beam_px
        Full width of the beam, pixels.
    """
    from scipy.ndimage import label

    sample = image[::2, ::2]  # four times as fast, and a quarter of the pixels tells the noise as well
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return False
    middle = np.median(sample)
    # the sigma of a Gaussian; measuring it in blocks, as `noise_sigma` does, costs more than all the rest
    sigma = 1.4826 * np.median(np.abs(sample - middle))
    above = image > middle + LARGER_SIGMA * sigma
    if not (above[0].any() or above[-1].any() or above[:, 0].any() or above[:, -1].any()):
        return False
    islands, _ = label(above)
    height, width = image.shape
    side = min(height, width)
    reach = max(2.0, min(NEAR_SIDES * side, side / 2 - BORDER_BEAMS * beam_px))
    y, x = np.ogrid[:height, :width]
    near = islands[(x - target[0]) ** 2 + (y - target[1]) ** 2 <= reach**2]
    border = np.concatenate([islands[0], islands[-1], islands[:, 0], islands[:, -1]])
    return bool(np.intersect1d(near[near > 0], border).size)


def _blank_fraction(stack: np.ndarray, known: np.ndarray, picture: bool) -> float:
    """Count NaN, and zeros that fill squares of 2 x 2: single ones come of quantised noise, and black is no blank."""
    blank = stack.size - np.count_nonzero(known)
    zero = stack == 0
    if not picture and zero.any():
        from scipy.ndimage import binary_opening

        blank += np.count_nonzero(binary_opening(zero, np.ones((1, 1, 2, 2), bool)))
    return float(blank / stack.size)


def _check_pixels(stack: np.ndarray, known: np.ndarray, whole: bool, blank: float, expected: Expected) -> None:
    values = stack if whole else np.where(known, stack, np.nan)
    lowest, highest = (extreme.reduce(values, axis=(0, 2, 3)) for extreme in (np.fmin, np.fmax))
    if (lowest == highest).all():  # in each channel
        raise DataError(f"every pixel is {', '.join(f'{value:g}' for value in lowest)}")
    if blank > expected.max_blank:
        raise DataError(f"{100 * blank:.0f} % of the pixels are blank")


def _check_geometry(place: Place | None, height: int, width: int, expected: Expected, placeless: bool) -> None:
    if expected.field_arcmin and expected.pixel_arcsec:
        side = expected.field_arcmin * 60 / expected.pixel_arcsec
        if max(abs(height - side), abs(width - side)) > SIZE_TOLERANCE_PX + 1e-6:
            raise DataError(f"{side:.0f}x{side:.0f} px expected, {width}x{height} came")
    if placeless:
        return
    if place is None:
        if expected.ra_deg is not None or expected.pixel_arcsec:
            raise DataError("the header does not tell where on the sky the image is")
        return
    if expected.pixel_arcsec:
        wrong = [s for s in place.pixel_arcsec if abs(s / expected.pixel_arcsec - 1) > SCALE_TOLERANCE]
        if wrong:
            raise DataError(f"pixels of {wrong[0]:.4g} arcsec instead of {expected.pixel_arcsec:.4g}")
    if expected.ra_deg is not None and expected.dec_deg is not None:
        x, y = place.target
        field_arcsec = 60 * (expected.field_arcmin or 0)
        side = field_arcsec / float(np.mean(place.pixel_arcsec)) or min(height, width)
        offset = math.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
        if not offset <= max(OFFSET_PX, OFFSET_SIDES * side):  # NaN where the target is behind the projection
            away = separation_arcmin(expected.ra_deg, expected.dec_deg, place.ra_deg, place.dec_deg)
            raise DataError(f"the image shows another place: its middle is {away:.2f} arcmin away")
