"""Where images are not what a run was trained on, though they have the right shape."""

from __future__ import annotations

from typing import NamedTuple

from rvtool.data.stretch import Stretch
from rvtool.kinds import Beam, Side

OTHER_PIXELS = 0.05  # relative difference of the pixel scale from which it is told
OTHER_BEAM = 0.1  # of the beam, along either axis


class Difference(NamedTuple):
    """One thing in which images differ from those of the training: what they have, what the run was trained on."""

    kind: str
    have: str
    want: str

    def told(self, which: str, run_name: str) -> str:
        """Say it of some images."""
        return f"{which} have another {self.kind} than {run_name} was trained on: {self.have}, not {self.want}."


def unlike(have: Side, want: Side, stretch: Stretch) -> list[Difference]:
    """Compare images with those that a run was trained on; what either does not tell is not compared.

    Parameters
    ----------
    have
        What is known of the images.
    want
        What the run was trained on, its pixels counted as those of `have`: as files have them, or after resampling.
    stretch
        The run's. Where it scales each image by its own peak, the unit does not matter.
    """
    found = []
    if stretch.scale == "train" and have.unit and want.unit and _spelt(have.unit) != _spelt(want.unit):
        found.append(Difference("unit", f"'{have.unit}'", f"'{want.unit}'"))
    if have.pixel_arcsec and want.pixel_arcsec and _differ(have.pixel_arcsec, want.pixel_arcsec, OTHER_PIXELS):
        found.append(Difference("pixel scale", f"{have.pixel_arcsec:.3g} arcsec", f"{want.pixel_arcsec:.3g} arcsec"))
    if have.beam and want.beam:
        axes = [(getattr(have.beam, name), getattr(want.beam, name)) for name in ("major_arcsec", "minor_arcsec")]
        if any(_differ(one, other, OTHER_BEAM) for one, other in axes):
            found.append(Difference("beam", _size(have.beam), _size(want.beam)))
    return found


def _spelt(unit: str) -> str:
    return unit.lower().replace(" ", "")


def _differ(have: float, want: float, tolerance: float) -> bool:
    return abs(have - want) > tolerance * want


def _size(beam: Beam) -> str:
    return f"{beam.major_arcsec:.3g} x {beam.minor_arcsec:.3g} arcsec"
