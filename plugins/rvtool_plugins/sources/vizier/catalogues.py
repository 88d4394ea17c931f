"""Published catalogues of radio galaxies whose rows tell the class: where each is, and how its columns read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A published catalogue.

    Attributes
    ----------
    classes
        Those that it has.
    label
        ``label(row, bent_deg)``: the class of a row, ``""`` where it has none of them.
    columns
        Its column to ours, and the factor between the units.
    """

    classes: tuple[str, ...]
    label: Callable[[Row, float], str]
    citation: str
    columns: dict[str, tuple[str, float]] = field(default_factory=dict)


def _config(row: Row, bent_deg: float) -> str:
    # FRI and FRII only where the authors confirm them; a compact source needs no confirmation (C*: never resolved)
    if row.get("u_mt") == "c":
        return {"I": "FRI", "II": "FRII", "C": "Compact"}.get(row.get("mt") or "", "")
    return {"C": "Compact", "C*": "Compact"}.get(row.get("mt") or "", "")


def _proctor(row: Row, bent_deg: float) -> str:
    # the table of wide-angle and narrow-angle tails
    return "Bent" if str(row.get("Tno") or "").strip() == "1" else ""


def _garon(row: Row, bent_deg: float) -> str:
    angle = row.get("BA")
    return "Bent" if angle is not None and float(angle) >= bent_deg else ""


CATALOGUES = {
    "J/A+A/598/A49": Published(
        ("FRI",),
        lambda row, bent_deg: "FRI",
        "Capetti, Massaro & Baldi 2017, A&A 598, A49 (FRICAT)",
        {"z": ("redshift", 1), "F1.4GHz": ("flux_jy", 1e-3)},
    ),
    "J/A+A/601/A81": Published(
        ("FRII",),
        lambda row, bent_deg: "FRII",
        "Capetti, Massaro & Baldi 2017, A&A 601, A81 (FRIICAT)",
        {"z": ("redshift", 1), "S1.4GHz": ("flux_jy", 1e-3)},
    ),
    "J/MNRAS/404/1719": Published(
        ("FRI", "FRII", "Compact"),
        _config,
        "Gendre, Best & Wall 2010, MNRAS 404, 1719 (CoNFIG)",
        {"z": ("redshift", 1), "S1.4": ("flux_jy", 1e-3)},
    ),
    "J/ApJS/194/31": Published(
        ("Bent",), _proctor, "Proctor 2011, ApJS 194, 31", {"Size": ("las_arcsec", 60), "Com": ("remarks", 1)}
    ),
    "J/AJ/157/126": Published(
        ("Bent",),
        _garon,
        "Garon et al. 2019, AJ 157, 126",
        {
            "z": ("redshift", 1),
            "BA": ("bending_angle_deg", 1),
            "CBA": ("corrected_bending_angle_deg", 1),
            "EBA": ("excess_bending_angle_deg", 1),
            "LAS": ("las_arcsec", 60),
        },
    ),
}


def published(table: str) -> Published | None:
    """Return what is known of the catalogue that a table belongs to."""
    return next((known for name, known in CATALOGUES.items() if f"{table}/".startswith(f"{name}/")), None)
