"""How the surveys behind the stand-in's services see the simulated sky."""

from __future__ import annotations

from dataclasses import dataclass

from rvtool.kinds import Box
from rvtool.testing.sky.geometry import within

FIRST_BOXES = (Box(120, 255, -8, 58), Box(320, 50, -2.5, 1.6))
ABOVE_MINUS_40 = (Box(0, 360, -40, 90),)
LOTSS_DR2_BOXES = (Box(114, 268, 27, 68), Box(330, 60, 18, 36))  # as large as the two fields; their edges are ragged
SDSS_BOXES = (Box(110, 260, -4, 70), Box(320, 60, -11, 35))


@dataclass(frozen=True)
class Survey:
    """A survey's images.

    Attributes
    ----------
    footprint
        Where it has looked.
    colour
        Its pictures are red, green and blue.
    """

    pixel_arcsec: float
    beam_arcsec: float
    rms_jy: float
    footprint: tuple[Box, ...]
    colour: bool = False

    def covers(self, ra_deg: float, dec_deg: float) -> bool:
        """Tell whether it has looked at a position."""
        return any(within(box, ra_deg, dec_deg) for box in self.footprint)


FIRST = Survey(1.8, 5.4, 0.15e-3, FIRST_BOXES)
NVSS = Survey(15.0, 45.0, 0.45e-3, ABOVE_MINUS_40)
LOTSS = Survey(1.5, 6.0, 83e-6, LOTSS_DR2_BOXES)
LOTSS_LOW = Survey(4.5, 20.0, 95e-6, LOTSS_DR2_BOXES)
VLASS = Survey(1.0, 2.5, 0.12e-3, ABOVE_MINUS_40)
RACS_LOW = Survey(2.5, 15.0, 0.25e-3, (Box(0, 360, -90, 41),))
RACS_MID = Survey(2.0, 10.0, 0.2e-3, (Box(0, 360, -90, 49),))
TGSS = Survey(6.2, 25.0, 3.5e-3, (Box(0, 360, -53, 90),))
SUMSS = Survey(11.0, 45.0, 1e-3, (Box(0, 360, -90, -30),))
SDSS = Survey(0.396127, 1.4, 1e-4, SDSS_BOXES, colour=True)
