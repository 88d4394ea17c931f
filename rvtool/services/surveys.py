"""Facts of radio surveys whose images several services give."""

from __future__ import annotations

from dataclasses import dataclass

from rvtool.kinds import Beam, Box

NRAO = (
    "The National Radio Astronomy Observatory is a facility of the National Science Foundation operated under "
    "cooperative agreement by Associated Universities, Inc."
)
PRIVATE_USE = "scholarly, educational and private non-commercial use (copyright {})"
JY_BEAM = "Jy/beam"


@dataclass(frozen=True)
class Survey:
    """What is true of a survey whoever gives its images, by the names of the fields of `SourceInfo`."""

    unit: str = ""
    beam: Beam | None = None
    footprint: tuple[Box, ...] = ()
    licence: str = ""
    citation: str = ""
    bibtex: str = ""
    acknowledgement: str = ""


FIRST = Survey(
    unit=JY_BEAM,
    beam=Beam(5.4, 5.4),
    # The documented limits (RA 8h-17h, Dec -8 to +58; 21h20m-3h20m, -2.5 to +1.6) leave out 8 % of the sources of
    # published samples that have an image, which lie as far out as these.
    footprint=(Box(105, 266, -8, 65), Box(318, 50, -11, 2)),
    licence=PRIVATE_USE.format("1997, University of California"),
    citation="Becker, White & Helfand 1995, ApJ 450, 559",
    bibtex="""@article{becker1995first,
  author = {Becker, Robert H. and White, Richard L. and Helfand, David J.},
  title = {The {FIRST} Survey: Faint Images of the Radio Sky at Twenty Centimeters},
  journal = {The Astrophysical Journal},
  volume = {450},
  pages = {559},
  year = {1995},
  doi = {10.1086/176166}
}
""",
    acknowledgement=NRAO,
)

NVSS = Survey(
    unit=JY_BEAM,
    beam=Beam(45, 45),
    footprint=(Box(0, 360, -40, 90),),
    licence=PRIVATE_USE.format("1994, Associated Universities, Inc."),
    citation="Condon et al. 1998, AJ 115, 1693",
    bibtex="""@article{condon1998nvss,
  author = {Condon, J. J. and Cotton, W. D. and Greisen, E. W. and Yin, Q. F. and Perley, R. A. and Taylor, G. B. and
            Broderick, J. J.},
  title = {The {NRAO} {VLA} Sky Survey},
  journal = {The Astronomical Journal},
  volume = {115},
  pages = {1693--1716},
  year = {1998},
  doi = {10.1086/300337}
}
""",
    acknowledgement=NRAO,
)

LOTSS = Survey(
    unit=JY_BEAM,
    beam=Beam(6, 6),
    licence="public, with citation and the survey's acknowledgement",
    citation="Shimwell et al. 2022, A&A 659, A1",
    bibtex="""@article{shimwell2022lotss,
  author = {Shimwell, T. W. and others},
  title = {The {LOFAR} Two-metre Sky Survey. {V}. Second data release},
  journal = {Astronomy \\& Astrophysics},
  volume = {659},
  pages = {A1},
  year = {2022},
  doi = {10.1051/0004-6361/202142484}
}
""",
    acknowledgement="LOFAR data products were provided by the LOFAR Surveys Key Science project (LSKSP; "
    "https://lofar-surveys.org/) and were derived from observations with the International LOFAR Telescope (ILT).",
)

VLASS = Survey(
    unit=JY_BEAM,
    beam=Beam(2.5, 2.5),
    footprint=(Box(0, 360, -40, 90),),
    licence="public, with citation and the acknowledgement of the NRAO",
    citation="Lacy et al. 2020, PASP 132, 035001",
    bibtex="""@article{lacy2020vlass,
  author = {Lacy, M. and others},
  title = {The {Karl} {G.} {Jansky} {Very} {Large} {Array} {Sky} {Survey} ({VLASS}). Science Case and Survey Design},
  journal = {Publications of the Astronomical Society of the Pacific},
  volume = {132},
  pages = {035001},
  year = {2020},
  doi = {10.1088/1538-3873/ab63eb}
}
""",
    acknowledgement=NRAO,
)
