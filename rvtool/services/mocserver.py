"""MOCServer of the CDS: where a survey has looked."""

from __future__ import annotations

from rvtool.kinds import Request

BASE_URL = "https://alasky.cds.unistra.fr"


def request(survey: str, order: int = 9) -> Request:
    """Ask for the coverage map (MOC, FITS) of a HiPS by its full ID.

    Parameters
    ----------
    order
        Finest HEALPix order; 9 is 6.9 arcmin.
    """
    return Request(
        f"{BASE_URL}/MocServer/query", {"ID": survey, "get": "moc", "order": str(order), "fmt": "fits"}, shared=True
    )
