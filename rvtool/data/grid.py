"""Headers of images that are made of others: the same sky on finer pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rvtool.data.fits import Image, quiet
from rvtool.kinds import Side

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS, Sip

COLOURS = 3
STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM")
OF_PIXELS = ("BUNIT", "BMAJ", "BMIN", "BPA", "DATAMIN", "DATAMAX")  # true of the old ones only
OF_PLACE = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "CROTA", "CD", "PC", "PV", "PS", "A_", "B_", "AP_", "BP_")


def finer(wcs: WCS, factor: int) -> WCS:
    """Return the same celestial coordinates for pixels of which `factor` squared fill an old one.

    The old pixel with its centre at (1, 1) has its lower left corner at (0.5, 0.5), and so have the new ones (Greisen &
    Calabretta 2002, section 2.1.4).
    """
    fine = wcs.deepcopy()
    fine.wcs.crpix = (wcs.wcs.crpix - 0.5) * factor + 0.5
    if wcs.wcs.has_cd():
        fine.wcs.cd = wcs.wcs.cd / factor
    else:
        fine.wcs.cdelt = wcs.wcs.cdelt / factor
    if wcs.sip is not None:
        fine.sip = _finer_sip(wcs.sip, factor, fine.wcs.crpix)
    return fine


def _finer_sip(sip: Sip, factor: int, crpix: Any) -> Sip:
    """Return a distortion in finer pixels: the coefficient of u^p v^q goes as factor^(1 - p - q)."""
    from astropy.wcs import Sip

    def scaled(coefficients: Any) -> Any:
        if coefficients is None:
            return None
        p, q = np.indices(coefficients.shape)
        return coefficients * float(factor) ** (1 - p - q)

    return Sip(scaled(sip.a), scaled(sip.b), scaled(sip.ap), scaled(sip.bp), crpix)


def header_of(image: Image, made: Side, factor: int, history: Sequence[str]) -> fits.Header:
    """Return the header of what was made of an image: its own cards, but for what says how its pixels are.

    Parameters
    ----------
    made
        Unit and beam of the new pixels.
    factor
        How many times finer they are.
    history
        What was done.
    """
    from astropy.io import fits

    header = fits.Header()
    with quiet():
        for card in (image.header or fits.Header()).cards:
            name = card.keyword
            if not name or name.startswith((*STRUCTURE, *OF_PLACE)) or name in OF_PIXELS:
                continue
            try:
                header.append((name, card.value, card.comment), end=True)
            except Exception:  # real headers hold cards that astropy reads and will not write (tabs); the rest is good
                continue
        if image.wcs is not None:
            header.update(finer(image.wcs, factor).to_header(relax=True))
    if image.wcs is None and made.pixel_arcsec:
        for axis in (1, 2):
            header[f"CDELT{axis}"], header[f"CUNIT{axis}"] = made.pixel_arcsec, "arcsec"
    if made.channels == COLOURS:
        header["CTYPE3"] = "RGB"
    header["BUNIT"] = made.unit
    if made.beam is not None:
        header["BMAJ"], header["BMIN"] = made.beam.major_arcsec / 3600, made.beam.minor_arcsec / 3600
        header["BPA"] = made.beam.angle_deg
    for line in history:
        header.add_history(line)
    return header
